# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Two CPU processes, started by torchrun, train one network together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.training_kit import make_scenes, settings_file

from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.training.state import find_state, read_state

pytestmark = pytest.mark.slow

# What each process runs: the command itself; afterwards it tells its weights and which scenes it was fed.
PROCESS = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from attention_fusion_ros.commands import train
from attention_fusion_ros.datasets import simulated as dataset
from attention_fusion_ros.training import trainer
made, fed = [], []
built, item = trainer.Trainer.__init__, dataset.SimulatedDataset.__getitem__
def keep(self, *given):
    built(self, *given)
    made.append(self)
def note(self, i):
    fed.append((self.augment, self.epoch, i))
    return item(self, i)
trainer.Trainer.__init__, dataset.SimulatedDataset.__getitem__ = keep, note
losses, calls = trainer.losses, []
def spoil(*given):
    total, parts = losses(*given)
    calls.append(1)
    # The loss of one process alone is not finite, in its second step; the gradients, which are shared, are.
    return total + (float('inf') if made[0].process.rank == 1 and len(calls) == 2 else 0.0), parts
trainer.losses = spoil
out, told = Path(sys.argv[1]), Path(sys.argv[2])
status = train.main(sys.argv[3:])
rank = made[0].process.rank
fed = [(epoch, i) for augmented, epoch, i in fed if augmented]
torch.save(dict(network=made[0].network.state_dict(), average=made[0].average.state_dict(), step=made[0].step, fed=fed,
                status=status), told / f'{rank}.pt')
"""


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
    """What both processes tell, and the folder of the run."""
    folder = tmp_path_factory.mktemp('ddp')
    script, out, told = folder / 'process.py', folder / 'run', folder / 'told'
    script.write_text(PROCESS)
    told.mkdir()
    scenes = make_scenes(folder / 'scenes', 0, 6)
    settings = settings_file(folder / 'settings.yaml', steps=3, batch=2)
    root = Path(checkpoints.__file__).parents[2]
    environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', str(script),
               str(out), str(told), '--config', str(settings), '--scenes', str(scenes), '--validation', str(scenes),
               '--device', 'cpu', '--out', str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(told / f'{rank}.pt', weights_only=True) for rank in range(2)], out


def test_both_processes_end_with_equal_weights(processes):
    """Also after a step that only one of them would have skipped."""
    (first, second), out = processes
    assert first['step'] == second['step'] == 3 and first['status'] == second['status'] == 0
    for kind in ('network', 'average'):
        assert all(torch.equal(first[kind][name], second[kind][name]) for name in first[kind])
    exported = checkpoints.load(out / 'checkpoint.safetensors')
    assert all(torch.equal(t, first['average'][name]) for name, t in exported.network.state_dict().items())
    start = read_state(find_state(out), torch.device('cpu'))
    assert start['step'] == 3


def test_each_process_is_fed_its_own_half(processes):
    (first, second), _ = processes
    assert len(first['fed']) == len(second['fed'])
    epoch = [{i for at, i in of['fed'] if at == 0} for of in (first, second)]
    assert epoch[0] and epoch[1] and not epoch[0] & epoch[1]


def test_only_the_first_process_writes(processes):
    _, out = processes
    written = ['checkpoint.safetensors', 'last.safetensors', 'run.json', 'tensorboard']
    assert sorted(p.name for p in out.iterdir()) == written
    assert len(list((out / 'tensorboard').iterdir())) == 1
