# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of profile v2: what is stored with them, and samples whose maps are moved when a batch is made."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets import road_scenes
from attention_fusion_ros.datasets.augment import MapState, view_faults
from attention_fusion_ros.datasets.map_canvas import MARGIN_M, canvas_grid, draw_canvas, moved_maps
from attention_fusion_ros.datasets.road_scenes import RoadScenes, collate_scenes, on_grid
from attention_fusion_ros.datasets.scenes import SceneOptions, make_scene
from attention_fusion_ros.datasets.shards import SceneStore, cache_name, find_shards, write_shard
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.simulation.sensors.map_image import MapError, MapStyle, draw_road_layers
from attention_fusion_ros.simulation.truth.branches import truth
from attention_fusion_ros.simulation.truth.rings import RINGS_M
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.profile import V2
from attention_fusion_ros.training.record import describe

GRID = Grid(cells=128)
OPTIONS = SceneOptions(GRID, 20.0, profile='v2')
SEEDS = range(0, 9)


def always(rng: np.random.Generator) -> MapState:
    return MapState(True, 1.0, True, False)


@pytest.fixture(scope='module')
def shard(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('scenes') / 'shard'
    write_shard(SEEDS, folder, OPTIONS)
    return folder


@pytest.fixture(scope='module')
def store(shard) -> SceneStore:
    return SceneStore(find_shards([shard], GRID))


def test_what_is_read_is_what_was_made(store):
    made = [scene for seed in SEEDS for scene in make_scene(seed, OPTIONS)]
    assert len(made) == len(store)
    for i, scene in enumerate(made):
        lidar, masks, info = store[i]
        assert np.array_equal(lidar, scene.lidar) and np.array_equal(masks, scene.masks)
        assert np.array_equal(store.road(i), scene.road)
        bare = store.bare(i)
        assert (bare is None) == (scene.bare is None) and (bare is None or np.array_equal(bare, scene.bare))
        assert info.rings == scene.info.rings and info.track == scene.info.track and info.profile == 'v2'
        assert [r.median for r in info.roads] == [r.median for r in scene.info.roads]
    pairs = [i for i in range(len(made)) if made[i].bare is not None]
    assert {made[i].info.seed % 3 for i in pairs} == {0} and any(not np.array_equal(made[i].bare, made[i].lidar)
                                                               for i in pairs)
    assert describe(store)['profiles'] == ['v2']


def test_parts_of_a_shard_keep_their_pairs(tmp_path, monkeypatch, shard):
    from attention_fusion_ros.datasets import shards
    monkeypatch.setattr(shards, 'PART', 4)
    write_shard(SEEDS, tmp_path / 'again', OPTIONS)
    for name in ('bare', 'bare_of', 'lidar', 'road'):
        assert np.array_equal(np.load(tmp_path / 'again' / f'{name}.npy'), np.load(shard / f'{name}.npy'))


def test_rings_are_true(store):
    for i in range(len(store)):
        info = store[i][2]
        world = generate_world(info.seed, profile=V2)
        x, y, yaw = info.pose
        for ring, radius in zip(info.rings, RINGS_M, strict=True):
            for quarter in range(4):
                for route in (0, 1):
                    expected = truth(world, (x, y, yaw - quarter * math.pi / 2), radius, bool(route))
                    found = ring.turned(quarter)
                    assert np.allclose(sorted(found), expected.branches, atol=1e-6)
                    chosen = ring.directions[quarter][route]
                    assert (chosen < 0) == (expected.direction is None)
                    if chosen >= 0:
                        assert found[chosen] == pytest.approx(expected.direction, abs=1e-6)
        assert info.truths[0][0].branches == pytest.approx(np.array(truth(world).branches), abs=1e-9)


def test_samples_have_the_shapes_they_promise(store):
    side = canvas_grid(GRID).cells
    batch = on_grid(collate_scenes([RoadScenes(store, GRID, 1)[i] for i in range(4)]), GRID)
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.items()}
    assert shapes == dict(
        lidar=(len(CHANNELS), 128, 128), lidar_bare=(len(CHANNELS), 128, 128), has_bare=(), track=(1, 128, 128),
        visible=(1, 32, 32), masks=(3, 32, 32), road=(1, 64, 64), map_canvas=(2, side, side), map_window=(4,),
        map_error=(3,), map_correction=(3,), with_map=(), route=(), rings=(3,), branches=(3, 8, 2), direction=(3, 2),
        map_image=(3, 128, 128))
    assert batch['rings'].tolist() == [list(RINGS_M)] * 4
    for name in ('lidar', 'track', 'map_image', 'masks', 'road'):
        assert torch.isfinite(batch[name]).all()


