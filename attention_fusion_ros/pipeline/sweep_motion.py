# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps that move otherwise than the vehicle: a sensor whose transform is turned, y to the right, odometry that lies.

Walls, trees and poles stand still, so from one sweep to the next they have to move against the vehicle as odometry
tells. Where they do not, bearings are wrong by as much as the sensor is turned, or the map image is moved to where it
does not belong. A mirror shows only where the vehicle turns, and an error of a few degrees not at all.
"""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.contracts import Finding, Motion, PointCloud
from attention_fusion_ros.geometry import planar_motion, yaw_of
from attention_fusion_ros.pipeline.motion_match import CELL_M, MIN_CELLS, Contradictions, Surroundings, scores, words

SWEEPS_MOVE_OTHERWISE = 'sweeps_move_otherwise'
MOVED_M, TURNED_RAD = 8.0, math.radians(20.0)  # between two sweeps that are compared; four in a corner
MAX_MOVED_M = 20.0  # farther apart, they see too little in common
STILL_NS = 2 * 10**9  # after so long they are compared, too, if odometry says that the vehicle has hardly moved
NEAR_M, REACH_M = 3.0, 40.0  # around the vehicle, of what is compared
# Above the ground, of what is compared: walls and trees, no cars, which may drive along with the vehicle.
LOW_M, HIGH_M, GROUND_PERCENTILE = 1.8, 6.0, 10.0
POINTS = 60_000  # of a sweep that are looked at
MIN_POINTS = 2  # in a cell that holds something
TOLERANCE_M, TOLERANCE_SHARE = 2.0, 0.15  # of motion that counts as what odometry tells
# As in `map_motion`. On real and simulated drives the motion that good odometry tells brought together half of two
# sweeps or more, and no other one as much as 0.1 more; with a sensor turned by 90 degrees another one 0.2 to 0.6 more.
FITS, WORSE = 0.4, 0.15


class SweepMotionCheck:
    """Compares sweeps some metres apart. Not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: time has jumped, or odometry has another source."""
        self._last: Surroundings | None = None
        self._last_ns = 0
        self._contradictions = Contradictions()

    def finding(self, cloud: PointCloud, motion: Motion) -> Finding | None:
        """What to say of a sweep; None as long as sweeps move as they should, or nothing tells."""
        T = motion.T_odom_base
        if T is None:
            return None
        if self._is_due(cloud.stamp_ns, T):
            now, last, seconds = seen(cloud, motion, T), self._last, (cloud.stamp_ns - self._last_ns) / 1e9
            self._last, self._last_ns = now, cloud.stamp_ns
            if last is not None and seconds > 0.0:
                self._compare(last, now)
        if not (said := self._contradictions.said):
            return None
        return Finding(
            SWEEPS_MOVE_OTHERWISE, 'pointcloud', f'sweeps do not move with the vehicle: {said}. Remedy: check '
            "the yaw of the sensor's transform to base_link (tf or T_base_sensor), that y of its points is left of x "
            'and not right, and that odometry is of this vehicle, with x ahead, y left and z up; where nothing that is '
            "seen moves, let the driver leave out beams without a return and the vehicle's own body.")

    def _is_due(self, stamp_ns: int, T_odom_base: np.ndarray) -> bool:
        if self._last is None or not 0 <= stamp_ns - self._last_ns < STILL_NS:
            return True
        motion = planar_motion(self._last.T_odom_base, T_odom_base)
        return math.hypot(*motion[:2, 2].tolist()) >= MOVED_M or abs(yaw_of(motion)) >= TURNED_RAD

    def _compare(self, before: Surroundings, after: Surroundings) -> None:
        moved = math.hypot(*planar_motion(before.T_odom_base, after.T_odom_base)[:2, 2].tolist())
        if moved > MAX_MOVED_M or min(before.filled.sum(), after.filled.sum()) < MIN_CELLS:
            return
        self._contradictions.add(contradiction(before, after))


def seen(cloud: PointCloud, motion: Motion, T_odom_base: np.ndarray) -> Surroundings:
    """What stands around the vehicle, in cells of CELL_M."""
    T = motion.T_base_sensor
    points = cloud.xyz[::max(1, len(cloud.xyz) // POINTS)] @ T[:3, :3].T + T[:3, 3]
    distance = np.hypot(points[:, 0], points[:, 1])
    points = points[(distance > NEAR_M) & (distance < REACH_M)]
    n = 2 * round(REACH_M / CELL_M) + 1
    centre = (np.arange(n) - n // 2) * CELL_M
    disc = np.hypot(centre[:, None], centre) <= REACH_M
    if len(points) == 0:
        return Surroundings(np.zeros((n, n), bool), disc, T_odom_base)
    above = points[:, 2] - np.percentile(points[:, 2], GROUND_PERCENTILE)
    x, y = points[(above > LOW_M) & (above < HIGH_M), :2].T
    cells = np.rint(n // 2 - x / CELL_M).astype(int) * n + np.rint(n // 2 - y / CELL_M).astype(int)
    stands = np.bincount(cells, minlength=n * n).reshape(n, n) >= MIN_POINTS
    return Surroundings(stands & disc, disc, T_odom_base)


def contradiction(before: Surroundings, after: Surroundings) -> str:
    """How what is seen moved, in words, where that is clear and not what odometry tells; '' otherwise."""
    motion = planar_motion(before.T_odom_base, after.T_odom_base)
    turn, shift = yaw_of(motion), motion[:2, 2]
    tolerance = TOLERANCE_M + TOLERANCE_SHARE * float(np.hypot(*shift))
    expected, best, best_turn, best_shift = 0.0, 0.0, 0.0, np.zeros(2)
    for k, angle in enumerate([turn] if abs(turn) < math.radians(5.0) else [turn, 0.0, -turn]):
        score, ahead, left = scores(before, after, angle)
        top = score.argmax()
        if k == 0:
            expected = float(score[np.hypot(ahead - shift[0], left - shift[1]) <= tolerance].max(initial=0.0))
            if expected >= max(FITS, score.flat[top] - WORSE):
                return ''  # as it should be: no need to look at other turns
        if score.flat[top] > best:
            best, best_turn = float(score.flat[top]), angle
            best_shift = np.array([ahead.flat[top], left.flat[top]])
    if best < FITS or expected > best - WORSE:
        return ''
    return (f'odometry tells {words(shift, turn)}, what is seen {words(best_shift, best_turn)} (ahead and left of the '
            'vehicle)')
