# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples of the second network: rings, maps that mislead, what is known of the map's place, the way driven."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.second_kit import second_config

from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets import ring_scenes
from attention_fusion_ros.datasets.augment import MapState
from attention_fusion_ros.datasets.ring_scenes import LAYERS, RingScenes, simulated_samples
from attention_fusion_ros.datasets.road_scenes import RoadScenes, collate_scenes, on_grid
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SceneStore, find_shards, write_shard
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.output import ROAD, ROAD_LAYER

GRID, BINS = Grid(cells=64), 24
RADII = (10.0, 20.0, 30.0)
BRANCHES = 8  # rows of a target


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> SceneStore:
    folder = tmp_path_factory.mktemp('scenes') / 'shard'
    write_shard(range(0, 4), folder, SceneOptions(GRID, 20.0, profile='v2'))
    return SceneStore(find_shards([folder], GRID))


def drawn(rng: np.random.Generator) -> MapState:
    return MapState(True, 1.0, False, True)


def scenes(store: SceneStore, **options) -> RingScenes:
    return RingScenes(store, GRID, BINS, 1, RADII, 20.0, **{'state': drawn, **options})


def test_samples_are_what_the_trainer_takes(store):
    batch = collate([scenes(store, pairs=True)[i] for i in range(3)])
    assert batch.lidar.shape == batch.bare.shape == (3, len(CHANNELS) + 1, 64, 64) and len(LAYERS) == len(CHANNELS) + 1
    assert batch.map_image.shape == (3, 3, 64, 64) and batch.prior.shape == (3, PRIOR_SIZE)
    target = batch.target
    assert target.branches.shape == (3, BRANCHES, 2) and target.rings.shape == (3, 3, BRANCHES, 2)
    assert target.direction.shape == (3, 2) and target.ring_directions.shape == (3, 3, 2)
    assert target.masks.shape == (3, 3, 16, 16) and target.map_error.shape == (3, 3)
    assert batch.has_bare.tolist() == [store.bare(i) is not None for i in range(3)]
    assert all(torch.isfinite(value).all() for value in (batch.lidar, batch.map_image, batch.prior, batch.bare))


def test_every_ring_has_its_own_truth_and_the_main_one_is_that_of_the_lookahead(store):
    plain = scenes(store, augment=False, lost=False)
    for i in range(len(store)):
        item, info = plain[i], store[i][2]
        for row, (radius, ring) in enumerate(zip(RADII, info.rings, strict=True)):
            assert ring.radius == radius
            found = item['rings'][row]
            assert found[np.isfinite(found[:, 0])] == pytest.approx(np.array(ring.turned(0)), abs=1e-5)
            chosen = ring.directions[0][int(item['route'])]
            if chosen < 0:
                assert np.isnan(item['ring_directions'][row]).all()
            else:
                assert item['ring_directions'][row] == pytest.approx(ring.turned(0)[chosen], abs=1e-5)
        assert np.array_equal(item['branches'], item['rings'][1], equal_nan=True)
        assert np.array_equal(item['direction'], item['ring_directions'][1], equal_nan=True)
    two = RingScenes(store, GRID, BINS, 1, (30.0, 10.0), 10.0, augment=False, lost=False, state=drawn)[0]
    three = plain[0]
    assert np.array_equal(two['rings'], three['rings'][[2, 0]], equal_nan=True)
    assert np.array_equal(two['branches'], three['rings'][0], equal_nan=True)


