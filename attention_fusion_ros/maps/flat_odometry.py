# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry in space -> the way on the ground, whatever frame it is given in."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.geometry import planar_motion, yaw_of
from attention_fusion_ros.maps.odometry_track import Pose2

BACK_NS = 1_000_000_000  # by which stamps may be out of order


class FlatOdometry:
    """Adds up the motions of base_link on its own ground plane.

    A frame of odometry may lie on its side (LiDAR odometry that starts as the frame of its sensor): x and y of its
    poses say nothing then, but the motions do.
    """

    def __init__(self) -> None:
        self._stamp_ns: int | None = None
        self._T = np.eye(4)
        self._pose = Pose2(0.0, 0.0, 0.0)

    def add(self, stamp_ns: int, T_odom_base: np.ndarray) -> Pose2 | None:
        """The pose on the ground [m, rad] for (4, 4) T_odom_base; None for one that comes too late.

        Where the clock goes back by more than a second, the way starts again.
        """
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            if self._stamp_ns - stamp_ns <= BACK_NS:
                return None
            self._stamp_ns = None
        if self._stamp_ns is None:
            self._pose = Pose2(float(T_odom_base[0, 3]), float(T_odom_base[1, 3]), yaw_of(T_odom_base))
        else:
            motion = planar_motion(self._T, T_odom_base)
            self._pose = self._pose.then(Pose2(float(motion[0, 2]), float(motion[1, 2]), yaw_of(motion)))
        self._stamp_ns, self._T = stamp_ns, T_odom_base
        return self._pose
