# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A satellite receiver: white noise, a bias that wanders over metres, losses of the fix, multipath jumps.

The bias is a first-order Gauss-Markov process on each axis, as errors of orbits, clocks and the atmosphere are commonly
modelled (Groves, Principles of GNSS, Inertial, and Multisensor Integrated Navigation Systems, 2nd ed., section 9.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors
from attention_fusion_ros.simulation.sensors.raster import terrain_height
from attention_fusion_ros.simulation.world.world import Pose, World

FRAME_ID = 'gnss'
NO_FIX, FIX = -1, 0  # sensor_msgs/NavSatStatus
HEIGHT_FACTOR = 1.8  # errors of height against those of one horizontal axis


@dataclass(frozen=True)
class GnssFix:
    """What a receiver sends, in the words of sensor_msgs/NavSatFix."""

    stamp_ns: int
    status: int  # FIX or NO_FIX
    latitude: float  # degrees; nan without a fix
    longitude: float
    altitude: float  # m above the ellipsoid
    covariance: np.ndarray  # (3, 3) m^2, east north up; zeros without a fix

    @property
    def covariance_type(self) -> int:
        """2: the diagonal is known; 0: unknown."""
        return 2 if self.status == FIX else 0


class GnssReceiver:
    """A `Sensor` whose errors go on from call to call: ask it in the order of the stamps."""

    def __init__(self, frame: LocalFrame, errors: GnssErrors | None = None):
        """frame: the one that the world is in."""
        self._frame, self._errors = frame, errors or GnssErrors()
        self._start_ns: int | None = None
        self._last_ns = 0
        self._bias: np.ndarray = np.zeros(3)
        self._lost_until_s = self._jump_until_s = -math.inf
        self._jump: np.ndarray = np.zeros(3)

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> GnssFix:
        """The fix of the antenna. A lost fix is sent with NO_FIX and without a position, as drivers do."""
        e, scale = self._errors, np.array([1.0, 1.0, HEIGHT_FACTOR])
        draws, chances = rng.standard_normal(9), rng.random(6)  # as many each time: a loss changes nothing later
        if self._start_ns is None:
            self._start_ns = self._last_ns = stamp_ns
            self._bias = e.bias * scale * draws[:3]
        seconds, now_s = (stamp_ns - self._last_ns) / 1e9, (stamp_ns - self._start_ns) / 1e9
        self._last_ns = stamp_ns
        kept = math.exp(-seconds / e.bias_time)
        self._bias = kept * self._bias + e.bias * math.sqrt(1.0 - kept * kept) * scale * draws[3:6]
        if chances[0] < 1.0 - math.exp(-e.losses * seconds / 60.0):
            self._lost_until_s = max(self._lost_until_s, now_s - e.loss_time * math.log(1.0 - chances[1]))
        if now_s > self._jump_until_s and chances[2] < 1.0 - math.exp(-e.jumps * seconds / 60.0):
            self._jump_until_s = now_s - e.jump_time * math.log(1.0 - chances[3])
            angle = 2 * math.pi * chances[4]
            length = e.jump * (0.5 + chances[5])
            self._jump = length * np.array([math.cos(angle), math.sin(angle), 0.5])
        if now_s < self._lost_until_s or any(a <= now_s < a + b for a, b in e.lost):
            return GnssFix(stamp_ns, NO_FIX, math.nan, math.nan, math.nan, np.zeros((3, 3)))
        x, y, z = antenna_place(world, pose, e.antenna)
        error = self._bias + e.noise * scale * draws[6:]
        if now_s < self._jump_until_s:
            error = error + self._jump
        latitude, longitude = self._frame.to_degrees(np.array([x + error[0], y + error[1]]))
        return GnssFix(stamp_ns, FIX, float(latitude), float(longitude), float(self._frame.height + z + error[2]),
                       np.diag(e.variance * scale**2))


def antenna_place(world: World, pose: Pose, antenna: tuple[float, float, float]) -> tuple[float, float, float]:
    """x, y, z [m] in the world of a place in base_link on a vehicle that stands level."""
    x, y, yaw = pose
    c, s = math.cos(yaw), math.sin(yaw)
    at = x + c * antenna[0] - s * antenna[1], y + s * antenna[0] + c * antenna[1]
    ground = terrain_height(world.terrain, np.array(x), np.array(y))
    return at[0], at[1], float(ground) + antenna[2]
