# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The loop closed: map alignments correct what fixes and odometry tell, and cannot run away.

Two filters run side by side: one of the fixes alone (the reference), one that takes alignments too. An alignment is
used when it agrees with the corrected filter, and when it leads nowhere that the reference excludes. Alignments that
keep leading out of bounds mean that the corrected filter is on the wrong road: it is thrown away, and starts again
from the reference. Without alignments it returns to the fixes by itself, within the minutes that errors of fixes last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import rotation_2d, wrap
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import REACH_M, LocalFrame
from attention_fusion_ros.maps.localizer import Estimate, Localizer
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.position_filter import FilterSettings

KEPT_IMAGES = 64


@dataclass(frozen=True)
class AlignmentSettings:
    """How far alignments are believed."""

    max_shift: float = 20.0  # m, what registration can see
    max_turn: float = math.radians(30.0)
    min_std: float = 0.15  # m: the map itself is no better
    min_turn_std: float = math.radians(0.3)
    memory_s: float = 1.0  # for which errors of alignments last: ten a second are worth one
    sigmas: float = 3.0  # of the reference, that the corrected position may be away from it ...
    margin: float = 1.5  # ... and so many m more
    margin_turn: float = math.radians(2.0)
    give_up_s: float = 10.0  # of alignments that all lead out of bounds, or contradict the corrected position
    max_position_std: float = 15.0  # m: with less knowledge there is no image
    max_heading_std: float = math.radians(15.0)


