# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way driven: what is remembered of it, where it lies now, and how it is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.track import LENGTH_M, MAX_STEP_M, SIGMA_M, SPACING_M, TrackBuffer, track_bev
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.simulation.sensors.track import driven_track
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.polyline import distances
from attention_fusion_ros.simulation.world.world import Road, Terrain, World


def pose(x: float, y: float = 0.0, yaw: float = 0.0, z: float = 0.0) -> np.ndarray:
    return se3_from_quaternion((x, y, z), quaternion_from_yaw(yaw))


def driven(metres: int, step: float = 1.0) -> TrackBuffer:
    buffer = TrackBuffer()
    for k in range(round(metres / step) + 1):
        buffer.add(k, pose(k * step))
    return buffer


def test_the_way_lies_behind_the_vehicle_newest_first():
    poses = driven(5).poses(pose(5.0, 0.0, math.pi / 2, z=3.0))
    # Turned to the left on the spot, what was behind is on the right.
    assert poses[:, :2] == pytest.approx(np.array([[0.0, k] for k in range(6)]), abs=1e-9)
    assert poses[:, 2] == pytest.approx(np.full(6, -math.pi / 2))


def test_a_frame_of_odometry_that_leans_changes_nothing():
    lean = np.eye(4)
    lean[:3, :3] = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]  # x of base_link points down in it
    buffer = TrackBuffer()
    for k in range(30):
        buffer.add(k, lean @ pose(float(k), 0.01 * k * k, 0.02 * k))
    level = TrackBuffer()
    for k in range(30):
        level.add(k, pose(float(k), 0.01 * k * k, 0.02 * k))
    last = pose(29.0, 0.01 * 29 * 29, 0.02 * 29)
    assert buffer.poses(lean @ last) == pytest.approx(level.poses(last), abs=1e-9) and len(level.poses(last)) == 30


def test_only_the_last_metres_are_kept_and_not_every_pose_of_them():
    poses = driven(150, 0.1).poses(pose(150.0))
    assert LENGTH_M - SPACING_M <= -poses[-1, 0] <= LENGTH_M + SPACING_M
    assert len(poses) <= LENGTH_M / SPACING_M + 2


@pytest.mark.parametrize('stamp, x', [(100, 20.0 + 2 * MAX_STEP_M), (3, 21.5)])
def test_a_jump_of_odometry_or_of_time_begins_a_new_way(stamp, x):
    buffer = driven(20)
    buffer.add(stamp, pose(x))
    assert len(buffer.poses(pose(x))) == 1
    buffer.clear()
    assert buffer.poses(pose(x)).shape == (0, 3)


def test_the_layer_is_a_gaussian_across_the_way():
    grid = Grid()
    layer = track_bev(np.array([[-k, 0.0, 0.0] for k in range(1, 61)]), grid)[0].numpy()
    x, y = grid.centres()
    on_the_way = (x < -3) & (x > -37)
    assert np.abs(layer - np.exp(-0.5 * (y / SIGMA_M) ** 2))[on_the_way].max() < 0.03
    assert layer[x > 4].max() < 0.01 and layer.max() <= 1.0
    assert track_bev(np.zeros((0, 3)), grid).shape == (1, 256, 256) and track_bev(np.zeros((0, 3)), grid).max() == 0


def test_the_layer_does_not_depend_on_how_densely_the_way_was_sampled():
    grid = Grid()
    way = np.array([[-0.5 * k, 0.002 * k * k] for k in range(1, 81)])
    assert np.abs((track_bev(way, grid) - track_bev(way[1::2], grid)).numpy()).max() < 0.05


def test_the_pipeline_makes_the_same_layer_from_odometry():
    pipeline = FusionPipeline(from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu'}))
    rng = np.random.default_rng(0)
    xyz = (rng.uniform(-30, 30, (2000, 3)) * (1, 1, 0.02)).astype(np.float32)
    poses = [pose(2.0 * k, 0.05 * k * k, 0.03 * k) for k in range(8)]
    sweeps = [SyncedSweep(PointCloud(10**9 + k * 10**8, 'base_link', xyz, None), Motion(np.eye(4), T))
              for k, T in enumerate(poses)]
    assert pipeline.preprocess.track(sweeps[0]).max() == 0
    for sweep in sweeps:
        pipeline.run(sweep)
    then = np.array([(np.linalg.inv(poses[-1]) @ T)[:2, 3] for T in poses[::-1]])
    expected = track_bev(then, pipeline.preprocess.grid)
    assert np.abs((pipeline.preprocess.track(sweeps[-1]) - expected).numpy()).max() < 1e-4
    assert float(expected.max()) > 0.9
    without = SyncedSweep(sweeps[-1].cloud, Motion(np.eye(4)))
    assert pipeline.preprocess.track(without).max() == 0
    pipeline.reset()
    assert pipeline.preprocess.track(sweeps[-1]).max() == 0


def test_the_simulated_way_lies_in_the_lane_along_the_route():
    lengths = []
    for seed in range(30):
        world = generate_world(seed)
        track = driven_track(world, np.random.default_rng(seed))
        lengths.append(len(track))
        if len(track) < 5:
            continue
        assert track.dtype == np.float32 and 0.5 < np.hypot(*track[0, :2]) < 1.5
        x, y, yaw = world.pose
        c, s = math.cos(yaw), math.sin(yaw)
        at = track[:, :2] @ np.array([[c, s], [-s, c]]) + (x, y)
        away = [distances(world.route, p).min() for p in at[:20]]
        assert np.abs(np.array(away) - distances(world.route, (x, y)).min()).max() < 2.5  # corners are cut
        on_roads = [min(distances(r.centre, p).min() - r.width / 2 for r in world.roads) < 0.6 for p in at[:20]]
        assert np.mean(on_roads) > 0.9
    assert 0 in lengths or min(lengths) < 20
    assert max(lengths) == 60


def test_odometry_drifts_the_more_the_farther_back():
    route = np.array([[-100.0, 0.0], [100.0, 0.0]])
    world = World('test', (Road(route, 8.0),), Terrain(), route=route, pose=(0.0, 0.0, 0.0))
    tracks = [t for t in (driven_track(world, np.random.default_rng(s)) for s in range(200)) if len(t) == 60]
    off = np.abs(np.array([t[:, 1] for t in tracks]))
    assert off[:, 2].mean() < 0.15 and off[:, 9].mean() < 0.5 and 0.1 < off[:, -1].mean() < 1.5
    assert driven_track(World('test', (), Terrain()), np.random.default_rng(0)).shape == (0, 3)
