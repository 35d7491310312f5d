# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training of the second network: losses of rings, readings and vehicles, where it starts, cut off and resumed."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.second_kit import SECOND, second_config, second_inputs, second_network
from support.training_kit import SETTINGS, settings_file

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.datasets.ring_scenes import simulated_samples
from attention_fusion_ros.datasets.scenes import SceneOptions
from attention_fusion_ros.datasets.shards import SceneStore, find_shards, write_shard
from attention_fusion_ros.datasets.target import MASKS, Target
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.metrics.branches import TrueRoads
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.build import build_network
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.head import HEAD_CHANNELS, bin_centres, bin_width
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.training import config as configs
from attention_fusion_ros.training.loss import SHARES, losses, vehicle_loss
from attention_fusion_ros.training.resting import rest_but
from attention_fusion_ros.training.trainer import Process, Trainer
from attention_fusion_ros.training.transfer import load_matching_weights
from attention_fusion_ros.training.validate import Predictions, registration_figures

CPU = Process(0, 1, torch.device('cpu'))
K, ROOT = 24, Path(__file__).resolve().parents[2]
ANSWER = ('presence', 'offset', 'heading', 'direction')
WEIGHTS = configs.loss_weights()
BEARINGS = ((0.3, -2.0), (0.4, -1.6), (1.9, -1.6))  # of two branches on each of three rings


def truth(batch: int = 2) -> Target:
    rings = torch.tensor([[(b, b + 0.1) for b in ring] for ring in BEARINGS]).expand(batch, -1, -1, -1)
    return Target(branches=rings[:, 1], direction=rings[:, 1, 0], direction_known=torch.ones(batch, dtype=torch.bool),
                  known=torch.ones(batch, K, dtype=torch.bool), masks=torch.full((batch, len(MASKS), 16, 16), math.nan),
                  visible=torch.ones(batch, 1, 16, 16), rings=rings, ring_directions=rings[:, :, 0])


