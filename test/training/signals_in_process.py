# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Signals to the process that trains. Run by test_interrupt.py in a process of its own: other tests of a process, and
what runs them, have handlers and threads of their own.
"""

from __future__ import annotations

import os
import signal

import pytest
import torch
from support.training_kit import CELLS, have_equal_weights, interruptible_run, interruptible_scenes

from attention_fusion_ros.commands import train
from attention_fusion_ros.training import trainer as trainers


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return interruptible_scenes(tmp_path_factory.mktemp('scenes'))


# Glimpse draws random numbers in every step: they must go on as well.
GLIMPSE = {'name': 'glimpse', 'glimpses': 2, 'patch': 4}


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize('where', ['while a sample is drawn', 'in the middle of a step', 'while figures are made',
                                   'while the state is written'])
def test_a_signal_at_any_moment(scenes, tmp_path, monkeypatch, capsys, where, number, status):
    network = {'cells': CELLS, 'bins': 24, 'lidar_width': 8, 'map_width': 8, 'widths': [8, 8, 8], 'polar_ranges': 8,
               'polar_widths': [8, 8, 8], 'head_width': 8, 'encoder_attention': GLIMPSE}
    assert train.main(interruptible_run(scenes, tmp_path / 'whole', network=network)) == 0
    counts: dict[str, int] = {}

    def signal_in(owner, name: str, call: int) -> None:
        original = getattr(owner, name)

        def with_signal(*arguments, **more):
            counts[name] = counts.get(name, 0) + 1
            if counts[name] == call:
                os.kill(os.getpid(), number)
            return original(*arguments, **more)
        monkeypatch.setattr(owner, name, with_signal)
    if where == 'while a sample is drawn':
        signal_in(train_set(), '__getitem__', 13)
    elif where == 'in the middle of a step':
        signal_in(trainers, 'losses', 4)
    elif where == 'while figures are made':
        from attention_fusion_ros.training import validate
        signal_in(validate, 'decode_head', 2)
    else:
        signal_in(torch, 'save', 1)
    interrupted = interruptible_run(scenes, tmp_path / 'parts', network=network)
    assert train.main(interrupted) == status
    assert 'the same command continues from there' in capsys.readouterr().err
    assert not (tmp_path / 'parts' / 'checkpoint.safetensors').exists()
    assert train.main(interrupted) == 0
    assert have_equal_weights(tmp_path / 'whole', tmp_path / 'parts')
    from attention_fusion_ros.training import record
    whole, parts = (record.read(tmp_path / name) for name in ('whole', 'parts'))
    assert [h['step'] for h in parts['history']] == [h['step'] for h in whole['history']] == [3, 6]
    assert not list((tmp_path / 'parts').glob('.*'))  # no file that was begun is left


def train_set():
    from attention_fusion_ros.datasets.simulated import SimulatedDataset
    return SimulatedDataset
