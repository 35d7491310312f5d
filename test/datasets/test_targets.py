# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the map registration and the attention over past sweeps are trained with: exact where an exact answer exists."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.training_kit import CELLS, make_scenes, network_config

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets import simulated as datasets
from attention_fusion_ros.datasets.augment import MapState
from attention_fusion_ros.datasets.scenes import QUANTUM, quantise
from attention_fusion_ros.datasets.shards import SceneStore, find_shards
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate, map_correction
from attention_fusion_ros.network.config import mechanism
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.model import NetworkOutput
from attention_fusion_ros.simulation.sensors.map_image import MapError
from attention_fusion_ros.training.config import TrainingConfig, loss_weights
from attention_fusion_ros.training.loss import losses
from attention_fusion_ros.training.trainer import Process, Trainer

GRID = Grid(cells=CELLS)
MOVES = np.array([[3.0, -1.0, 0.2], [6.0, 0.0, -0.3]], np.float32)  # base_link then in base_link now, newest first
PLACE = np.array([12.0, 7.0])  # of something that stands still, in base_link now


def blob(x: float, y: float) -> np.ndarray:
    """(C, H, W) int8 features of one thing at a place."""
    fx, fy = GRID.centres()
    feature = 1.4 * np.exp(-((fx - x) ** 2 + (fy - y) ** 2) / 8.0)
    return quantise(np.broadcast_to(feature, (len(CHANNELS), CELLS, CELLS)))


class Store(SceneStore):
    """Stored scenes in which one thing stands still while the vehicle drives."""

    def __getitem__(self, i):
        _, masks, info = super().__getitem__(i)
        return blob(*PLACE), masks, info

    def past(self, i):
        earlier = []
        for x, y, yaw in MOVES:
            turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
            earlier.append(blob(*(turn.T @ (PLACE - (x, y)))))
        return np.stack(earlier), MOVES


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return Store(find_shards([make_scenes(tmp_path_factory.mktemp('scenes'), 0, 4)], GRID))


@pytest.fixture
def clean(monkeypatch):
    """No sensor faults; a map with the error put into the dictionary."""
    wanted = {'error': MapError()}
    monkeypatch.setattr(datasets, 'sensor_faults', lambda features, rng: features)
    monkeypatch.setattr(datasets, 'view_faults', lambda features, rng: features)
    monkeypatch.setattr(datasets, 'MISLED', 0.0)
    monkeypatch.setattr(datasets, 'random_map_state', lambda rng: MapState(True, 1.0, False, False))
    monkeypatch.setattr(datasets, 'draw_error', lambda rng, state: wanted['error'])
    return wanted


