# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a network costs for one sweep: its parameters and its operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
from attention_fusion_ros.network.build import Network, lidar_layers
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History

NetworkInputs = tuple[torch.Tensor, torch.Tensor, History | None]


@dataclass(frozen=True)
class NetworkSize:
    """What one sweep costs. Operations are those of convolutions and matrix products; a MAC is two of them."""

    parameters: int
    gflops: float

    @property
    def gmacs(self) -> float:
        """1e9 multiply-accumulates."""
        return self.gflops / 2


def random_inputs(config: NetworkConfig, seed: int = 0) -> NetworkInputs:
    """One sweep for a network: LiDAR (1, C_l, H, W), map (1, C_m, H, W), and the earlier sweeps where it looks back.

    Values are uniform in 0..1. The history is encoded, as in the node.
    """
    random = torch.Generator().manual_seed(seed)
    grids = [torch.rand(1, len(channels), config.cells, config.cells, generator=random)
             for channels in (lidar_layers(config), MAP_CHANNELS)]
    lidar, image = (grid.to(memory_format=torch.channels_last) for grid in grids)
    earlier, small = config.time_steps - 1, config.cells // 4
    if not earlier:
        return lidar, image, None
    encoded = torch.rand(1, earlier, config.lidar_width, small, small, generator=random)
    history = History(encoded, torch.eye(3).expand(1, earlier, 3, 3), torch.ones(1, earlier, dtype=torch.bool),
                      encoded=True)
    return lidar, image, history


@torch.no_grad()  # torch 2.2 counts nothing in inference mode
def network_size(network: Network, inputs: NetworkInputs | None = None) -> NetworkSize:
    """Count parameters, and operations for one sweep (torch.utils.flop_counter).

    inputs: of the sweep, default one without earlier sweeps.
    """
    lidar, image, history = inputs or (*random_inputs(network.config)[:2], None)
    with FlopCounterMode(display=False) as counter:
        network.eval()(lidar, image, history)
    return NetworkSize(sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 1e9)