def right_head(bearings: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """(7, K) the head that has these branches (heading 0.1 to the left of the bearing), the first to be taken; its
    no-direction logit.
    """
    head = torch.zeros(len(HEAD_CHANNELS), K)
    channel = dict(zip(HEAD_CHANNELS, head))  # views
    channel['presence'][:], channel['direction'][:] = -6.0, -6.0
    channel['heading_cos'][:] = 1.0
    for name in ('bearing_log_std', 'heading_log_std'):
        channel[name][:] = math.log(math.radians(2.0))
    centres = bin_centres(K)
    for n, bearing in enumerate(bearings):
        away = torch.remainder(bearing - centres + math.pi, 2 * math.pi) - math.pi
        near = away.abs() <= 3.5 * bin_width(K)
        channel['presence'][away.abs().argmin()] = 6.0
        channel['offset'][near] = away[near] / bin_width(K)
        channel['heading_cos'][near], channel['heading_sin'][near] = (away[near] + 0.1).cos(), (away[near] + 0.1).sin()
        if n == 0:
            channel['direction'][away.abs().argmin()] = 6.0
    return head, torch.tensor(-6.0)


def output(batch: int = 2, order: tuple[int, ...] = (0, 1, 2), **more) -> NetworkOutput:
    made = [right_head(BEARINGS[r]) for r in order]
    rings = torch.stack([head for head, _ in made]).expand(batch, -1, -1, -1).clone()
    none = torch.stack([none for _, none in made]).expand(batch, -1).clone()
    return NetworkOutput(head=rings[:, 1], no_direction=none[:, 1], road=torch.zeros(batch, 1, 16, 16),
                         channel=torch.ones(batch, 4), spatial={}, rings=rings, rings_no_direction=none, **more)


def test_the_loss_of_the_rings_is_the_mean_of_those_of_each_ring_by_itself():
    total, parts = losses(output(), truth(), WEIGHTS)
    target, single = truth(), []
    for r in range(3):
        one = NetworkOutput(head=output().rings[:, r], no_direction=output().rings_no_direction[:, r],
                            road=torch.zeros(2, 1, 16, 16), channel=torch.ones(2, 4), spatial={})
        alone = Target(target.rings[:, r], target.ring_directions[:, r], target.direction_known, target.known,
                       target.masks, target.visible)
        found = losses(one, alone, WEIGHTS)[1]
        assert found['rings'] == 0, 'without several rings there is no such part'
        single.append(sum(SHARES[name] * float(found[name]) for name in ANSWER))
    assert float(parts['rings']) == pytest.approx(np.mean(single), rel=1e-5)
    swapped = losses(output(order=(2, 1, 0)), truth(), WEIGHTS)[1]
    assert swapped['rings'] > parts['rings'] + 1.0 and torch.equal(swapped['presence'], parts['presence'])
    assert float(total) == pytest.approx(sum(WEIGHTS[name] * float(value) for name, value in parts.items()), rel=1e-5)


def test_readings_are_told_the_truth_each_and_the_map_only_where_there_is_one():
    right = output().rings
    garbage = right.roll(5, dims=3)

    def parts(of_lidar: torch.Tensor, of_map: torch.Tensor, *present: float) -> dict[str, torch.Tensor]:
        said = output(readings={'lidar': of_lidar, 'map': of_map}, present=torch.tensor(present))
        return losses(said, truth(), WEIGHTS)[1]
    good = parts(right, right, 1.0, 1.0)
    half = torch.cat([right[:1], garbage[1:]])
    for present, wrong in (((1.0, 0.0), False), ((1.0, 1.0), True)):
        found = parts(right, half, *present)
        assert (found['map_reading'] > good['map_reading'] + 0.5) == wrong
        assert torch.equal(found['lidar_reading'], good['lidar_reading'])
    poor = parts(half, right, 0.0, 0.0)
    assert poor['lidar_reading'] > good['lidar_reading'] + 0.5 and poor['map_reading'] == 0


def test_without_truths_of_other_rings_the_readings_learn_from_the_main_one():
    target = truth()
    alone = Target(target.branches, target.direction, target.direction_known, target.known, target.masks,
                   target.visible, main_ring=1)
    readings = output().rings
    found = losses(output(readings={'lidar': readings}), alone, WEIGHTS)[1]
    others = readings.clone()
    others[:, [0, 2]] = 0.0
    again = losses(output(readings={'lidar': others}), alone, WEIGHTS)[1]
    assert torch.equal(found['lidar_reading'], again['lidar_reading']) and found['lidar_reading'] < 5


def answers(shift: float = 0.0) -> tuple[NetworkOutput, torch.Tensor]:
    """An answer that is sure of itself, its presence and direction turned by `shift`, and the head to differentiate."""
    head = output().head.clone()
    head[:, HEAD_CHANNELS.index('presence')] *= 1 - shift
    head[:, HEAD_CHANNELS.index('direction')] *= 1 - shift
    head.requires_grad_()
    chosen = torch.zeros(2, 1, 4, 4)
    chosen[:, :, 0] = 1.0
    return NetworkOutput(head=head, no_direction=torch.full((2,), -6.0), road=torch.zeros(2, 1, 16, 16),
                         channel=torch.ones(2, 4), spatial={}, weights={'selection': {'spatial': chosen}}), head


def test_equal_answers_with_and_without_vehicles_pull_at_nothing():
    rows = torch.tensor([0, 1])
    (one, head), (two, _) = answers(), answers()
    same = vehicle_loss(one, two, rows)
    same.backward()
    assert float(same) < 0.05 and head.grad.abs().max() < 1e-6
    (one, head), (two, bare) = answers(), answers(shift=0.5)
    other = vehicle_loss(one, two, rows)
    other.backward()
    assert other > same + 0.02 and head.grad.abs().max() > 1e-4 and bare.grad.abs().max() > 1e-4, 'both give way'


def test_cells_that_are_read_in_one_of_the_two_scenes_only_are_counted():
    (one, _), (two, _) = answers(), answers()
    elsewhere = torch.zeros(2, 1, 4, 4)
    elsewhere[:, :, 0, :2] = elsewhere[:, :, 1, :2] = 1.0
    moved = NetworkOutput(**{**vars(two), 'weights': {'selection': {'spatial': elsewhere}}})
    rows = torch.tensor([0, 1])
    assert float(vehicle_loss(one, moved, rows) - vehicle_loss(one, two, rows)) == pytest.approx(0.1 * 0.5, abs=1e-6)
    bare = answers()[0].only(1)  # a pair of the second sample alone
    assert torch.isfinite(vehicle_loss(one, bare, torch.tensor([1])))


def test_figures_of_the_registration():
    left = np.array([[0.3, 0.4, math.radians(1.0)], [0.0, 0.1, math.radians(-2.0)], [np.nan] * 3, [3.0, 0.0, 0.0]])
    covariance = np.tile(np.diag([0.25, 0.25, 1e-3]), (4, 1, 1))
    predictions = Predictions(head=np.zeros((4, 7, K)), no_direction=np.zeros(4), with_map=np.ones(4, bool),
                              route=np.zeros(4, bool), truths=[TrueRoads((), None)] * 4, left=left,
                              covariance=covariance)
    found = registration_figures(predictions)
    assert found['map_shift'] == pytest.approx(0.5) and found['map_yaw'] == pytest.approx(1.0)
    assert found['map_in_ellipse'] == pytest.approx(2 / 3)  # six standard deviations are outside
    assert registration_figures(Predictions(**{**vars(predictions), 'left': None})) == {}
    assert registration_figures(Predictions(**{**vars(predictions), 'left': left * np.nan})) == {}
    assert 'map_in_ellipse' not in registration_figures(Predictions(**{**vars(predictions), 'covariance': None}))


def first_config() -> NetworkConfig:
    """The first network in the sizes of the second."""
    own = {k: v for k, v in SECOND.items() if k not in ('architecture', 'rings', 'track', 'map_reading_width',
                                                        'selection', 'map_registration', 'fusion')}
    return NetworkConfig.from_dict({**own, 'stage_attention': {'name': 'cbam_spatial'},
                                    'fusion': {'name': 'cbam_channel', 'reduction': 4}})


def test_it_starts_from_what_fits_of_the_first_network():
    torch.manual_seed(0)
    first, second = build_network(first_config()), second_network()
    new = load_matching_weights(second, first)
    assert torch.equal(second.head.weight.view(3, -1, *second.head.weight.shape[1:]),
                       first.head.weight.expand(3, -1, -1, -1)), 'the same head for every ring'
    assert torch.equal(second.no_direction.weight, first.no_direction.weight.expand(3, -1))
    stem = second.lidar_stem[0][0].weight
    assert torch.equal(stem[:, :-1], first.lidar_stem[0][0].weight) and not stem[:, -1].any(), 'the way driven is new'
    assert {name.split('.')[0] for name in new} == {'selection', 'map_registration', 'map_reader', 'map_head',
                                                    'combination', 'polar_detail'}


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('scenes')
    write_shard(range(0, 6), folder / 'shard', SceneOptions(Grid(cells=64), 20.0, profile='v2'))
    return folder


@pytest.mark.slow
def test_a_run_cut_off_and_resumed_ends_with_the_weights_of_one_that_was_not(scenes, tmp_path):
    settings = settings_file(tmp_path / 'settings.yaml', network={k: list(v) if isinstance(v, tuple) else v
                                                                  for k, v in SECOND.items()}, batch=4)
    config = configs.load(settings)
    grid = Grid(cells=64)
    store = SceneStore(find_shards([scenes], grid))

    def trainer(name: str) -> Trainer:
        return Trainer(config, simulated_samples(config.network, store, grid, config.seed), tmp_path / name, CPU)

    def cut_off(network):
        raise KeyboardInterrupt
    whole = trainer('whole')
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer('parts').train(cut_off)
    resumed = trainer('parts')
    assert resumed.step == SETTINGS['validate_every'] == 3
    resumed.train()
    assert resumed.step == whole.step == SETTINGS['steps']
    for a, b in ((whole.network, resumed.network), (whole.average, resumed.average)):
        one, two = a.state_dict(), b.state_dict()
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    begun = build_network(config.network).state_dict()
    assert not torch.equal(begun['selection.look.weight'], whole.network.state_dict()['selection.look.weight'])


@pytest.mark.slow
def test_what_is_not_named_stays_as_it_is(scenes, tmp_path):
    """Weights and statistics; what is named learns, and the run goes on from where it was."""
    network = {k: list(v) if isinstance(v, tuple) else v for k, v in SECOND.items()}
    settings = settings_file(tmp_path / 'settings.yaml', network=network, batch=4,
                             train_only=['combination', 'map_registration.absent'])
    config = configs.load(settings)
    grid = Grid(cells=64)
    samples = simulated_samples(config.network, SceneStore(find_shards([scenes], grid)), grid, config.seed)
    trainer = Trainer(config, samples, tmp_path / 'run', CPU)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train()
    after = trainer.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(config.train_only) for name in changed)
    assert {'combination.change.weight', 'map_registration.absent'} <= changed
    assert any(name.endswith('running_mean') for name in changed), 'what learns has statistics of its own'
    again = Trainer(config, samples, tmp_path / 'run', CPU)
    assert again.step == SETTINGS['steps']


