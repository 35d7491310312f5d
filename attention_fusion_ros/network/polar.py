# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""BEV features read in polar coordinates about the vehicle, so that turning the vehicle shifts the answer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.network.head import bin_centres


class PolarSampler(nn.Module):
    """(B, C, H, W) on the BEV grid -> (B, C, R, K): row r at range (r + 0.5) / R * polar_max metres, column k at
    bearing -pi + (k + 0.5) * 2 pi / K. Bilinear; works for any H, W that cover the same square.
    """

    grid: Tensor

    def __init__(self, extent: float, ranges: int, bins: int, polar_max: float):
        super().__init__()
        r = (torch.arange(ranges) + 0.5) / ranges * polar_max
        bearing = bin_centres(bins)
        x = r[:, None] * bearing.cos()
        y = r[:, None] * bearing.sin()
        unit = torch.stack(Grid(extent).metres_to_unit(x, y), dim=-1)
        self.register_buffer('grid', unit[None], persistent=False)  # (1, R, K, 2)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, H, W) -> (B, C, R, K)."""
        grid = self.grid.expand(features.shape[0], -1, -1, -1).to(features.dtype)
        return F.grid_sample(features, grid, align_corners=False, padding_mode='zeros')
