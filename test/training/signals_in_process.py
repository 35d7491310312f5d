# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM lose nothing: the same command continues, and ends with the weights of a run left in peace.

Run by test_interrupt.py in a process of its own: what other tests load (middleware, inference engines) changes how
signals are handled in a process.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.training_kit import CELLS, have_equal_weights, interruptible_run, interruptible_scenes, settings_file

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import train
from attention_fusion_ros.datasets.shards import SceneStore, find_shards
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.training import trainer as trainers
from attention_fusion_ros.utils import sealed_tensors

ROOT = Path(checkpoints.__file__).parents[2]


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
        signal_in(sealed_tensors, 'to_bytes', 1)
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


def test_a_signal_while_processes_start(scenes, tmp_path, monkeypatch, capfd):
    """They are given semaphores that are gone when they look for them: not for the user's eyes."""
    from multiprocessing.context import ForkServerProcess
    starting = ForkServerProcess.start
    started: list[object] = []

    def start_then_signal(process) -> None:
        starting(process)
        started.append(process)
        if len(started) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
    monkeypatch.setattr(ForkServerProcess, 'start', start_then_signal)
    assert train.main(interruptible_run(scenes, tmp_path / 'run', workers=3)) == 143
    assert started and not any(process.is_alive() for process in started)
    time.sleep(1)
    error = capfd.readouterr().err
    assert 'the same command continues from there' in error.splitlines()[-1] and 'Traceback' not in error


def test_what_outlives_an_interrupted_process_says_nothing(tmp_path):
    """Python's resource tracker would tell of semaphores that nobody removed, after the last word."""
    code = ('import os, signal, sys\n'
            'from attention_fusion_ros.utils.processes import START_METHOD, start_quiet_tracker\n'
            'if START_METHOD != "forkserver": sys.exit("no resource tracker here")\n'
            'start_quiet_tracker()\n'
            'from multiprocessing import resource_tracker\n'
            'resource_tracker.register("/gone", "semaphore")\n'
            'assert "PYTHONWARNINGS" not in os.environ\n'
            'print("last word", file=sys.stderr, flush=True)\n'
            'os.kill(os.getpid(), signal.SIGKILL)\n')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, timeout=60,
                          env={**{k: v for k, v in os.environ.items() if k != 'PYTHONWARNINGS'},
                               'PYTHONPATH': str(ROOT)})
    assert done.stderr.splitlines()[-1] in ('last word', 'no resource tracker here'), done.stderr


def train_set():
    from attention_fusion_ros.datasets.simulated import SimulatedDataset
    return SimulatedDataset


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, '-m', 'attention_fusion_ros', 'train', *words], text=True,
                            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def signal_when(process: subprocess.Popen[str], number: int, ready, delay: float) -> tuple[int, str]:
    """Exit status and stderr of a process that is sent the signal `delay` seconds after ready() is true."""
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    return process.returncode, error


def test_a_process_that_is_stopped_again_and_again(scenes, tmp_path):
    settings = dict(steps=60, batch=8, validate_every=25, checkpoint_every=1000, workers=1)
    assert train.main(interruptible_run(scenes, tmp_path / 'whole', **settings)) == 0
    words, out = interruptible_run(scenes, tmp_path / 'parts', **settings), tmp_path / 'parts'
    rng, statuses = random.Random(1), []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        before = (out / 'run.json').read_bytes() if (out / 'run.json').exists() else b''

        def begun(before=before) -> bool:
            return (out / 'run.json').exists() and (out / 'run.json').read_bytes() != before
        status, error = signal_when(start(words), number, begun, rng.uniform(0.0, 2.0))
        statuses.append(status)
        assert status in (128 + number, 0), error  # 0: it had come to its end
        assert status == 0 or 'the same command continues from there' in error.splitlines()[-1]
    assert 130 in statuses
    assert train.main(words) == 0
    assert have_equal_weights(tmp_path / 'whole', out)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_scenes_are_kept_when_their_making_is_interrupted(number, tmp_path):
    settings = settings_file(tmp_path / 'settings.yaml', scenes=40)
    words = ['--config', str(settings), '--cache', str(tmp_path / 'cache'), '--device', 'cpu', '--scenes-only',
             '--out', str(tmp_path / 'out')]

    def made() -> list[Path]:
        return list((tmp_path / 'cache').rglob('part-*.npz'))
    status, error = signal_when(start(words), number, made, 0.05)
    assert status == 128 + number and 'the same command continues from there' in error.splitlines()[-1]
    kept = {file: file.stat().st_mtime_ns for file in made()}
    assert 0 < len(kept) < 3 and not list((tmp_path / 'cache').rglob('.*.partial'))
    process = start(words)
    while made() and process.poll() is None:
        for file, changed in kept.items():
            assert not file.exists() or file.stat().st_mtime_ns == changed
        time.sleep(0.05)
    assert process.wait(timeout=120) == 0
    store = SceneStore(find_shards([tmp_path / 'cache'], Grid(cells=CELLS)))
    assert {info.seed for info in store.infos()} <= set(range(40)) and len(store) >= 40
