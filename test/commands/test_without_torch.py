# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Without torch: `replay`, `draw_map` and the node give what they give with it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import mini_drive, without_torch

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.kernels.compiled import is_installed
from attention_fusion_ros.network.shipped import SHIPPED, exported_beside

pytest.importorskip('onnxruntime', reason='needs pip install onnxruntime')
if not is_installed():
    pytest.skip('needs pip install numba', allow_module_level=True)

TOLERANCE = 1e-3
NUMBERS = ('bearing_rad', 'heading_rad', 'bearing_std_rad', 'probability')
LIGHT = ('-p', 'backend:=onnxruntime', '--device', 'cpu')


@pytest.fixture(scope='module')
def drive(tmp_path_factory) -> Path:
    return mini_drive.write(tmp_path_factory.mktemp('light') / 'drive', 6)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def assert_same_answers(folder: Path, other: Path) -> None:
    for name in ('directions', 'branches'):
        ours, theirs = rows(folder / f'{name}.csv'), rows(other / f'{name}.csv')
        assert len(ours) == len(theirs) > 0
        for mine, their in zip(ours, theirs):
            assert (mine['stamp_ns'], mine.get('mode')) == (their['stamp_ns'], their.get('mode'))
            for column in (c for c in NUMBERS if c in mine):
                assert (mine[column] == '') == (their[column] == ''), (name, mine, their)
                if mine[column]:
                    off = abs(float(mine[column]) - float(their[column]))
                    assert min(off, abs(off - 2 * np.pi)) <= TOLERANCE, (name, column, mine, their)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_replay_gives_the_same_answers(drive, tmp_path):
    light = without_torch.run('replay', drive, '--out', tmp_path / 'light', *LIGHT)
    assert light.returncode == 0, light.stderr
    assert 'Grad-CAM is left out' in light.stderr and 'backend torch' in light.stderr
    from attention_fusion_ros.commands import replay
    assert replay.main([str(drive), '--out', str(tmp_path / 'torch'), '-p', 'backend:=torch', '--device', 'cpu']) == 0
    assert_same_answers(tmp_path / 'light', tmp_path / 'torch')
    assert (tmp_path / 'light' / 'attention.png').stat().st_size > 10_000, 'attention itself needs no gradients'


def test_the_exported_file_that_ships_was_made_of_the_checkpoint_that_ships():
    found = exported_beside('')
    assert found == SHIPPED.with_suffix('.onnx'), \
        'make it again: python -m attention_fusion_ros export --format onnx --out attention_fusion_ros/weights'
    assert b'site-packages' not in found.read_bytes(), "where it was made is nobody else's concern"


def test_the_exported_file_gives_what_the_network_gives():
    torch = pytest.importorskip('torch')
    from attention_fusion_ros.backends.create import create_backend
    from attention_fusion_ros.backends.exported import named_outputs
    config = NodeConfig(device='cpu', threads=1, backend='torch')
    backends = create_backend(config), create_backend(replace(config, backend='onnxruntime'))
    assert backends[0].model == backends[1].model
    random = torch.Generator().manual_seed(2)
    grids = [torch.rand(1, channels, 256, 256, generator=random) for channels in (5, 3)]
    expected, found = named_outputs(backends[0].infer(*grids)), named_outputs(
        backends[1].infer(*(grid.numpy() for grid in grids)))
    assert not expected.pop('road').isnan().any() and found.keys() == expected.keys()  # nobody reads it
    for name, values in expected.items():
        assert isinstance(found[name], np.ndarray)
        np.testing.assert_allclose(found[name], values.numpy(), atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize('arguments, words', [
    (('replay', '{drive}', '--out', '{out}', '-p', 'backend:=torch'), "backend 'torch' needs the package torch"),
    (('replay', '{drive}', '--out', '{out}', *LIGHT, '-p', 'kernels:=plain'), "parameter 'kernels' to auto"),
    (('replay', '{drive}', '--out', '{out}', *LIGHT, '-p', 'checkpoint:=two_readings'), 'needs torch, onnx'),
    (('export', '--out', '{out}'), 'torch, which is not installed'),
    (('simulate', '--bag', '{out}'), 'torch, which is not installed')])
def test_what_needs_torch_says_so(drive, tmp_path, arguments, words):
    done = without_torch.run(*(text.format(drive=drive, out=tmp_path / 'out') for text in arguments))
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr and 'pip install' in done.stderr


def test_nothing_before_the_backend_imports_torch():
    script = ('import sys\n'
              'for name in ("commands.replay", "commands.draw_map", "evaluation.replay", "report.replay_report",\n'
              '             "pipeline.supervisor", "backends.onnxruntime_backend", "maps.smoothed"):\n'
              '    __import__("attention_fusion_ros." + name)\n'
              'sys.exit("torch" in sys.modules)\n')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
