# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps of a scene: where the vehicle came from, and what its sensor saw there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.simulation.sensors.lidar import LidarModel
from attention_fusion_ros.simulation.sensors.odometry import WHEELS_EXTENT_M, odometry_error
from attention_fusion_ros.simulation.sensors.raster import rasterise
from attention_fusion_ros.simulation.sensors.scan import base_pose, scan_raster
from attention_fusion_ros.simulation.world.polyline import arc_length, point_at, project, smoothed
from attention_fusion_ros.simulation.world.world import World

CORNER_M = 3.0  # standard deviation of the smoothing that makes a driven path of centre lines
STANDING = 0.15  # share of the scenes in which the vehicle stands
FASTEST_M_S = 12.0
INTERVALS_S = (0.1, 0.2, 0.5)  # between two sweeps


@dataclass(frozen=True)
class PastSweep:
    """A sweep taken before now."""

    xyz: np.ndarray  # (N, 3) float32, m, in base_link as it was then
    intensity: np.ndarray | None  # (N,)
    T_now_then: np.ndarray  # (4, 4) base_link then -> base_link now, as odometry tells it
    age_s: float  # how long ago


def past_sweeps(world: World, lidar: LidarModel, rng: np.random.Generator, count: int) -> list[PastSweep]:
    """The `count` sweeps before now, the last one first. What moves was elsewhere then.

    Without a route in the world, or where it begins too near, the vehicle has stood still.
    """
    interval = float(rng.choice(INTERVALS_S))
    speed = 0.0 if rng.random() < STANDING else float(rng.uniform(0.5, FASTEST_M_S))
    T_world_now = base_pose(rasterise(world.without_vehicles(), world.pose, extent=WHEELS_EXTENT_M), world.pose)
    error = np.eye(4)
    sweeps: list[PastSweep] = []
    for k in range(1, count + 1):
        pose = pose_before(world, speed * interval * k)
        then = replace(world, vehicles=tuple(v.before(interval * k) for v in world.vehicles))
        raster = rasterise(then, pose)
        cloud = scan_raster(raster, then, pose, lidar, rng)
        T = lidar.T_base_sensor
        xyz = (cloud.xyz @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
        if speed > 0:
            error = error @ odometry_error(rng)
        sweeps.append(PastSweep(xyz, cloud.intensity, error @ inverse(T_world_now) @ base_pose(raster, pose),
                                interval * k))
    return sweeps


def pose_before(world: World, distance: float) -> tuple[float, float, float]:
    """The pose of the vehicle `distance` metres ago: as far aside of the way, and looking off it, as now."""
    x, y, yaw = world.pose
    if world.route is None or distance <= 0:
        return world.pose
    line = smoothed(world.route, CORNER_M)
    along = arc_length(line)
    s, _ = project(line, (x, y))
    before = s - distance
    if before < 1.0:
        return world.pose
    now, then = _frame(line, along, s), _frame(line, along, before)
    aside = now[:2, :2].T @ (np.array([x, y]) - now[:2, 2])
    place = then[:2, :2] @ aside + then[:2, 2]
    turn = math.atan2(then[1, 0], then[0, 0]) - math.atan2(now[1, 0], now[0, 0])
    return float(place[0]), float(place[1]), float(yaw + turn)


def _frame(line: np.ndarray, along: np.ndarray, s: float) -> np.ndarray:
    """(3, 3) pose on the line at arc length s, x along it."""
    a, b = point_at(line, [max(s - 0.5, 0.0), min(s + 0.5, along[-1])], along)
    u = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    return np.array([[u[0], -u[1], (a[0] + b[0]) / 2], [u[1], u[0], (a[1] + b[1]) / 2], [0.0, 0.0, 1.0]])
