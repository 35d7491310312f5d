# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A feature map cut into square patches: what the hard attentions choose from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pad_to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> the same with zeros below and to the right, so that both sides are multiples of `patch`."""
    return F.pad(x, (0, -x.shape[3] % patch, 0, -x.shape[2] % patch))


def to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, h * patch, w * patch) -> (B, h * w, C, patch, patch), row by row."""
    B, C, H, W = x.shape
    tiles = x.reshape(B, C, H // patch, patch, W // patch, patch)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C, patch, patch)


def from_patches(patches: Tensor, rows: int, columns: int) -> Tensor:
    """(B, rows * columns, C, patch, patch) -> (B, C, rows * patch, columns * patch): undoes `to_patches`."""
    B, _, C, p, _ = patches.shape
    tiles = patches.reshape(B, rows, columns, C, p, p)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(B, C, rows * p, columns * p)


def cut(x: Tensor, chosen: Tensor, columns: int, patch: int, halo: int) -> Tensor:
    """The chosen patches of (B, C, H, W) with `halo` cells around them (zeros beyond the map).

    chosen: (B, k) indices row by row, `columns` patches a row. Returns (B, k, C, patch + 2 halo, patch + 2 halo). Only
    these cells are touched, so the cost follows k.
    """
    padded = F.pad(x, (halo, halo, halo, halo)).permute(0, 2, 3, 1)
    offset = torch.arange(patch + 2 * halo, device=x.device)
    row = (chosen // columns * patch)[:, :, None, None] + offset[:, None]  # (B, k, p, 1)
    column = (chosen % columns * patch)[:, :, None, None] + offset  # (B, k, 1, p)
    batch = torch.arange(x.shape[0], device=x.device)[:, None, None, None]
    return padded[batch, row, column].permute(0, 1, 4, 2, 3)


def paste(x: Tensor, chosen: Tensor, new: Tensor) -> Tensor:
    """(B, C, H, W) with the chosen (B, k) patches replaced by `new` (B, k, C, patch, patch)."""
    patch = new.shape[-1]
    index = chosen[:, :, None, None, None].expand(new.shape)
    replaced = to_patches(x, patch).scatter(1, index, new)
    return from_patches(replaced, x.shape[2] // patch, x.shape[3] // patch)


def mask(chosen: Tensor, rows: int, columns: int, patch: int, like: Tensor) -> Tensor:
    """(B, k) -> (B, 1, rows * patch, columns * patch): 1 on the chosen patches, 0 elsewhere, in the type of `like`."""
    flat = torch.zeros(chosen.shape[0], rows * columns, dtype=like.dtype, device=like.device)
    grid = flat.scatter(1, chosen, torch.ones_like(chosen, dtype=like.dtype)).view(-1, 1, rows, columns)
    return grid.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
