# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixes, headings, absolute poses and odometry -> pose of base_link in the local frame, with honest deviations."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import rotation_2d, wrap
from attention_fusion_ros.maps.odometry_track import OdometryTrack, Pose2
from attention_fusion_ros.maps.position_filter import FilterSettings, PositionFilter
from attention_fusion_ros.maps.start import Start, StartFinder

WAIT_NS = 300_000_000  # for the odometry after a fix
OLD_NS = 2_000_000_000  # fixes that come later than this are not used
BACK_NS = 1_000_000_000  # by which stamps may be out of order
LOST_NS = 60_000_000_000  # without odometry, after which its frame is not believed to be the same ...
LOST_M, LOST_RAD = 1.0, 0.1  # ... unless the vehicle stands where it stood
REFUSED_MIN = 8  # fixes in a row before they may be believed


@dataclass(frozen=True)
class Estimate:
    """Where base_link is."""

    stamp_ns: int
    pose: Pose2  # in the local frame: m, rad from east
    covariance: np.ndarray  # (3, 3) of x, y, yaw
    position_std: float  # m, longer axis
    heading_std: float  # rad
    fix_age_s: float  # since the last fix (or absolute pose) that was used; inf without one


class _Waiting(NamedTuple):
    stamp_ns: int
    place: np.ndarray
    std: float
    antenna: tuple[float, float]


