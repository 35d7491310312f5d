# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One link of the tree of frames that is published on /tf: it moves, or it merely is not on /tf_static.

While it moves (a pan unit, the vehicle in odom) it is taken at the time asked for, and extrapolated at constant
velocity for a moment. What stood still for as long as it is remembered is a mounting: it holds until `max_age_s`, for
many drivers publish theirs once a second, or once.
"""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.sync.pose_buffer import PoseBuffer
from attention_fusion_ros.sync.stamped_series import SECOND_NS

MAX_EXTRAPOLATION_S = 0.5  # how far beyond its newest sample a moving transform is asked for, where they come often
PERIODS_EXTRAPOLATED = 1.5  # and where they come rarely, in periods
HISTORY_S = 10.0  # as tf2 keeps them
STILL_M, STILL_RAD = 0.005, math.radians(0.2)  # less is noise of a transform that stands still


class MovingTransform:
    """Samples of T_parent_child by stamp. Not thread-safe."""

    def __init__(self) -> None:
        self._samples = PoseBuffer(MAX_EXTRAPOLATION_S, HISTORY_S)
        self._reference: np.ndarray | None = None  # where it last came to rest
        self._moved_ns: int | None = None  # when it was last seen elsewhere
        self._period_ns = 0  # between the two newest samples

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sample in ns, None without any."""
        return self._samples.newest_ns

    @property
    def moves(self) -> bool:
        """Whether it has moved within HISTORY_S before its newest sample."""
        newest_ns = self.newest_ns
        return (self._moved_ns is not None and newest_ns is not None
                and abs(newest_ns - self._moved_ns) <= HISTORY_S * SECOND_NS)

    def add(self, stamp_ns: int, T: np.ndarray) -> None:
        """Add a (4, 4) sample; one with the same stamp is replaced."""
        newest_ns = self.newest_ns
        self._samples.add(stamp_ns, T)
        if newest_ns is not None and stamp_ns > newest_ns:
            self._period_ns = stamp_ns - newest_ns
        if self._reference is None or _is_elsewhere(self._reference, T):
            if self._reference is not None:
                self._moved_ns = stamp_ns
            self._reference = T

    def drop_after(self, stamp_ns: int) -> None:
        """Drop samples later than this."""
        self._samples.drop_after(stamp_ns)

    def pose(self, stamp_ns: int, max_age_s: float, interpolate: bool = False) -> np.ndarray | None:
        """T_parent_child (4, 4) at a time; None when no sample says so.

        max_age_s: how far from its nearest sample a transform that stands still may be asked for. interpolate: samples
        later than `stamp_ns` count even where there are earlier ones.
        """
        reach_s = min(max_age_s, self._reach_s()) if self.moves else max_age_s
        T = self._samples.pose(stamp_ns, None if interpolate else stamp_ns, reach_s)
        if T is None and not interpolate and not self._known_before(stamp_ns):
            return self._samples.pose(stamp_ns, None, reach_s)  # the first one: it came a little late
        return T

    def age_s(self, stamp_ns: int) -> float | None:
        """Seconds from the newest sample that counts to a time; negative when all are later, None without any."""
        oldest_ns = self._samples.oldest_ns
        if oldest_ns is None or stamp_ns >= oldest_ns:
            return None if oldest_ns is None else self.extrapolation_s(stamp_ns)
        return (stamp_ns - oldest_ns) / SECOND_NS

    def extrapolation_s(self, stamp_ns: int) -> float:
        """By how many seconds `pose` goes beyond the newest sample that counts; 0 where it does not."""
        return self._samples.extrapolation_s(stamp_ns, stamp_ns)

    def _reach_s(self) -> float:
        return max(MAX_EXTRAPOLATION_S, PERIODS_EXTRAPOLATED * self._period_ns / SECOND_NS)

    def _known_before(self, stamp_ns: int) -> bool:
        oldest_ns = self._samples.oldest_ns
        return oldest_ns is not None and oldest_ns <= stamp_ns


def _is_elsewhere(T: np.ndarray, other: np.ndarray) -> bool:
    moved = inverse(T) @ other
    angle = math.acos(max(-1.0, min(1.0, (float(np.trace(moved[:3, :3])) - 1.0) / 2.0)))
    return bool(np.linalg.norm(moved[:3, 3]) > STILL_M) or angle > STILL_RAD
