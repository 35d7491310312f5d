# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of a fixed number of points in a street with facades, as a driver sends them: made for speed, not for truth.

Every ray hits something, so that the number of points is exact.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

POINTS = 120_000  # a turn of a 64-beam sensor at 10 Hz
BEAMS = 64
LOWEST, HIGHEST = math.radians(-24.8), math.radians(2.0)  # elevation
SENSOR_HEIGHT = 1.8  # m
FACADES, FAR = 12.0, 70.0  # m to both sides and ahead: everything is seen against a wall
PERIOD = 0.1  # s of a turn
T_BASE_SENSOR = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, SENSOR_HEIGHT], [0, 0, 0, 1]])
FRAME = 'lidar'
# The layout of the Velodyne driver: packed, 22 bytes a point.
POINT = np.dtype({'names': ['x', 'y', 'z', 'intensity', 'ring', 'time'],
                  'formats': ['<f4', '<f4', '<f4', '<f4', '<u2', '<f4'],
                  'offsets': [0, 4, 8, 12, 16, 18], 'itemsize': 22})
UINT16, FLOAT32 = 4, 7  # sensor_msgs/PointField
FIELDS = tuple((name, POINT.fields[name][1], UINT16 if name == 'ring' else FLOAT32) for name in POINT.names)
MAP_SIZE, MAP_RESOLUTION = 320, 0.25  # px, m/px
ROAD_WIDTH, ROUTE_WIDTH = 7.0, 1.0  # m


def sweep(seed: int, points: int = POINTS) -> np.ndarray:
    """(points,) POINT in the sensor frame, x forward. Another seed gives other noise, not another street."""
    rng = np.random.default_rng(seed)
    ring = (np.arange(points) % BEAMS).astype(np.uint16)
    turn = np.arange(points) // BEAMS / max(1, -(-points // BEAMS))
    azimuth = 2 * math.pi * turn + rng.normal(0, 1e-4, points)
    elevation = LOWEST + (HIGHEST - LOWEST) * ring / (BEAMS - 1)
    direction = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                          np.sin(elevation)], axis=1)
    with np.errstate(divide='ignore'):
        ground = np.where(direction[:, 2] < 0, -SENSOR_HEIGHT / direction[:, 2], np.inf)
        walls = np.minimum(FACADES / np.abs(direction[:, 1]), FAR / np.abs(direction[:, 0]))
    distance = np.minimum(ground, walls) + rng.normal(0, 0.02, points)
    out = np.zeros(points, POINT)
    for i, axis in enumerate('xyz'):
        out[axis] = direction[:, i] * distance
    out['intensity'] = rng.uniform(0, 255, points)
    out['ring'], out['time'] = ring, (turn - 1) * PERIOD
    return out


def cloud_message(points: np.ndarray, stamp_ns: int) -> SimpleNamespace:
    """A sensor_msgs/PointCloud2 by its looks."""
    fields = [SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1)
              for name, offset, datatype in FIELDS]
    return SimpleNamespace(header=_header(stamp_ns, FRAME), height=1, width=len(points), fields=fields,
                           is_bigendian=False, point_step=POINT.itemsize, row_step=points.nbytes,
                           data=points.tobytes(), is_dense=True)


def map_picture() -> np.ndarray:
    """(320, 320, 3) uint8 rgb: a straight road with a side road to the left, and the route along the straight one."""
    image = np.zeros((MAP_SIZE, MAP_SIZE, 3), np.uint8)
    middle, half = MAP_SIZE // 2, round(ROAD_WIDTH / 2 / MAP_RESOLUTION)
    image[:, middle - half:middle + half] = 255
    image[middle - 4 * half:middle - 2 * half, :middle] = 255
    half = round(ROUTE_WIDTH / 2 / MAP_RESOLUTION)
    image[:, middle - half:middle + half] = (255, 0, 0)
    return image


def map_message(image: np.ndarray, stamp_ns: int) -> SimpleNamespace:
    """A sensor_msgs/Image by its looks. image: (H, W, 3) uint8 rgb."""
    return SimpleNamespace(header=_header(stamp_ns, 'base_link'), height=image.shape[0], width=image.shape[1],
                           encoding='rgb8', is_bigendian=0, step=3 * image.shape[1], data=image.tobytes())


def _header(stamp_ns: int, frame: str) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame)