def test_equal_seed_and_epoch_give_equal_samples_and_another_epoch_others(store):
    a, b = RoadScenes(store, GRID, 1), RoadScenes(store, GRID, 1)
    assert all(np.array_equal(a[2][k], b[2][k], equal_nan=a[2][k].dtype.kind == 'f') for k in a[2])
    b.epoch = 1
    assert not np.array_equal(a[2]['map_canvas'], b[2]['map_canvas'])


def test_pairs_have_the_same_faults(store):
    scenes = RoadScenes(store, GRID, 3)
    i = next(i for i in range(len(store)) if store.bare(i) is not None)
    density = CHANNELS.index('density')
    for epoch in range(6):
        scenes.epoch = epoch
        item = scenes[i]
        assert item['has_bare']
        both = (item['lidar'][density] > 0) & (item['lidar_bare'][density] > 0)
        ratio = item['lidar_bare'][density][both] / item['lidar'][density][both]
        assert np.median(ratio) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize('error', [(3.0, -5.0, 0.2), (-6.0, 4.0, -0.25), (0.0, 0.0, 0.0)])
def test_a_moved_map_is_the_map_drawn_with_that_error(error):
    grid, world = Grid(), generate_world(4, 'x')
    style = MapStyle(width=5.0, size=(800, 800), resolution=0.25)
    source = draw_canvas(world, world.pose, grid, MapError(9.0, 9.0, 1.0), style, np.random.default_rng(0), True)
    assert source.window.tolist() == [100.0] * 4
    moved = moved_maps(torch.from_numpy(source.canvas)[None], torch.tensor([error]), torch.tensor(source.window)[None],
                       grid)[0].numpy()
    drawn = draw_road_layers(world, world.pose, grid, MapError(*error), np.random.default_rng(0), style, True)
    for layer, expected in zip(moved, drawn):
        assert np.abs(layer - expected).mean() < 0.01 and np.mean((layer > 0.5) != (expected > 0.5)) < 0.012
    assert (moved[2] == 1).all()


def test_no_error_within_the_margin_shows_the_canvas_border():
    grid = Grid()
    side = canvas_grid(grid).cells
    canvas, wide = torch.ones(1, 2, side, side), torch.full((1, 4), 1e3)
    for k in range(16):
        way = k * math.pi / 8
        error = torch.tensor([[MARGIN_M * math.cos(way), MARGIN_M * math.sin(way), math.pi / 4 * (k % 3)]])
        assert moved_maps(canvas, error, wide, grid).min() > 0.9999


def test_beyond_the_image_nothing_is_drawn_nor_valid():
    grid = Grid()
    side = canvas_grid(grid).cells
    layers = moved_maps(torch.ones(1, 2, side, side), torch.zeros(1, 3), torch.tensor([[30.0, 20.0, 10.0, 35.0]]),
                        grid)[0].numpy()
    x, y = grid.centres()
    inside = (x < 30) & (x > -20) & (y < 10) & (y > -35)
    assert np.array_equal(layers[2] > 0, inside) and (layers[:2] > 0).any(axis=0).tolist() == inside.tolist()


def test_the_correction_undoes_the_error_however_the_scene_is_turned(store):
    scenes = RoadScenes(store, GRID, 5, state=always)
    for epoch in range(4):
        scenes.epoch = epoch
        for i in range(4):
            item = scenes[i]
            if not item['with_map']:
                continue
            x, y, yaw = item['map_error'].astype(float)
            dx, dy, dyaw = item['map_correction'].astype(float)
            p = np.array([7.0, -3.0])
            there = rotation_2d(yaw) @ p + (x, y)
            assert rotation_2d(dyaw) @ there + (dx, dy) == pytest.approx(p, abs=1e-4)
    batch = collate_scenes([scenes[i] for i in range(4)])
    kept, given = on_grid(batch, GRID), on_grid(batch, GRID, batch['map_error'])
    assert torch.allclose(kept['map_correction'], given['map_correction'], atol=1e-5, equal_nan=True)


