# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws the vector geometry of a world into pixel arrays, with sub-pixel shifts and without loops over pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.simulation.world.world import CORNER_RADIUS_M, Island, Road, Vehicle, World

SHIFT = 4  # fractional bits of OpenCV coordinates
ONE = 1 << SHIFT
RIM_CELLS = 0.5  # by which OpenCV's filled shapes grow, because it draws their outline too


@dataclass(frozen=True)
class Frame:
    """How world metres and the pixels of an array relate; integer pixels are cell centres."""

    matrix: np.ndarray  # (2, 3): (column, row) = matrix @ (x, y, 1)
    shape: tuple[int, int]  # (H, W)
    resolution: float  # m per pixel

    @staticmethod
    def aligned(x: float, y: float, extent: float, resolution: float) -> Frame:
        """World-aligned frame around (x, y), snapped to whole cells: noise stays with the world when we move."""
        n = 2 * int(round(extent / resolution))
        column0 = math.floor(x / resolution) - n // 2
        row0 = math.floor(y / resolution) - n // 2
        matrix = np.array([[1 / resolution, 0, -column0 - 0.5], [0, 1 / resolution, -row0 - 0.5]])
        return Frame(matrix, (n, n), resolution)

    @staticmethod
    def bev(pose: tuple[float, float, float], grid: Grid) -> Frame:
        """The BEV grid of a vehicle at `pose` (x, y, yaw in the world)."""
        x, y, yaw = pose
        c, s = math.cos(yaw), math.sin(yaw)
        origin_row, origin_column = grid.metres_to_cells(0.0, 0.0)
        r = grid.resolution
        # base = R(-yaw) (world - pose); column = origin - y_base / r, row = origin - x_base / r
        matrix = np.array([[s / r, -c / r, origin_column - (s * x - c * y) / r],
                           [-c / r, -s / r, origin_row + (c * x + s * y) / r]])
        return Frame(matrix, (grid.cells, grid.cells), r)

    @property
    def offset(self) -> tuple[int, int]:
        """(column, row) of pixel (0, 0) counted in whole cells from the world origin (world-aligned frames)."""
        return int(round(-self.matrix[0, 2] - 0.5)), int(round(-self.matrix[1, 2] - 0.5))

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """(..., 2) world metres -> (..., 2) continuous (column, row)."""
        return np.asarray(np.asarray(xy, dtype=np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2])

    def fixed(self, xy: np.ndarray) -> np.ndarray:
        """(..., 2) world metres -> OpenCV fixed-point coordinates, int32."""
        return np.asarray(np.clip(np.rint(self.pixels(xy) * ONE), -2**24, 2**24), dtype=np.int32)

    def visible(self, xy: np.ndarray, margin: ArrayLike) -> np.ndarray:
        """(N,) bool: which of the (N, 2) world points are within `margin` metres, a number or (N,), of the array."""
        p, m = self.pixels(xy), np.asarray(margin) / self.resolution
        height, width = self.shape
        return (p[:, 0] > -m) & (p[:, 1] > -m) & (p[:, 0] < width + m) & (p[:, 1] < height + m)

    def sees(self, xy: np.ndarray, margin: float) -> bool:
        """True when the bounding box of (P, 2) world points grown by `margin` metres touches the array."""
        p, m = self.pixels(xy), margin / self.resolution
        return bool((p.max(axis=0) + m >= 0).all() and (p.min(axis=0) - m < (self.shape[1], self.shape[0])).all())

    def visible_lines(self, lines: list[np.ndarray], margin: float) -> np.ndarray:
        """(N,) bool: which polylines (P, 2) have a bounding box within `margin` metres of the array."""
        if not lines:
            return np.zeros(0, bool)
        p, m = self.pixels(np.concatenate(lines)), margin / self.resolution
        starts = np.cumsum([0] + [len(line) for line in lines[:-1]])
        low, high = np.minimum.reduceat(p, starts), np.maximum.reduceat(p, starts)
        return np.asarray((high >= -m).all(axis=1) & (low < np.array(self.shape[::-1]) + m).all(axis=1))


def fill_discs(array: np.ndarray, frame: Frame, xy: np.ndarray, radii: ArrayLike, values: Sequence[float]) -> None:
    """Sets the cells whose centres lie within a radius (N,) [m] of the (N, 2) world points to the values (N,).

    A disc smaller than a cell still sets the cell it lies in. Later discs overwrite earlier ones.
    """
    fixed = frame.fixed(xy).tolist()
    reach = np.clip(np.rint((np.asarray(radii) / frame.resolution - RIM_CELLS) * ONE), 0, None).astype(int).tolist()
    for (column, row), radius, value in zip(fixed, reach, values):
        cv2.circle(array, (column, row), radius, value, -1, cv2.LINE_8, SHIFT)


