# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry whose error grows with every measurement."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.simulation.sensors.raster import rasterise
from attention_fusion_ros.simulation.sensors.scan import base_pose
from attention_fusion_ros.simulation.world.world import Pose, World

# Standard deviations of what is added from one measurement to the next.
SHIFT_STD_M, YAW_STD_RAD = 0.02, math.radians(0.15)
WHEELS_EXTENT_M = 6.0  # of the ground that the vehicle stands on


def odometry_error(rng: np.random.Generator, shift_std_m: float = SHIFT_STD_M, yaw_std_rad: float = YAW_STD_RAD
                   ) -> np.ndarray:
    """The error (4, 4) of one step, as a planar motion in base_link."""
    yaw = rng.normal(0, yaw_std_rad)
    return se3_from_quaternion((*rng.normal(0, shift_std_m, 2), 0.0), quaternion_from_yaw(yaw))


class OdometrySensor:
    """Poses in a frame that begins as the world's and drifts away from it."""

    def __init__(self, shift_std_m: float = SHIFT_STD_M, yaw_std_rad: float = YAW_STD_RAD):
        self._shift_std_m, self._yaw_std_rad = shift_std_m, yaw_std_rad
        self._last: np.ndarray | None = None  # T_world_base of the measurement before
        self._T_odom_base = np.eye(4)

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> np.ndarray:
        """T_odom_base (4, 4): the vehicle on the ground, leaning with it. The first measurement is exact."""
        T_world_base = base_pose(rasterise(world.without_vehicles(), pose, extent=WHEELS_EXTENT_M), pose)
        if self._last is None:
            self._T_odom_base = T_world_base
        else:
            step = np.linalg.solve(self._last, T_world_base)
            error = odometry_error(rng, self._shift_std_m, self._yaw_std_rad)
            self._T_odom_base = self._T_odom_base @ step @ error
        self._last = T_world_base
        return self._T_odom_base.copy()
