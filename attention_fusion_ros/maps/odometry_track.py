# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Poses of planar odometry over the last minute, interpolated; jumps and clocks that go back are noticed."""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from attention_fusion_ros.geometry import wrap

KEPT_S = 90.0
MAX_SPEED = 90.0  # m/s: faster is a jump of the odometry frame, not driving
JUMP_M = 3.0


class Pose2(NamedTuple):
    """x and y [m], yaw [rad]."""

    x: float
    y: float
    yaw: float

    def relative(self, other: Pose2) -> Pose2:
        """The other pose seen from this one."""
        dx, dy = other.x - self.x, other.y - self.y
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return Pose2(c * dx + s * dy, -s * dx + c * dy, wrap(other.yaw - self.yaw))

    def then(self, step: Pose2) -> Pose2:
        """This pose moved by a step in its own frame."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return Pose2(self.x + c * step.x - s * step.y, self.y + s * step.x + c * step.y, wrap(self.yaw + step.yaw))

    def inverse(self) -> Pose2:
        """The pose of the frame of this pose, seen from here."""
        return self.relative(Pose2(0.0, 0.0, 0.0))


class OdometryTrack:
    """Odometry in the order of its stamps."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._poses: list[Pose2] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def stamp_ns(self) -> int:
        """Of the latest pose."""
        return self._stamps[-1]

    @property
    def last(self) -> Pose2:
        """The latest pose."""
        return self._poses[-1]

    def add(self, stamp_ns: int, pose: Pose2) -> Pose2 | None:
        """Append a pose; the step since the last one, None for the first pose and after a jump of the frame.

        Stamps must rise. After a jump what came before is forgotten.
        """
        step = None
        if self._stamps:
            step = self.last.relative(pose)
            seconds = (stamp_ns - self.stamp_ns) * 1e-9
            if math.hypot(step.x, step.y) > MAX_SPEED * seconds + JUMP_M:
                step = None
                self.clear()
        self._stamps.append(stamp_ns)
        self._poses.append(pose)
        if self._stamps[0] < stamp_ns - 2 * KEPT_S * 1e9:
            first = bisect.bisect_left(self._stamps, stamp_ns - int(KEPT_S * 1e9))
            del self._stamps[:first], self._poses[:first]
        return step

    def at(self, stamp_ns: int) -> Pose2 | None:
        """The pose at a time between the oldest and the latest, None outside of that."""
        if not self._stamps or not self._stamps[0] <= stamp_ns <= self._stamps[-1]:
            return None
        k = bisect.bisect_left(self._stamps, stamp_ns)
        if self._stamps[k] == stamp_ns:
            return self._poses[k]
        a, b = self._poses[k - 1], self._poses[k]
        f = (stamp_ns - self._stamps[k - 1]) / (self._stamps[k] - self._stamps[k - 1])
        return Pose2(a.x + f * (b.x - a.x), a.y + f * (b.y - a.y), wrap(a.yaw + f * wrap(b.yaw - a.yaw)))

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._poses.clear()
