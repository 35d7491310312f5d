# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""An IMU that knows where north is: absolute yaw with noise and a constant bias, as of a compass near iron."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.simulation.sensors.navigation_errors import ImuErrors
from attention_fusion_ros.simulation.world.world import Pose, World

FRAME_ID = 'imu'


@dataclass(frozen=True)
class ImuReading:
    """What is sent."""

    stamp_ns: int
    yaw: float  # rad, left from true east (ENU, REP-103)
    std: float  # rad, of noise and bias together
    rate: float  # rad/s


class Imu:
    """A `Sensor` that keeps its bias: ask it in the order of the stamps."""

    def __init__(self, frame: LocalFrame, errors: ImuErrors | None = None):
        """frame: the one that the world is in."""
        self._frame, self._errors = frame, errors or ImuErrors()
        self._bias: float | None = None
        self._last: tuple[int, float] | None = None

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> ImuReading:
        """The orientation of base_link, in which the IMU is mounted straight."""
        noise, bias = rng.standard_normal(2)
        if self._bias is None:
            self._bias = math.radians(self._errors.bias) * float(bias)
        latitude, longitude = self._frame.to_degrees(np.array(pose[:2]))
        true_yaw = pose[2] - self._frame.convergence(float(latitude), float(longitude))
        yaw = wrap(true_yaw + self._bias + math.radians(self._errors.noise) * float(noise))
        rate = 0.0
        if self._last is not None and stamp_ns > self._last[0]:
            rate = wrap(pose[2] - self._last[1]) / ((stamp_ns - self._last[0]) / 1e9)
        self._last = stamp_ns, pose[2]
        std = math.radians(max(math.hypot(self._errors.noise, self._errors.bias), 0.05))
        return ImuReading(stamp_ns, float(yaw), std, float(rate))
