# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages that are used: a street, a map, odometry and the mounting of the LiDAR, and one of any type."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from attention_fusion_ros.decode import plain_messages
from fuzz import clouds, messages

MAKERS: dict[str, Callable[[random.Random], Any]] = {
    'sensor_msgs/msg/Image': messages.image, 'sensor_msgs/msg/CompressedImage': messages.compressed_image,
    'nav_msgs/msg/OccupancyGrid': messages.grid, 'nav_msgs/msg/Odometry': messages.odometry,
    'tf2_msgs/msg/TFMessage': messages.transforms}


def street(choices: random.Random, points: int = 1500) -> np.ndarray:
    """(N,) points of flat ground and two facades, in the frame of a sensor on the ground."""
    rng = np.random.default_rng(choices.randrange(2**16))
    cloud = np.zeros(points, plain_messages.VELODYNE_POINT)
    cloud['x'], cloud['y'] = rng.uniform(-35, 35, points), rng.uniform(-10, 10, points)
    cloud['z'] = rng.normal(0, 0.02, points)
    wall = rng.random(points) < 0.4
    cloud['y'][wall] = np.sign(cloud['y'][wall]) * 10.0
    cloud['z'][wall] = rng.uniform(0, 5, wall.sum())
    cloud['time'] = np.linspace(-0.1, 0.0, points)
    return cloud


def good_cloud(stamp_ns: int, seed: int) -> SimpleNamespace:
    """A sweep that is used."""
    return plain_messages.point_cloud(street(random.Random(seed)), stamp_ns, 'lidar')


def good_map(stamp_ns: int) -> SimpleNamespace:
    """A map image that is used."""
    pixels = np.zeros((240, 240), np.uint8)
    pixels[:, 110:130] = 255
    message = plain_messages.image(pixels, stamp_ns, encoding='mono8')
    message.data = message.data.tobytes()
    return message


def pose_message(stamp_ns: int, x: float) -> SimpleNamespace:
    """Odometry that is used."""
    pose = SimpleNamespace(position=SimpleNamespace(x=x, y=0.0, z=0.0),
                           orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0))
    return SimpleNamespace(header=plain_messages.header(stamp_ns, 'odom'), child_frame_id='base_link',
                           pose=SimpleNamespace(pose=pose, covariance=[0.0] * 36))


def mounting(stamp_ns: int) -> SimpleNamespace:
    """How the LiDAR is mounted, for /tf_static."""
    transform = SimpleNamespace(translation=SimpleNamespace(x=0.5, y=0.0, z=0.0),
                                rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0))
    return SimpleNamespace(transforms=[SimpleNamespace(header=plain_messages.header(stamp_ns, 'base_link'),
                                                       child_frame_id='lidar', transform=transform)])


def message_of(kind: str, stamp_ns: int, choices: random.Random) -> Any:
    """A good message of a type, stamped; of clouds every second is one of a street."""
    if kind == 'sensor_msgs/msg/PointCloud2':
        message: Any = good_cloud(stamp_ns, choices.randrange(50)) if choices.randrange(2) else clouds.cloud(choices)
    elif kind.endswith('CompressedPointCloud2'):
        message = clouds.compressed_cloud(choices)
    else:
        message = MAKERS.get(kind, clouds.livox)(choices)
    for item in getattr(message, 'transforms', [message]):
        item.header.stamp = plain_messages.header(stamp_ns, '').stamp
    return message
