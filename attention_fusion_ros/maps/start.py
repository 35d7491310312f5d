# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How the filter starts: from fixes along a way that odometry measured, or from one fix and an absolute yaw."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.maps.odometry_track import Pose2

START_YAW_STD = math.radians(12.0)
MIN_WAY_M = 3.0
OUTLIER = 4.0  # standard deviations


class Start(NamedTuple):
    """A first pose of base_link in the local frame."""

    pose: Pose2
    covariance: np.ndarray  # (3, 3)
    fix_std: float


class _Pair(NamedTuple):
    place: np.ndarray  # (2,) the fix, m in the local frame
    antenna: np.ndarray  # (2,) where the antenna was then, m in the frame of odometry
    std: float


class StartFinder:
    """Collects fixes until they tell which way the vehicle points."""

    def __init__(self, wander_share: float):
        self._pairs: list[_Pair] = []
        self._white = math.sqrt(1.0 - wander_share**2)

    def __len__(self) -> int:
        return len(self._pairs)

    def clear(self) -> None:
        """Start over."""
        self._pairs.clear()

    def add(self, place: np.ndarray, antenna: np.ndarray, std: float) -> None:
        """A fix (2,) m and where odometry says that the antenna was."""
        self._pairs = [*self._pairs[-300:], _Pair(place, antenna, std)]

    def from_way(self, now: Pose2) -> Start | None:
        """The pose for the pose of odometry `now`, None while the way is too short."""
        pairs = self._pairs
        for _ in range(3):  # fixes that jumped are left out, the worst first
            if len(pairs) < 2:
                return None
            fixes, ways = np.array([p.place for p in pairs]), np.array([p.antenna for p in pairs])
            sigma = np.array([p.std for p in pairs])
            weight = 1.0 / sigma**2
            fix0, way0 = np.average(fixes, 0, weight), np.average(ways, 0, weight)
            a, b = ways - way0, fixes - fix0
            spread = float((weight * (a**2).sum(axis=1)).sum())
            yaw = math.atan2(float((weight * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])).sum()),
                             float((weight * (a * b).sum(axis=1)).sum()))
            rest = np.hypot(*(b - a @ rotation_2d(yaw).T).T) / sigma
            if len(pairs) < 4 or rest.max() < OUTLIER:
                break
            pairs = [p for k, p in enumerate(pairs) if k != int(rest.argmax())]
        length = float(np.hypot(*np.ptp(ways, axis=0)))
        if length < MIN_WAY_M or spread <= 0:
            return None
        # Wander between the first and the last fix turns the way too: a tenth of it over the way is allowed for.
        std = math.hypot(self._white / math.sqrt(spread), 0.1 * float(sigma.mean()) / length)
        if std > START_YAW_STD:
            return None
        offset = fix0 - rotation_2d(yaw) @ way0
        x, y = offset + rotation_2d(yaw) @ (now.x, now.y)
        arm = np.hypot(now.x - way0[0], now.y - way0[1])
        mean = float(sigma.mean())
        variance = mean**2 * (1.0 - self._white**2 + self._white**2 / len(pairs)) + (arm * std)**2
        return Start(Pose2(float(x), float(y), yaw + now.yaw), np.diag([variance, variance, std**2]), mean)

    def from_yaw(self, yaw: float, yaw_std: float, now: Pose2) -> Start | None:
        """The pose for the latest fix and the absolute yaw of base_link at `now`."""
        if not self._pairs:
            return None
        last = self._pairs[-1]
        turn = rotation_2d(yaw - now.yaw)
        x, y = last.place + turn @ ((now.x, now.y) - last.antenna)
        variance = last.std**2 * 1.0001
        return Start(Pose2(float(x), float(y), yaw), np.diag([variance, variance, yaw_std**2]), last.std)
