# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was looked at, what the map draws and what the sweep is like, of arrays, without torch."""

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
from attention_fusion_ros.bev.lidar import CHANNELS, compressed_height
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.bev.sweep import Look, sensor_reach
from attention_fusion_ros.kernels import fast_version
from attention_fusion_ros.pipeline.familiarity import STANDING_M, STEP_M, summary

f4 = np.float32


@fast_version(coverage.name, 'numpy', devices=('cpu',), differentiable=False, arrays_only=True)
def _coverage(views: Sequence[View], bins: int, ring: float, extent: float = 40.0) -> np.ndarray:
    x, y, distance = _lines(bins, extent)
    seen = np.zeros(x.shape, bool)
    for one in views:
        dx, dy = x - f4(one.x), y - f4(one.y)
        reach = one.reach[_sector(dx, dy, one.yaw)]
        seen |= (reach > 0) & (np.hypot(dx, dy) <= reach + f4(TOLERANCE_M))
    cells = seen.reshape(len(distance), bins, SUB_BEARINGS).mean(-1, dtype=f4)
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
    bearing = _bearings(bins)
    distance = (np.linspace(0.9, 1.1, 5) * ring).astype(f4)
    row, column = grid.metres_to_cells(distance[:, None] * np.cos(bearing), distance[:, None] * np.sin(bearing))
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, right = row - top, column - left
    road = np.pad(map_grid[0], 1)  # beside the grid there is none
    top, left = (np.clip(values + 1, 0, len(road) - 2) for values in (top, left))
    value = ((road[top, left] * (1 - right) + road[top, left + 1] * right) * (1 - below)
             + (road[top + 1, left] * (1 - right) + road[top + 1, left + 1] * right) * below)
    inside = (np.abs(row - (grid.cells - 1) / 2) < (grid.cells + 1) / 2) & \
        (np.abs(column - (grid.cells - 1) / 2) < (grid.cells + 1) / 2)
    value = np.where(inside, value, 0.0)
    drawn: np.ndarray = (value.max(0).reshape(bins, SUB_BEARINGS).max(1) > DRAWN).astype(f4)
    return drawn


@fast_version(summary.name, 'numpy', devices=('cpu',), differentiable=False, arrays_only=True)
def _summary(lidar: np.ndarray, extent: float = 40.0) -> np.ndarray:
    occupied = lidar[CHANNELS.index('density')] > 0
    size = int(math.sqrt(2.0) * extent / STEP_M) + 1
    counts = np.bincount(_rings(Grid(extent, lidar.shape[-1]))[occupied], minlength=size)
    level = np.count_nonzero(occupied & (lidar[CHANNELS.index('top')] < f4(compressed_height(STANDING_M))))
    return np.append(counts, level).astype(f4)


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


@lru_cache(maxsize=8)
def _rings(grid: Grid) -> np.ndarray:
    """(H, W) index of each cell in the histogram of distances."""
    x, y = (np.ascontiguousarray(centres, dtype=f4) for centres in grid.centres())
    rings: np.ndarray = (np.hypot(x, y) / f4(STEP_M)).astype(np.int64)
    return rings
