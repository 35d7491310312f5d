# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pose and route -> the map image that `input/map_image` expects: white roads on black, the route as a red stroke."""

from __future__ import annotations

import cv2
import numpy as np

from attention_fusion_ros.maps.image_layout import ImageLayout
from attention_fusion_ros.maps.layer import RoadTracker, drawn_edges
from attention_fusion_ros.maps.local_roads import LocalRoads

SUBPIXEL = 4  # fractional bits of OpenCV coordinates
ROAD, ROUTE = (255, 255, 255), (255, 0, 0)  # rgb
GROWTH = 1.3  # pixels by which OpenCV's antialiased polygons and discs are wider than asked for


class MapPainter:
    """Draws map images of the same roads, one after the other."""

    def __init__(self, roads: LocalRoads, layout: ImageLayout | None = None):
        self.roads, self.layout = roads, layout or ImageLayout()
        self._tracker = RoadTracker(roads)

    def draw(self, pose: tuple[float, float, float], route: np.ndarray | None = None) -> np.ndarray:
        """(rows, columns, 3) uint8 rgb around a pose (m, m, rad in the local frame).

        route: (P, 2) m in the local frame, from behind the vehicle on.
        """
        layout = self.layout
        columns, rows = layout.size
        image = np.zeros((rows, columns), np.uint8)
        matrix = layout.pixels(pose)
        margin = layout.reach() + 20.0  # half the widest road
        place = np.array(pose[:2])
        roads = self.roads
        vertices = roads.segments[roads.segments_in(place - margin, place + margin)]
        edges = roads.edge_of_vertex[vertices]
        if layout.layers == 'own' and roads.graph.layers[edges].any():
            on = self._tracker.update(place, pose[2])
            kept = drawn_edges(roads, np.unique(edges), None if on is None else on.edge)
            shown = np.isin(edges, kept)
            vertices, edges = vertices[shown], edges[shown]
        widths = roads.graph.widths[edges] if not layout.road_width else np.full(len(edges), layout.road_width)
        _strokes(image, roads.xy[vertices], roads.xy[vertices + 1], widths / layout.resolution, matrix)
        if route is None or len(route) < 2:
            return cv2.merge([image, image, image])
        stroke = np.zeros_like(image)
        width = layout.route_width / layout.resolution
        for line in _around(np.asarray(route, np.float64), place, margin, layout.route_behind):
            _strokes(stroke, line[:-1], line[1:], np.full(len(line) - 1, width), matrix)
        return _over(image, stroke)

    def reset(self) -> None:
        """Forget where the vehicle was, after a jump."""
        self._tracker.reset()


def _strokes(image: np.ndarray, a: np.ndarray, b: np.ndarray, widths: np.ndarray, matrix: np.ndarray) -> None:
    """Draw segments with round ends into (rows, columns) uint8. a, b: (S, 2) m; widths: (S,) pixels.

    OpenCV draws thick lines in steps of two pixels; a polygon and a disc at each end are as wide as they should be.
    """
    a, b = (p @ matrix[:, :2].T + (matrix[:, 2] - 0.5) for p in (a, b))  # OpenCV counts from the middle of a pixel
    margin = widths[:, None] + 2.0
    size = np.array(image.shape[::-1], np.float64)
    d = b - a
    with np.errstate(divide='ignore', invalid='ignore'):  # where a segment crosses the box around the image
        times = np.stack([(-margin - a) / d, (size + margin - a) / d])
        inside = (a >= -margin) & (a <= size + margin)
    still = d == 0.0
    low = np.where(still, np.where(inside, 0.0, 2.0), times.min(axis=0)).max(axis=1).clip(min=0.0)
    high = np.where(still, 1.0, times.max(axis=0)).min(axis=1).clip(max=1.0)
    seen = low <= high
    if not seen.any():
        return
    a, b = (a + low[:, None] * d)[seen], (a + high[:, None] * d)[seen]
    d = b - a
    radius = np.maximum((widths[seen] - GROWTH) / 2, 0.1)
    across = np.stack([-d[:, 1], d[:, 0]], axis=1) * (radius / np.maximum(np.hypot(*d.T), 1e-9))[:, None]
    scale = 2**SUBPIXEL
    polygons = np.rint(np.stack([a + across, b + across, b - across, a - across], axis=1) * scale).astype(np.int32)
    for polygon in polygons:
        cv2.fillConvexPoly(image, polygon, 255, cv2.LINE_AA, SUBPIXEL)
    ends = np.rint(np.column_stack([np.vstack([a, b]), np.tile(radius, 2)]) * scale).astype(np.int32)
    for x, y, r in np.unique(ends, axis=0).tolist():
        cv2.circle(image, (x, y), r, 255, -1, cv2.LINE_AA, SUBPIXEL)


def _around(route: np.ndarray, place: np.ndarray, margin: float, behind: float) -> list[np.ndarray]:
    """The stretches of a route within reach, from `behind` metres behind the vehicle on."""
    a, d = route[:-1], np.diff(route, axis=0)
    squared = np.maximum((d**2).sum(axis=1), 1e-12)
    t = np.clip(((place - a) * d).sum(axis=1) / squared, 0.0, 1.0)
    distances = np.hypot(*(a + t[:, None] * d - place).T)
    k = int(distances.argmin())
    lengths = np.sqrt(squared)
    s = np.append(0.0, np.cumsum(lengths))
    start = max(0.0, s[k] + t[k] * lengths[k] - behind)
    if distances[k] < margin:
        j = min(int(np.searchsorted(s, start, side='right')) - 1, len(d) - 1)
        route = np.vstack([route[j] + d[j] * (start - s[j]) / lengths[j], route[j + 1:]])
        distances = distances[j:]
    near = distances <= margin
    runs = np.flatnonzero(np.diff(np.append(np.append(False, near), False).astype(np.int8)))
    return [route[i:j + 1] for i, j in zip(runs[::2], runs[1::2])]


def _over(roads: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """Pure red over grey, by coverage: rgb."""
    rest = cv2.multiply(roads, cv2.bitwise_not(stroke), scale=1.0 / 255.0)
    return cv2.merge([cv2.max(roads, cv2.add(rest, stroke)), rest, rest])
