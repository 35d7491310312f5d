# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry in the plane, from wheels and a gyroscope: it begins anywhere, and drifts with the way driven."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.simulation.sensors.navigation_errors import OdometryErrors
from attention_fusion_ros.simulation.world.world import Pose, World, to_base


class DeadReckoning:
    """A `Sensor` whose errors add up from call to call: ask it in the order of the stamps."""

    def __init__(self, errors: OdometryErrors | None = None):
        self._errors = errors or OdometryErrors()
        self._last: Pose | None = None
        self._pose: Pose = (0.0, 0.0, 0.0)

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> Pose:
        """x, y [m], yaw [rad] in a frame that begins where the vehicle was first asked about."""
        turn, *shift = rng.standard_normal(3)
        if self._last is not None:
            e = self._errors
            step = to_base(np.array(pose[:2]), self._last)
            root = math.sqrt(float(np.hypot(*step)))
            step = step * (1.0 + e.scale) + e.shift * root * np.array(shift)
            x, y, yaw = self._pose
            c, s = math.cos(yaw), math.sin(yaw)
            turned = pose[2] - self._last[2] + math.radians(e.turn) * root * turn
            self._pose = (float(x + c * step[0] - s * step[1]), float(y + s * step[0] + c * step[1]),
                          float(wrap(yaw + turned)))
        self._last = pose
        return self._pose
