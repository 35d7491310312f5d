# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate` as it is called from a shell, and the networks that its options name."""

from __future__ import annotations

import json
import sys

import pytest
from support.drive_kit import write_drive

from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.checkpoints import NamedCheckpoint, load_networks, parse_checkpoints


def test_a_console_script_records_its_whole_command_line(tmp_path, monkeypatch, capsys):
    write_drive(tmp_path / 'data/straight', sweeps=1)
    options = ['--drives', str(tmp_path / 'data'), '--baselines-only', '--workers', '1', '--out', str(tmp_path / 'out')]
    monkeypatch.setattr(sys, 'argv', ['/opt/ros/lib/attention_fusion_ros/evaluate', *options])
    assert evaluate.main() == 0
    command = json.loads((tmp_path / 'out/drives.json').read_text())['provenance']['command']
    assert command == ' '.join(['python -m attention_fusion_ros evaluate', *options])
    assert 'wrote ' in capsys.readouterr().out


def test_checkpoints_by_name_and_what_they_are_given():
    assert parse_checkpoints('', [('a', 'x.safetensors'), ('b', 'untrained@map')]) == [
        NamedCheckpoint('network', ''), NamedCheckpoint('a', 'x.safetensors'), NamedCheckpoint('b', 'untrained', 'map')]


@pytest.mark.parametrize('pairs, message', [
    ([('network', 'y')], 'is taken'), ([('x', 'y'), ('x', 'z')], 'is taken'),
    ([('x', 'y@camera')], 'comes lidar or map')])
def test_mistakes_in_compare(pairs, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_checkpoints('', pairs)


def test_random_weights_are_remarked_upon():
    networks = load_networks([NamedCheckpoint('network', 'untrained')], 'cpu')
    assert networks.main == 'network' and networks.files == {} and 'random weights' in networks.notes[0]
    assert load_networks([], 'cpu').main is None
