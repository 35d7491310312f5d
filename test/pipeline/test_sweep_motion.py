# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps that do not move with the vehicle are named; those of good sensors and of poor ones are not."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import pytest

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.geometry import inverse, transform_points
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.sweep_motion import SWEEPS_MOVE_OTHERWISE, SweepMotionCheck

PERIOD_NS = 200_000_000
SENSOR = np.eye(4)
SENSOR[2, 3] = 1.8


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    T = np.eye(4)
    T[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    T[:2, 3] = x, y
    return T


def turn(angle: float) -> np.ndarray:
    return pose(0.0, 0.0, angle)


def way() -> list[np.ndarray]:
    """Every 2 m: along a street, round a corner to the left, and on."""
    ahead = [(float(x), 0.0, 0.0) for x in range(-40, 34, 2)]
    corner = [(34 + 6 * math.sin(a), 6 - 6 * math.cos(a), a) for a in np.linspace(0.0, math.pi / 2, 14)]
    return [pose(*place) for place in (*ahead, *corner[1:], *((40.0, float(y), math.pi / 2) for y in range(8, 60, 2)))]


@functools.cache
def town() -> np.ndarray:
    """(N, 3) ground, houses with gaps between them along both streets, and trees, in odom."""
    rng = np.random.default_rng(0)
    houses = [(x, side * 11.0, length, 0.0) for side in (-1, 1) for x, length in
              ((-90, 14), (-68, 9), (-51, 17), (-25, 8), (-9, 12), (13, 10), (58, 15), (80, 9)) if side < 0 or x < 30]
    houses += [(40 + side * 11.0, y, length, math.pi / 2) for side in (-1, 1) for y, length in
               ((14, 8), (30, 15), (52, 10), (70, 16), (-40, 12))]
    walls = []
    for x, y, length, along in houses:
        t = rng.uniform(0, length, (int(60 * length), 1))
        walls.append(np.hstack([x + t * math.cos(along), y + t * math.sin(along), rng.uniform(0, 7, t.shape)]))
    trees = [np.hstack([rng.normal(0, 0.3, (80, 2)) + at, rng.uniform(0, 5, (80, 1))])
             for at in rng.uniform((-90, -20), (90, 90), (40, 2))]
    ground = np.hstack([rng.uniform(-100, 120, (60_000, 2)), rng.normal(0, 0.02, (60_000, 1))])
    return np.concatenate([ground, *walls, *trees])


def sweep(T_odom_base: np.ndarray, T_base_sensor: np.ndarray = SENSOR, reach: float = 40.0) -> np.ndarray:
    """(N, 3) float32 what the sensor sees, in its frame."""
    points = transform_points(inverse(T_odom_base @ T_base_sensor), town())
    return points[np.hypot(points[:, 0], points[:, 1]) < reach].astype(np.float32)


def say(clouds: list[np.ndarray], odometry: list[np.ndarray]) -> list[str]:
    """What is said of the sweeps. odometry: T_odom_base of each."""
    check = SweepMotionCheck()
    found = [check.finding(PointCloud(1 + k * PERIOD_NS, 'lidar', xyz, None), Motion(SENSOR, T, None))
             for k, (xyz, T) in enumerate(zip(clouds, odometry, strict=True))]
    return [finding.message for finding in found if finding is not None]


@pytest.mark.parametrize('see', [
    lambda xyz: xyz, lambda xyz: xyz[::10], lambda xyz: xyz[np.abs(np.arctan2(xyz[:, 1], xyz[:, 0])) < 1.0],
    lambda xyz: xyz[np.hypot(xyz[:, 0], xyz[:, 1]) < 20.0], lambda xyz: xyz[:5], lambda xyz: xyz[:0],
    lambda xyz: xyz[xyz[:, 2] < -1.0]])
def test_sweeps_that_are_as_they_should_be(see):
    """All around, sparse, ahead only, short-sighted, nearly nothing, nothing, and no walls."""
    start = inverse(pose(30.0, -20.0, 2.0))  # odometry begins anywhere
    assert not say([see(sweep(T)) for T in way()], [start @ T for T in way()])


@pytest.mark.parametrize('angle', [math.pi / 2, -math.pi / 2, math.pi, math.radians(40.0)])
def test_a_sensor_that_is_turned(angle):
    said = say([sweep(T, SENSOR @ turn(angle)) for T in way()], way())
    assert len(said) > len(way()) // 2 and 'T_base_sensor' in said[0] and 'Remedy' in said[0]
    assert 'odometry tells 8 m and 0 m, turned by 0 degrees' in said[0]


@pytest.mark.parametrize('what', ['points', 'odometry'])
def test_what_is_mirrored_shows_where_the_vehicle_turns(what):
    mirror = np.diag([1.0, -1.0, 1.0, 1.0])
    clouds, odometry = [sweep(T) for T in way()], way()
    if what == 'points':
        clouds = [xyz * np.float32([1, -1, 1]) for xyz in clouds]
    else:
        odometry = [mirror @ T @ mirror for T in odometry]
    said = say(clouds, odometry)
    told, found = map(int, re.findall(r'turned by (-?\d+) degrees', said[0]))
    assert abs(told) >= 20 and found == -told


def test_odometry_that_is_off_by_what_odometry_is():
    for scale, drift in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.005)):
        poses = [T @ turn(drift * k) for k, T in enumerate(way())]
        for T in poses:
            T[:3, 3] *= scale
        assert not say([sweep(T) for T in way()], poses)


def test_odometry_that_stands_still_although_the_vehicle_drives():
    slowly = [T for T in way() for _ in range(2)]  # 5 m/s
    assert say([sweep(T) for T in slowly], [way()[0]] * len(slowly))
    assert not say([sweep(way()[0])] * len(slowly), [way()[0]] * len(slowly))


def test_without_odometry_and_after_a_jump_of_time_nothing_is_said():
    check = SweepMotionCheck()
    for k, T in enumerate(way()):
        assert check.finding(PointCloud(k + 1, 'lidar', sweep(T), None), Motion(SENSOR, None, None)) is None
    wrong = [sweep(T, SENSOR @ turn(math.pi)) for T in way()]
    found = [check.finding(PointCloud(k + 1, 'lidar', xyz, None), Motion(SENSOR, T, None))
             for k, (xyz, T) in enumerate(zip(wrong, way()))]
    assert found[-1] is not None
    check.clear()
    assert check.finding(PointCloud(1, 'lidar', wrong[0], None), Motion(SENSOR, way()[0], None)) is None


def test_results_tell():
    pipeline = FusionPipeline(from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu',
                                         'threads': 1}))
    found = []
    for k, T in enumerate(way()):
        xyz = sweep(T, SENSOR @ turn(math.pi / 2))
        cloud = PointCloud(1 + k * PERIOD_NS, 'lidar', xyz, np.zeros(len(xyz), np.float32))
        found.append({finding.name for finding in pipeline.run(SyncedSweep(cloud, Motion(SENSOR, T, None))).findings})
    assert SWEEPS_MOVE_OTHERWISE not in found[0] and SWEEPS_MOVE_OTHERWISE in found[-1]
    pipeline.reset()
    pipeline.close()
