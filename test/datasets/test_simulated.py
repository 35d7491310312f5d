# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples of the first network: sweeps without vehicles beside those with them, maps that mislead, mixed batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets import simulated
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SceneStore, find_shards, write_shard
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate, map_correction, misleading_error

GRID, BINS = Grid(cells=64), 24


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> SceneStore:
    folder = tmp_path_factory.mktemp('scenes') / 'shard'
    write_shard(range(0, 6), folder, SceneOptions(GRID, 20.0, profile='v2'))
    return SceneStore(find_shards([folder], GRID))


def data(store: SceneStore, augment: bool = True) -> SimulatedDataset:
    return SimulatedDataset(store, GRID, BINS, 1, augment)


def test_of_some_scenes_there_is_the_sweep_without_its_vehicles_with_the_same_faults(store):
    with_bare = [i for i in range(len(store)) if store.bare(i) is not None]
    assert with_bare and len(with_bare) < len(store)
    samples, changed = data(store), 0
    for epoch in range(6):
        samples.epoch = epoch
        for i in range(len(store)):
            item = samples[i]
            assert ('bare' in item) == (i in with_bare)
            if 'bare' not in item:
                continue
            stored, without = store[i][0], store.bare(i)
            apart = float((stored != without).any(axis=0).mean())  # what vehicles hide and show
            found = float((item['lidar'] != item['bare']).any(axis=0).mean())
            assert found <= apart + 0.02, 'turned alike, and the same cells are lost'
            changed += found > 0
    assert changed


def test_only_what_is_trained_on_has_sweeps_without_vehicles_and_maps_that_mislead(store, monkeypatch):
    before = [data(store, augment=False)[i] for i in range(len(store))]
    assert not any('bare' in item for item in before)
    monkeypatch.setattr(simulated, 'MISLED', 1.0)
    for i, item in enumerate(before):
        again = data(store, augment=False)[i]
        assert all(np.array_equal(item[name], again[name], equal_nan=True) for name in item)


def test_a_map_that_misleads_is_far_away_and_its_route_is_not_what_is_asked_for(store, monkeypatch):
    monkeypatch.setattr(simulated, 'MISLED', 1.0)
    samples, routes = data(store), 0
    for i in range(len(store)):
        item = samples[i]
        if item['with_map']:
            assert abs(math.degrees(item['map_error'][2])) >= 35
            assert bool(item['direction_known']) != bool(item['route'])
            routes += bool(item['route'])
    assert routes


def test_the_correction_undoes_a_misleading_error():
    error = misleading_error(np.random.default_rng(3))
    dx, dy, yaw = map_correction(error)
    there = np.array([[math.cos(error.yaw), -math.sin(error.yaw)], [math.sin(error.yaw), math.cos(error.yaw)]])
    back = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    for point in np.array([[0.0, 0.0], [20.0, -7.0]]):
        assert back @ (there @ point + (error.x, error.y)) + (dx, dy) == pytest.approx(point, abs=1e-4)


def test_a_batch_of_sweeps_with_and_without_such_pairs_knows_which_are_which(store):
    items = [data(store)[i] for i in range(len(store))]
    batch = collate(items)
    assert batch.has_bare.tolist() == ['bare' in item for item in items]
    assert batch.bare.shape == batch.lidar.shape and not batch.bare[~batch.has_bare].any()
    for row in batch.has_bare.nonzero()[:, 0].tolist():
        assert torch.equal(batch.bare[row], torch.from_numpy(items[row]['bare']))
    none = collate([item for item in items if 'bare' not in item])
    assert none.bare is None and none.has_bare is None
