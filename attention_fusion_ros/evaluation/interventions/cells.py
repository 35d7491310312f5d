# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The grid in cells of 1.25 m: which of them a heat chooses, and inputs without them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CELL_M = 1.25  # edge of a cell that is deleted or kept


def patch_size(resolution: float) -> int:
    """Grid cells along the edge of a cell; resolution of the grid in m."""
    return max(1, round(CELL_M / resolution))


def coarse(values: Tensor, cells: int) -> Tensor:
    """(n, h, w) -> (n, cells, cells): the mean of what a cell holds, or the value of what covers it."""
    if values.shape[-1] > cells:
        return F.adaptive_avg_pool2d(values[:, None].float(), cells)[:, 0]
    return F.interpolate(values[:, None].float(), size=(cells, cells), mode='nearest')[:, 0]


def top_cells(heat: np.ndarray, allowed: np.ndarray, number: int, seed: int) -> np.ndarray:
    """(h, w) bool: the `number` hottest of the `allowed` cells (h, w); equal ones are drawn by lot.

    Fewer where fewer are allowed.
    """
    lot = np.random.default_rng([seed, 93]).random(heat.shape)
    order = np.lexsort((lot.ravel(), -np.where(allowed, heat, -np.inf).ravel()))
    chosen = np.zeros(heat.size, bool)
    chosen[order[:min(number, int(allowed.sum()))]] = True
    found: np.ndarray = chosen.reshape(heat.shape)
    return found


def without(grid: Tensor, cells: np.ndarray, layers: int) -> Tensor:
    """(C, H, W) with the first `layers` layers zero on the cells (h, w)."""
    gone = torch.from_numpy(cells).to(grid.device)[None, None].float()
    left = 1.0 - F.interpolate(gone, size=grid.shape[-2:], mode='nearest')[0]
    return torch.cat([grid[:layers] * left, grid[layers:]])
