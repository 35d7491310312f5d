# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""At which height the ground lies near the vehicle, without assuming that it lies where it should.

Of all level surfaces the ground covers the largest area: cells in which all returns lie at about one height are counted
by that height. A wall covers little area, and a sensor that is upside down finds the ground above itself.
"""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.utils.torch_later import Tensor, torch

NEAR_M = 15.0  # of the vehicle: what counts
CELL_M = 0.5
SLAB_M, HIGHEST_M = 0.2, 8.0  # heights are told apart in slabs from -8 to 8 m
THIN_SLABS = 3  # a cell whose returns lie in more slabs holds something that stands
MIN_SHARE = 0.02  # of the thin cells that the fullest level must have


def ground_levels(xyz: Tensor, min_range: float = 1.8) -> Tensor:
    """Points (N, 3) in base_link -> (L + 1,) float32 for `level`: thin cells at each of L heights, and all of them."""
    cells, slabs = round(2 * NEAR_M / CELL_M), round(2 * HIGHEST_M / SLAB_M)
    x, y, z = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    distance = torch.hypot(x, y)
    near = (distance < NEAR_M) & (distance > min_range) & (z.abs() < HIGHEST_M)
    column = ((x + NEAR_M) / CELL_M).long().clamp_(0, cells - 1) * cells
    column += ((y + NEAR_M) / CELL_M).long().clamp_(0, cells - 1)
    voxel = column * slabs + ((z + HIGHEST_M) / SLAB_M).long().clamp_(0, slabs - 1)
    # What is not near goes to a voxel of its own: choosing points would make the host wait for a CUDA device.
    filled = torch.zeros(cells * cells * slabs + 1, device=xyz.device)
    filled.scatter_(0, torch.where(near, voxel, torch.full_like(voxel, cells * cells * slabs)), 1.0)
    filled = filled[:-1].view(cells * cells, slabs)
    height = filled.sum(1)
    thin = ((height > 0) & (height <= THIN_SLABS)).to(filled.dtype)
    return torch.cat([(filled * thin[:, None]).sum(0), thin.sum()[None]])


def surfaces(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`ground_levels` -> (L - 1,) heights in metres, to SLAB_M, and the thin cells of a level surface there."""
    counts = levels[:-1]
    heights = SLAB_M * np.arange(1, len(counts)) - HIGHEST_M
    return heights, counts[:-1] + counts[1:]  # a surface at the rim of a slab is in two of them


def level(levels: np.ndarray) -> float | None:
    """`ground_levels` -> height of the ground in metres, to SLAB_M; None when no level stands out."""
    heights, areas = surfaces(levels)
    best, cells = int(areas.argmax()), float(levels[-1])
    if cells == 0 or areas[best] < MIN_SHARE * cells:
        return None
    return float(heights[best])
