# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Good messages of every other input: map images, grids, odometry, transforms, fixes, headings, goals, paths."""

from __future__ import annotations

import random
from types import SimpleNamespace

import cv2
import numpy as np

from attention_fusion_ros.decode.image import ENCODINGS
from fuzz.clouds import STAMP, header

SUFFIXES = ('.png', '.png', '.jpg')


def _pixels(choices: random.Random, encoding: str) -> np.ndarray:
    """(H, W, C) of a map, or of noise, in the data type of an encoding."""
    rng = np.random.default_rng(choices.randrange(2**16))
    kind, letters = ENCODINGS[encoding]
    height, width = choices.choice(((9, 11), (1, 1), (40, 30), (1, 200), (64, 64)))
    if choices.randrange(2):
        values = rng.random((height, width, len(letters)))
    else:
        values = np.zeros((height, width, len(letters)))
        values[:, width // 2] = choices.choice((1.0, 0.1, 0.003))
        if 'r' in letters and choices.randrange(2):
            values[height // 2] = 0.0
            values[height // 2, :, letters.index('r')] = 1.0
    full = {'u1': 255, 'u2': choices.choice((65535, 4095, 255, 1)), 'f4': choices.choice((1.0, 255.0, 1e30))}[kind]
    pixels: np.ndarray = (values * full).astype(kind)
    if kind == 'f4' and choices.randrange(2):
        pixels[:: 1 + choices.randrange(4)] = choices.choice((np.nan, np.inf, -1.0, 9999.0, 1e38))
    return pixels


def image(choices: random.Random) -> SimpleNamespace:
    """A sensor_msgs/Image in one of the encodings, with padded rows and of both byte orders."""
    encoding, big, padding = choices.choice(list(ENCODINGS)), choices.randrange(2), choices.choice((0, 0, 3))
    pixels = _pixels(choices, encoding)
    pixels = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xCD)
    return SimpleNamespace(header=header(choices, choices.choice(('base_link', 'camera_optical', ''))),
                           height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=big,
                           step=data.shape[1], data=data.tobytes())


def image_file(choices: random.Random) -> bytes:
    """A PNG or JPEG file: grey, colour, alpha, 8 and 16 bit."""
    suffix = choices.choice(SUFFIXES)
    names = ['mono8', 'bgr8', 'bgra8', 'mono16'] if suffix == '.png' else ['mono8', 'bgr8']
    pixels = _pixels(choices, choices.choice(names))
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def compressed_image(choices: random.Random) -> SimpleNamespace:
    """A sensor_msgs/CompressedImage."""
    return SimpleNamespace(header=header(choices, 'base_link'), format=choices.choice(('png', 'jpeg', 'rgb8; png', '')),
                           data=image_file(choices))


def vector(choices: random.Random) -> SimpleNamespace:
    """A position in the neighbourhood."""
    return SimpleNamespace(x=choices.uniform(-50, 50), y=choices.uniform(-50, 50), z=choices.uniform(-3, 3))


def quaternion(choices: random.Random) -> SimpleNamespace:
    """A rotation."""
    values = np.array([choices.random() - 0.5 for _ in range(4)]) + 1e-3
    return SimpleNamespace(**dict(zip('xyzw', (values / np.linalg.norm(values)).tolist())))


def pose(choices: random.Random) -> SimpleNamespace:
    """A geometry_msgs/Pose."""
    return SimpleNamespace(position=vector(choices), orientation=quaternion(choices))


def pose_with_covariance(choices: random.Random) -> SimpleNamespace:
    """A geometry_msgs/PoseWithCovariance."""
    return SimpleNamespace(pose=pose(choices), covariance=np.diag([choices.random()] * 6).ravel().tolist())


def grid(choices: random.Random) -> SimpleNamespace:
    """A nav_msgs/OccupancyGrid."""
    height, width = choices.choice(((5, 7), (1, 1), (30, 20)))
    info = SimpleNamespace(map_load_time=SimpleNamespace(sec=0, nanosec=0), resolution=choices.uniform(0.05, 1.0),
                           width=width, height=height, origin=pose(choices))
    return SimpleNamespace(header=header(choices, 'map'), info=info, data=choices.randbytes(width * height))


def odometry(choices: random.Random) -> SimpleNamespace:
    """A nav_msgs/Odometry."""
    return SimpleNamespace(header=header(choices, 'odom'), child_frame_id='base_link',
                           pose=pose_with_covariance(choices))


def transforms(choices: random.Random) -> SimpleNamespace:
    """A tf2_msgs/TFMessage."""
    names = (('base_link', 'lidar'), ('odom', 'base_link'), ('map', 'odom'), ('base_link', 'imu'))
    return SimpleNamespace(transforms=[SimpleNamespace(
        header=header(choices, parent), child_frame_id=child,
        transform=SimpleNamespace(translation=vector(choices), rotation=quaternion(choices)))
        for parent, child in names[: 1 + choices.randrange(len(names))]])


def fix(choices: random.Random) -> SimpleNamespace:
    """A sensor_msgs/NavSatFix."""
    return SimpleNamespace(
        header=header(choices, 'gnss'), status=SimpleNamespace(status=choices.choice((-1, 0, 1, 2)), service=1),
        latitude=choices.uniform(-89, 89), longitude=choices.uniform(-180, 180), altitude=choices.uniform(-10, 900),
        position_covariance=[choices.random() for _ in range(9)], position_covariance_type=choices.randrange(4))


def imu(choices: random.Random) -> SimpleNamespace:
    """A sensor_msgs/Imu."""
    return SimpleNamespace(header=header(choices, 'imu'), orientation=quaternion(choices),
                           orientation_covariance=[0.01, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0, choices.random()],
                           angular_velocity=vector(choices), linear_acceleration=vector(choices))


def alignment(choices: random.Random) -> SimpleNamespace:
    """A geometry_msgs/PoseWithCovarianceStamped."""
    return SimpleNamespace(header=header(choices, 'base_link'), pose=pose_with_covariance(choices))


def goal_pose(choices: random.Random) -> SimpleNamespace:
    """A geometry_msgs/PoseStamped."""
    return SimpleNamespace(header=header(choices, choices.choice(('map', 'wgs84'))), pose=pose(choices))


def path(choices: random.Random) -> SimpleNamespace:
    """A nav_msgs/Path."""
    poses = [goal_pose(choices) for _ in range(choices.randrange(5))]
    return SimpleNamespace(header=header(choices, 'map'), poses=poses)


__all__ = ['STAMP', 'alignment', 'compressed_image', 'fix', 'goal_pose', 'grid', 'image', 'image_file', 'imu',
           'odometry', 'path', 'transforms']
