# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training for a heat that is true: which cells are taken away, and what it costs when that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from support.training_kit import CELLS, interruptible_scenes

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import READING
from attention_fusion_ros.datasets.shards import SceneStore, find_shards
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.training import config as configs
from attention_fusion_ros.training import faithfulness
from attention_fusion_ros.training.trainer import Process, Trainer

PRESENCE = HEAD_CHANNELS.index('presence')


def output(B: int, heat: torch.Tensor | None = None, logit: float = 0.0, bins: int = 8) -> NetworkOutput:
    head = torch.zeros(B, len(HEAD_CHANNELS), bins)
    head[:, PRESENCE] = logit
    return NetworkOutput(head, torch.zeros(B), None, torch.ones(B, 1), {} if heat is None else {READING: heat})


def truth(bearings: list[list[float]], bins: int = 8) -> Target:
    branches = torch.full((len(bearings), 3, 2), math.nan)
    for row, some in enumerate(bearings):
        branches[row, :len(some)] = torch.tensor(some)[:, None]
    B = len(bearings)
    return Target(branches, torch.full((B, 2), math.nan), torch.ones(B).bool(), torch.ones(B, bins).bool(),
                  torch.zeros(B, 3, 4, 4), torch.ones(B, 1, 4, 4))


def test_the_hottest_of_the_allowed_patches_are_chosen():
    heat = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(2, 1, 1, 1)
    allowed = torch.ones_like(heat).bool()
    allowed[0, 0, 3] = False  # the hottest row holds no points
    found = faithfulness.hottest(heat, allowed, torch.tensor([0.25, 0.5]))
    assert heat[0][found[0]].tolist() == [9.0, 10.0, 11.0]
    assert heat[1][found[1]].tolist() == list(range(8, 16))
    nothing = faithfulness.hottest(heat, torch.zeros_like(allowed), torch.tensor([0.25, 0.5]))
    assert not nothing.any()


def test_each_kind_of_sample_lacks_its_cells():
    torch.manual_seed(1)
    B, size = 8, 16
    lidar = torch.ones(B, len(CHANNELS) + 1, size, size)
    heat = torch.rand(B, 1, size // 2, size // 2)
    found = faithfulness.masked(lidar, output(B, heat), torch.ones(B, 1, 4, 4))
    assert found.rows.tolist() == list(range(6))
    patches = torch.nn.functional.avg_pool2d(found.lidar, 4)
    assert set(patches.unique().tolist()) <= {0.0, 1.0}  # whole patches
    assert (found.lidar[:, -1] == 1).all()  # the way driven is no evidence of the LiDAR
    left = patches[:, 0].flatten(1).sum(dim=1).int().tolist()
    kept, deleted = round(16 * faithfulness.KEPT), round(16 * faithfulness.DELETED)
    assert left == [kept] * 2 + [16 - deleted] * 4
    pooled = torch.nn.functional.avg_pool2d(heat, 2)
    for row in (0, 1):
        assert pooled[row][patches[row, :1] > 0].min() > pooled[row][patches[row, :1] == 0].max()
    for row in (2, 3):
        assert pooled[row][patches[row, :1] == 0].min() > pooled[row][patches[row, :1] > 0].max()
    by_lot = [faithfulness.masked(lidar, output(B, heat), torch.ones(B, 1, 4, 4)).lidar[4:] for _ in range(2)]
    assert not torch.equal(*by_lot)


def test_a_network_without_such_a_heat_is_not_asked():
    lidar = torch.ones(8, len(CHANNELS), 16, 16)
    assert faithfulness.masked(lidar, output(8), torch.ones(8, 1, 4, 4)) is None
    few = faithfulness.masked(lidar[:3], output(3, torch.rand(3, 1, 8, 8)), torch.ones(3, 1, 4, 4))
    assert few is None


def test_a_branch_must_become_less_likely_without_its_cells():
    target, rows, part = truth([[0.1], [0.1, 2.0], []]), torch.arange(3), slice(0, 3)
    sure, unsure = output(3, logit=5.0), output(3, logit=-8.0)
    before = 1 / (1 + math.exp(-5.0))

    def loss(a: NetworkOutput, b: NetworkOutput) -> float:
        return float(faithfulness.comprehensiveness(a, b, part, target, rows))
    assert loss(sure, sure) == pytest.approx(faithfulness.DROP, abs=1e-6)
    assert loss(sure, unsure) == 0.0
    assert loss(unsure, unsure) == pytest.approx(1 / (1 + math.exp(8.0)))  # lower than nothing is not asked for
    elsewhere = output(3, logit=5.0)
    elsewhere.head[:, PRESENCE, [0, 1]] = -8.0  # bearings around -pi, where no branch is
    assert loss(sure, elsewhere) == pytest.approx(faithfulness.DROP, abs=1e-6)
    halfway = output(3, logit=math.log((before - 0.1) / (1 - before + 0.1)))
    assert loss(sure, halfway) == pytest.approx(faithfulness.DROP - 0.1, abs=1e-5)
    assert float(faithfulness.comprehensiveness(sure, sure, part, truth([[], [], []]), rows)) == 0.0


@pytest.mark.slow
def test_training_with_it_goes_on_and_says_both_losses(tmp_path):
    scenes = interruptible_scenes(tmp_path)
    network = {'cells': CELLS, 'bins': 24, 'lidar_width': 8, 'map_width': 8, 'widths': [8, 8, 8], 'polar_ranges': 8,
               'polar_widths': [8, 8, 8], 'head_width': 8, 'reading': {'name': 'place_attention', 'heads': 4}}
    config = configs.load(None, {'network': network, 'batch': 8, 'steps': 4, 'workers': 0, 'amp': False,
                                 'loss': {'sufficiency': 0.5, 'comprehensiveness': 1.0}})
    grid = Grid(cells=CELLS)
    dataset = SimulatedDataset(SceneStore(find_shards([scenes / 'train'], grid)), grid, 24, seed=1)
    trainer = Trainer(config, dataset, tmp_path / 'run', Process.from_environment('cpu'))
    norms = {name: b.clone() for name, b in trainer.network.named_buffers() if name.endswith('num_batches_tracked')}
    batch = collate([dataset[i % len(dataset)] for i in range(8)])
    parts = trainer.train_step(batch)
    assert parts['sufficiency'] > 0 and parts['comprehensiveness'] >= 0 and torch.isfinite(parts['total'])
    counted = {name: int(b - norms[name]) for name, b in trainer.network.named_buffers() if name in norms}
    assert set(counted.values()) == {1}  # sweeps with holes leave the statistics alone
    without = Trainer(configs.load(None, {'network': network, 'batch': 8, 'workers': 0, 'amp': False}), dataset,
                      tmp_path / 'other', Process.from_environment('cpu'))
    assert 'sufficiency' not in without.train_step(batch)