def fill_polygon(array: np.ndarray, frame: Frame, xy: np.ndarray, value: float) -> None:
    """Sets the cells whose centres lie in a convex (P, 2) world polygon, which must be wider than a cell."""
    fill_polygons(array, frame, xy[None], [value])


def fill_polygons(array: np.ndarray, frame: Frame, xy: np.ndarray, values: Sequence[float]) -> None:
    """Sets the cells whose centres lie in convex (N, P, 2) world polygons to values (N,), later ones over earlier."""
    for polygon, value in zip(polygons_fixed(frame, xy), values):
        cv2.fillConvexPoly(array, polygon, value, cv2.LINE_8, SHIFT)


def polygons_fixed(frame: Frame, xy: np.ndarray) -> np.ndarray:
    """(N, P, 2) convex world polygons -> fixed-point ones, drawn in a little because OpenCV draws their outline too."""
    edge = np.roll(xy, -1, axis=1) - xy
    turn = np.sign(np.sum(edge[:, :, 0] * np.roll(edge, -1, axis=1)[:, :, 1]
                          - edge[:, :, 1] * np.roll(edge, -1, axis=1)[:, :, 0], axis=1))[:, None, None]
    length = np.maximum(np.hypot(edge[..., 0], edge[..., 1]), 1e-9)[..., None]
    inward = edge[..., ::-1] * (-1.0, 1.0) / length * turn
    centre = xy.mean(axis=1, keepdims=True)
    inradius = np.min(np.sum((centre - xy) * inward, axis=2), axis=1)
    before = np.roll(inward, 1, axis=1)
    mitre = (inward + before) / np.maximum(1.0 + np.sum(inward * before, axis=2, keepdims=True), 1e-3)
    step = np.minimum(RIM_CELLS * frame.resolution, 0.8 * inradius)[:, None, None]
    return frame.fixed(xy + mitre * step)


def fill_buffer(array: np.ndarray, frame: Frame, line: np.ndarray, half_width: float, value: float,
                round_ends: bool = True) -> None:
    """Sets the cells whose centres lie within `half_width` metres of a (P, 2) world polyline."""
    half = max(half_width - RIM_CELLS * frame.resolution, 0.0)
    for quad in frame.fixed(strip_quads([line], [half])[0]):
        cv2.fillConvexPoly(array, quad, value, cv2.LINE_8, SHIFT)
    radius = int(round(half / frame.resolution * ONE))
    if radius > ONE:
        for column, row in frame.fixed(line if round_ends else line[1:-1]).tolist():
            cv2.circle(array, (column, row), radius, value, -1, cv2.LINE_8, SHIFT)


def fill_strips(arrays: Sequence[np.ndarray], frame: Frame, lines: list[np.ndarray], half_widths: ArrayLike,
                values: Sequence[Sequence[float]]) -> None:
    """Polylines of walls into several arrays at once: flat ends, corners left as they are.

    values: for each array, one value a line.
    """
    if not lines:
        return
    quads, owner = strip_quads(lines, np.maximum(np.asarray(half_widths) - RIM_CELLS * frame.resolution, 0.0))
    for quad, line in zip(frame.fixed(quads), owner.tolist()):
        for array, value in zip(arrays, values):
            cv2.fillConvexPoly(array, quad, value[line], cv2.LINE_8, SHIFT)


