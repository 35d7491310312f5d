# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole training runs with a tiny network: to the end, cut off and resumed, continued from given weights, exported."""

from __future__ import annotations

import copy
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch
from support.training_kit import CELLS, make_scenes, network_config, settings_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import train
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SceneStore, cache_name, find_shards, make_shards
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.training import config as configs
from attention_fusion_ros.training import record
from attention_fusion_ros.training.optimiser import SkippingAdamW
from attention_fusion_ros.training.state import find_state, read_state
from attention_fusion_ros.training.trainer import MAX_NONFINITE_STEPS, Process, Trainer
from attention_fusion_ros.training.transfer import load_matching_weights

CPU = Process(0, 1, torch.device('cpu'))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    make_scenes(folder / 'town', 0, 6)
    make_scenes(folder / 'country', 100, 3)
    make_scenes(folder / 'held_back', 10_000_000, 3)
    return folder


@pytest.fixture(scope='module')
def finished(scenes, tmp_path_factory):
    """A run of the command from random weights to its end."""
    out = tmp_path_factory.mktemp('run')
    assert train.main(['--config', str(settings_file(out / 'settings.yaml')), '--scenes', str(scenes / 'town'),
                       str(scenes / 'country'), '--validation', str(scenes / 'held_back'), '--device', 'cpu',
                       '--out', str(out)]) == 0
    return out


def test_the_run_is_on_record(finished):
    run = record.read(finished)
    assert run['steps'] == 6 and run['started from'] == 'random weights' and len(run['commands']) == 1
    assert '--scenes' in run['commands'][0] and run['settings']['batch'] == 4
    assert run['data']['simulated']['sweeps'] > 9 > run['data']['held back']['sweeps'] >= 3
    assert run['data']['simulated']['first seed'] == 0 and run['data']['simulated']['last seed'] == 102
    assert [h['step'] for h in run['history']] == [3, 6]
    assert run['validation'] == {k: run['history'][-1][k] for k in run['validation']}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_exported_weights_answer_in_the_pipeline(finished):
    loaded = checkpoints.load(finished / 'checkpoint.safetensors')
    assert loaded.training['step'] == 6 and loaded.network.config == network_config()
    assert same(loaded.network.state_dict(), read_state(find_state(finished), CPU.device)['average'])
    pipeline = FusionPipeline(from_flat({'checkpoint': str(finished / 'checkpoint.safetensors'), 'device': 'cpu'}))
    xyz = np.random.default_rng(0).uniform(-20, 20, (2000, 3)).astype(np.float32) * (1, 1, 0.01)
    cloud = PointCloud(1, 'base_link', xyz.astype(np.float32), None)
    result = pipeline.run(SyncedSweep(cloud, Motion(np.eye(4))))
    assert result.trained and result.lidar_bev.shape[-1] == CELLS and np.isfinite(result.distribution).all()


def test_tensorboard_shows_losses_and_validation(finished):
    board = EventAccumulator(str(finished / 'tensorboard')).Reload()
    names = set(board.Tags()['scalars'])
    assert {'loss/total', 'loss/presence', 'learning_rate', 'validation/fused_f1'} <= names
    assert [e.step for e in board.Scalars('validation/fused_f1')] == [3, 6]
    total = board.Scalars('loss/total')
    assert total[-1].step == 6 and np.isfinite([e.value for e in total]).all()


@pytest.mark.slow
def test_a_run_cut_off_and_resumed_ends_with_the_weights_of_one_that_was_not(scenes, tmp_path):
    config = configs.load(settings_file(tmp_path / 'settings.yaml'))
    store = SceneStore(find_shards([scenes / 'town'], Grid(cells=CELLS)))

    def trainer(name: str) -> Trainer:
        return Trainer(config, SimulatedDataset(store, Grid(cells=CELLS), config.network.bins, config.seed),
                       tmp_path / name, CPU)

    def cut_off(network):
        raise KeyboardInterrupt

    whole = trainer('whole')
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer('parts').train(cut_off)
    resumed = trainer('parts')
    assert resumed.step == 3
    resumed.train()
    assert resumed.step == whole.step == 6
    assert same(whole.network.state_dict(), resumed.network.state_dict())
    assert same(whole.average.state_dict(), resumed.average.state_dict())
    assert not same(whole.network.state_dict(), FusionNetwork(config.network).state_dict())


@pytest.mark.parametrize('keep', [False, True])
def test_statistics_of_batch_normalisation_can_be_kept(scenes, tmp_path, keep):
    config = configs.load(settings_file(tmp_path / 'settings.yaml', keep_statistics=keep))
    dataset = SimulatedDataset(SceneStore(find_shards([scenes / 'town'], Grid(cells=CELLS))), Grid(cells=CELLS),
                               config.network.bins, 1)
    trainer = Trainer(config, dataset, tmp_path / 'run', CPU)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train_step(collate([dataset[i] for i in range(2)]))
    changed = {name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in before if 'running_' in name or 'num_batches' in name}
    assert statistics and bool(changed & statistics) == (not keep)
    assert any(name.endswith('norm.weight') for name in changed) and changed - statistics, 'weights learn either way'


