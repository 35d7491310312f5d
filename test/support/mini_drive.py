# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A small recording that looks like a real one: a few sweeps from the package's own simulator, map off by metres."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from attention_fusion_ros.simulation.sweeps import DriveOptions, SimulatedDrive
from support import synthetic_bag as bag
from support.synthetic_bag import T

RATE_HZ = 2.0


def simulated_drive(sweeps: int) -> SimulatedDrive:
    """A drive of that many sweeps with a 16-beam LiDAR; the map is 1.8 m and 3 degrees off and shows the route."""
    return SimulatedDrive(DriveOptions(lidar='vlp_16', rate=RATE_HZ, map_shift=(1.0, -1.5), map_yaw=math.radians(3.0),
                                       duration=sweeps / RATE_HZ))


def _transform(T_parent_child: np.ndarray, stamp: int, parent: str, child: str):
    yaw = math.atan2(T_parent_child[1, 0], T_parent_child[0, 0])
    pose = T['geometry_msgs/msg/Transform'](
        T['geometry_msgs/msg/Vector3'](*map(float, T_parent_child[:3, 3])),
        T['geometry_msgs/msg/Quaternion'](0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))
    stamped = T['geometry_msgs/msg/TransformStamped'](bag.header(stamp, parent), child, pose)
    return T['tf2_msgs/msg/TFMessage']([stamped])


def _odometry(stamp: int, x: float, y: float, yaw: float):
    message = bag.odometry(stamp, x)
    pose = message.pose.pose
    pose.position.y, pose.orientation.z, pose.orientation.w = y, math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def _image(stamp: int, pixels: np.ndarray):
    height, width, _ = pixels.shape
    return T['sensor_msgs/msg/Image'](bag.header(stamp, 'base_link'), height, width, 'rgb8', 0, 3 * width,
                                      np.ascontiguousarray(pixels).reshape(-1))


def mini_drive(sweeps: int = 4, start: int = bag.T0) -> list[tuple[int, str, object]]:
    """(recorded at, topic, message) in the order of the stamps, for `synthetic_bag.write`."""
    drive = simulated_drive(sweeps)
    static = _transform(drive.T_base_sensor, start, 'base_link', 'lidar')
    events: list[tuple[int, str, object]] = [(start, '/tf_static', static)]
    for index in range(len(drive)):
        for time_ns, pose in drive.odometry(index):
            events.append((start + time_ns, '/odom', _odometry(start + time_ns, *pose)))
        sweep = drive.sweep(index)
        stamp, cloud = start + sweep.time_ns, sweep.cloud
        points = np.column_stack([cloud.xyz, cloud.intensity]).astype(np.float32)
        events.append((stamp, '/map_image', _image(stamp, sweep.map_image)))
        events.append((stamp, '/lidar/points', bag.cloud(stamp, points)))
    return sorted(events, key=lambda event: event[0])


def write(path: Path, sweeps: int = 4) -> Path:
    """The recording as an mcap rosbag2 below `path`."""
    return bag.write(path, mini_drive(sweeps))
