# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands that are killed and started again; `tools/killed.py` does the same at 50 moments of every command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attention_fusion_ros.commands import simulate
from attention_fusion_ros.stream.new_recording import NewRecording, status_of
from attention_fusion_ros.training.state import write_state

ROOT = Path(__file__).resolve().parents[2]
PARTS = [('simulate --bag', 'draw_map', 'gallery'), ('train --scenes-only', 'evaluate'), ('replay --bag', 'train'),
         ('train --bags', 'tools/calibrate.py')]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize('commands', PARTS, ids=lambda names: ', '.join(names))
def test_killed_commands_lose_nothing(commands, tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / 'tools' / 'killed.py'), '--preloaded', '--kills', '2',
                           '--at-names', '1', '--csv', str(tmp_path / 'killed.csv'), '--commands', *commands],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / 'killed.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['command'] for row in rows} == set(commands)
    for row in rows:
        assert int(row['kills']) >= 2 and row['half_written'] == '0' and row['equal'] == row['ends'], row


def test_states_of_training_are_equal_but_for_the_time_they_took(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    from killed_files import content

    def stored(**changed):
        state = {'network': {'w': torch.arange(4.0)}, 'optimiser': {'state': {0: {'step': 3}}}, 'step': 3, 'spent': 1.5,
                 'rng': torch.arange(5, dtype=torch.uint8), 'history': [{'step': 3, 'minutes': 0.1}]}
        write_state(tmp_path, state | changed)
        return content(tmp_path)
    expected = stored()
    assert stored(spent=2.5, history=[{'step': 3, 'minutes': 0.2}]) == expected
    for changed in ({'network': {'w': torch.zeros(4)}}, {'optimiser': {'state': {0: {'step': 4}}}}, {'step': 4},
                    {'rng': torch.zeros(5, dtype=torch.uint8)}, {'history': [{'step': 4, 'minutes': 0.1}]}):
        assert stored(**changed) != expected, changed


def test_the_same_command_again_finds_all_done_and_another_one_is_refused(tmp_path, capsys):
    """Who is killed after the recording got its name, and starts the command again, must not be told that it exists."""
    words = ['--bag', str(tmp_path / 'drive'), '--lidar', 'vlp_16', '--rate', '2', '--duration', '1', '--quiet']
    assert simulate.main(words) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'drive').iterdir()}
    capsys.readouterr()
    assert simulate.main(words) == 0
    assert 'there already' in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'drive').iterdir()} == before
    assert simulate.main([*words, '--seed', '5']) == 2
    assert 'exists already. Remedy: give a new folder' in capsys.readouterr().err
    assert json.loads((tmp_path / 'drive' / 'truth.json').read_text())['sweeps']


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_recording_tells_what_made_it(tmp_path, storage):
    with NewRecording(tmp_path / 'bag', storage, 'this command') as new:
        new.finish(status=1)
        assert not (tmp_path / 'bag').exists()
    assert status_of(tmp_path / 'bag', 'this command') == 1
    assert status_of(tmp_path / 'bag', 'another') is None and status_of(tmp_path / 'bag', '') is None
    assert status_of(tmp_path / 'none', 'this command') is None
    with NewRecording(tmp_path / 'nameless', storage):
        pass
    assert status_of(tmp_path / 'nameless', '') is None


def test_a_recording_that_fails_after_its_last_message_gets_no_name(tmp_path):
    with pytest.raises(OSError, match='the report'), NewRecording(tmp_path / 'bag') as new:
        new.finish()
        raise OSError('the report cannot be written')
    assert list(tmp_path.iterdir()) == []
