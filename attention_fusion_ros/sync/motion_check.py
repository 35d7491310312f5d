# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry that moves as no vehicle does: a step or a flip between two poses that follow each other."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.contracts import Finding

ODOMETRY_JUMP = 'odometry_jump'
MAX_SPEED_M_S, MIN_STEP_M = 70.0, 1.0  # 252 km/h; shorter steps are noise between poses a few milliseconds apart
MAX_TURN_RAD_S, MIN_TURN_RAD = math.pi, math.radians(20.0)  # half a turn a second
MAX_GAP_S = 1.0  # between two poses that are compared
RECENT_S = 1.0  # for how long a jump counts


class MotionCheck:
    """Looks at poses as they come and remembers the last jump. Not thread-safe for `add`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: poses are of another frame from now on."""
        self._last: tuple[int, np.ndarray] | None = None
        self._jump: tuple[int, str] | None = None

    def add(self, stamp_ns: int, T_odom_base: np.ndarray) -> None:
        """A (4, 4) pose of the base frame; those that are not later than the last one are not compared with it."""
        last, self._last = self._last, (stamp_ns, T_odom_base)
        if last is None or not 0 < stamp_ns - last[0] <= MAX_GAP_S * 1e9:
            return
        seconds, before = (stamp_ns - last[0]) / 1e9, last[1]
        # Of the motion between the two without making it, for odometry comes hundreds of times a second.
        step = math.hypot(*(T_odom_base[:3, 3] - before[:3, 3]).tolist())
        trace = float(np.vdot(before[:3, :3], T_odom_base[:3, :3]))
        turn = math.acos(max(-1.0, min(1.0, (trace - 1.0) / 2.0)))
        too_far = step > max(MIN_STEP_M, MAX_SPEED_M_S * seconds)
        if too_far or turn > max(MIN_TURN_RAD, MAX_TURN_RAD_S * seconds):
            what = f'{step:.1f} m' if too_far else f'a turn of {math.degrees(turn):.0f} deg'
            self._jump = stamp_ns, f'{what} within {seconds:.3f} s'

    def finding(self, stamp_ns: int) -> Finding | None:
        """What to say of a sweep taken at this time; None unless there was a jump shortly before."""
        jump = self._jump
        if jump is None or not 0 <= stamp_ns - jump[0] <= RECENT_S * 1e9:
            return None
        return Finding(ODOMETRY_JUMP, 'odometry', f'odometry moved as no vehicle does: {jump[1]}. Map image and '
                       'earlier sweeps may lie in the wrong place. Remedy: look for two publishers on the topic, for a '
                       'reset of the localisation, and that odometry is used and not poses corrected by a map.')
