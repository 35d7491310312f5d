# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of a fixed number of points in a street with facades, as a driver sends them: made for speed, not for truth.

Every ray hits something, so that the number of points is exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_fusion_ros.decode import plain_messages
from attention_fusion_ros.decode.plain_messages import VELODYNE_POINT

POINTS = 120_000  # a turn of a 64-beam sensor at 10 Hz
BEAMS = 64
LOWEST_RAD, HIGHEST_RAD = math.radians(-24.8), math.radians(2.0)  # elevation
SENSOR_HEIGHT_M = 1.8
FACADES_M, FAR_M = 12.0, 70.0  # to both sides and ahead: everything is seen against a wall
PERIOD_S = 0.1  # of a turn
T_BASE_SENSOR = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, SENSOR_HEIGHT_M], [0, 0, 0, 1]])
FRAME = 'lidar'
MAP_SIZE_PX, MAP_RESOLUTION_M = 320, 0.25  # resolution per pixel
ROAD_WIDTH_M, ROUTE_WIDTH_M = 7.0, 1.0


def sweep(seed: int, points: int = POINTS) -> np.ndarray:
    """(points,) of VELODYNE_POINT in the sensor frame, x forward. The seed changes the noise, not the street."""
    rng = np.random.default_rng(seed)
    ring = (np.arange(points) % BEAMS).astype(np.uint16)
    turn = np.arange(points) // BEAMS / max(1, -(-points // BEAMS))
    azimuth = 2 * math.pi * turn + rng.normal(0, 1e-4, points)
    elevation = LOWEST_RAD + (HIGHEST_RAD - LOWEST_RAD) * ring / (BEAMS - 1)
    direction = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                          np.sin(elevation)], axis=1)
    with np.errstate(divide='ignore'):
        ground = np.where(direction[:, 2] < 0, -SENSOR_HEIGHT_M / direction[:, 2], np.inf)
        walls = np.minimum(FACADES_M / np.abs(direction[:, 1]), FAR_M / np.abs(direction[:, 0]))
    distance = np.minimum(ground, walls) + rng.normal(0, 0.02, points)
    out = np.zeros(points, VELODYNE_POINT)
    for i, axis in enumerate('xyz'):
        out[axis] = direction[:, i] * distance
    out['intensity'] = rng.uniform(0, 255, points)
    out['ring'], out['time'] = ring, (turn - 1) * PERIOD_S
    return out


def message(seed: int, points: int = POINTS, stamp_ns: int = 10**9) -> Any:
    """The sweep as a sensor_msgs/PointCloud2, without ROS."""
    return plain_messages.point_cloud(sweep(seed, points), stamp_ns, FRAME)


def map_picture() -> np.ndarray:
    """(320, 320, 3) uint8 rgb: a straight road with a side road to the left, and the route along the straight one."""
    image = np.zeros((MAP_SIZE_PX, MAP_SIZE_PX, 3), np.uint8)
    middle, half = MAP_SIZE_PX // 2, round(ROAD_WIDTH_M / 2 / MAP_RESOLUTION_M)
    image[:, middle - half:middle + half] = 255
    image[middle - 4 * half:middle - 2 * half, :middle] = 255
    half = round(ROUTE_WIDTH_M / 2 / MAP_RESOLUTION_M)
    image[:, middle - half:middle + half] = (255, 0, 0)
    return image
