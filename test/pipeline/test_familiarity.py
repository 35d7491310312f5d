# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps that look like nothing the network was trained on, and sweeps that are mounted otherwise than said."""

import numpy as np
import pytest
import torch
from support.pcd import read_pcd

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Familiarity, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.pipeline.familiarity import UNFAMILIAR, fit, statistics, summary, unfamiliar
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.plausibility import BLIND, GROUND_ABOVE, GROUND_FAR
from attention_fusion_ros.simulation.sensors.lidar import PRESETS
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.world.generate import generate_world

ROOMS = ('40p', '64', 'ot128', 'qt128', 'vlp16', 'vlp32', 'xt32')
HEIGHT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]], float)


@pytest.fixture(scope='module')
def pipeline():
    return FusionPipeline(from_flat({'device': 'cpu', 'threads': 1}))


def run(pipeline, xyz, T=HEIGHT):
    return pipeline.run(SyncedSweep(PointCloud(1, 'lidar', np.asarray(xyz, np.float32), None), Motion(T)))


def names(result):
    return [finding.name for finding in result.findings]


@pytest.fixture(scope='module')
def simulated():
    world = generate_world(20_000_001)
    return scan(world, world.pose, PRESETS['hdl_64e'](), 1)


@pytest.mark.data
@pytest.mark.parametrize('sensor', ROOMS)
def test_a_room_is_no_road(pipeline, shared_folder, sensor):
    result = run(pipeline, read_pcd(shared_folder / 'data' / 'sensors' / f'{sensor}.pcd'))
    assert result.branches == () and result.direction is None and UNFAMILIAR in names(result)
    assert result.direction_reason.startswith(f'{UNFAMILIAR}: ')
    assert result.distribution == pytest.approx(1 / len(result.distribution))
    assert 'Remedy' in result.findings[0].message


@pytest.mark.data
def test_a_real_road_is_one(pipeline, shared_folder):
    result = run(pipeline, read_pcd(shared_folder / 'data' / 'sensors' / 'vls128.pcd'))
    assert result.branches and names(result) == []


def test_a_simulated_sweep_has_nothing_implausible(pipeline, simulated):
    cloud, T = simulated
    result = run(pipeline, cloud.xyz, T)
    assert names(result) == [] and result.branches and result.coverage.seen.mean() > 0.5


def test_a_sensor_that_is_mounted_otherwise_than_said(pipeline, simulated):
    cloud, T = simulated
    assert GROUND_FAR in names(run(pipeline, cloud.xyz, np.eye(4)))
    mirrored = run(pipeline, cloud.xyz, T @ np.diag([1.0, -1.0, -1.0, 1.0]))
    assert GROUND_ABOVE in names(mirrored)
    assert mirrored.branches == () and mirrored.direction_reason.startswith(f'{GROUND_ABOVE}: '), 'left is not right'


def test_a_sector_without_returns_is_named_in_degrees(pipeline, simulated):
    cloud, T = simulated
    ahead = np.abs(np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0])) < np.radians(60)
    result = run(pipeline, cloud.xyz[~ahead], T)
    (found,) = (f for f in result.findings if f.name == BLIND)
    assert 'right through ahead to' in found.message and 'left of ahead' in found.message and 'Remedy' in found.message
    assert result.direction is None and result.direction_reason.startswith('not_seen: ')


def test_what_earlier_sweeps_saw_does_not_excuse_a_dirty_sensor(pipeline, simulated):
    cloud, T = simulated
    some = cloud.xyz[::4]  # few enough points for earlier sweeps to count

    def after(seconds, xyz):
        stamped = PointCloud(10**9 + round(1e9 * seconds), 'lidar', np.ascontiguousarray(xyz, np.float32), None)
        return pipeline.run(SyncedSweep(stamped, Motion(T, np.eye(4))))
    pipeline.reset()
    after(0.0, some)
    result = after(0.1, some[np.abs(np.arctan2(some[:, 1], some[:, 0])) > np.radians(60)])
    pipeline.reset()
    assert BLIND in names(result) and not result.direction_reason.startswith('not_seen'), 'named, and seen before'


def test_the_limit_is_that_of_the_farthest_held_back_sweep():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(500, 4))
    known = fit(samples, samples)
    assert max(known.distance(row) for row in samples) == pytest.approx(known.limit)
    assert known.distance(np.full(4, 10.0)) > known.limit


def test_too_few_cells_say_nothing():
    grid = torch.zeros(5, 64, 64)
    assert statistics(summary(grid).numpy()) is None
    assert unfamiliar(summary(grid).numpy(), Familiarity((0.0,) * 4, tuple(map(tuple, np.eye(4))), 0.1)) is None
    cells = lidar_bev(torch.rand(5000, 3) * 30, None, Grid())
    assert unfamiliar(summary(cells).numpy(), None) is None, 'a checkpoint that does not know what is familiar'