def strip_quads(lines: list[np.ndarray], half_widths: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Polylines (P, 2) -> (S, 4, 2) rectangles around their segments, and (S,) the line each belongs to."""
    a, b = np.concatenate([line[:-1] for line in lines]), np.concatenate([line[1:] for line in lines])
    owner = np.repeat(np.arange(len(lines)), [len(line) - 1 for line in lines])
    d = b - a
    length = np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)
    normal = d[:, ::-1] * (-1.0, 1.0) * (np.asarray(half_widths)[owner] / length)[:, None]
    return np.stack([a + normal, b + normal, b - normal, a - normal], axis=1), owner


def box_corners(x: float, y: float, yaw: float, length: float, width: float, ahead: float = 0.0) -> np.ndarray:
    """(4, 2) corners of a box; its centre lies `ahead` metres along `yaw` from (x, y)."""
    c, s = math.cos(yaw), math.sin(yaw)
    local = np.array([[length / 2, width / 2], [-length / 2, width / 2],
                      [-length / 2, -width / 2], [length / 2, -width / 2]]) + (ahead, 0.0)
    return np.asarray(local @ np.array([[c, s], [-s, c]]) + (x, y))


def vehicle_corners(vehicle: Vehicle) -> np.ndarray:
    """(4, 2) footprint of a vehicle."""
    return box_corners(vehicle.x, vehicle.y, vehicle.yaw, vehicle.length, vehicle.width)


def junctions(roads: tuple[Road, ...], tolerance: float = 0.1) -> list[tuple[np.ndarray, float]]:
    """Where at least three road arms meet: (point (2,), widest half-width). See world.Road for what 'meet' means."""
    if not roads:
        return []
    points = np.concatenate([r.centre for r in roads])
    arms = np.concatenate([_arms(r) for r in roads])
    half = np.concatenate([np.full(len(r.centre), r.width / 2) for r in roads])
    keys = np.rint(points / (2 * tolerance)).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    meeting = np.bincount(group, weights=arms) >= 3
    widest = np.zeros(len(meeting))
    np.maximum.at(widest, group, half)
    first = np.full(len(meeting), len(points))
    np.minimum.at(first, group, np.arange(len(points)))
    return [(points[first[g]], float(widest[g])) for g in np.flatnonzero(meeting)]


def _arms(road: Road) -> np.ndarray:
    arms = np.full(len(road.centre), 2.0)
    arms[0] = arms[-1] = 1.0
    return arms


def road_mask(roads: tuple[Road, ...], frame: Frame, corner_radius: float = 6.0) -> np.ndarray:
    """(H, W) uint8 0/1: buffered centre lines, with kerb corners of `corner_radius` metres where arms meet.

    The corner is a morphological closing with a disc, done around junctions only and by distance transforms.
    """
    if corner_radius <= 0:
        return _closed(roads, frame, 0.0)
    # A closing looks two radii far: without this margin, junctions near the edge of the array grow into blobs.
    margin = 2 * math.ceil(corner_radius / frame.resolution) + 4
    matrix = frame.matrix + np.array([0.0, 0.0, margin])
    wide = Frame(matrix, (frame.shape[0] + 2 * margin, frame.shape[1] + 2 * margin), frame.resolution)
    return np.ascontiguousarray(_closed(roads, wide, corner_radius)[margin:-margin, margin:-margin])


def surface_mask(world: World, frame: Frame) -> np.ndarray:
    """(H, W) uint8 0/1: the road surface, see `road_mask`, without the islands on it."""
    road = road_mask(world.roads, frame, world.extra.get('corner_radius', CORNER_RADIUS_M))
    cut_islands(road, frame, world.islands)
    return road


def cut_islands(road: np.ndarray, frame: Frame, islands: Sequence[Island]) -> None:
    """Set the cells of islands in a mask of the road surface to 0."""
    for island in islands:
        if frame.sees(island.line, island.width):
            fill_buffer(road, frame, island.line, island.width / 2, 0)


def _closed(roads: tuple[Road, ...], frame: Frame, corner_radius: float) -> np.ndarray:
    """`road_mask`, but wrong within two corner radii of the edge of the array."""
    mask = np.zeros(frame.shape, np.uint8)
    for road in roads:
        if len(road.centre) > 1 and frame.sees(road.centre, road.width):
            fill_buffer(mask, frame, road.centre, road.width / 2, 1)
    if corner_radius <= 0:
        return mask
    radius = corner_radius / frame.resolution
    closed = mask.copy()
    for point, half in junctions(roads):
        reach = int(math.ceil((half + 1.5 * corner_radius) / frame.resolution))
        c, r = np.rint(frame.pixels(point)).astype(int)
        pad = int(math.ceil(radius)) + 2  # closing needs its surroundings, and must not reach the window's edge
        window = _window(mask, r, c, reach + pad)
        if window is None:
            continue
        rows, columns = window
        grown = cv2.distanceTransform(1 - mask[rows, columns], cv2.DIST_L2, 5) <= radius
        kept = cv2.distanceTransform(grown.astype(np.uint8), cv2.DIST_L2, 5) > radius + 0.5
        inner = _window(mask, r, c, reach)
        if inner is None:
            continue
        top, left = inner[0].start - rows.start, inner[1].start - columns.start
        kept = kept[top:top + inner[0].stop - inner[0].start, left:left + inner[1].stop - inner[1].start]
        closed[inner] |= kept.astype(np.uint8)
    return closed


def _window(array: np.ndarray, row: int, column: int, reach: int) -> tuple[slice, slice] | None:
    r0, r1 = max(row - reach, 0), min(row + reach + 1, array.shape[0])
    c0, c1 = max(column - reach, 0), min(column + reach + 1, array.shape[1])
    return (slice(r0, r1), slice(c0, c1)) if r0 < r1 and c0 < c1 else None
