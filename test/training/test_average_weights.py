# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`tools/average_weights.py`: the mean of checkpoints is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from attention_fusion_ros.contracts import Calibration  # noqa: E402
from attention_fusion_ros.network import checkpoint  # noqa: E402
from attention_fusion_ros.network.build import build_network  # noqa: E402
from attention_fusion_ros.network.config import NetworkConfig  # noqa: E402

TOOL = Path(__file__).parents[2] / 'tools' / 'average_weights.py'


def written(path: Path, seed: int, **settings) -> Path:
    """A small network, and its counters at `seed`."""
    torch.manual_seed(seed)
    network = build_network(NetworkConfig.from_dict({'cells': 64, 'bins': 24, **settings}))
    for name, buffer in network.named_buffers():
        if name.endswith('num_batches_tracked'):
            buffer.fill_(seed)
    checkpoint.save(path, network, Calibration(), {'step': seed})
    return path


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True)


def test_the_mean_lies_between_by_the_shares(tmp_path):
    files = [written(tmp_path / f'{seed}.safetensors', seed) for seed in (3, 7)]
    done = run(*files, '--shares', 3, 1, '--out', tmp_path / 'mean.safetensors')
    assert done.returncode == 0, done.stderr
    found = checkpoint.load(tmp_path / 'mean.safetensors')
    mean, first, second = (c.network.state_dict() for c in (found, *map(checkpoint.load, files)))
    assert any(tensor.is_floating_point() and not torch.equal(tensor, second[name]) for name, tensor in first.items())
    for name, tensor in mean.items():
        expected = 0.75 * first[name] + 0.25 * second[name] if tensor.is_floating_point() else first[name]
        torch.testing.assert_close(tensor, expected, msg=name)
    assert [(part['share'], len(part['sha256'])) for part in found.training['mean_of']] == [(0.75, 64), (0.25, 64)]


@pytest.mark.parametrize('shares, settings, words', [
    ((1, 1, 1), {}, 'as many finite shares'), ((1, -1), {}, 'none negative'), ((0, 0), {}, 'not all 0'),
    (('nan', 1), {}, 'finite'),
    ((1, 1), {'fusion': {'name': 'none'}}, 'different networks'), ((1, 1), {'extent': 30.0}, 'different networks')])
def test_what_has_no_mean_is_refused(tmp_path, shares, settings, words):
    files = [written(tmp_path / 'a.safetensors', 1), written(tmp_path / 'b.safetensors', 2, **settings)]
    done = run(*files, '--shares', *shares, '--out', tmp_path / 'mean.safetensors')
    assert done.returncode == 2 and words in done.stderr and not (tmp_path / 'mean.safetensors').exists()
