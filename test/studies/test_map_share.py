# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Spoiled maps, and the share that the network gives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.network_kit import lively_config

from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.contracts import Mode
from attention_fusion_ros.datasets.held_out import FIRST_SEED
from attention_fusion_ros.pipeline.preprocess import MapFeatures
from attention_fusion_ros.studies import map_share

ROOT = Path(__file__).resolve().parents[2]


def test_what_becomes_of_a_map():
    """A road straight ahead of the vehicle, on a map that does not reach the grid's last rows."""
    grid = torch.zeros(3, 64, 64)
    grid[0, :32, 30:34] = torch.linspace(0.5, 1, 32)[:, None]
    grid[2, :60] = 1.0
    found = map_share.spoiled(MapFeatures(grid, Mode.FUSED, ''), 3)
    assert tuple(found) == map_share.STATES and found[map_share.AS_IT_IS].grid is grid
    assert not found[map_share.REMOVED].grid.any() and found[map_share.REMOVED].mode is Mode.LIDAR_ONLY
    turned = found[map_share.ROTATED].grid
    assert torch.equal(turned[0, 30:34, :32], grid[0, :32, 30:34].flip(1).T) and turned.sum() == grid.sum()
    shuffled = found[map_share.SHUFFLED].grid
    assert not torch.equal(shuffled, grid)
    assert torch.equal(shuffled.flatten(1).sort(dim=1).values, grid.flatten(1).sort(dim=1).values)
    noise = found[map_share.NOISE].grid
    assert 0.45 < noise[0, :60].mean() < 0.55 and not noise[0, 60:].any() and not noise[1].any()
    assert torch.equal(noise[2], grid[2])
    again = map_share.spoiled(MapFeatures(grid, Mode.FUSED, ''), 3)
    assert all(torch.equal(found[s].grid, again[s].grid) for s in map_share.STATES)


def test_table_states_change_and_in_how_many_scenes():
    given = np.array([0.4, 0.5, 0.6, 0.5])
    shares = {map_share.AS_IT_IS: given, map_share.REMOVED: given - 0.4, map_share.ROTATED: given,
              map_share.SHUFFLED: given + [0.1, -0.1, -0.1, -0.1], map_share.NOISE: given + 0.1}
    rows = {row[0]: row[1:] for row in map_share.map_share_table(shares).rows}
    assert rows[map_share.AS_IT_IS][0].startswith('0.500 [') and rows[map_share.AS_IT_IS][1:] == ('-', '-')
    assert rows[map_share.REMOVED][1:] == ('-0.400 [-0.400, -0.400]', '100%')
    assert rows[map_share.SHUFFLED][2] == '75%' and rows[map_share.ROTATED][2] == rows[map_share.NOISE][2] == '0%'


def test_the_command_measures_scenes_with_a_map(tmp_path):
    checkpoint = lively_config(tmp_path).checkpoint
    arguments = ['--map-share', '3', '--gradcam', '2', '--checkpoint', checkpoint, '--cache', str(tmp_path / 'cache'),
                 '--out', str(tmp_path / 'out'), '--device', 'cpu']
    assert evaluate.main(arguments) == 0
    data = json.loads((tmp_path / 'out' / 'map_share.json').read_text())['map_share']
    assert list(data) == list(map_share.STATES) and all(len(values) == 3 for values in data.values())
    assert all(0 <= v <= 1 for values in data.values() for v in values)
    assert data[map_share.AS_IT_IS] != data[map_share.REMOVED]
    agreed = json.loads((tmp_path / 'out' / 'gradcam.json').read_text())['agreement']
    assert len(agreed) == 2 and set(agreed[0]) == {'stage1', 'stage2', 'stage3'}
    assert -1 <= agreed[0]['stage1']['spearman'] <= 1 and 0 <= agreed[0]['stage1']['top_iou'] <= 1
    assert (tmp_path / 'out' / 'gradcam.png').stat().st_size > 10_000
    assert '| stage1 | ' in (tmp_path / 'out' / 'gradcam.md').read_text()
    text = (tmp_path / 'out' / 'map_share.md').read_text()
    assert '| removed | ' in text and '--map-share 3' in text and '95 %' in text


@pytest.mark.slow
def test_the_command_measures_the_shipped_weights(tmp_path):
    """Which nodes run by a backend without tensors and gradients."""
    assert evaluate.main(['--map-share', '1', '--gradcam', '1', '--cache', str(tmp_path / 'cache'), '--out',
                          str(tmp_path / 'out'), '--device', 'cpu']) == 0
    agreed = json.loads((tmp_path / 'out' / 'gradcam.json').read_text())['agreement']
    assert 'reading' in agreed[0]


def test_the_tables_get_into_the_docs(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import update_docs
    page = tmp_path / 'docs' / 'attention.md'
    (page.parent / 'images').mkdir(parents=True)
    places = [(update_docs.BEGIN.format(name, ' --map-share'), update_docs.END.format(name))
              for name in ('gradcam', 'map share')]
    layout = 'before\n' + '\nbetween\n'.join(f'{begin}\n| %s |\n{end}' for begin, end in places) + '\nafter\n'
    page.write_text(layout % ('old', 'old'))
    for name in ('README.md', 'docs/inputs.md', 'docs/maps.md', 'docs/reliability.md', 'docs/performance.md'):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / 'gradcam.png').write_bytes(b'picture')
    for name in ('gradcam', 'map_share'):
        (tmp_path / f'{name}.md').write_text(f'| {name} |\n')
    options = ['--map-share', str(tmp_path), '--root', str(tmp_path)]
    assert update_docs.main([*options, '--check']) == 1 and 'attention.md is out of date' in capsys.readouterr().err
    assert page.read_text() == layout % ('old', 'old') and not list((page.parent / 'images').iterdir())
    assert update_docs.main(options) == 0 == update_docs.main([*options, '--check'])
    assert page.read_text() == layout % ('gradcam', 'map_share')
    assert (page.parent / 'images' / 'gradcam.png').read_bytes() == b'picture'
    real = (ROOT / 'docs' / 'attention.md').read_text()
    assert all(real.count(begin) == real.count(end) == 1 for begin, end in places)


@pytest.mark.parametrize('arguments, words', [
    (['--map-share', '2', '--first-seed', str(FIRST_SEED - 1)], 'not held out'),
    (['--map-share', '2', '--baselines-only'], 'needs a network'),
])
def test_what_cannot_be_measured_is_refused(arguments, words, capsys):
    assert evaluate.main(arguments) != 0
    assert words in capsys.readouterr().err