def test_the_correction_moves_the_drawn_map_onto_the_truth(store, clean):
    """Over quarter turns and mirroring: the map warped by its correction overlays the map without an error."""
    data = SimulatedDataset(store, GRID, 24, seed=3)
    middle = slice(CELLS // 4, 3 * CELLS // 4)
    for epoch in range(8):
        data.epoch = epoch
        clean['error'] = MapError()
        exact = torch.from_numpy(data[epoch % 4]['map_image'])
        clean['error'] = MapError(4.0, -3.0, 0.2)
        item = data[epoch % 4]
        drawn, correction = torch.from_numpy(item['map_image']), torch.from_numpy(item['map_error'])
        moved = move(drawn[None], se2_matrix(correction[None]), GRID.extent)[0]
        off = [float((m - exact)[0, middle, middle].abs().mean()) for m in (drawn, moved)]
        assert off[1] < 0.4 * off[0], (epoch, off)


def test_the_correction_undoes_the_error():
    error = MapError(2.0, -1.0, 0.3)
    dx, dy, dyaw = map_correction(error)
    undone = se2_matrix(torch.tensor([[dx, dy, dyaw]])) @ se2_matrix(torch.tensor([[error.x, error.y, error.yaw]]))
    assert torch.allclose(undone, torch.eye(3)[None], atol=1e-6)


def test_without_a_map_no_error_is_known(store, clean, monkeypatch):
    monkeypatch.setattr(datasets, 'random_map_state', lambda rng: MapState(False, 1.0, False, False))
    assert np.isnan(SimulatedDataset(store, GRID, 24, seed=0)[0]['map_error']).all()


def test_past_sweeps_lie_on_the_present_one_once_moved(store, clean):
    data = SimulatedDataset(store, GRID, 24, seed=1)
    for epoch in range(8):
        data.epoch = epoch
        batch = collate([data[0], data[1]])
        assert batch.past.lidar.shape == (2, 2, 5, CELLS, CELLS) and bool(batch.past.valid.all())
        shifts = batch.past.T_now_then[0, :, :2, 2].norm(dim=1)
        assert shifts.tolist() == pytest.approx([6.0, math.hypot(3.0, 1.0)], abs=1e-4), 'oldest first'
        for k in range(2):
            moved = move(batch.past.lidar[:, k], batch.past.T_now_then[:, k], GRID.extent)
            before = (batch.past.lidar[:, k] - batch.lidar).abs().max()
            assert float((moved - batch.lidar).abs().max()) < 0.15 < float(before)


def test_a_batch_copes_with_samples_that_have_fewer_earlier_sweeps(store, clean):
    long, short = SimulatedDataset(store, GRID, 24, seed=1)[0], SimulatedDataset(store, GRID, 24, 1, time_steps=2)[0]
    none = SimulatedDataset(store, GRID, 24, 1, time_steps=1)[0]
    batch = collate([long, short, none])
    assert batch.past.valid.tolist() == [[True, True], [False, True], [False, False]]
    assert torch.equal(batch.past.lidar[1, 1], torch.from_numpy(short['past'][0]))
    assert np.array_equal(short['past'][0], long['past'][1]), 'the newest is kept'
    assert collate([none, none]).past is None
    assert none['lidar'].max() <= 127 * QUANTUM


def with_correction(correction, std=1.0) -> NetworkOutput:
    head = torch.zeros(2, len(HEAD_CHANNELS), 24)
    weights = {'correction': torch.tensor(correction, requires_grad=True), 'correction_std': torch.full((2, 3), std)}
    return NetworkOutput(head, torch.zeros(2), torch.zeros(2, 1, 16, 16), torch.ones(2, 4), {},
                         weights={'map': weights})


def test_the_loss_wants_the_true_correction_and_asks_nothing_where_none_is_known(store, clean):
    clean['error'] = MapError(1.0, 2.0, 0.1)
    target = collate([SimulatedDataset(store, GRID, 24, 0)[i] for i in (0, 1)]).target
    truth = target.map_error.clone()
    target.map_error[1] = math.nan
    costs, transformer = [], {'map': build('stn', 8)}
    for wrong in (0.0, 0.5, 5.0):
        output = with_correction((truth + wrong).tolist())
        part = losses(output, target, loss_weights(), transformer)[1]['alignment']
        gradient, = torch.autograd.grad(part, output.weights['map']['correction'])
        assert torch.isfinite(gradient).all() and torch.equal(gradient[1], torch.zeros(3))
        costs.append(float(part.detach()))
    assert costs[0] < costs[1] < costs[2]
    target.map_error[:] = math.nan
    assert float(losses(output, target, loss_weights(), transformer)[1]['alignment'].detach()) == 0.0
    unknown = dataclasses.replace(target, map_error=None)
    assert 'alignment' not in losses(output, unknown, loss_weights(), transformer)[1]
    assert 'alignment' not in losses(output, target, loss_weights())[1]


@pytest.mark.parametrize('changes', [
    dict(map_registration=mechanism('stn', width=4)), dict(temporal=mechanism('temporal', keys=4), time_steps=3),
    dict(stage_attention=mechanism('glimpse', patch=2)), dict(stage_attention=mechanism('dynamic_capacity', patch=2))])
def test_every_parameter_learns_in_training(store, changes, tmp_path):
    """Two steps of the real training change each parameter of the mechanism, and none to something not finite."""
    config = TrainingConfig(steps=2, batch=4, workers=0, weight_decay=0.0, network=network_config(**changes))
    trainer = Trainer(config, SimulatedDataset(store, GRID, config.network.bins, 0), tmp_path,
                      Process(0, 1, torch.device('cpu')))
    start = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    trainer.train()
    of_mechanism = [k for k, p in trainer.network.named_parameters()
                    if (k.startswith(('map_registration', 'temporal')) or '.attention.' in k)
                    and not k.endswith('score.2.bias')]  # adds to all patches alike
    changed = [k for k in of_mechanism if not torch.equal(trainer.network.state_dict()[k], start[k])]
    assert of_mechanism and all(torch.isfinite(p).all() for p in trainer.network.parameters())
    assert set(of_mechanism) - set(changed) == set()
