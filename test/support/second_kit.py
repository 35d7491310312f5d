# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A second network small enough for tests, and inputs for it."""

from __future__ import annotations

from typing import Any

import torch

from attention_fusion_ros.bev.map_image import CHANNELS as MAP_LAYERS
from attention_fusion_ros.network.build import build_network, lidar_layers
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.two_readings import TwoReadings

BUDGET = 24
SECOND: dict[str, Any] = dict(
    architecture='two_readings', rings=(10.0, 20.0, 30.0), track=True, cells=64, bins=24, lidar_width=8, map_width=8,
    widths=(8, 8), blocks=(1, 1), polar_ranges=8, polar_widths=(8, 8), head_width=8, map_reading_width=8,
    selection={'name': 'cell_budget', 'budget': BUDGET, 'width': 8}, map_registration={'name': 'pose_correlation'},
    stage_attention={'name': 'none'}, fusion={'name': 'cbam_channel', 'reduction': 4, 'context': 6})


def second_config(**changes: Any) -> NetworkConfig:
    return NetworkConfig.from_dict({**SECOND, **changes})


def second_network(seed: int = 0, **changes: Any) -> TwoReadings:
    """In evaluation mode, with random parameters everywhere: nothing rests on what starts at zero."""
    torch.manual_seed(seed)
    network = build_network(second_config(**changes)).eval()
    assert isinstance(network, TwoReadings)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in network.named_buffers():
            if name.endswith('running_var'):
                buffer.uniform_(0.5, 1.5)
            elif name.endswith('running_mean'):
                buffer.uniform_(-0.2, 0.2)
    return network


def second_inputs(network: TwoReadings, batch: int = 2, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A sparse LiDAR grid, points in a fifth of the cells and in most patches, and a map that is drawn on."""
    generator = torch.Generator().manual_seed(seed)
    cells = network.config.cells
    lidar = torch.rand(batch, len(lidar_layers(network.config)), cells, cells, generator=generator)
    lidar = lidar * (torch.rand(batch, 1, cells, cells, generator=generator) < 0.2)
    return lidar, torch.rand(batch, len(MAP_LAYERS), cells, cells, generator=generator)
