# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What every simulated sensor is; `LidarSensor`, `MapServer` and `OdometrySensor` are three of them.

A new one is a file in this folder with a class that has `measure`. `SimulatedDrive.measure` asks it at every sweep.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np

from attention_fusion_ros.simulation.world.world import Pose, World

Measurement_co = TypeVar('Measurement_co', covariant=True)


class Sensor(Protocol[Measurement_co]):
    """A sensor, or a server, on a vehicle in a simulated world."""

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> Measurement_co:
        """What it sends when the vehicle stands at `pose` (x, y [m] and yaw [rad] in the world) at `stamp_ns`.

        All randomness comes from `rng`: equal world, pose and generator state give equal measurements, except for
        sensors whose errors add up from call to call, such as odometry.
        """