def test_a_step_without_finite_gradients_is_skipped_and_twenty_in_a_row_end_the_run(scenes, tmp_path):
    config = configs.load(settings_file(tmp_path / 'settings.yaml', steps=100))
    dataset = SimulatedDataset(SceneStore(find_shards([scenes / 'town'], Grid(cells=CELLS))), Grid(cells=CELLS),
                               config.network.bins, 1)
    trainer = Trainer(config, dataset, tmp_path / 'run', CPU)
    bad = {2}

    def spoil(_, inputs):  # as from broken arithmetic: activations, and so batch statistics, are not numbers any more
        if trainer.step + 1 in bad or -1 in bad:
            return inputs[0] * float('nan'), *inputs[1:]
        return None
    trainer.network.register_forward_pre_hook(spoil)
    batch = collate([dataset[i] for i in range(2)])
    trainer.train_step(batch)
    states = trainer.network, trainer.average
    before = [copy.deepcopy(network.state_dict()) for network in states]
    optimiser = copy.deepcopy(trainer.optimiser.state_dict())
    trainer.train_step(batch)
    # Nothing has changed, batch statistics and the optimiser's memory included.
    assert all(same(old, network.state_dict()) for old, network in zip(before, states, strict=True))
    now = trainer.optimiser.state_dict()
    assert all(same(old, now['state'][k]) for k, old in optimiser['state'].items()) and trainer.step == 2
    trainer.train_step(batch)
    assert not same(before[0], trainer.network.state_dict())
    assert all(v.float().isfinite().all() for network in states for v in network.state_dict().values())
    bad.add(-1)
    with pytest.raises(ConfigurationError, match='learning_rate'):
        for _ in range(MAX_NONFINITE_STEPS + 1):
            trainer.train_step(batch)


def test_the_fused_optimiser_takes_the_same_steps_and_skips_the_same():
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        optimiser = SkippingAdamW(layer, 0.1, 0.02, fused)
        for sound in (True, False, True):
            optimiser.zero_grad()
            layer(torch.ones(2, 4)).square().sum().backward()
            if not sound:
                layer.weight.grad.fill_(float('nan'))
            before = copy.deepcopy(layer.state_dict()), copy.deepcopy(optimiser.state_dict()['state'])
            optimiser.step_if(torch.tensor(sound), learning_rate=0.1)
            assert same(before[0], layer.state_dict()) != sound
            if not sound:
                assert all(same(before[1][k], v) for k, v in optimiser.state_dict()['state'].items())
        results.append(layer.weight.detach())
    assert torch.allclose(*results, atol=1e-6)


def test_given_weights_are_where_a_run_starts_and_its_schedule_is_new(finished, scenes, tmp_path):
    settings = settings_file(tmp_path / 'settings.yaml', network=None, steps=1, learning_rate=1e-9)
    command = ['--config', str(settings), '--scenes', str(scenes / 'country'), '--device', 'cpu',
               '--start-from', str(finished / 'checkpoint.safetensors')]
    assert train.main([*command, '--out', str(tmp_path / 'same')]) == 0
    before = checkpoints.load(finished / 'checkpoint.safetensors')
    after = checkpoints.load(tmp_path / 'same/checkpoint.safetensors')
    assert after.training['step'] == 1 and after.network.config == before.network.config
    assert after.calibration == before.calibration  # nothing was held back to fit another
    for name, tensor in before.network.named_parameters():
        assert torch.allclose(tensor, after.network.get_parameter(name), atol=1e-6), name
    # Settings of the network win over those of the checkpoint; what fits is taken over.
    settings_file(settings, network={'head_width': 16}, steps=1, learning_rate=1e-9)
    assert train.main([*command, '--out', str(tmp_path / 'wider')]) == 0
    wider = checkpoints.load(tmp_path / 'wider/checkpoint.safetensors').network
    assert wider.config == network_config(head_width=16)
    assert torch.allclose(wider.road_head.weight, before.network.road_head.weight, atol=1e-6)
    assert wider.head.weight.shape[1] == 16


def test_more_inputs_change_nothing_at_first():
    torch.manual_seed(0)
    trained, wider = torch.nn.Conv2d(5, 4, 3), torch.nn.Conv2d(7, 4, 3)
    assert load_matching_weights(wider, trained) == []
    x = torch.rand(2, 7, 8, 8)
    assert torch.allclose(wider(x), trained(x[:, :5]), atol=1e-6)
    other = torch.nn.Conv2d(5, 3, 3)
    kept = other.weight.clone()
    assert load_matching_weights(other, trained) == ['weight', 'bias'] and torch.equal(other.weight, kept)


