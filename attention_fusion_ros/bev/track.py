# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way the vehicle came, known from odometry, as a BEV layer: where it drove is road.

The node and the training data use the same functions, so that the network is trained on what it is given later.
"""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.geometry import inverse, planar, yaw_of
from attention_fusion_ros.utils.tensors import zeros
from attention_fusion_ros.utils.torch_later import Tensor, torch

CHANNEL = 'track'
LENGTH_M = 60.0  # of the way behind that is remembered
SPACING_M = 1.0  # between two remembered poses; what is nearer says nothing new
MAX_STEP_M = 12.0  # between two; farther, or backwards in time, and odometry has started anew
SIGMA_M = 0.8  # the layer falls off sideways as exp(-d^2 / (2 sigma^2)): about half a lane
STEPS_A_CELL = 2  # samples of the way in each cell it crosses


class TrackBuffer:
    """Poses of the last `LENGTH_M` metres driven."""

    def __init__(self, length: float = LENGTH_M):
        self._length = length
        self._poses: deque[tuple[int, np.ndarray]] = deque()  # (stamp, (4, 4) T_odom_base), oldest first

    def clear(self) -> None:
        """Forget the way."""
        self._poses.clear()

    def add(self, stamp_ns: int, T_odom_base: np.ndarray) -> None:
        """Remember where the vehicle was. T_odom_base: (4, 4).

        Poses nearer than `SPACING_M` to the last one are left out. Time that runs backwards, and a jump of more than
        `MAX_STEP_M`, begin a new way: what was driven before is somewhere else in this odometry.
        """
        if self._poses:
            last_ns, last = self._poses[-1]
            step = float(np.linalg.norm((T_odom_base - last)[:3, 3]))
            if stamp_ns < last_ns or step > MAX_STEP_M:
                self.clear()
            elif step < SPACING_M:
                return
        self._poses.append((stamp_ns, T_odom_base))
        self._shorten()

    def _shorten(self) -> None:
        places = np.array([T[:3, 3] for _, T in self._poses])
        driven = np.cumsum(np.linalg.norm(np.diff(places[::-1], axis=0), axis=1))  # back from the newest
        for _ in range(int((driven > self._length).sum())):
            self._poses.popleft()

    def poses(self, T_odom_base: np.ndarray) -> np.ndarray:
        """(N, 3) x, y [m], yaw [rad] of the way in base_link at T_odom_base (4, 4), newest first; N may be 0.

        The planar part of the motion in space: odometry's own frame may lean as it likes.
        """
        T_now_odom = inverse(T_odom_base)
        moved = [planar(T_now_odom @ T) for _, T in reversed(self._poses)]
        return np.array([(T[0, 2], T[1, 2], yaw_of(T)) for T in moved]).reshape(-1, 3)


def track_bev(poses: np.ndarray, grid: Grid, device: torch.device | str | None = 'cpu') -> Any:
    """Poses (N, 2 or more), x and y in base_link now in m, newest first -> (1, H, W) float32 in 0..1.

    1 on the way, falling off to its sides; the way begins under the vehicle itself. 0 everywhere for N = 0, and for a
    way shorter than a cell: a vehicle that stands has driven nowhere. device: None for an array.
    """
    if len(poses) == 0:
        return zeros((1, grid.cells, grid.cells), device)
    line = np.concatenate([np.zeros((1, 2)), np.asarray(poses, np.float64)[:, :2]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    if along[-1] < grid.resolution:
        return zeros((1, grid.cells, grid.cells), device)
    step = grid.resolution / STEPS_A_CELL
    at = np.arange(0.0, along[-1] + 1e-9, step)
    samples = np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], axis=1)
    density = _splat(samples, grid)
    return _blurred(density if device is None else torch.as_tensor(density, device=device), grid, step)


def _splat(xy: np.ndarray, grid: Grid) -> np.ndarray:
    """(H, W) float32: how many of the (N, 2) points lie in each cell, shared bilinearly."""
    row, column = grid.metres_to_cells(xy[:, 0], xy[:, 1])
    r0, c0 = np.floor(row).astype(int), np.floor(column).astype(int)
    cells = np.zeros((grid.cells + 2, grid.cells + 2), np.float32)  # a rim for what lies outside
    for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1 - np.abs(row - r0 - dr)) * (1 - np.abs(column - c0 - dc))
        where = [np.clip(v, -1, grid.cells) + 1 for v in (r0 + dr, c0 + dc)]
        np.add.at(cells, tuple(where), weight.astype(np.float32))
    return cells[1:-1, 1:-1].copy()


def _blurred(density: Any, grid: Grid, step: float) -> Any:
    """Points (H, W) every `step` metres of a line -> its profile (1, H, W): the sum of Gaussians along a straight line
    is a Gaussian across it.
    """
    scale = step / (SIGMA_M * math.sqrt(2 * math.pi))
    if isinstance(density, np.ndarray):
        across = _gauss_array(grid)
        return np.minimum((across @ density @ across)[None] * np.float32(scale), np.float32(1.0))
    gauss = _gauss(grid, str(density.device))
    return (gauss @ density @ gauss)[None].mul(scale).clamp(max=1.0)


@lru_cache(maxsize=16)
def _gauss_array(grid: Grid) -> np.ndarray:
    """As `_gauss`."""
    at = np.arange(grid.cells, dtype=np.float32) * np.float32(grid.resolution / SIGMA_M)
    gauss: np.ndarray = np.exp(np.float32(-0.5) * (at[:, None] - at[None]) ** 2)
    return gauss


@lru_cache(maxsize=16)
def _gauss(grid: Grid, device: str) -> Tensor:
    """(H, H) float32, symmetric: how much of a row or column each other one gets."""
    with torch.inference_mode(False):  # what is cached must be usable in training, too
        at = torch.arange(grid.cells, dtype=torch.float32, device=device) * (grid.resolution / SIGMA_M)
        return torch.exp(-0.5 * (at[:, None] - at[None]) ** 2)
