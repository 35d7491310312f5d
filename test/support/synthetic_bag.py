# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A small recording of a made-up street, written with rosbags, and a network that answers differently to each sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.geometry import quaternion_from_rotation, se3_from_quaternion
from attention_fusion_ros.network import checkpoint as checkpoints

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
T0 = 1_700_000_000 * 10**9  # ns
PERIOD = 200_000_000  # ns
STORAGE = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
SENSOR = np.array([[0.0, -1.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.8], [0.0, 0.0, 0.0, 1.0]])
TOPICS = {'/lidar/points': 'sensor_msgs/msg/PointCloud2', '/map_image': 'sensor_msgs/msg/Image',
          '/odom': 'nav_msgs/msg/Odometry', '/tf_static': 'tf2_msgs/msg/TFMessage'}


def header(stamp: int, frame: str):
    return T['std_msgs/msg/Header'](T['builtin_interfaces/msg/Time'](stamp // 10**9, stamp % 10**9), frame)


def street(seed: int, points: int = 4000) -> np.ndarray:
    """(N, 4) float32 x y z intensity in the sensor frame: ground and two facades, turned a little by the seed."""
    rng = np.random.default_rng(seed)
    p = np.stack([rng.uniform(-35, 35, points), rng.uniform(-9, 9, points), rng.normal(0, 0.02, points)])
    wall = rng.random(points) < 0.4
    p[1, wall] = np.sign(p[1, wall]) * 9.5
    p[2, wall] = rng.uniform(0, 5, wall.sum())
    angle = 0.1 * seed
    c, s = np.cos(angle), np.sin(angle)
    p[:2] = np.array([[c, -s], [s, c]]) @ p[:2]
    p = SENSOR[:3, :3].T @ (p - SENSOR[:3, 3:])
    return np.vstack([p, rng.uniform(0, 255, points)]).T.astype(np.float32)


def cloud(stamp: int, points: np.ndarray, frame: str = 'lidar', cut: int = 0):
    """cut: bytes that are missing at the end."""
    fields = [T['sensor_msgs/msg/PointField'](n, 4 * i, 7, 1) for i, n in enumerate(('x', 'y', 'z', 'intensity'))]
    data = np.frombuffer(points.tobytes()[:points.nbytes - cut], np.uint8)
    return T['sensor_msgs/msg/PointCloud2'](header(stamp, frame), 1, len(points), fields, False, 16, 16 * len(points),
                                            data, True)


def map_image(stamp: int, size: int = 240):
    image = np.zeros((size, size), np.uint8)
    image[:, size // 2 - 12:size // 2 + 12] = 255
    return T['sensor_msgs/msg/Image'](header(stamp, 'base_link'), size, size, 'mono8', 0, size, image.reshape(-1))


def odometry(stamp: int, x: float):
    return odometry_of(stamp, se3_from_quaternion((x, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))


def odometry_of(stamp: int, T_odom_child: np.ndarray, child: str = 'base_link'):
    V = T['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0)
    at = T['geometry_msgs/msg/Pose'](T['geometry_msgs/msg/Point'](*T_odom_child[:3, 3].tolist()),
                                     T['geometry_msgs/msg/Quaternion'](*quaternion_from_rotation(T_odom_child[:3, :3])))
    pose = T['geometry_msgs/msg/PoseWithCovariance'](at, np.zeros(36))
    twist = T['geometry_msgs/msg/TwistWithCovariance'](T['geometry_msgs/msg/Twist'](V, V), np.zeros(36))
    return T['nav_msgs/msg/Odometry'](header(stamp, 'odom'), child, pose, twist)


def transform_message(stamp: int, parent: str, child: str, T_parent_child: np.ndarray):
    """One transform, for /tf and /tf_static."""
    transform = T['geometry_msgs/msg/Transform'](
        T['geometry_msgs/msg/Vector3'](*T_parent_child[:3, 3].tolist()),
        T['geometry_msgs/msg/Quaternion'](*quaternion_from_rotation(T_parent_child[:3, :3])))
    return T['tf2_msgs/msg/TFMessage']([T['geometry_msgs/msg/TransformStamped'](header(stamp, parent), child,
                                                                              transform)])


def static_transform(stamp: int):
    return transform_message(stamp, 'base_link', 'lidar', SENSOR)


def drive(sweeps: int = 4, start: int = T0) -> list[tuple[int, str, object]]:
    """(recorded at, topic, message) of a plain drive, in order."""
    events = [(start, '/tf_static', static_transform(start))]
    for i in range(sweeps):
        stamp = start + i * PERIOD
        events += [(stamp, '/odom', odometry(stamp, 2.0 * i)), (stamp, '/map_image', map_image(stamp)),
                   (stamp, '/lidar/points', cloud(stamp, street(i)))]
    return events


def write(path: Path, events, storage: str = 'mcap', types: dict[str, str] | None = None) -> Path:
    """types: topics beside or instead of TOPICS. A message of bytes is written as it is."""
    types = {**TOPICS, **(types or {})}
    with Writer(path, version=9, storage_plugin=STORAGE[storage]) as bag:
        used = dict.fromkeys(topic for _, topic, _ in events)
        link = {t: bag.add_connection(t, types[t], typestore=STORE) for t in used}
        for stamp, topic, message in events:
            data = message if isinstance(message, bytes) else STORE.serialize_cdr(message, types[topic])
            bag.write(link[topic], stamp, data)
    return path


def lively_checkpoint(path: Path) -> Path:
    """Random weights whose head is strong enough that answers differ clearly between sweeps."""
    loaded = checkpoints.untrained(seed=3)
    with torch.no_grad():
        loaded.network.head.weight.mul_(100.0)
        loaded.network.head.bias.zero_()
        loaded.network.no_direction.bias.fill_(-10.0)
    checkpoints.save(path, loaded.network, Calibration(), {'note': 'random weights for tests'})
    return path


def lively_options(folder: Path) -> list[str]:
    """Options of `replay` for a `lively_checkpoint`, made in the folder, with a direction for every sweep."""
    checkpoint = lively_checkpoint(folder / 'lively.safetensors')
    return ['--pictures', '0', '--device', 'cpu', '-p', f'checkpoint:={checkpoint}', '-p', 'threads:=1', '-p',
            'branches.min_direction_probability:=0.0']