class Localizer:
    """One filter and what it needs around it: start, delays, jumps, restarts."""

    def __init__(self, settings: FilterSettings | None = None):
        self.settings = settings or FilterSettings()
        self.track = OdometryTrack()
        self.filter: PositionFilter | None = None
        self.counts: dict[str, int] = {}  # reason -> how often something was not used
        self._start = StartFinder(self.settings.wander_share)
        self._yaw: tuple[int, float, float] | None = None
        self._waiting: list[_Waiting] = []
        self._refused: list[tuple[int, np.ndarray]] = []
        self._refused_yaws = 0
        self._turned_ns: int | None = None  # of the last heading without odometry
        self._stamp_ns = 0  # that the filter is at
        self._fix_ns: int | None = None

    def copy(self) -> Localizer:
        """Another with the same knowledge."""
        return copy.deepcopy(self)

    def reset(self) -> None:
        """Forget everything but the counts."""
        counts = self.counts
        self.__init__(self.settings)  # type: ignore[misc]
        self.counts = counts

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def odometry(self, stamp_ns: int, x: float, y: float, yaw: float) -> None:
        """A pose of base_link in the frame of odometry. What cannot be used is dropped and counted."""
        if not all(map(math.isfinite, (x, y, yaw))):
            return self._count('bad_odometry')
        if len(self.track) and stamp_ns <= self.track.stamp_ns:
            if self.track.stamp_ns - stamp_ns > BACK_NS:
                self.reset()
                self._count('clock_went_back')
            else:
                return None
        if len(self.track) and stamp_ns - self.track.stamp_ns > LOST_NS:
            moved = self.track.last.relative(Pose2(x, y, yaw))
            if math.hypot(moved.x, moved.y) > LOST_M or abs(moved.yaw) > LOST_RAD:
                self.reset()
                self._count('odometry_lost')
        before = self.track.stamp_ns if len(self.track) else self._stamp_ns
        known = len(self.track) > 0
        step = self.track.add(stamp_ns, Pose2(x, y, wrap(yaw)))
        if self.filter is not None:
            seconds = (stamp_ns - before) * 1e-9
            if step is not None:
                self.filter.move(step, seconds)
            else:
                self.filter.wait(seconds if known or self._stamp_ns else 0.0)
        elif step is None:  # the first pose, or a jump: what fixes were paired with before lies in another frame
            self._start.clear()
        self._stamp_ns = stamp_ns
        for fix in [w for w in self._waiting if w.stamp_ns <= stamp_ns]:
            self._waiting.remove(fix)
            self._use(fix)
        return None

    def fix(self, stamp_ns: int, place: np.ndarray, std: float, antenna: tuple[float, float] = (0.0, 0.0)) -> None:
        """A fix: (2,) m in the local frame; std: m of each axis; antenna: in base_link, m."""
        fix = _Waiting(stamp_ns, np.asarray(place, np.float64), float(std), antenna)
        if self._stamp_ns - stamp_ns > BACK_NS + OLD_NS:
            self.reset()
            self._count('clock_went_back')
        if len(self.track) and stamp_ns > self.track.stamp_ns:
            for old in [w for w in self._waiting if stamp_ns - w.stamp_ns > WAIT_NS]:
                self._waiting.remove(old)
                self._use(old)  # no odometry came after it
            self._waiting.append(fix)
        else:
            self._use(fix)

    def yaw(self, stamp_ns: int, yaw: float, std: float) -> None:
        """An absolute yaw of base_link in the local frame [rad]. Raises InputError bad_yaw."""
        if not (math.isfinite(yaw) and math.isfinite(std) and std > 0):
            raise InputError('bad_yaw', f'a heading of {yaw} rad with deviation {std} rad is none.',
                             'fill in the covariance of the orientation.')
        std = max(std, 1e-3)
        self._yaw = stamp_ns, yaw, std
        if self.filter is None:
            self._try_start()
        elif (lever := self.lever(stamp_ns, (0.0, 0.0))) is not None:
            if not len(self.track):
                self.filter.turn(self._turning(stamp_ns, self._stamp_ns))
                self._turned_ns = stamp_ns
            if self.filter.yaw(yaw, std, lever.yaw):
                self._refused_yaws = 0
            else:
                self._count('yaw_jumped')
                self._refused_yaws += 1
                if self._refused_yaws > 50:  # the filter itself is wrong
                    self.filter.P[2, 2] += (math.pi / 4)**2
                    self._refused_yaws = 0

    def absolute(self, stamp_ns: int, pose: Pose2, covariance: np.ndarray) -> bool:
        """A pose of base_link in the local frame, as from UTM odometry or tf; whether it was used."""
        if self.filter is None:
            self._stamp_ns = max(self._stamp_ns, stamp_ns)
            self.filter = PositionFilter(pose, covariance, 0.0, self.settings)
            self._fix_ns = stamp_ns
            return True
        self._wait_until(stamp_ns)
        lever = self.lever(stamp_ns, (0.0, 0.0))
        used = lever is not None and self.filter.whole_pose(pose, covariance, lever)
        if used:
            self._fix_ns = stamp_ns
            self._refused.clear()
        elif lever is not None:
            self._count('fix_jumped')
            self._refuse(stamp_ns, np.array(pose[:2]) - self.filter.x[:2],
                         Start(pose, covariance, 0.0))
        return used

    def estimate(self, stamp_ns: int | None = None) -> Estimate:
        """The pose at a time (default: the latest). Times up to half a second ahead get the latest pose.

        Raises InputError: no_position, no_heading, position_stale.
        """
        if self.filter is None:
            if len(self._start):
                raise InputError('no_heading', 'it is not known yet which way the vehicle points.',
                                 'drive some metres, or give a heading (dual antenna, IMU with absolute yaw).')
            raise InputError('no_position', 'there has been no good fix yet.',
                             'check the topic of the fix, and its status.')
        stamp_ns = self._stamp_ns if stamp_ns is None else stamp_ns
        lever = self.lever(stamp_ns, (0.0, 0.0))
        if lever is None:
            raise InputError('position_stale', f'the position is {(stamp_ns - self._stamp_ns) * 1e-9:.1f} s old at the '
                             'time it is wanted for.', 'check that odometry and fixes keep coming, with one clock.')
        age = math.inf if self._fix_ns is None else (stamp_ns - self._fix_ns) * 1e-9
        return Estimate(stamp_ns, self.filter.pose.then(lever), self.filter.covariance, self.filter.position_std,
                        self.filter.yaw_std, age)

    def lever(self, stamp_ns: int, antenna: tuple[float, float]) -> Pose2 | None:
        """The antenna at a time as seen from base_link now; None when it is not known where the vehicle was."""
        point = Pose2(*antenna, 0.0)
        if not len(self.track):
            return point if abs(stamp_ns - self._stamp_ns) <= OLD_NS else None
        then = self.track.at(stamp_ns)
        if then is None:
            late = stamp_ns - self.track.stamp_ns
            return point if 0 <= late <= 500_000_000 else None
        return self.track.last.relative(then).then(point)

    def _turning(self, stamp_ns: int, since_ns: int) -> float:
        """Seconds up to a time in which the vehicle may have turned unnoticed; without odometry, headings notice."""
        if self._turned_ns is not None and 0 <= stamp_ns - self._turned_ns:
            since_ns = max(since_ns, self._turned_ns)
        return max(stamp_ns - since_ns, 0) * 1e-9

    def _wait_until(self, stamp_ns: int) -> None:
        """Time passes without odometry."""
        seconds = (stamp_ns - max(self._stamp_ns, self.track.stamp_ns if len(self.track) else 0)) * 1e-9
        if seconds > (0.5 if len(self.track) else 0.0) and self.filter is not None:
            self.filter.wait(seconds, self._turning(stamp_ns, stamp_ns - round(seconds * 1e9)))
            self._stamp_ns = stamp_ns
            if len(self.track):
                self.track.clear()

    def _use(self, fix: _Waiting) -> None:
        if self.filter is None:
            odometry = self.track.at(fix.stamp_ns) if len(self.track) else Pose2(0.0, 0.0, 0.0)
            if odometry is not None:
                self._stamp_ns = max(self._stamp_ns, fix.stamp_ns)
                self._fix_ns = fix.stamp_ns
                place = np.array(odometry.then(Pose2(*fix.antenna, 0.0))[:2])
                self._start.add(fix.place, place, fix.std)
                self._try_start()
            return
        self._wait_until(fix.stamp_ns)
        lever = self.lever(fix.stamp_ns, fix.antenna)
        if lever is None:
            return
        if self.filter.fix(fix.place, fix.std, lever):
            self._fix_ns = fix.stamp_ns
            self._refused.clear()
            return
        self._count('fix_jumped')
        seen = rotation_2d(self.filter.pose.yaw) @ (lever.x, lever.y)
        new = fix.place - seen
        variance = fix.std**2 * 1.0001
        self._refuse(fix.stamp_ns, new - self.filter.x[:2],
                     Start(Pose2(float(new[0]), float(new[1]), self.filter.pose.yaw),
                           np.diag([variance, variance, max(self.filter.P[2, 2], math.radians(10.0)**2)]), fix.std))

    def _refuse(self, stamp_ns: int, away: np.ndarray, start: Start) -> None:
        """Fixes that are refused for long, and agree about by how much, show that the filter was wrong: it restarts."""
        self._refused = [*self._refused[-200:], (stamp_ns, away)]
        offsets = np.array([a for _, a in self._refused])
        agree = np.hypot(*(offsets - np.median(offsets, axis=0)).T) < max(3.0 * start.fix_std, 3.0)
        if (len(offsets) >= REFUSED_MIN and agree.mean() > 0.8
                and stamp_ns - self._refused[0][0] > self.settings.restart_s * 1e9):
            self.filter = PositionFilter(*start, self.settings)
            self._refused.clear()
            self._fix_ns = stamp_ns
            self._count('restarted')

    def _try_start(self) -> None:
        now = self.track.last if len(self.track) else Pose2(0.0, 0.0, 0.0)
        start = None
        if self._yaw is not None:
            stamp_ns, yaw, std = self._yaw
            lever = self.lever(stamp_ns, (0.0, 0.0))
            if lever is not None:
                start = self._start.from_yaw(wrap(yaw - lever.yaw), std, now)
        if start is None and len(self.track):
            start = self._start.from_way(now)
        if start is not None:
            self.filter = PositionFilter(*start, self.settings)
            self._start.clear()
