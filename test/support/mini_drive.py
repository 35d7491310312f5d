# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A small recording that looks like a real one: a few sweeps from the package's own simulator, map off by metres."""

from __future__ import annotations

import math
from pathlib import Path

from attention_fusion_ros.simulation.recording import write_recording
from attention_fusion_ros.simulation.sweeps import DriveOptions, SimulatedDrive
from support import synthetic_bag as bag

RATE_HZ = 2.0


def simulated_drive(sweeps: int, route: bool = True) -> SimulatedDrive:
    """A drive of that many sweeps with a 16-beam LiDAR; the map is 1.8 m and 3 degrees off.

    route: drawn in it.
    """
    return SimulatedDrive(DriveOptions(lidar='vlp_16', rate=RATE_HZ, map_shift=(1.0, -1.5), map_yaw=math.radians(3.0),
                                       duration=sweeps / RATE_HZ, route=route))


def write(path: Path, sweeps: int = 4, route: bool = True) -> Path:
    """The recording as an mcap rosbag2 at `path`, which must not exist yet."""
    write_recording(simulated_drive(sweeps, route), path, start_ns=bag.T0)
    return path
