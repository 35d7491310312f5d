# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps of a simulated scene lie where the vehicle was, and fit the present one when moved by odometry."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets.scenes import SceneOptions, make_scene
from attention_fusion_ros.datasets.shards import SceneStore, write_shards
from attention_fusion_ros.simulation.sensors import past
from attention_fusion_ros.simulation.sensors.lidar import hdl_64e
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.world import Terrain, Vehicle, Wall, World

ROUTE = np.array([[-100.0, 0.0], [100.0, 0.0]])


def street(pose=(0.0, -1.5, 0.3)) -> World:
    walls = tuple(Wall(np.array([[a, y], [a + 9.0, y]]), 5.0, 0.3, 'wall') for a in range(-70, 70, 14) for y in (-8, 9))
    car = Vehicle(20.0, 1.6, math.pi, 4.4, 1.8, 1.5, 'car', False, 10.0)
    return World('straight', (), Terrain(kerb=0.0, roughness=0.0), walls, vehicles=(car,), route=ROUTE, pose=pose)


def test_the_vehicle_came_along_its_lane_looking_as_it_does_now():
    x, y, yaw = past.pose_before(street(), 7.0)
    assert (x, y, yaw) == pytest.approx((-7.0, -1.5, 0.3), abs=1e-6)


def test_in_a_bend_it_came_along_the_bend():
    angle = np.linspace(-math.pi / 2, 0, 200)
    circle = 40.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    world = replace(street(), route=circle, pose=(40 / math.sqrt(2), -40 / math.sqrt(2), math.pi / 4))
    x, y, yaw = past.pose_before(world, 40.0 * math.radians(20))
    assert math.hypot(x, y) == pytest.approx(40.0, abs=0.2)
    assert math.degrees(yaw) == pytest.approx(25.0, abs=0.5)


def test_without_a_way_it_has_stood():
    world = replace(street(), route=None)
    assert past.pose_before(world, 5.0) == world.pose


def test_earlier_sweeps_show_the_same_walls_where_they_are(monkeypatch):
    monkeypatch.setattr(past, 'STANDING', 0.0)
    world, sensor = street(), hdl_64e(steps=600)
    sweeps = past.past_sweeps(world, sensor, np.random.default_rng(3), 2)
    cloud, T = scan(world, world.pose, sensor, 1)
    now = cloud.xyz @ T[:3, :3].T + T[:3, 3]
    assert np.linalg.norm(sweeps[1].T_now_then[:2, 3]) > np.linalg.norm(sweeps[0].T_now_then[:2, 3]) > 0.04
    for sweep in sweeps:
        there = sweep.xyz @ sweep.T_now_then[:3, :3].T + sweep.T_now_then[:3, 3]
        assert share_near(walls(there), walls(now)) > 0.9
        unmoved = share_near(walls(sweep.xyz), walls(now))
        assert unmoved < share_near(walls(there), walls(now))


def walls(points: np.ndarray) -> set[tuple[int, int]]:
    """Cells of 0.8 m with points between 1.7 and 3 m, within 25 m: higher than the car."""
    chosen = points[(points[:, 2] > 1.7) & (points[:, 2] < 3.0) & (np.hypot(points[:, 0], points[:, 1]) < 25)]
    return {tuple(c) for c in np.floor(chosen[:, :2] / 0.8).astype(int).tolist()}


def share_near(a: set, b: set) -> float:
    """Share of the cells of a that are in b, or beside one of b."""
    grown = {(i + di, j + dj) for i, j in b for di in (-1, 0, 1) for dj in (-1, 0, 1)}
    return len(a & grown) / max(len(a), 1)


def test_what_moves_was_elsewhere():
    before = street().vehicles[0].before(0.5)
    assert (before.x, before.y) == pytest.approx((25.0, 1.6))  # it drives towards -x


def test_scenes_are_stored_with_their_past(tmp_path):
    grid = Grid(40.0, 64)
    folders = write_shards(300, 2, tmp_path, SceneOptions(grid, 20.0, past=2), workers=1)
    store = SceneStore(folders)
    features, moves = store.past(0)
    assert features.shape == (2, len(CHANNELS), 64, 64) and features.dtype == np.int8 and moves.shape == (2, 3)
    assert (features[0] != features[1]).any() and np.abs(moves).max() < 15
    without = SceneStore(write_shards(300, 1, tmp_path / 'without', SceneOptions(grid, 20.0), workers=1))
    assert without.past(0) is None
    assert np.array_equal(without[0][0], store[0][0])  # the past changes nothing of the present


def test_equal_seeds_give_equal_scenes():
    options = SceneOptions(Grid(40.0, 64), 20.0)
    first, second = (make_scene(next(s for s in range(400, 420) if make_scene(s, options)), options) for _ in range(2))
    assert all(np.array_equal(a.lidar, b.lidar) for a, b in zip(first, second))


def test_a_world_of_every_class_has_a_past():
    for scene_class in ('roundabout', 'dead_end', 'dual'):
        world = generate_world(5, scene_class)
        assert len(past.past_sweeps(world, hdl_64e(steps=360), np.random.default_rng(0), 1)[0].xyz) > 100
