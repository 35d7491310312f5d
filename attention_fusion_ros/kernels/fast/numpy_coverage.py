# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was looked at, and what the map draws, of arrays, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from attention_fusion_ros.bev.coverage import (
    AZIMUTHS,
    DRAWN,
    LOW_M,
    RANGE_STEP_M,
    SUB_BEARINGS,
    TOLERANCE_M,
    TRAILING_SLOPE,
    View,
    close_array_gaps,
    coverage,
    drawn_bearings,
)
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.bev.sweep import Look, sensor_reach
from attention_fusion_ros.kernels import fast_version

f4 = np.float32


@fast_version(coverage.name, 'numpy', devices=('cpu',), differentiable=False, arrays_only=True)
def _coverage(views: Sequence[View], bins: int, ring: float, extent: float = 40.0) -> np.ndarray:
    x, y, distance = _lines(bins, extent)
    seen = np.zeros(x.shape, bool)
    for one in views:
        # Where a sensor is does not change from sweep to sweep; earlier sweeps, which were turned since, do.
        sector, away = (_seen_from if one.yaw == 0.0 else _seen_from.__wrapped__)(bins, extent, one.x, one.y, one.yaw)
        far = np.where(one.reach > 0, one.reach + f4(TOLERANCE_M), f4(-1.0))
        seen |= away <= far.take(sector)
    of_three = seen.reshape(len(distance), bins, SUB_BEARINGS).view(np.uint8)
    cells = _shares()[sum(of_three[..., k] for k in range(SUB_BEARINGS))]
    share = cells[:max(1, round(ring / RANGE_STEP_M))].mean(0)
    reached = (cells >= 0.5) * (distance[:, None] + f4(0.5 * RANGE_STEP_M))
    return np.stack([share, reached.max(0)])


@fast_version(sensor_reach.name, 'numpy', devices=('cpu',), differentiable=False, arrays_only=True)
def _sensor_reach(sweep: Placed, sensors: Sequence[Look], min_range: float, max_height: float) -> np.ndarray:
    xyz = np.asarray(sweep.xyz, f4)
    if sweep.T is not None:  # summed from left to right, see `bev.place`
        a = sweep.T[:3].astype(f4)
        x, y, z = xyz.T
        xyz = np.stack([x * r[0] + y * r[1] + z * r[2] + r[3] for r in a], axis=1)
    reach = np.zeros((len(sensors), AZIMUTHS), f4)
    for sensor, row in zip(sensors, reach):
        x, y, z = np.concatenate([xyz[first:last] for first, last in sensor.ranges]).T
        dx, dy = x - f4(sensor.x), y - f4(sensor.y)
        distance = np.hypot(dx, dy)
        slope = f4(TRAILING_SLOPE) * distance
        useful = (z < max_height + slope) & (z > LOW_M - slope) & (np.hypot(x, y) >= f4(min_range))
        np.maximum.at(row, _sector(dx, dy)[useful], distance[useful])
        row[:] = close_array_gaps(row)
    return reach


@fast_version(drawn_bearings.name, 'numpy', devices=('cpu',), differentiable=False, arrays_only=True)
def _drawn_bearings(map_grid: np.ndarray, grid: Grid, bins: int, ring: float) -> np.ndarray:
    cells, weights = _ring_cells(grid, bins, ring)
    value = (map_grid[0].reshape(-1).take(cells) * weights).sum(0)
    drawn: np.ndarray = (value.max(0).reshape(bins, SUB_BEARINGS).max(1) > DRAWN).astype(f4)
    return drawn


@lru_cache(maxsize=8)
def _ring_cells(grid: Grid, bins: int, ring: float) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices and weights, (4, D, K * SUB_BEARINGS), of the cells about places near the ring: bilinear."""
    bearing = _bearings(bins)
    distance = (np.linspace(0.9, 1.1, 5) * ring).astype(f4)
    row, column = grid.metres_to_cells(distance[:, None] * np.cos(bearing), distance[:, None] * np.sin(bearing))
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, right = row - top, column - left
    cells, weights = [], []
    for i, j, weight in ((top, left, (1 - below) * (1 - right)), (top, left + 1, (1 - below) * right),
                         (top + 1, left, below * (1 - right)), (top + 1, left + 1, below * right)):
        inside = (i >= 0) & (i < grid.cells) & (j >= 0) & (j < grid.cells)  # beside the grid there is no road
        cells.append(np.where(inside, i * grid.cells + j, 0))
        weights.append(np.where(inside, weight, 0.0).astype(f4))
    return np.stack(cells), np.stack(weights)


def _sector(dx: np.ndarray, dy: np.ndarray, yaw: float = 0.0) -> np.ndarray:
    """As `bev.coverage` has it."""
    turn = (np.arctan2(dy, dx, dtype=np.float64) - yaw) / (2 * math.pi)
    sector: np.ndarray = ((turn - np.floor(turn)) * AZIMUTHS).astype(np.int64).clip(0, AZIMUTHS - 1)
    return sector


@lru_cache(maxsize=8)
def _bearings(bins: int) -> np.ndarray:
    """(K * SUB_BEARINGS,) float32 rad."""
    lines = bins * SUB_BEARINGS
    bearings: np.ndarray = f4(-math.pi) + (np.arange(lines, dtype=f4) + f4(0.5)) * f4(2 * math.pi / lines)
    return bearings


@lru_cache(maxsize=8)
def _lines(bins: int, extent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells along the bearings, (R, K * SUB_BEARINGS) x and y [m], and (R,) their distances."""
    bearing = _bearings(bins)
    distance = (np.arange(round(extent / RANGE_STEP_M), dtype=f4) + f4(0.5)) * f4(RANGE_STEP_M)
    return distance[:, None] * np.cos(bearing), distance[:, None] * np.sin(bearing), distance


@lru_cache(maxsize=16)
def _seen_from(bins: int, extent: float, x: float, y: float, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Sector about a sensor, and distance from it in metres, of the cells along the bearings, (R, K * SUB_BEARINGS)."""
    of_x, of_y, _ = _lines(bins, extent)
    dx, dy = of_x - f4(x), of_y - f4(y)
    return _sector(dx, dy, yaw), np.hypot(dx, dy)


@lru_cache(maxsize=1)
def _shares() -> np.ndarray:
    """(SUB_BEARINGS + 1,) float32, what so many of SUB_BEARINGS lines are of all."""
    shares: np.ndarray = np.arange(SUB_BEARINGS + 1, dtype=f4) / f4(SUB_BEARINGS)
    return shares
