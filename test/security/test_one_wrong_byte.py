# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A byte changes in a file that is kept: what was written comes back, a cache is made again, or one error says why."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from support.training_kit import CELLS, network_config

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.contracts import Calibration, MapImage, Motion, PointCloud
from attention_fusion_ros.datasets import drives, held_out, pool, recorded_shards, shards
from attention_fusion_ros.datasets.checked_rows import write_checksums
from attention_fusion_ros.datasets.driven_path import DrivenTruth
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.result_cache import ResultCache
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.metrics.branches import TrueRoads
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.build import build_network
from attention_fusion_ros.training import record
from attention_fusion_ros.training.state import read_state, write_state
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import map_array, read_arrays
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.sealed_file import is_sealed, seal
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

CAUSE = re.compile(r'cannot be read|damaged|of another|is no ', re.IGNORECASE)


def spoiled(path, count=40):
    """The file with one byte changed, at `count` places from its first to its last, one after the other."""
    whole = path.read_bytes()
    for at in np.unique(np.linspace(0, len(whole) - 1, count).astype(int)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
        yield at
    path.write_bytes(whole)


def same(a, b) -> bool:
    """Nested values with arrays and tensors in them."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, torch.Tensor)):
        return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == 'f')
    return a == b


def check(path, read, count=40, least=0.5):
    """Every change gives what was there, or ConfigurationError; nearly all are noticed, if nothing is made again."""
    expected, refused, places = read(), 0, 0
    for at in spoiled(path, count):
        places += 1
        try:
            found = read()
        except ConfigurationError as error:
            refused += 1
            assert 'Remedy' in str(error) and CAUSE.search(str(error)), error
        else:
            assert same(found, expected), f'byte {at} of {path.name}'
    assert refused >= least * places, f'{refused} of {places} noticed'
    assert same(read(), expected)


def test_checkpoint(tmp_path):
    path = tmp_path / 'net.safetensors'
    torch.manual_seed(0)
    checkpoint.save(path, build_network(network_config()).eval(), Calibration((0.9, 0.1), (0.8, -0.2)), {'step': 3})
    check(path, lambda: checkpoint.load(path).network.state_dict(), 25, least=0.9)


def test_shipped_checkpoints_are_known_by_their_sums(tmp_path):
    for path in checkpoint.SHIPPED.parent.glob('*.safetensors'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        sums = checkpoint.SHIPPED.with_name(checkpoint.SUMS)
        (tmp_path / sums.name).write_bytes(sums.read_bytes())
        whole = bytearray(path.read_bytes())
        whole[-1000] ^= 1
        (tmp_path / path.name).write_bytes(whole)
        with pytest.raises(ConfigurationError, match='damaged.*Remedy: copy'):
            checkpoint.load(tmp_path / path.name)


def test_state_of_a_training(tmp_path):
    state = {'step': 3, 'spent': 1.5, 'history': [{'step': 3, 'f1': 0.5}], 'rng': torch.get_rng_state()[:100],
             'network': {'w': torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)},
             'optimiser': {'state': {0: {'step': torch.tensor(3.0)}}, 'param_groups': [{'betas': (0.9, 0.99)}]}}
    write_state(tmp_path, state)
    path = tmp_path / 'last.safetensors'
    found = read_state(path, torch.device('cpu'))
    assert same(found, state) and found['network']['w'].is_contiguous(memory_format=torch.channels_last)
    check(path, lambda: read_state(path, torch.device('cpu')), 80, least=0.95)


def test_state_of_an_earlier_version(tmp_path):
    state = {'step': 3, 'network': {'w': torch.randn(3)}}
    torch.save(state, tmp_path / 'last.pt')
    assert same(read_state(tmp_path / 'last.pt', torch.device('cpu')), state)
    write_state(tmp_path, state)
    assert not (tmp_path / 'last.pt').exists()  # nobody goes on from there any more


def test_record_of_a_training(tmp_path):
    write_checked_json(tmp_path / record.NAME, {'steps': 6, 'history': [[1, 2.5]], 'command': 'train'})
    check(tmp_path / record.NAME, lambda: record.read(tmp_path), 60, least=0.8)


def test_sweep_of_a_drive(tmp_path):
    path = tmp_path / '0.npz'
    atomic.save_arrays(path, {'xyz_mm': np.arange(300, dtype=np.int32).reshape(3, 100), 'stamp_ns': np.array(5),
                              'intensity': np.arange(100, dtype=np.uint8), 'intensity_scale': np.array(0.1)})
    check(path, lambda: vars(drives.read_sweep(path)), 80)


def test_results_are_made_again(tmp_path):
    cache = ResultCache(tmp_path, TrueRoads)
    results = [TrueRoads(((0.5, 0.25), (1.5, 1.0)), None)]
    cache.write((3, 4), results)
    for at in spoiled(cache.path((3, 4)), 120):
        assert cache.read((3, 4)) in (None, results), at


def test_roads_are_read_again(tmp_path):
    line = {'type': 'LineString', 'coordinates': [[7.7, 49.4], [7.701, 49.401], [7.702, 49.4]]}
    (tmp_path / 'a.geojson').write_text(json.dumps({'type': 'FeatureCollection', 'features': [
        {'type': 'Feature', 'properties': {'highway': 'residential'}, 'geometry': line}]}))
    expected = load_roads(tmp_path / 'a.geojson', cache=tmp_path / 'cache').arrays()
    kept, = (tmp_path / 'cache').iterdir()
    for _ in spoiled(kept, 60):
        assert same(load_roads(tmp_path / 'a.geojson', cache=tmp_path / 'cache').arrays(), expected)


def test_held_out_scenes_are_made_again(tmp_path, monkeypatch):
    cells, points = Grid().cells, np.arange(30, dtype=np.float32).reshape(10, 3)
    info = held_out.HeldOutInfo(7, 'x', 'vlp16', 16, False, False, (0.0, 0.0), 0.0)
    road = TrueRoads(((0.5, 0.25),), (0.5, 0.25))
    scene = held_out.HeldOutScene(info, road, road, np.eye(4), PointCloud(7, 'lidar', points, points[:, 0]), None, None,
                                  {}, {name: np.zeros((cells, cells), bool) for name in held_out.MASKS})
    monkeypatch.setattr(held_out, 'make_scene', lambda *_: scene)
    expected = held_out.obtain(7, tmp_path).cloud.xyz
    path, = tmp_path.rglob('*.npz')
    for _ in spoiled(path, 40):
        assert np.array_equal(held_out.obtain(7, tmp_path).cloud.xyz, expected)


def recorded_scenes():
    image = MapImage(5, 'base_link', np.eye(8, dtype=np.float32), None)
    return [recorded_shards.RecordedScene(np.full((2, 8, 8), k, np.int8), image, Motion(np.eye(4)),
                                          DrivenTruth((0.1 * k, 0.2), None)) for k in range(3)]


@pytest.mark.parametrize('name', ['lidar.npy', 'sweeps.npz', 'maps.npz', 'checksums.npz'])
def test_recorded_shards(tmp_path, name):
    folder = tmp_path / 'shard'
    recorded_shards.write_shard(folder, recorded_scenes(), (2, 8, 8))

    def read():
        recorded_shards._read_map.cache_clear()
        whole = recorded_shards.is_complete(folder)  # where not, `train --bags` makes it again
        scenes = list(recorded_shards.RecordedStore([folder]))
        assert whole
        return [(scene.features, scene.map_image.road, scene.motion.T_base_sensor, scene.truth.ahead)
                for scene in scenes]
    check(folder / name, read, 60, least=0.4)


@pytest.fixture(scope='module')
def options():
    return SceneOptions(Grid(cells=CELLS), 20.0)


@pytest.fixture(scope='module')
def made(options, tmp_path_factory):
    """The scenes of one seed, so that making them again costs nothing."""
    return shards.make_scene(0, options)


@pytest.mark.parametrize('name', ['lidar.npy', 'masks.npy', 'scenes.npz', 'checksums.npz'])
def test_scenes_of_the_cache_are_made_again_others_are_refused(tmp_path, monkeypatch, options, made, name):
    monkeypatch.setattr(shards, 'make_scene', lambda seed, options: made)
    folder, = shards.write_shards(0, 1, tmp_path, options, workers=1)

    def read():
        store = shards.SceneStore([folder])
        return [store[i][:2] for i in range(len(store))]
    expected = read()
    check(folder / name, read, 20, least=0.4)
    for at in spoiled(folder / name, 5):
        shards.write_shards(0, 1, tmp_path, options, workers=1)
        assert same(read(), expected), at


def test_shards_of_before_there_were_checksums_are_read(tmp_path, monkeypatch, options, made):
    monkeypatch.setattr(shards, 'make_scene', lambda seed, options: made)
    folder, = shards.write_shards(0, 1, tmp_path, options, workers=1)
    (folder / 'checksums.npz').unlink()
    assert shards.is_whole(folder) and len(shards.SceneStore([folder])) == len(made)


def test_pools_are_drawn_again(tmp_path):
    np.save(tmp_path / 'lidar.npy', np.arange(64, dtype=np.int8).reshape(2, 2, 4, 4))
    write_checksums(tmp_path, {'lidar': map_array(tmp_path / 'lidar.npy')})
    write_checked_json(tmp_path / pool.INDEX, {'scenes': 2, 'variants': 1, 'seed': [1, 2], 'with_vehicles': [True] * 2})

    def read():
        drawn = pool.Pool(tmp_path)
        return [drawn[i] for i in range(len(drawn))]
    for name in ('lidar.npy', pool.INDEX, 'checksums.npz'):
        check(tmp_path / name, read, 40, least=0.4)


def test_files_that_are_sealed(tmp_path):
    path = tmp_path / 'net.onnx'
    path.write_bytes(bytes(range(100)))
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    assert not any(is_sealed(path) for _ in spoiled(path, 100)) and is_sealed(path)


def test_arrays_with_objects_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / 'was run').touch, ()
    np.savez(tmp_path / 'a.npz', good=np.zeros(3), bad=np.array([Evil()], object))
    np.save(tmp_path / 'a.npy', np.array([Evil()], object))
    with pytest.raises(Damaged, match='objects'):
        read_arrays(tmp_path / 'a.npz')
    with pytest.raises(Damaged):
        map_array(tmp_path / 'a.npy')
    assert not (tmp_path / 'was run').exists()


def test_json_that_is_nested_too_deep(tmp_path):
    (tmp_path / 'a.json').write_text('[' * 100_000)
    with pytest.raises(Damaged):
        read_checked_json(tmp_path / 'a.json')
