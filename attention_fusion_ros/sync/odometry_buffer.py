# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the base frame was, from odometry of any frame on it: base_link, an IMU, a LiDAR upside down.

Where no odometry message comes, the same is taken from /tf: `frames.odom -> frames.base`.
"""

from __future__ import annotations

import math
import re
from collections import deque

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.decode.odometry import Odometry
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, tilt_of
from attention_fusion_ros.sync.pose_buffer import PoseBuffer
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

Placed = list[tuple[int, np.ndarray]]  # stamp in ns, T_odom_base (4, 4)
VEHICLE_FRAME = re.compile('base|body|vehicle|ego|car|robot')  # in the names of frames that may be it
MAX_UNPLACED = 2000  # messages that wait for the transform of their child frame
# LiDAR odometry often starts as the frame of its sensor: where that is mounted with a tilt, a frame that leans by more
# than half of it is that, and not a level one on a slope.
MOUNTED_TILTED_RAD = math.radians(5.0)


class OdometryBuffer:
    """Poses of the base frame by stamp. Not thread-safe.

    transforms: where the child frame of odometry is on the vehicle. T_base_sensor: (4, 4) of the sweeps' sensor where
    it is known without transforms, else None.
    """

    def __init__(self, config: NodeConfig, transforms: TransformBuffer, T_base_sensor: np.ndarray | None):
        self._base, self._odom = config.frames.base, config.frames.odom
        self._transforms, self._T_base_sensor = transforms, T_base_sensor
        self.poses = PoseBuffer(config.odometry.max_age, config.odometry.history)
        self.frame = ''  # of the latest odometry, where it is not the base frame
        self._mounting = np.eye(4)  # T_child_base of the latest odometry
        self._unplaced: deque[Odometry] = deque(maxlen=MAX_UNPLACED)
        self._sensor_frame = ''
        self._heard = False  # whether there are odometry messages

    @property
    def on_tf(self) -> bool:
        """Whether poses are taken from /tf. A static transform there is a placeholder and says nothing about motion."""
        return not self._heard and bool(self._odom and self._transforms.moving_frames(self._odom, self._base))

    def pose(self, stamp_ns: int, known_until_ns: int) -> np.ndarray | None:
        """T_odom_base (4, 4) at a time, None where it is not known; see `PoseBuffer.pose`."""
        if not self.on_tf:
            return self.poses.pose(stamp_ns, known_until_ns)
        try:
            if self.extrapolation_s(stamp_ns) <= self.poses.max_age_s:
                return self._transforms.lookup(self._odom, self._base, stamp_ns)
        except InputError:
            pass
        return None

    def extrapolation_s(self, stamp_ns: int) -> float:
        """By how many seconds `pose` goes beyond the newest sample; 0 where it does not."""
        if self.on_tf:
            return self._transforms.extrapolation_s(self._odom, self._base, stamp_ns)
        return self.poses.extrapolation_s(stamp_ns, stamp_ns)

    def add(self, odometry: Odometry) -> np.ndarray | None:
        """Add odometry; returns T_odom_base (4, 4), None where only the first sweep will tell it.

        Raises InputError `odometry_frame` when its child frame is neither the base frame nor connected to it by a
        transform, nor the frame of the sensor whose T_base_sensor is known. It is kept for `place`.
        """
        self._heard = True
        T = self._base_pose(odometry)
        if T is None:
            self._unplaced.append(odometry)
            if self._T_base_sensor is not None and not self._sensor_frame:
                return None  # it may be of the sensor, whose frame is not known before the first sweep
            raise InputError(
                'odometry_frame', f"odometry is of frame '{self.frame}', which no transform connects with "
                f"'{self._base}'.", 'publish the transform between the two, or let child_frame_id of the odometry name '
                'the frame whose motion it tells' + (
                    f", or set frames.base to '{self.frame}' if that is the vehicle frame."
                    if VEHICLE_FRAME.search(self.frame.lower()) and self.frame != odometry.frame_id else '.'))
        self.poses.add(odometry.stamp_ns, T)
        return T

    def place(self) -> Placed:
        """Take up odometry that waited for its transform, where that is known by now; returns what was taken up."""
        if not self._unplaced or self._base_pose(self._unplaced[-1]) is None:
            return []
        found = [(odometry.stamp_ns, self._base_pose(odometry)) for odometry in self._unplaced]
        self._unplaced.clear()
        placed = [(stamp_ns, T) for stamp_ns, T in found if T is not None]
        for stamp_ns, T in placed:
            self.poses.add(stamp_ns, T)
        return placed

    def take_sensor_frame(self, frame_id: str) -> Placed:
        """The frame of the sweeps' sensor; returns odometry of this frame that is taken up now."""
        frame_id = frame_id.lstrip('/')
        if frame_id == self._sensor_frame or self._T_base_sensor is None:
            return []
        self._sensor_frame = frame_id
        return self.place()

    def drop_after(self, stamp_ns: int) -> None:
        """Drop what is later than this."""
        self._heard = self._heard and stamp_ns >= 0
        self.poses.drop_after(stamp_ns)
        self._unplaced = deque((o for o in self._unplaced if o.stamp_ns <= stamp_ns), maxlen=MAX_UNPLACED)

    def reason(self, stamp_ns: int) -> str:
        """Why there is no odometry for a sweep of this stamp."""
        if self.on_tf:
            return 'odometry_too_old'
        if self.poses.oldest_ns is None:
            return 'no_odometry'
        return 'odometry_from_future' if self.poses.oldest_ns > stamp_ns else 'odometry_too_old'

    def leans_with_its_sensor(self, T_odom_base: np.ndarray) -> bool:
        """Whether the frame of odometry is tilted as the LiDAR is that it comes from, and so is not level."""
        mounted = tilt_of(self._mounting)
        return mounted > MOUNTED_TILTED_RAD and tilt_of(T_odom_base) > max(MOUNTED_TILTED_RAD, mounted / 2)

    def _base_pose(self, odometry: Odometry) -> np.ndarray | None:
        """T_odom_base (4, 4); None while the child frame is not connected with the base frame."""
        child = odometry.child_frame_id
        self.frame = child if child != self._base else ''
        if not self.frame:
            self._mounting = np.eye(4)
        elif self._T_base_sensor is not None and child == self._sensor_frame:
            self._mounting = inverse(self._T_base_sensor)
        else:
            try:
                self._mounting = self._transforms.lookup(child, self._base, odometry.stamp_ns)
            except InputError:
                return None
        T: np.ndarray = odometry.T_odom_child @ self._mounting
        return T
