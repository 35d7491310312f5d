# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A mechanism that needs a loss of its own brings it: one file, and the training knows it by name."""

from __future__ import annotations

import pytest
import torch
from support.training_kit import CELLS, make_scenes, network_config, settings_file

from attention_fusion_ros.attention import MECHANISMS, Mechanism
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import train
from attention_fusion_ros.datasets.shards import SceneStore, find_shards
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.training import config as configs
from attention_fusion_ros.training.loss import losses
from attention_fusion_ros.training.trainer import Process, Trainer


class Toy(Mechanism):
    """Scales all features alike; its own loss wants the scale to be that of the truth (here: 3)."""

    loss_weights = {'toy': 1.0}

    def __init__(self, channels: int):
        super().__init__(channels)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        weights = self.scale.sigmoid().expand(len(x), self.channels)
        return x * weights[:, :, None, None], {'channel': weights, 'scale': self.scale.expand(len(x))}

    def losses(self, weights, truth, task_loss):
        """Of the (B,) scales."""
        assert len(truth.branches) == len(weights['scale']) and not task_loss.requires_grad
        return {'toy': (weights['scale'] - 3.0).square().mean()}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(MECHANISMS, 'toy', Toy)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    return make_scenes(tmp_path_factory.mktemp('scenes'), 0, 4)


def test_its_loss_is_a_setting_by_name(toy, tmp_path):
    assert configs.load(None).loss['toy'] == 1.0
    assert configs.load(None, {'loss': {'toy': 0.5}}).loss['toy'] == 0.5
    with pytest.raises(ConfigurationError, match="'loss.tyo'.*'loss.toy'"):
        configs.load(None, {'loss': {'tyo': 1}})


def test_without_the_mechanism_its_loss_is_unknown():
    with pytest.raises(ConfigurationError, match="'loss.toy'"):
        configs.load(None, {'loss': {'toy': 1}})
    assert {'alignment', 'hint', 'coarse', 'reinforce'} <= set(configs.loss_weights())


def test_it_learns_from_its_own_loss_in_every_slot_that_names_it(toy, scenes, tmp_path):
    settings = settings_file(tmp_path / 'settings.yaml', steps=30, learning_rate=0.05, warmup_steps=1)
    config = configs.load(settings, network=network_config())
    config = configs.load(settings, {'network': {**config.network.to_dict(), 'fusion': {'name': 'toy'},
                                                 'stage_attention': {'name': 'toy'}}})
    dataset = SimulatedDataset(SceneStore(find_shards([scenes], Grid(cells=CELLS))), Grid(cells=CELLS),
                               config.network.bins, 1)
    trainer = Trainer(config, dataset, tmp_path / 'run', Process(0, 1, torch.device('cpu')))
    batch = collate([dataset[i] for i in range(4)])
    _, parts = losses(trainer.network(batch.lidar, batch.map_image), batch.target, config.loss,
                      trainer.network.mechanisms())
    assert float(parts['toy'].detach()) == pytest.approx(4 * 4.0)  # fusion and three stages, each (1 - 3)^2
    assert 'toy' in trainer.train_step(batch)
    trainer.train(quiet=True)
    scales = [m.scale.item() for m in trainer.network.mechanisms().values() if isinstance(m, Toy)]
    assert len(scales) == 4 and all(1.1 < scale < 3.5 for scale in scales)


def test_the_mechanisms_of_a_network_are_those_whose_weights_it_returns():
    network = FusionNetwork(network_config(encoder_attention={'name': 'se', 'reduction': 4},
                                           stage_attention={'name': 'glimpse', 'patch': 2},
                                           map_registration={'name': 'stn', 'width': 4})).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 5, CELLS, CELLS), torch.rand(2, 3, CELLS, CELLS))
    assert set(output.weights) <= set(network.mechanisms())
    assert {stage for stage, weights in output.weights.items() if 'log_prob' in weights} == {
        'stage1', 'stage2', 'stage3'}
    assert 'correction' in output.weights['map'] and 'channel' in output.weights['encoder']


def test_a_run_logs_it(toy, scenes, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    settings = settings_file(tmp_path / 'settings.yaml', steps=2)
    assert train.main(['--config', str(settings), '--scenes', str(scenes), '--device', 'cpu', '--out', str(tmp_path),
                       '-s', 'network={cells: 64, bins: 24, fusion: {name: toy}}', '-s', 'loss={toy: 0.1}']) == 0
    assert 'loss/toy' in EventAccumulator(str(tmp_path / 'tensorboard')).Reload().Tags()['scalars']
