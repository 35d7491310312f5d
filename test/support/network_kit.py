# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Random weights with an opinion: peaks well apart, so that rounding does not choose between equal ones."""

from __future__ import annotations

from pathlib import Path

import torch

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.config import NetworkConfig


def lively_config(folder: Path, settings: NetworkConfig | None = None) -> NodeConfig:
    """A node configuration with a checkpoint in `folder` that answers with several branches and a direction."""
    network = checkpoint.untrained(settings).network
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.momentum = 1.0  # take over the statistics of what is seen next, so that features spread
        network.train()
        network(*(torch.rand(2, c, 256, 256, generator=generator) ** 4 for c in (len(CHANNELS), 3)))
        network.eval().head.weight.mul_(4.0)
    path = folder / 'lively.safetensors'
    checkpoint.save(path, network, Calibration(), {})
    return from_flat({'checkpoint': str(path), 'device': 'cpu', 'threads': 1, 'branches.min_probability': 0.01,
                      'branches.min_direction_probability': 0.0})