@dataclass
class MapPosition:
    """Where base_link is in the local frame, from everything that tells it."""

    frame: LocalFrame
    settings: AlignmentSettings = field(default_factory=AlignmentSettings)
    filter_settings: FilterSettings = field(default_factory=FilterSettings)

    def __post_init__(self) -> None:
        self.reference = Localizer(self.filter_settings)
        self.corrected = Localizer(self.filter_settings)
        self.counts: dict[str, int] = {}
        self._images: list[tuple[int, Pose2]] = []  # stamp, pose of the odometry frame (or of base_link) in the map
        self._used_ns: int | None = None
        self._bad_since_ns: int | None = None

    def _both(self) -> tuple[Localizer, Localizer]:
        return self.reference, self.corrected

    def add_odometry(self, stamp_ns: int, x: float, y: float, yaw: float) -> None:
        """A pose of base_link in the frame of odometry [m, rad]; the frame itself may lie anywhere."""
        resets = self.reference.counts.get('clock_went_back', 0)
        for localizer in self._both():
            localizer.odometry(stamp_ns, x, y, yaw)
        if self.reference.counts.get('clock_went_back', 0) != resets:
            self.forget_alignments()

    def add_fix(self, fix: Fix, antenna: tuple[float, float] = (0.0, 0.0)) -> None:
        """A fix; antenna: its place in base_link [m]. Raises InputError far_from_datum."""
        away = self.frame.distance(fix.latitude, fix.longitude)
        if not away <= REACH_M:
            raise InputError('far_from_datum', f'a fix is {away / 1000:.0f} km from the datum.',
                             'give a datum near the vehicle, or none.')
        place = self.frame.to_metres(fix.latitude, fix.longitude)
        for localizer in self._both():
            localizer.fix(fix.stamp_ns, place, fix.std, antenna)

    def add_yaw(self, stamp_ns: int, yaw: float, std: float) -> None:
        """An absolute yaw of base_link [rad, left from true east, ENU of REP-103]. Raises InputError bad_yaw."""
        turn = 0.0
        if self.reference.filter is not None:  # true north is not the frame's y axis far from the datum
            try:
                latitude, longitude = self.frame.to_degrees(np.array(self.reference.filter.pose[:2]))
                turn = self.frame.convergence(float(latitude), float(longitude))
            except InputError:
                pass
        for localizer in self._both():
            localizer.yaw(stamp_ns, yaw + turn, std)

    def add_pose(self, stamp_ns: int, x: float, y: float, yaw: float, std: float = 1.0,
                 yaw_std: float = math.radians(1.0)) -> None:
        """A pose of base_link in the local frame, from odometry in UTM (`Utm.pose_in`) or ENU, or from tf.

        Beside it, the same odometry goes to `add_odometry`, so that alignments can correct it.
        """
        if not all(map(math.isfinite, (x, y, yaw))):
            raise InputError('bad_fix', 'an absolute pose is not finite.', 'check what publishes it.')
        covariance = np.diag([max(std, 0.02)**2, max(std, 0.02)**2, max(yaw_std, 1e-3)**2])
        for localizer in self._both():
            localizer.absolute(stamp_ns, Pose2(x, y, wrap(yaw)), covariance)

    def estimate(self, stamp_ns: int | None = None) -> Estimate:
        """The corrected pose at a time. Raises InputError: no_position, no_heading, position_stale."""
        return self.corrected.estimate(stamp_ns)

    def pose_for_image(self, stamp_ns: int | None = None) -> Estimate:
        """The pose that an image is drawn around; remembered, for alignments speak of it.

        Raises InputError: no_position, no_heading, position_stale, position_uncertain, heading_uncertain.
        """
        found = self.estimate(stamp_ns)
        if found.position_std > self.settings.max_position_std:
            raise InputError('position_uncertain', f'the position is known to {found.position_std:.0f} m only.',
                             'wait for fixes, or allow more by max_position_std.')
        if found.heading_std > self.settings.max_heading_std:
            raise InputError('heading_uncertain', 'the heading is known to '
                             f'{math.degrees(found.heading_std):.0f} degrees only.',
                             'drive some metres with fixes, or allow more by max_heading_std.')
        odometry = self._odometry(found.stamp_ns)
        self._images = [*self._images[1 - KEPT_IMAGES:], (found.stamp_ns, found.pose.then(odometry.inverse()))]
        return found

    def odom_in_map(self, stamp_ns: int | None = None) -> Pose2:
        """Pose of the odometry frame in the local frame, for tf map -> odom. Raises InputError, see `estimate`."""
        found = self.estimate(stamp_ns)
        return found.pose.then(self._odometry(found.stamp_ns).inverse())

    def _odometry(self, stamp_ns: int) -> Pose2:
        track = self.corrected.track
        if not len(track):
            return Pose2(0.0, 0.0, 0.0)
        return track.at(stamp_ns) or track.last

    def add_alignment(self, stamp_ns: int, dx: float, dy: float, dyaw: float, covariance: np.ndarray,
                      image_stamp_ns: int | None = None) -> str:
        """What `map_alignment` says: the motion in base_link at `stamp_ns` that moves the map to where it belongs.

        covariance: (3, 3) of dx, dy [m], dyaw [rad]. image_stamp_ns: of the image that was aligned; default: the last
        one not younger than the sweep. Returns '' when it was used, else the reason (`reasons.REASONS`).
        """
        reason = self._align(stamp_ns, Pose2(dx, dy, dyaw), np.asarray(covariance, np.float64), image_stamp_ns)
        if reason:
            self.counts[reason] = self.counts.get(reason, 0) + 1
        return reason

    def _align(self, stamp_ns: int, motion: Pose2, covariance: np.ndarray, image_stamp_ns: int | None) -> str:
        limits, reference = self.settings, self.reference
        if (covariance.shape != (3, 3) or not np.isfinite(covariance).all() or not np.isfinite(motion).all()
                or np.linalg.eigvalsh((covariance + covariance.T) / 2)[0] < -1e-9):
            return 'alignment_unusable'
        if math.hypot(motion.x, motion.y) > limits.max_shift or abs(motion.yaw) > limits.max_turn:
            return 'alignment_too_large'
        images = [T for s, T in self._images if (s == image_stamp_ns if image_stamp_ns is not None else s <= stamp_ns)]
        try:
            allowed = reference.estimate(stamp_ns)
            odometry = self._odometry(stamp_ns)
        except InputError:
            return 'alignment_without_image'
        if not images or self.corrected.filter is None:
            return 'alignment_without_image'
        drawn = images[-1].then(odometry)  # where the vehicle is at the sweep, as the image has it
        pose = drawn.then(motion.inverse())
        R = (covariance + covariance.T) / 2
        turn = np.eye(3)
        turn[:2, :2] = rotation_2d(pose.yaw)
        R = turn @ R @ turn.T
        since = math.inf if self._used_ns is None else max((stamp_ns - self._used_ns) * 1e-9, 0.02)
        R = R * max(1.0, limits.memory_s / since)
        R += np.diag([limits.min_std**2, limits.min_std**2, limits.min_turn_std**2])
        away = math.hypot(pose.x - allowed.pose.x, pose.y - allowed.pose.y)
        turned = abs(wrap(pose.yaw - allowed.pose.yaw))
        if (away > limits.sigmas * allowed.position_std + limits.margin
                or turned > limits.sigmas * allowed.heading_std + limits.margin_turn):
            return self._declined(stamp_ns, 'alignment_out_of_bounds')
        lever = self.corrected.lever(stamp_ns, (0.0, 0.0))
        if lever is None or not self.corrected.filter.whole_pose(pose, R, lever):
            return self._declined(stamp_ns, 'alignment_gated')
        self._used_ns, self._bad_since_ns = stamp_ns, None
        return ''

    def _declined(self, stamp_ns: int, reason: str) -> str:
        if self._bad_since_ns is None or stamp_ns < self._bad_since_ns:
            self._bad_since_ns = stamp_ns
        if stamp_ns - self._bad_since_ns > self.settings.give_up_s * 1e9:
            self.forget_alignments()
        return reason

    def forget_alignments(self) -> None:
        """Go back to what the fixes say."""
        self.corrected = self.reference.copy()
        self._used_ns = self._bad_since_ns = None
        self._images.clear()
