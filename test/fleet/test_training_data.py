# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training data made on an engine: the same shards as without, made once, and read by every training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from support import fleet_kit
from support import synthetic_bag as bag
from support.training_kit import CELLS, settings_file

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import train
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.recorded import LabelOptions, find_recordings, label_recordings
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SceneStore, make_shards
from attention_fusion_ros.engines.engine import Lost, Sequential
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.fleet.labels import check_sources, label_sources
from attention_fusion_ros.fleet.sources import RemoteSource, find_sources

OPTIONS = LabelOptions(Grid(cells=CELLS), 10.0, shard_size=4)
ROOT = Path(__file__).parents[2]


class NoEngine:
    """Whoever asks it has something to do, and nothing is done."""

    name = 'dead workers'

    def run(self, function, items):
        return ((number, Lost('its worker died')) for number in range(len(items)))


@pytest.fixture(scope='module')
def bags(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('bags')
    for number, name in enumerate(('a', 'b')):
        bag.write(folder / name, bag.drive(14 + number))
    return folder


def assert_same_scenes(one, other):
    assert len(one) == len(other) > 4
    for i in range(len(one)):
        assert np.array_equal(one[i].features, other[i].features) and one[i].truth == other[i].truth


def test_labels_of_many_are_those_of_one_by_one_and_are_made_once(bags, tmp_path, monkeypatch):
    config = NodeConfig()
    plain, summaries = label_recordings(find_recordings(bags), tmp_path / 'plain', config, OPTIONS)
    for arguments in ([f'{bags}/*'], [f'{bags.as_uri()}/*']):
        sources = find_sources(arguments)
        check_sources(sources, ())
        cache = tmp_path / arguments[0].partition(':')[0].replace('/', '_')
        found, told = label_sources(sources, cache, config, OPTIONS, Sequential(), fleet_kit.new_bar)
        assert_same_scenes(found, plain)
        assert told == summaries
        with monkeypatch.context() as patch:
            patch.setattr(RemoteSource, 'local', None)  # what was labelled is not even fetched again
            again, _ = label_sources(sources, cache, config, OPTIONS, Sequential(), fleet_kit.new_bar)
        assert again.folders == found.folders
    moved = shutil.copytree(bags, tmp_path / 'moved')
    again, _ = label_sources(find_sources([str(moved)]), cache, config, OPTIONS, Sequential(), fleet_kit.new_bar)
    assert again.folders == found.folders  # the content counts
    with pytest.raises(ConfigurationError, match='cannot be labelled: its worker died'):
        label_sources(find_sources([str(bags)]), cache, config, OPTIONS, NoEngine(),
                      lambda what, total: nullcontext(fleet_kit.SilentBar()))


def test_scenes_of_an_engine_are_those_of_processes(tmp_path):
    options = SceneOptions(Grid(cells=CELLS), 20.0)
    plain = SceneStore(make_shards(3, 5, tmp_path / 'plain', options, workers=1, shard_size=2))
    found = SceneStore(make_shards(3, 5, tmp_path / 'engine', options, workers=1, shard_size=2, engine=Sequential()))
    assert len(found) == len(plain) >= 5
    for i in range(len(plain)):
        assert np.array_equal(found[i][0], plain[i][0]) and np.array_equal(found[i][1], plain[i][1])
    with pytest.raises(ConfigurationError, match='cannot be made: its worker died'):
        make_shards(3, 4, tmp_path / 'none', options, workers=1, shard_size=2, engine=NoEngine())


@pytest.mark.slow
def test_a_training_takes_lists_and_globs_and_torchrun_reads_the_shards_that_are_there(bags, tmp_path, capsys):
    (tmp_path / 'list.txt').write_text(f'{bags / "b"}\n')
    settings = settings_file(tmp_path / 'settings.yaml', steps=2, batch=2)
    words = ['--config', str(settings), '--bags', f'{bags}/a*', f'@{tmp_path / "list.txt"}', '--cache',
             str(tmp_path / 'cache'), '--device', 'cpu']
    assert train.main([*words, '--out', str(tmp_path / 'one')]) == 0
    assert 'a: ' in (told := capsys.readouterr().out) and 'b: ' in told
    shards = {file: file.stat().st_mtime_ns for file in (tmp_path / 'cache').rglob('*.np?')}
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m',
               'attention_fusion_ros', 'train', *words, '--out', str(tmp_path / 'two')]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}, text=True,
                          capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / 'cache').rglob('*.np?')} == shards
    assert (tmp_path / 'two' / 'checkpoint.safetensors').exists()
