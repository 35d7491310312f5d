# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The messages of a sweep -> one cloud: every point where it would have been seen at the sweep's stamp.

Points are moved by odometry from their own time where the driver sends one (`deskew`), else from the stamp of their
message. Without odometry, messages that are stamped close together are put together as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from attention_fusion_ros.contracts import PointCloud, SweepPart
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, transform_points
from attention_fusion_ros.stream.decoded import DecodedSweep
from attention_fusion_ros.stream.deskew import knots_s, move_points

MAX_UNMOVED_NS = 110_000_000  # before the sweep's stamp, where no odometry tells the motion between: a turn at 10 Hz
PART_WITHOUT_TRANSFORM, PART_WITHOUT_MOTION = 'part_without_transform', 'part_without_motion'
INTENSITY_SAMPLE = 8192  # points
NO_MOTION = 'not moved: no odometry at the times of the points'


class Poses(Protocol):
    """Where the vehicle and its sensors were: what `sync.Synchronizer` knows."""

    def base_poses(self, stamps_ns: Sequence[int]) -> list[np.ndarray | None]:
        """(4, 4) T_odom_base at each stamp, None where odometry does not reach."""

    def sensor_pose(self, frame_id: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) T_base_sensor. Raises InputError `transform_missing`."""


@dataclass
class Merged:
    """One cloud and how it came about."""

    cloud: PointCloud
    parts: tuple[SweepPart, ...] = ()
    deskew: str = ''
    warnings: dict[str, str] = field(default_factory=dict)


def merge(sweep: DecodedSweep, T_base_sensor: np.ndarray, poses: Poses, deskew: bool, stamp_ns: int | None = None
          ) -> Merged:
    """The messages of a sweep as one cloud in the frame of the first sensor, at the sweep's stamp.

    T_base_sensor: of the first sensor at that time. deskew: whether points are moved from their own times. stamp_ns: of
    the sweep, where its latest message was left out.
    Raises InputError `transform_missing` when that of the first sensor is not known at the time of its message.
    """
    cloud, stamp_ns = sweep.cloud, sweep.stamp_ns if stamp_ns is None else stamp_ns
    if not sweep.others and not sweep.several and cloud.stamp_ns == stamp_ns:
        if cloud.times is None or not deskew:
            return Merged(cloud, warnings=dict(sweep.warnings))
        mover = _Mover(stamp_ns, T_base_sensor, poses, deskew)
        xyz, words = mover.deskewed(cloud, T_base_sensor)
        return Merged(PointCloud(stamp_ns, cloud.frame_id, xyz, cloud.intensity), deskew=words,
                      warnings=dict(sweep.warnings))
    mover = _Mover(stamp_ns, T_base_sensor, poses, deskew)
    merged = Merged(cloud, warnings=dict(sweep.warnings))
    clouds: list[PointCloud] = []
    xyz_of: list[np.ndarray] = []
    parts: list[SweepPart] = []
    words_of: dict[str, None] = {}
    count = 0
    latest_ns: dict[tuple[str, str], int] = {}  # of each LiDAR: a turn in parts is as long as one in one message
    for message in sweep.messages():
        key = message.input_name, message.cloud.frame_id
        latest_ns[key] = max(latest_ns.get(key, 0), message.cloud.stamp_ns)
    left_out: dict[str, dict[str, None]] = {PART_WITHOUT_TRANSFORM: {}, PART_WITHOUT_MOTION: {}}
    placed: list[tuple[DecodedSweep, np.ndarray]] = []
    for message in sweep.messages():
        try:
            placed.append((message, poses.sensor_pose(message.cloud.frame_id, message.cloud.stamp_ns)))
        except InputError:
            if message is sweep:
                raise
            left_out[PART_WITHOUT_TRANSFORM][f"'{message.cloud.frame_id}' of {message.input_name}"] = None
    # The latest of those that are used is always close enough; the sweep may be stamped with one that is not.
    newest_ns = max(message.cloud.stamp_ns for message, _ in placed)
    for message, pose in placed:
        part = message.cloud
        named = f"'{part.frame_id}' of {message.input_name}"
        motion = mover.motion_from(part.stamp_ns)
        if motion is None and newest_ns - latest_ns[message.input_name, part.frame_id] > MAX_UNMOVED_NS:
            left_out[PART_WITHOUT_MOTION][named] = None
            continue
        xyz, words = mover.moved(part, pose, np.eye(4) if motion is None else motion)
        if words:
            words_of[f'{part.frame_id}: {words}'] = None
        parts.append(SweepPart(message.input_name, part.frame_id, part.stamp_ns,
                               pose if motion is None else motion @ pose, count, count + len(xyz)))
        count += len(xyz)
        clouds.append(part)
        xyz_of.append(xyz)
    if left_out[PART_WITHOUT_TRANSFORM]:
        merged.warnings[PART_WITHOUT_TRANSFORM] = (
            f"sweeps go on without LiDAR {' and '.join(left_out[PART_WITHOUT_TRANSFORM])}: no transform connects it "
            'with the vehicle. Remedy: publish it on /tf_static.')
    if left_out[PART_WITHOUT_MOTION]:
        merged.warnings[PART_WITHOUT_MOTION] = (
            f"sweeps go on without LiDAR {' and '.join(left_out[PART_WITHOUT_MOTION])}: it is stamped more than "
            f'{MAX_UNMOVED_NS / 1e9:g} s before the others, and no odometry tells the motion between. Remedy: publish '
            'odometry, or synchronise the sensors.')
    merged.cloud = PointCloud(stamp_ns, cloud.frame_id, np.concatenate(xyz_of) if len(xyz_of) > 1 else xyz_of[0],
                              joined_intensity(clouds, sweep.several))
    merged.parts, merged.deskew = tuple(parts), '; '.join(words_of)
    return merged


class _Mover:
    """Moves points from their own times to the stamp of a sweep, into the frame of its first sensor."""

    def __init__(self, stamp_ns: int, T_base_sensor: np.ndarray, poses: Poses, deskew: bool):
        self._stamp_ns, self._poses, self._deskew = stamp_ns, poses, deskew
        self._T_sensor_base = inverse(T_base_sensor)
        now = poses.base_poses([stamp_ns])[0]
        self._T_base_odom = None if now is None else inverse(now)

    def motion_from(self, stamp_ns: int) -> np.ndarray | None:
        """(4, 4) base_link at the sweep's stamp <- base_link at another one; None where odometry does not tell."""
        if stamp_ns == self._stamp_ns:
            return np.eye(4)
        then = None if self._T_base_odom is None else self._poses.base_poses([stamp_ns])[0]
        return None if then is None or self._T_base_odom is None else self._T_base_odom @ then

    def moved(self, cloud: PointCloud, T_base_sensor: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, str]:
        """(N, 3) float32 points of a message; motion: from the stamp of the message. And how they were deskewed."""
        words = ''
        if self._deskew and cloud.times is not None:
            xyz, words = self.deskewed(cloud, T_base_sensor)
            if xyz is not cloud.xyz:
                return xyz, words
        T = (self._T_sensor_base @ motion @ T_base_sensor).astype(np.float32)
        return np.ascontiguousarray(transform_points(T, cloud.xyz)), words

    def deskewed(self, cloud: PointCloud, T_base_sensor: np.ndarray) -> tuple[np.ndarray, str]:
        """(N, 3) float32 points, each from its own time; `cloud.xyz` itself where they were not moved. And why."""
        if cloud.times is None or not len(cloud.xyz):
            return cloud.xyz, ''
        if self._T_base_odom is None:
            return cloud.xyz, f'{cloud.times.what} {NO_MOTION}'
        try:
            offsets, words = cloud.times.offsets_s(cloud.stamp_ns, cloud.xyz)
        except InputError as error:
            return cloud.xyz, str(error)
        knots = knots_s(offsets)
        *found, now = self._poses.base_poses([*(cloud.stamp_ns + round(1e9 * knot) for knot in knots.tolist()),
                                              self._stamp_ns])
        known = [k for k, pose in enumerate(found) if pose is not None]
        if not known or now is None:
            return cloud.xyz, f'{words} {NO_MOTION}'
        to_sensor = self._T_sensor_base @ inverse(now)
        motions = np.array([to_sensor @ found[k] @ T_base_sensor for k in known])
        if len(known) < len(found):
            words += f', of which odometry covers {100 * len(known) // len(found)} %'
        return move_points(cloud.xyz, offsets, knots[known], motions), words


