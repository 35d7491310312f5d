# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One world, seen by a moving vehicle: by a whole LiDAR, by two halves of one, and in parts of a turn."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.geometry import inverse, quaternion_from_yaw, se3_from_quaternion, transform_points
from support import synthetic_bag as bag

PERIOD_S = 0.1
SPEED, YAW_RATE = 10.0, 0.3  # m/s, rad/s
REAR = np.array([[-1.0, 0.0, 0.0, -1.5], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.2], [0.0, 0.0, 0.0, 1.0]])
LAG_S = 0.03  # the LiDAR ahead is stamped that much earlier


def base_pose(seconds: float) -> np.ndarray:
    """(4, 4) T_odom_base of a steady bend to the left."""
    yaw, radius = YAW_RATE * seconds, SPEED / YAW_RATE
    return se3_from_quaternion((radius * math.sin(yaw), radius * (1 - math.cos(yaw)), 0.0), quaternion_from_yaw(yaw))


def world() -> np.ndarray:
    """(N, 4) float64 x y z intensity in odom: ground and facades around the first seconds of the drive."""
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(-30, 45, 6000), rng.uniform(-30, 35, 6000), rng.normal(0, 0.02, 6000),
                       rng.uniform(0, 255, 6000)], 1)
    walls = rng.random(6000) < 0.3
    points[walls, 1] = np.where(rng.random(walls.sum()) < 0.5, -12.0, 20.0)
    points[walls, 2] = rng.uniform(0, 5, walls.sum())
    return points


def seen(points: np.ndarray, T_base_sensor: np.ndarray, seconds: float) -> np.ndarray:
    """(N, 4) float32 world points in the sensor frame at a time."""
    xyz = transform_points(inverse(base_pose(seconds) @ T_base_sensor), points[:, :3])
    return np.column_stack([xyz, points[:, 3]]).astype(np.float32)


def bearings(points: np.ndarray, seconds: float) -> np.ndarray:
    """(N,) bearings of world points from the vehicle, rad."""
    xyz = transform_points(inverse(base_pose(seconds)), points[:, :3])
    return np.arctan2(xyz[:, 1], xyz[:, 0])


def stamp(seconds: float) -> int:
    return bag.T0 + round(seconds * 1e9)


def plain(duration_s: float, odometry: bool = True) -> list[tuple[int, str, object]]:
    """Transforms of both sensors, and odometry at 50 Hz from before the first sweep."""
    events = [(stamp(-0.2), '/tf_static', bag.transform_message(stamp(0), 'base_link', frame, T))
              for frame, T in (('lidar', bag.SENSOR), ('rear', REAR))]
    if odometry:
        events += [(stamp(t), '/odom', bag.odometry_of(stamp(t), base_pose(t)))
                   for t in np.arange(-0.2, duration_s, 0.02)]
    return events


def whole(sweeps: int) -> list[tuple[int, str, object]]:
    """One LiDAR that sees everything."""
    return [(stamp(k * PERIOD_S), '/lidar/points', bag.cloud(stamp(k * PERIOD_S),
                                                             seen(world(), bag.SENSOR, k * PERIOD_S)))
            for k in range(sweeps)]


def two_halves(sweeps: int, rear_topic: str, rear_frame: str = 'rear', gain: float = 1.0, lag_s: float = LAG_S,
               silent: range = range(0)) -> list[tuple[int, str, object]]:
    """A LiDAR that sees what is ahead, and one that sees what is behind and stamps `lag_s` later.

    gain: of the rear one's intensity. silent: sweeps that the one ahead does not send.
    """
    events, points = [], world()
    T_rear = REAR if rear_frame == 'rear' else bag.SENSOR
    for k in range(sweeps):
        t = k * PERIOD_S
        ahead = np.abs(bearings(points, t)) < math.pi / 2
        if k not in silent:
            events.append((stamp(t - lag_s + 0.005), '/lidar/points',
                           bag.cloud(stamp(t - lag_s), seen(points[ahead], bag.SENSOR, t - lag_s))))
        behind = seen(points[~ahead], T_rear, t)
        behind[:, 3] *= gain
        events.append((stamp(t + 0.005), rear_topic, bag.cloud(stamp(t), behind, rear_frame)))
    return events


def parts_of_turns(sweeps: int, count: int) -> list[tuple[int, str, object]]:
    """Each turn of one LiDAR in `count` messages, each stamped when its last point was measured."""
    events, points = [], world()
    for k in range(sweeps):
        share = ((bearings(points, k * PERIOD_S) + math.pi) / (2 * math.pi) * count).astype(int).clip(0, count - 1)
        for part in range(count):
            t = k * PERIOD_S - (count - 1 - part) * PERIOD_S / count
            events.append((stamp(t + 0.002), '/lidar/points',
                           bag.cloud(stamp(t), seen(points[share == part], bag.SENSOR, t))))
    return events
