# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the weights that the second network starts from: those of the first, as far as they fit.

The spatial attention of the first network's stages is gone in the second, so that what it weighed counts by its mean.
Where --start-from is a second network already, what fits is taken over, and the scores of larger patches; with
--reading-from, how places are read and what they say comes from another checkpoint.

    python tools/start_second.py --config config/train_two_readings.yaml --scenes scenes --out start.safetensors
    python tools/start_second.py --config config/train_places.yaml --start-from two_readings.safetensors \
        --reading-from default.safetensors --out start.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.shards import SceneStore, find_shards
from attention_fusion_ros.datasets.simulated import SimulatedDataset, collate
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.build import build_network
from attention_fusion_ros.network.two_readings import TwoReadings
from attention_fusion_ros.training import config as configs
from attention_fusion_ros.training.transfer import load_matching_weights

SCENES = 128
READING = ('place_reader', 'polar_stages', 'to_head', 'circular', 'head', 'no_direction')  # parts of both networks


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, required=True, help='settings of the second network')
    parser.add_argument('--scenes', type=Path, help='folder of simulated scenes to look at')
    parser.add_argument('--start-from', type=Path, default=checkpoint.SHIPPED,
                        help='checkpoint of the first network, or of a second one')
    parser.add_argument('--reading-from', type=Path, help='checkpoint of a network that reads places')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    first = checkpoint.load(options.start_from)
    config = configs.load(options.config).network
    torch.manual_seed(1)
    second = build_network(config)
    left = load_matching_weights(second, first.network)
    if isinstance(first.network, TwoReadings):
        if config.selection['name'] == 'cell_budget':
            second.selection.take_patches(first.network.selection)
        if options.reading_from is not None:
            print(f'{read_as(second, checkpoint.load(options.reading_from).network)} tensors are those of the reader')
        checkpoint.save(options.out, second, first.calibration, {'step': 0, 'minutes': 0.0})
        print(f'wrote {options.out}')
        return
    if options.scenes is None:
        parser.error('--scenes is needed to start from a first network: its attention is measured on them')
    grid = Grid(config.extent, config.cells)
    samples = SimulatedDataset(SceneStore(find_shards([options.scenes], grid)), grid, config.bins, 1, augment=False)
    totals: dict[str, float] = {}
    batches = DataLoader(Subset(samples, range(SCENES)), batch_size=16, collate_fn=collate)
    with torch.inference_mode():
        for batch in batches:
            for stage, weights in first.network(batch.lidar, batch.map_image).spatial.items():
                totals[stage] = totals.get(stage, 0.0) + float(weights.mean()) / len(batches)
    for i, stage in enumerate(second.stages):
        mean = totals.get(f'stage{i + 1}', 1.0)
        norm = cast(nn.BatchNorm2d, cast(nn.ModuleList, stage)[0].conv2[1])
        with torch.no_grad():
            norm.weight.mul_(mean)
            norm.bias.mul_(mean)
        print(f'stage{i + 1}: mean weight {mean:.3f}')
    checkpoint.save(options.out, second, first.calibration, {'step': 0, 'minutes': 0.0})
    print(f'{len(left)} tensors are new; wrote {options.out}')


@torch.no_grad()
def read_as(second: nn.Module, reader: nn.Module) -> int:
    """Give a network the READING parts of another; returns how many tensors these are."""
    before = {name: tensor.clone() for name, tensor in second.state_dict().items() if not name.startswith(READING)}
    load_matching_weights(second, reader)
    mine = second.state_dict()
    for name, tensor in before.items():
        mine[name].copy_(tensor)
    return len(mine) - len(before)


if __name__ == '__main__':
    main()