def test_the_image_of_a_mirrored_scene_ends_on_the_other_side(store, monkeypatch):
    style = MapStyle(size=(400, 400), resolution=0.25, anchor=(0.3, 0.4))
    monkeypatch.setattr(road_scenes, 'random_style', lambda rng: style)
    scenes, ends = RoadScenes(store, GRID, 7, state=always), {False: [40, 60, 30, 70], True: [40, 60, 70, 30]}
    seen = set()
    for epoch in range(8):
        scenes.epoch = epoch
        rng = np.random.default_rng([7, epoch, 0])
        _, mirror = rng.integers(4), bool(rng.integers(2))
        assert scenes[0]['map_window'] == pytest.approx(ends[mirror], abs=0.01)
        seen.add(mirror)
    assert seen == {False, True}


def test_map_lidar_and_track_are_turned_alike(store):
    """Under the corrected map lies the road, on the road lies the track, whatever quarter turn and mirroring."""
    scenes = RoadScenes(store, GRID, 6, state=always)
    overlap, on_road = [], []
    for epoch in range(5):
        scenes.epoch = epoch
        for i in range(len(store)):
            item = scenes[i]
            if not item['with_map']:
                continue
            batch = on_grid(collate_scenes([item]), GRID, torch.zeros(1, 3))
            road = batch['road'][0, 0] > 0.5
            small = torch.nn.functional.avg_pool2d(batch['map_image'][:, :1], 2)[0, 0] > 0.4
            if small.any():
                overlap.append(float(road[small].float().mean()))
            driven = torch.nn.functional.avg_pool2d(batch['track'], 2)[0, 0] > 0.5
            if driven.any():
                on_road.append(float(road[driven].float().mean()))
    assert np.median(overlap) > 0.6 and np.median(on_road) > 0.85


def test_old_training_reads_new_shards(store):
    batch = collate([SimulatedDataset(store, GRID, 64, seed=0)[i] for i in range(2)])
    assert batch.lidar.shape == (2, len(CHANNELS), 128, 128)


def test_sectors_that_are_not_seen_are_empty_in_all_channels():
    emptied = []
    for seed in range(60):
        seen = view_faults(np.full((5, 64, 64), 0.5, np.float32), np.random.default_rng(seed))
        assert ((seen == 0.5).all(axis=0) | (seen == 0).all(axis=0)).all()
        emptied.append(float((seen[0] == 0).mean()))
    assert 0.6 < np.mean(np.array(emptied) == 0) < 0.9 and max(emptied) > 0.3


def test_several_extracts_are_used_and_written_down(tmp_path, shared_folder):
    cities = tuple(str(shared_folder / f'data/osm/{name}.osm.gz') for name in ('mia', 'pit'))
    options = SceneOptions(Grid(cells=64), 20.0, cities, profile='v2')
    assert {options.extract(seed) for seed in range(10)} == set(cities)
    seeds = [s for s in range(60) if generate_world(s, osm=options.extract(s), profile=V2).scene_class == 'osm'][:4]
    infos = [scene.info for s in seeds for scene in make_scene(s, options)]
    assert {info.city for info in infos} <= {'mia', 'pit'} and infos
    assert all(info.city == Path(options.extract(info.seed)).name.split('.')[0] for info in infos)
    paths = [Path(c) for c in cities]
    names = {cache_name(GRID, 20.0, paths, 0, 'v2'), cache_name(GRID, 20.0, paths[:1], 0, 'v2'),
             cache_name(GRID, 20.0, paths, 0), cache_name(GRID, 20.0, None, 0, 'v2')}
    assert len(names) == 4 and cache_name(GRID, 20.0, paths[0], 0) == cache_name(GRID, 20.0, paths[:1], 0)
