"""The ground around a vehicle while a world is being furnished: how far from the road a place is, and what is taken."""

from __future__ import annotations

import math

import cv2
import numpy as np

from attention_fusion_ros.simulation.drawing import Frame, box_corners, fill_discs, fill_polygon, road_mask
from attention_fusion_ros.simulation.polyline import arc_length, cut, point_at
from attention_fusion_ros.simulation.world import Road, Wall

CELL = 0.3  # m


class Site:
    """Distance to the road and occupancy in a square of +-`extent` metres around `centre`."""

    def __init__(self, roads: tuple[Road, ...], centre, extent: float, corner_radius: float):
        self.centre, self.extent = np.asarray(centre, dtype=np.float64), extent
        self.frame = Frame.aligned(float(centre[0]), float(centre[1]), extent, CELL)
        self.road = road_mask(roads, self.frame, corner_radius)
        self.outside = cv2.distanceTransform(1 - self.road, cv2.DIST_L2, 5) * CELL  # m outside the road
        self.taken = np.zeros(self.frame.shape, np.uint8)
        _, self.block = cv2.connectedComponents(1 - self.road, connectivity=4, ltype=cv2.CV_16U)
        self._rows: dict[float, list[np.ndarray]] = {}

    def cells(self, xy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(..., 2) -> row, column (clipped) and whether the place is inside."""
        p = np.rint(self.frame.pixels(xy)).astype(int)
        limit = np.array(self.frame.shape[::-1]) - 1
        inside = ((p >= 0) & (p <= limit)).all(axis=-1)
        p = np.clip(p, 0, limit)
        return p[..., 1], p[..., 0], inside

    def distance(self, xy) -> np.ndarray:
        """(..., 2) -> metres outside the road edge, 0 on the road, -1 beyond the site."""
        row, column, inside = self.cells(xy)
        return np.where(inside, self.outside[row, column], -1.0)

    def free(self, xy) -> np.ndarray:
        """(..., 2) -> whether nothing stands there yet."""
        row, column, inside = self.cells(xy)
        return inside & (self.taken[row, column] == 0)

    def block_at(self, xy) -> np.ndarray:
        """(..., 2) -> number of the block (0 = road), one for each piece of land between roads."""
        row, column, _ = self.cells(xy)
        return self.block[row, column]

    def take_box(self, x: float, y: float, yaw: float, length: float, width: float) -> None:
        """Mark a rectangle as taken."""
        fill_polygon(self.taken, self.frame, box_corners(x, y, yaw, length, width), 1)

    def take_discs(self, xy: np.ndarray, radii: np.ndarray) -> None:
        """Mark discs at (N, 2) of radii (N,) as taken."""
        fill_discs(self.taken, self.frame, xy, radii, [1] * len(xy))

    def box_free(self, x: float, y: float, yaw: float, length: float, width: float) -> bool:
        """Whether a rectangle touches nothing that stands there."""
        u, v = np.meshgrid(np.linspace(-0.5, 0.5, max(3, int(length / 0.7))), np.linspace(-0.5, 0.5, 4))
        c, s = math.cos(yaw), math.sin(yaw)
        a, b = u.ravel() * length, v.ravel() * width
        return bool(self.free(np.stack([x + c * a - s * b, y + s * a + c * b], axis=1)).all())

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
                    lines.append((smooth - self.frame.matrix[:, 2]) * CELL)
        return lines

    def away(self, points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """(P, 2) unit normals of (P, 2) unit tangents that point away from the road."""
        normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
        uphill = self.distance(points + 0.9 * normals) >= self.distance(points - 0.9 * normals)
        return np.where(uphill[:, None], normals, -normals)

    def clear_runs(self, line: np.ndarray, margin: float, step: float = 0.5) -> list[np.ndarray]:
        """The parts of a (P, 2) polyline that stay `margin` metres off the road and off what is taken."""
        s = arc_length(line)
        if s[-1] < step:
            return []
        at = np.linspace(0, s[-1], max(int(s[-1] / step), 1) + 1)
        points = point_at(line, at, s)
        good = (self.distance(points) > margin) & self.free(points)
        if good.all():
            return [line]
        if not good.any():
            return []
        edges = np.flatnonzero(np.diff(good.astype(np.int8), prepend=0, append=0))
        return [cut(line, at[a], at[b - 1], s) for a, b in zip(edges[::2], edges[1::2]) if b - a > 2]

    def standing(self, walls: list[Wall], margin: float = 0.35) -> list[Wall]:
        """The walls with every part left out that would stand on the road or on something else."""
        return [Wall(run, w.height, w.thickness, w.kind, w.porosity)
                for w in walls for run in self.clear_runs(w.line, margin + w.thickness / 2)]

