# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Rigid motion of BEV feature maps: the affine grid and bilinear sampler of Jaderberg et al., NIPS 2015, for SE(2).
https://arxiv.org/abs/1506.02025
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attention_fusion_ros.bev.grid import unit_centres
from attention_fusion_ros.kernels import operation


@operation('warp')
def move(x: Tensor, transform: Tensor, extent: float, cells: int | None = None) -> Tensor:
    """Moves the content of BEV maps: what was at p is then at `transform @ p`; what was not seen is zero.

    x: (B, C, H, W), row 0 farthest ahead, column 0 farthest left, square cells. transform: (B, 3, 3), planar and rigid,
    metres in base_link (x forward, y left). extent: metres from the vehicle to the front edge (half the height).
    cells: only so many rows and columns around the middle of the result are wanted. Differentiable in both.
    Returns (B, C, H, W), or (B, C, cells, cells).
    """
    ahead, left = extent, extent * x.shape[3] / x.shape[2]  # half the height and half the width, m
    c, s = transform[:, 0, 0], transform[:, 1, 0]
    dx, dy = transform[:, 0, 2], transform[:, 1, 2]
    # The sampler asks where each cell's content comes from: p_from = R^T (p - t), in u = -y / left, v = -x / ahead.
    u = torch.stack([c, -s * ahead / left, (c * dy - s * dx) / left], dim=1)
    v = torch.stack([s * left / ahead, c, (c * dx + s * dy) / ahead], dim=1)
    # At least single precision: half of it would misplace cells. Written out, for autocast halves the product of
    # F.affine_grid, too.
    dtype = torch.promote_types(x.dtype, torch.float32)
    u, v = u.to(dtype)[:, None, None], v.to(dtype)[:, None, None]  # (B, 1, 1, 3)
    across = _middle(unit_centres(x.shape[3], x.device, dtype), cells)  # (W,)
    down = _middle(unit_centres(x.shape[2], x.device, dtype), cells)[:, None]  # (H, 1)
    grid = torch.stack([a[..., 0] * across + a[..., 1] * down + a[..., 2] for a in (u, v)], dim=-1)  # (B, H, W, 2)
    return F.grid_sample(x.to(dtype), grid, mode='bilinear', padding_mode='zeros', align_corners=False).to(x.dtype)


def _middle(values: Tensor, count: int | None) -> Tensor:
    return values if count is None else values[(len(values) - count) // 2:][:count]


def se2_matrix(pose: Tensor) -> Tensor:
    """(B, 3): x, y in metres, yaw in radians -> (B, 3, 3) planar transforms."""
    x, y, yaw = pose.unbind(dim=1)
    c, s, zero, one = yaw.cos(), yaw.sin(), torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([torch.stack([c, -s, x], dim=1), torch.stack([s, c, y], dim=1),
                        torch.stack([zero, zero, one], dim=1)], dim=1)
