# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated scenes on disk: what is read is what was made, whoever made it and whatever happened meanwhile."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets import shards
from attention_fusion_ros.datasets.scenes import SceneOptions, make_scene
from attention_fusion_ros.datasets.shards import SceneStore, find_shards, read_infos, write_shard, write_shards
from attention_fusion_ros.errors import ConfigurationError

OPTIONS = SceneOptions(Grid(cells=64), 20.0, past=1)


@pytest.fixture(scope='module')
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes') / 'shard'
    write_shard(range(0, 6), folder, OPTIONS)
    return folder


def same(a, b) -> bool:
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else type(a) is type(b) and a == b


def test_what_is_read_is_what_was_made(shard):
    made = [scene for seed in range(6) for scene in make_scene(seed, OPTIONS)]
    store = SceneStore([shard])
    assert len(store) == len(made) > 6  # one of them without its vehicles, too
    for i, scene in enumerate(made):
        lidar, masks, info = store[i]
        assert np.array_equal(lidar, scene.lidar) and np.array_equal(masks, scene.masks)
        assert np.array_equal(store.past(i)[0], scene.past) and np.array_equal(store.past(i)[1], scene.moves)
        assert same(info, scene.info)
    assert any(info.route is not None for info in store.infos()) and any(info.roads for info in store.infos())


def test_a_shard_that_was_interrupted_goes_on_with_what_is_there(shard, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, 'PART', 2)
    asked = []

    def interrupted(seed, options):
        asked.append(seed)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return make_scene(seed, options)
    monkeypatch.setattr(shards, 'make_scene', interrupted)
    folder = tmp_path / 'shard'
    with pytest.raises(KeyboardInterrupt):
        write_shard(range(0, 6), folder, OPTIONS)
    with pytest.raises(ConfigurationError, match='no simulated scenes'):
        find_shards([tmp_path], OPTIONS.grid)
    write_shard(range(0, 6), folder, OPTIONS)
    assert asked == [0, 1, 2, 3, 2, 3, 4, 5]
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in shard.iterdir())
    for file in shard.glob('*.npy'):
        assert np.array_equal(np.load(file), np.load(folder / file.name))
    assert all(map(same, read_infos(folder), read_infos(shard)))


def test_seeds_that_give_no_scene_make_an_empty_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, 'make_scene', lambda seed, options: [])
    folders = write_shards(0, 2, tmp_path, OPTIONS, workers=1)
    assert len(SceneStore(find_shards(folders, OPTIONS.grid))) == 0


def changed(shard, folder, change) -> None:
    """A copy of the shard's index with its JSON changed."""
    folder.mkdir()
    (folder / 'lidar.npy').symlink_to(shard / 'lidar.npy')
    (folder / 'masks.npy').symlink_to(shard / 'masks.npy')
    with np.load(shard / 'scenes.npz') as stored:
        meta = json.loads(stored['meta'].tobytes())
        change(meta)
        np.savez(folder / 'scenes.npz', meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                 points=stored['points'])


def test_shards_of_code_with_other_fields_are_read(shard, tmp_path):
    def other_fields(meta):
        for scene in meta['scenes']:
            for road in scene['roads']:
                road['surface'] = 'gravel'  # a field that is not there yet
                del road['kind']  # and one that was not there then
    changed(shard, tmp_path / 'other', other_fields)
    infos = read_infos(tmp_path / 'other')
    assert {road.kind for info in infos for road in info.roads} == {'street'}
    assert [info.truths for info in infos] == [info.truths for info in read_infos(shard)]


@pytest.mark.parametrize('change, message', [
    (lambda meta: meta.update(version=99), 'format 99.*Remedy'),
    (lambda meta: meta['scenes'].pop(), 'cannot be read.*Remedy'),
    (lambda meta: meta['scenes'][0].pop('seed'), "cannot be read: KeyError\\('seed'\\)")])
def test_a_shard_that_cannot_be_read_says_so(shard, tmp_path, change, message):
    changed(shard, tmp_path / 'wrong', change)
    with pytest.raises(ConfigurationError, match=message):
        SceneStore(find_shards([tmp_path], OPTIONS.grid))


def test_pickled_shards_are_refused_and_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / 'was run').touch, ()
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'scenes.pkl').write_bytes(pickle.dumps([Evil()]))
    np.save(tmp_path / 'old' / 'lidar.npy', np.zeros((1, len(CHANNELS), 64, 64), np.int8))
    with pytest.raises(ConfigurationError, match='old format.*Remedy: make its scenes again'):
        find_shards([tmp_path], OPTIONS.grid)
    with pytest.raises(ConfigurationError, match='old format'):
        SceneStore([tmp_path / 'old'])
    np.savez(tmp_path / 'old' / 'scenes.npz', meta=np.array([Evil()], object), points=np.zeros((0, 2)))
    with pytest.raises(ConfigurationError, match='cannot be read'):
        SceneStore([tmp_path / 'old'])
    assert not (tmp_path / 'was run').exists()


@pytest.mark.parametrize('spoil', [lambda file: file.unlink(), lambda file: file.write_bytes(b'half'),
                                   lambda file: np.save(file, np.load(file)[:-1])])
@pytest.mark.parametrize('name', ['lidar.npy', 'masks.npy'])
def test_a_shard_that_has_lost_something_is_refused_before_training(shard, tmp_path, name, spoil):
    folder = shutil.copytree(shard, tmp_path / 'spoiled')
    spoil(folder / name)
    with pytest.raises(ConfigurationError, match='spoiled.*cannot be read.*Remedy: remove it'):
        SceneStore([folder])


def test_several_processes_make_the_scenes_of_one(shard, tmp_path):
    import torch
    torch.ones(300, 300).matmul(torch.ones(300, 300))  # torch has been used: its threads would not survive a fork
    folders = write_shards(0, 6, tmp_path, OPTIONS, workers=2, shard_size=3)
    together = SceneStore(folders)
    alone = SceneStore([shard])
    assert len(folders) == 2 and len(together) == len(alone)
    assert all(np.array_equal(together[i][0], alone[i][0]) for i in range(len(alone)))


def test_other_processes_are_sent_where_the_scenes_are_and_not_the_scenes(shard):
    store = SceneStore([shard])
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert len(received) == len(store) and np.array_equal(received[3][0], store[3][0])


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc/self/maps')
def test_few_of_many_shards_are_open_at_a_time(shard, tmp_path, monkeypatch):
    """A process may have 1024 open files by default. The shards of several folders, up to four files each, are more."""
    monkeypatch.setattr(shards, 'OPEN_SHARDS', 2)
    store = SceneStore([shutil.copytree(shard, tmp_path / f'many/{number}') for number in range(6)])
    scenes = list(store)  # kept: scenes that were handed out hold no file open
    past = [store.past(i) for i in range(len(store))]
    assert len({lidar.tobytes() for lidar, _, _ in scenes}) == len({x.tobytes() for x, _ in past}) == len(store) // 6
    maps = {line.split()[-1] for line in Path('/proc/self/maps').read_text().splitlines()}
    assert 1 <= len({Path(name).parent for name in maps if name.startswith(str(tmp_path / 'many'))}) <= 2