def joined_intensity(clouds: Sequence[PointCloud], several: bool) -> np.ndarray | None:
    """(N,) float32 intensities of several messages together; None when no sensor sends any.

    Sensors have units of their own: where there are several, heard or not, each is centred on its median and scaled by
    its 10..90 % spread, as `bev.lidar.normalise_intensity` does with a sweep. A sensor without intensity gets 0, the
    median.
    """
    frames = dict.fromkeys(cloud.frame_id for cloud in clouds)
    if all(cloud.intensity is None for cloud in clouds):
        return None
    if not several and all(cloud.intensity is not None for cloud in clouds):
        own = [cloud.intensity for cloud in clouds if cloud.intensity is not None]
        return own[0] if len(own) == 1 else np.concatenate(own)
    scales: dict[str, tuple[float, float]] = {}
    for frame in frames:
        own = [cloud.intensity for cloud in clouds if cloud.frame_id == frame and cloud.intensity is not None]
        if own and sum(map(len, own)):
            sample = np.concatenate(own)
            low, middle, high = np.quantile(sample[::max(1, len(sample) // INTENSITY_SAMPLE)], (0.1, 0.5, 0.9))
            scales[frame] = float(middle), max(float(high - low), 1e-6)
    joined: list[np.ndarray] = []
    for cloud in clouds:
        if cloud.intensity is None or cloud.frame_id not in scales:
            joined.append(np.zeros(len(cloud.xyz), np.float32))
        else:
            middle, spread = scales[cloud.frame_id]
            joined.append(((cloud.intensity - middle) / spread).astype(np.float32))
    return joined[0] if len(joined) == 1 else np.concatenate(joined)
