# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One sweep of a simulated drive with its map image: what the driver sends again and again.

The vehicle stands still, so every answer is the same one, and that it is the same again after a fault can be told.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

POINT = np.dtype([(name, '<f4') for name in ('x', 'y', 'z', 'intensity')])


def write(path: Path) -> None:
    """Write `points`, `picture` (H, W, 3) uint8 rgb and `T_base_sensor` (4, 4) as an npz file."""
    from attention_fusion_ros.simulation.drive_options import DriveOptions
    from attention_fusion_ros.simulation.sweeps import SimulatedDrive

    drive = SimulatedDrive(DriveOptions(lidar='vlp_16', rate=2.0, map_shift=(1.0, -1.5), map_yaw=0.05))
    sweep = drive.sweep(3)
    points = np.zeros(len(sweep.cloud.xyz), POINT)
    for i, axis in enumerate('xyz'):
        points[axis] = sweep.cloud.xyz[:, i]
    if sweep.cloud.intensity is not None:
        points['intensity'] = sweep.cloud.intensity
    np.savez(path, points=points, picture=sweep.map_image, T_base_sensor=drive.T_base_sensor)
