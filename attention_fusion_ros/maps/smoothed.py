# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the vehicle was, from what came before and what came after: for recordings, which have both.

What a map source was told is told to a second one from the end to the beginning, with stamps that run the other way:
for odometry, a drive is as good backwards. Both estimates of a time share errors of fixes, so they are put together by
covariance intersection, which is right however they depend on each other (Julier and Uhlmann, A non-divergent
estimation algorithm in the presence of unknown correlations, American Control Conference 1997).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.source import MapSource

SHARES = np.linspace(0.0, 1.0, 11)  # of the first estimate, that are tried


class LoggedSource(MapSource):
    """A map source that remembers what it was told."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._log: list[Callable[[MapSource, Callable[[int], int]], Any]] = []
        self._stamps: list[int] = []

    def add_fix(self, fix: Fix, antenna: tuple[float, float] = (0.0, 0.0)) -> None:
        """See `MapSource`."""
        super().add_fix(fix, antenna)
        self._note(fix.stamp_ns, lambda to, at: to.add_fix(replace(fix, stamp_ns=at(fix.stamp_ns)), antenna))

    def add_odometry(self, stamp_ns: int, x: float, y: float, yaw: float) -> None:
        """See `MapSource`."""
        super().add_odometry(stamp_ns, x, y, yaw)
        self._note(stamp_ns, lambda to, at: to.add_odometry(at(stamp_ns), x, y, yaw))

    def add_absolute(self, stamp_ns: int, T: np.ndarray, std: float, yaw_std: float,
                     odometry: tuple[float, float, float] | None = None) -> None:
        """See `MapSource`."""
        super().add_absolute(stamp_ns, T, std, yaw_std, odometry)
        self._note(stamp_ns, lambda to, at: to.add_absolute(at(stamp_ns), T, std, yaw_std, odometry))

    def add_yaw(self, stamp_ns: int, yaw: float, std: float) -> None:
        """See `MapSource`."""
        super().add_yaw(stamp_ns, yaw, std)
        self._note(stamp_ns, lambda to, at: to.add_yaw(at(stamp_ns), yaw, std))

    def mark(self) -> int:
        """The present moment, for `from_behind`."""
        return len(self._log)

    def from_behind(self, marks: list[tuple[int, int]]) -> list[Estimate | None]:
        """For moments and stamps [ns], in order, the estimate from what came after; None where it tells nothing."""
        frame = self.frame
        if frame is None:
            return [None] * len(marks)
        datum = f'{frame.latitude!r}, {frame.longitude!r}, {frame.height!r}'
        other = MapSource(self.graph, replace(self.config, datum=datum, goal=''))
        last = max(self._stamps) + min(self._stamps)

        def at(stamp_ns: int) -> int:
            return last - stamp_ns

        found: list[Estimate | None] = [None] * len(marks)
        number = len(self._log)
        for k in range(len(marks) - 1, -1, -1):
            mark, stamp_ns = marks[k]
            while number > mark:
                number -= 1
                try:
                    self._log[number](other, at)
                except InputError:  # as it was the first time
                    pass
            try:
                found[k] = replace(other.estimate(at(stamp_ns)), stamp_ns=stamp_ns)
            except InputError:
                pass
        return found

    def _note(self, stamp_ns: int, told: Callable[[MapSource, Callable[[int], int]], Any]) -> None:
        self._log.append(told)
        self._stamps.append(stamp_ns)


def both(a: Estimate | None, b: Estimate | None) -> Estimate | None:
    """One estimate of two of the same time."""
    if a is None or b is None:
        return a or b
    A, B = np.linalg.inv(a.covariance), np.linalg.inv(b.covariance)
    inverses = SHARES[:, None, None] * A + (1.0 - SHARES)[:, None, None] * B
    k = int(np.linalg.det(inverses).argmax())
    share, covariance = float(SHARES[k]), np.linalg.inv(inverses[k])
    step = np.array([b.pose.x - a.pose.x, b.pose.y - a.pose.y, wrap(b.pose.yaw - a.pose.yaw)])
    x, y, yaw = np.array(a.pose) + covariance @ ((1.0 - share) * B @ step)
    position_std = float(np.sqrt(np.linalg.eigvalsh(covariance[:2, :2])[-1]))
    return Estimate(a.stamp_ns, Pose2(float(x), float(y), wrap(float(yaw))), covariance, position_std,
                    float(np.sqrt(covariance[2, 2])), min(abs(a.fix_age_s), abs(b.fix_age_s)))