@pytest.mark.parametrize('misled', [0.0, 1.0])
def test_the_correction_puts_the_map_right_also_one_that_misleads(store, misled, monkeypatch):
    monkeypatch.setattr(ring_scenes, 'MISLED', misled)
    data = scenes(store)
    inner = slice(20, 44)  # 15 m around: what no map that is turned there lacks
    yaws = []
    for i in range(len(store)):
        item = data[i]
        raw = collate_scenes([RoadScenes.__getitem__(data, i)])
        right = on_grid(raw, GRID, torch.zeros(1, 3))['map_image'][:, :1, inner, inner]
        given = torch.from_numpy(item['map_image'])[None]
        moved = move(given, se2_matrix(torch.from_numpy(item['map_error'])[None]), GRID.extent)[:, :1, inner, inner]
        before = (given[:, :1, inner, inner] - right).abs().mean()
        assert (moved - right).abs().mean() < max(0.4 * before, 0.03)
        yaws.append(abs(math.degrees(item['map_error'][2])))
        if misled:
            assert not item['prior'][12] and bool(item['direction_known']) != bool(item['route'])
        else:
            assert item['direction_known']
    assert min(yaws) >= 35 if misled else max(yaws) < 35


def test_what_is_known_of_the_place_covers_the_truth_as_often_as_it_says(store, monkeypatch):
    monkeypatch.setattr(ring_scenes, 'KNOWN', 1.0)
    monkeypatch.setattr(ring_scenes, 'DECEIVED', 0.0)
    monkeypatch.setattr(ring_scenes, 'MISLED', 0.0)
    data, distances, axes = scenes(store), [], []
    for epoch in range(20):
        data.epoch = epoch
        for i in range(len(store)):
            item = data[i]
            if not item['with_map']:
                continue
            prior = item['prior'].astype(float)
            covariance, left = prior[3:12].reshape(3, 3), prior[:3] - item['map_error']
            assert prior[12] == pytest.approx(0.95) and np.allclose(covariance, covariance.T)
            assert (np.linalg.eigvalsh(covariance) > 0).all()
            distances.append(float(left @ np.linalg.inv(covariance) @ left))
            axes.append(covariance[0, 1])
    assert len(distances) > 40
    assert np.mean(np.array(distances) < 7.815) > 0.85 and 2.0 < np.mean(distances) < 4.5  # chi squared, 3 degrees
    assert np.abs(axes).max() > 0.05 and min(axes) < 0 < max(axes), 'along and across roads, whichever way they lead'


def test_shares_of_what_is_known_deceived_and_without_a_way(store, monkeypatch):
    monkeypatch.setattr(ring_scenes, 'MISLED', 0.0)
    data = scenes(store)
    known, ways = [], []
    for epoch in range(12):
        data.epoch = epoch
        for i in range(len(store)):
            item = data[i]
            known.append(item['prior'][12] > 0)
            if store[i][2].track:
                ways.append(item['lidar'][-1].any())
    assert 0.15 < np.mean(known) < 0.65 and 0.45 < np.mean(ways) < 0.97
    nothing = item['prior'] if not known[-1] else scenes(store, known=False)[0]['prior']
    assert not nothing[12] and np.linalg.det(nothing[3:12].reshape(3, 3)) > 0
    assert all(scenes(store, augment=False)[i]['lidar'][-1].any() == bool(store[i][2].track) for i in range(len(store)))


def test_without_a_map_nothing_is_known_of_its_place(store):
    none = scenes(store, state=lambda rng: MapState(False, 1.0, False, False))
    item = none[0]
    assert not item['with_map'] and np.isnan(item['map_error']).all() and not item['prior'][12]
    assert not (item['map_image'][ROAD_LAYER] > ROAD).any() and item['direction_known']


def test_samples_are_the_same_again_and_others_in_another_epoch(store):
    def equal(a, b):
        return all(np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == 'f') for k in a)
    one, two = scenes(store), scenes(store)
    assert equal(one[1], two[1])
    two.epoch = 1
    assert not equal(one[1], two[1])


def test_every_network_gets_its_samples(store):
    second = simulated_samples(second_config(), store, GRID, 1)
    assert isinstance(second, RingScenes) and second.pairs and second.radii == RADII
    judged = simulated_samples(second_config(), store, GRID, 5, augment=False)
    assert isinstance(judged, RingScenes) and not judged.pairs and not judged.lost and not judged.known
    first = simulated_samples(NetworkConfig(cells=64, bins=24), store, GRID, 1)
    assert type(first) is SimulatedDataset