def test_scenes_are_made_once_for_the_same_options(tmp_path, capsys):
    settings = settings_file(tmp_path / 'settings.yaml', scenes=2, steps=1, first_seed=3)
    command = ['--config', str(settings), '--cache', str(tmp_path / 'cache'), '--device', 'cpu', '--workers', '1',
               '--scenes-only', '--out', str(tmp_path / 'out')]
    assert train.main(command) == 0
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').rglob('*.npy')}
    assert len({p.parent.parent for p in made}) == 1 and train.main(command) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / 'cache').rglob('*.npy')} == made
    grid = Grid(cells=CELLS)
    names = {cache_name(grid, 20.0, None, 0), cache_name(grid, 20.0, None, 2), cache_name(grid, 20.0, settings, 0),
             cache_name(Grid(cells=2 * CELLS), 20.0, None, 0), cache_name(grid, 15.0, None, 0)}
    assert len(names) == 5 and next(iter(made)).parents[1].name.removesuffix('-2') in names
    assert train.main([*command, '--osm', str(tmp_path / 'no.osm')]) == 2
    assert 'does not exist' in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_asks_for_more_scenes_is_not_given_those_made_for_fewer(tmp_path):
    options = SceneOptions(Grid(cells=CELLS), 20.0)
    for count in (1, 5, 4, 1):
        made = make_shards(3, count, tmp_path / 'cache', options, workers=1, shard_size=2)
        store = SceneStore(made)
        assert sorted({store[i][2].seed for i in range(len(store))}) == list(range(3, 3 + count))


@pytest.mark.parametrize('options, message', [
    (['--scenes', 'nowhere'], "no simulated scenes below 'nowhere'"),
    ([], 'nothing to train on'),
    (['--start-from', 'nowhere.safetensors'], "'nowhere.safetensors' does not exist"),
    (['-s', 'step=1'], "'step'"),
    (['-s', 'steps'], "'-s steps' is not NAME=VALUE"),
    (['--device', 'nonsense'], "got 'nonsense'"),
    (['--device', 'cuda:17'], "device 'cuda:17' is not there"),
    (['--bags', '.', '--cache', '/nowhere', '-s', 'scenes=100'], 'no recording below')])
def test_mistakes_end_in_one_line(options, message, tmp_path, capsys):
    command = ['--config', str(settings_file(tmp_path / 'settings.yaml')), '--cache', str(tmp_path), '--out',
               str(tmp_path / 'out'), '--device', 'cpu', *options]
    assert train.main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: ') and message in error


def test_scenes_of_another_grid_are_refused(scenes, tmp_path, capsys):
    settings = settings_file(tmp_path / 'settings.yaml', network={'cells': 128})
    assert train.main(['--config', str(settings), '--scenes', str(scenes / 'town'), '--out', str(tmp_path / 'out'),
                       '--device', 'cpu']) == 2
    assert '64 x 64 cells, the network 128 x 128' in capsys.readouterr().err


def test_a_console_script_records_the_command_as_it_was_typed(scenes, tmp_path, monkeypatch):
    words = ['--config', str(settings_file(tmp_path / 'settings.yaml', steps=1)), '--scenes', str(scenes / 'country'),
             '--device', 'cpu', '--out', str(tmp_path / 'out')]
    monkeypatch.setattr(sys, 'argv', ['/opt/ros/lib/attention_fusion_ros/train', *words])
    assert train.main() == 0
    assert record.read(tmp_path / 'out')['commands'] == [
        shlex.join(['python', '-m', 'attention_fusion_ros', 'train', *words])]


@pytest.mark.parametrize('world, asked, local, expected', [
    (1, 'cuda:1', 0, 'cuda:1'), (1, 'auto', 0, 'cuda:0'), (1, 'cpu', 0, 'cpu'), (2, 'cuda', 1, 'cuda:1'),
    (2, 'auto', 0, 'cuda:0'), (2, 'cuda:1', 0, 'names one GPU for 2 processes'),
    (4, 'cuda', 3, "'cuda:3' is not there"), (1, 'gpu', 0, "got 'gpu'")])
def test_the_device_that_was_asked_for_is_the_one_that_trains(world, asked, local, expected, monkeypatch):
    """On a machine that seems to have two GPUs."""
    used, groups = [], []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', used.append)
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda backend, **_: groups.append(backend))
    for name, value in (('WORLD_SIZE', world), ('RANK', local), ('LOCAL_RANK', local)):
        monkeypatch.setenv(name, str(value))
    if not expected.startswith(('cuda', 'cpu')):
        with pytest.raises(ConfigurationError, match=expected):
            Process.from_environment(asked)
        return
    process = Process.from_environment(asked)
    assert process.device == torch.device(expected) and (process.rank, process.world) == (local, world)
    assert used == ([process.device] if process.device.type == 'cuda' else [])
    assert groups == (['nccl'] if world > 1 else [])


def test_a_state_of_another_network_or_a_damaged_one_is_refused(finished, scenes, tmp_path, capsys):
    command = ['--scenes', str(scenes / 'town'), '--device', 'cpu', '--out', str(tmp_path)]
    shutil.copy(finished / 'last.safetensors', tmp_path)
    other = settings_file(tmp_path / 'settings.yaml', network={'cells': CELLS, 'bins': 24})
    assert train.main(['--config', str(other), *command]) == 2
    assert 'is the state of another network' in capsys.readouterr().err
    (tmp_path / 'last.safetensors').write_bytes(b'cut off')
    assert train.main(['--config', str(other), *command]) == 2
    assert 'cannot be read' in capsys.readouterr().err
