# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Stamped poses in order of time: what odometry and moving transforms have in common.

The pose at a time is interpolated between its neighbours. After the newest sample it is extrapolated at constant
velocity, by `max_age_s` at most: odometry is seldom stamped exactly like the sweep that needs it, and the next sample
comes later.
"""

from __future__ import annotations

import bisect

import numpy as np

from attention_fusion_ros.geometry import interpolate_se3
from attention_fusion_ros.sync.stamped_series import SECOND_NS, StampedSeries


class PoseBuffer(StampedSeries[np.ndarray]):
    """Poses by stamp. A stamp more than JUMP_BACK_NS before the newest empties the buffer first: time starts again.

    max_age_s: how far from the nearest sample a pose may be asked for. history_s: how long samples are kept.
    Not thread-safe.
    """

    def __init__(self, max_age_s: float, history_s: float):
        super().__init__()
        self.max_age_s, self.history_s = max_age_s, history_s

    def add(self, stamp_ns: int, T: np.ndarray) -> None:
        """Add a (4, 4) pose; one with the same stamp is replaced."""
        if self._insert(stamp_ns, T):
            self._drop_first(bisect.bisect_left(self._stamps, self._stamps[-1] - int(self.history_s * SECOND_NS)))

    def pose(self, stamp_ns: int, known_until_ns: int | None = None, max_age_s: float | None = None
             ) -> np.ndarray | None:
        """The (4, 4) pose at a time; None when no sample is within max_age_s (default: the buffer's) of it.

        known_until_ns: later samples do not count, so that the pose does not depend on how long the caller waited.
        """
        max_age_s = self.max_age_s if max_age_s is None else max_age_s
        end = self._end(known_until_ns)
        if end == 0:
            return None
        after = bisect.bisect_left(self._stamps, stamp_ns, 0, end)
        neighbours = [i for i in (after - 1, after) if 0 <= i < end]
        if min(abs(self._stamps[i] - stamp_ns) for i in neighbours) > max_age_s * SECOND_NS:
            return None
        if after == end:
            return self._ahead(stamp_ns, end - 1, max_age_s)
        if after == 0 or self._stamps[after] == stamp_ns:
            return self._values[after]
        return self._between(after - 1, after, stamp_ns)

    def extrapolation_s(self, stamp_ns: int, known_until_ns: int | None = None) -> float:
        """By how many seconds `pose` with the same arguments goes beyond the newest sample; 0 where it does not."""
        end = self._end(known_until_ns)
        return max(0, stamp_ns - self._stamps[end - 1]) / SECOND_NS if end else 0.0

    def _end(self, known_until_ns: int | None) -> int:
        return len(self._stamps) if known_until_ns is None else bisect.bisect_right(self._stamps, known_until_ns)

    def _ahead(self, stamp_ns: int, last: int, max_age_s: float) -> np.ndarray:
        """Constant velocity from `last` on, taken over at least the time to bridge: noise is at most doubled."""
        gap = stamp_ns - self._stamps[last]
        if gap == 0 or last == 0:
            return self._values[last]
        before = max(0, bisect.bisect_right(self._stamps, self._stamps[last] - gap, 0, last) - 1)
        if self._stamps[last] - self._stamps[before] > max_age_s * SECOND_NS:
            return self._values[last]
        return self._between(before, last, stamp_ns)

    def _between(self, first: int, second: int, stamp_ns: int) -> np.ndarray:
        start, end = self._stamps[first], self._stamps[second]
        return interpolate_se3(self._values[first], self._values[second], (stamp_ns - start) / (end - start))
