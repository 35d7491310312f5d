# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ground around a vehicle while a world is being furnished: how far from the road a place is, and what is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.simulation.world.drawing import (
    Frame,
    box_corners,
    cut_islands,
    fill_discs,
    fill_polygon,
    road_mask,
)
from attention_fusion_ros.simulation.world.polyline import arc_length, point_at, substring
from attention_fusion_ros.simulation.world.world import Island, Road, Wall

CELL_M = 0.3
ISLAND_M2 = 1800.0  # land smaller than this amid roads is no place for houses


def _probe(count: int) -> np.ndarray:
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, count), np.linspace(-0.5, 0.5, 4))
    return np.stack([u.ravel(), v.ravel()], axis=1)


PROBES = tuple(_probe(count) for count in (4, 9, 20))  # places of a unit box that are looked at


class Site:
    """Distance to the road and occupancy in a square of +-`extent` metres around `centre`."""

    def __init__(self, roads: tuple[Road, ...], centre: ArrayLike, extent: float, corner_radius: float,
                 islands: Sequence[Island] = ()):
        self.centre, self.extent = np.asarray(centre, dtype=np.float64), extent
        self.frame = Frame.aligned(float(self.centre[0]), float(self.centre[1]), extent, CELL_M)
        self.road = road_mask(roads, self.frame, corner_radius)
        cut_islands(self.road, self.frame, islands)
        self.outside = cv2.distanceTransform(1 - self.road, cv2.DIST_L2, 5) * CELL_M  # m outside the road
        self.taken = np.zeros(self.frame.shape, np.uint8)
        _, self.block = cv2.connectedComponents(1 - self.road, connectivity=4, ltype=cv2.CV_16U)
        self.island = self._islands()
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):  # places beyond are looked up on the border
            self.outside[edge], self.taken[edge] = -1.0, 1
        self._first = np.array(self.frame.offset) - 0.5  # so that truncation rounds
        self._last = np.array(self.frame.shape[::-1]) - 1
        self._rows: dict[float, list[np.ndarray]] = {}

    def _islands(self) -> np.ndarray:
        """(blocks,) bool: small pieces of land with roads all around, as in roundabouts."""
        area = np.bincount(self.block.ravel()) * CELL_M * CELL_M
        small = area < ISLAND_M2
        small[np.unique(np.concatenate([self.block[0], self.block[-1], self.block[:, 0], self.block[:, -1]]))] = False
        return small

    def cells(self, xy: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2) -> row and column, held at the border."""
        p = (np.asarray(xy) / CELL_M - self._first - 0.5).astype(np.intp)
        p = np.minimum(np.maximum(p, 0), self._last)
        return p[..., 1], p[..., 0]

    def distance(self, xy: ArrayLike) -> np.ndarray:
        """(..., 2) -> metres outside the road edge, 0 on the road, -1 beyond the site."""
        return np.asarray(self.outside[self.cells(xy)])

    def free(self, xy: ArrayLike) -> np.ndarray:
        """(..., 2) -> whether nothing stands there yet."""
        return np.asarray(self.taken[self.cells(xy)] == 0)

    def block_at(self, xy: ArrayLike) -> np.ndarray:
        """(..., 2) -> number of the block (0 = road), one for each piece of land between roads."""
        return np.asarray(self.block[self.cells(xy)])

    def open_land(self, xy: ArrayLike, margin: ArrayLike) -> np.ndarray:
        """(..., 2) -> whether the place is more than `margin` metres off the road, and nothing stands there yet."""
        cells = self.cells(xy)
        return np.asarray((self.outside[cells] > margin) & (self.taken[cells] == 0))

    def take_box(self, x: float, y: float, yaw: float, length: float, width: float) -> None:
        """Mark a rectangle as taken."""
        fill_polygon(self.taken, self.frame, box_corners(x, y, yaw, length, width), 1)

    def take_discs(self, xy: np.ndarray, radii: np.ndarray) -> None:
        """Mark discs at (N, 2) of radii (N,) as taken."""
        fill_discs(self.taken, self.frame, xy, radii, [1] * len(xy))

    def box_free(self, x: float, y: float, yaw: float, length: float, width: float) -> bool:
        """Whether a rectangle touches nothing that stands there."""
        c, s = math.cos(yaw), math.sin(yaw)
        probe = PROBES[0] if length < 1.5 * width + 1.0 else PROBES[1] if length < 9 else PROBES[2]
        local = probe * (length, width)
        return bool((self.taken[self.cells(local @ np.array([[c, s], [-s, c]]) + (x, y))] == 0).all())

    def rows(self, distance: float) -> list[np.ndarray]:
        """Polylines at `distance` metres from the road edge: what stands in a row along the road stands on them."""
        key = round(distance, 2)
        if key not in self._rows:
            self._rows[key] = self._contours(key)
        return self._rows[key]

    def _contours(self, distance: float) -> list[np.ndarray]:
        found, _ = cv2.findContours((self.outside > distance).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        limit = np.array(self.frame.shape[::-1]) - 3
        lines = []
        for contour in found:
            p = contour[:, 0, :]
            kept = ((p > 2) & (p < limit)).all(axis=1)
            if not kept.any():
                continue
            if kept.all():
                runs = [np.vstack([p, p[:1]])]
            else:
                p = np.roll(p, -int(np.argmin(kept)), axis=0)  # start outside
                kept = np.roll(kept, -int(np.argmin(kept)))
                edges = np.flatnonzero(np.diff(kept.astype(np.int8), prepend=0, append=0))
                runs = [p[a:b] for a, b in zip(edges[::2], edges[1::2])]
            for run in runs:
                if len(run) > 8:
                    smooth = cv2.approxPolyDP(run.astype(np.int32).reshape(-1, 1, 2), 0.9, False)[:, 0, :]
                    lines.append((smooth - self.frame.matrix[:, 2]) * CELL_M)
        return lines

    def away(self, points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """(P, 2) unit normals of (P, 2) unit tangents that point away from the road."""
        normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
        uphill = self.distance(points + 0.9 * normals) >= self.distance(points - 0.9 * normals)
        return np.where(uphill[:, None], normals, -normals)

    def uphill(self, point: np.ndarray, reach: float = 2.0) -> float:
        """Direction in rad in which one gets away from the road fastest."""
        east, west, north, south = self.distance(point + reach * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]))
        return math.atan2(north - south, east - west)

    def standing(self, walls: list[Wall], margin: float = 0.35, step: float = 0.5) -> list[Wall]:
        """The walls with every part left out that would stand on the road or on something else."""
        if not walls:
            return []
        # All walls laid end to end, a metre apart, so that one look-up does for all of them.
        lengths = [arc_length(w.line) for w in walls]
        ends = np.array([s[-1] for s in lengths])
        begins = np.concatenate([[0.0], np.cumsum(ends + 1.0)[:-1]])
        s = np.concatenate([a + b for a, b in zip(lengths, begins)])
        vertices = np.concatenate([w.line for w in walls])
        counts = np.maximum((ends / step).astype(int), 1) + 1
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        share = (np.arange(counts.sum()) - np.repeat(first, counts)) / np.repeat(counts - 1, counts)
        points = point_at(vertices, np.repeat(begins, counts) + share * np.repeat(ends, counts), s)
        thick = np.array([w.thickness for w in walls]) / 2
        good = self.open_land(points, margin + np.repeat(thick, counts))
        whole = np.logical_and.reduceat(good, first)
        kept = []
        for i, wall in enumerate(walls):
            if whole[i]:
                kept.append(wall)
                continue
            part = good[first[i]:first[i] + counts[i]]
            edges = np.flatnonzero(np.diff(part.astype(np.int8), prepend=0, append=0))
            at = share[first[i]:first[i] + counts[i]] * ends[i]
            kept += [replace(wall, line=substring(wall.line, at[a], at[b - 1], lengths[i]))
                     for a, b in zip(edges[::2], edges[1::2]) if b - a > 2]
        return kept