def test_a_part_that_the_network_does_not_have_cannot_be_trained_alone():
    with pytest.raises(ConfigurationError, match="names 'heads', but the network has only: .*combination"):
        rest_but(second_network(), ('combination', 'heads'))
    assert rest_but(second_network(), ()) == []


@pytest.mark.slow
def test_the_tool_writes_weights_to_start_from(scenes, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('start_second', ROOT / 'tools' / 'start_second.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    torch.manual_seed(0)
    first = build_network(first_config()).eval()
    checkpoint.save(tmp_path / 'first.safetensors', first, Calibration(fused=(2.0, 0.5)), {})
    settings = settings_file(tmp_path / 'second.yaml', network={k: list(v) if isinstance(v, tuple) else v
                                                                for k, v in SECOND.items()})
    monkeypatch.setattr(tool, 'SCENES', 2)
    words = {'--config': settings, '--scenes': scenes, '--start-from': tmp_path / 'first.safetensors',
             '--out': tmp_path / 'start.safetensors'}
    monkeypatch.setattr(sys, 'argv', ['start_second', *(str(word) for pair in words.items() for word in pair)])
    tool.main()
    said = capsys.readouterr().out
    started = checkpoint.load(tmp_path / 'start.safetensors')
    assert started.network.config == second_config() and started.calibration == Calibration(fused=(2.0, 0.5))
    mean = float(said.split('stage1: mean weight ')[1].split()[0])
    ratio = started.network.stages[0][0].conv2[1].weight / first.stages[0][0].conv2[1].weight
    assert 0 < mean < 1 and torch.allclose(ratio, torch.full_like(ratio, mean), atol=1e-3)
    assert torch.isfinite(started.network(*second_inputs(started.network)).rings).all()
    settings_file(settings, network={k: list(v) if isinstance(v, tuple) else v for k, v in SECOND.items()}
                  | {'selection': SECOND['selection'] | {'patch': 2, 'budget': 32}})
    words = {'--config': settings, '--start-from': tmp_path / 'start.safetensors',
             '--out': tmp_path / 'finer.safetensors'}
    monkeypatch.setattr(sys, 'argv', ['start_second', *(str(word) for pair in words.items() for word in pair)])
    tool.main()
    finer = checkpoint.load(tmp_path / 'finer.safetensors').network
    assert finer.selection.patch == 2 and torch.equal(finer.selection.score[1].weight,
                                                      started.network.selection.score[1].weight)
    assert torch.equal(finer.road_head.weight, started.network.road_head.weight)
