# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments with which the versions of every operation are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from attention_fusion_ros.attention.cbam import mean_and_max  # noqa: F401 - operations register when imported
from attention_fusion_ros.attention.pose_volume import pose_scores  # noqa: F401
from attention_fusion_ros.attention.warp import move, se2_matrix  # noqa: F401
from attention_fusion_ros.bev.ground import lowest_in_cells  # noqa: F401
from attention_fusion_ros.bev.lidar import scatter_cells  # noqa: F401
from attention_fusion_ros.network.blocks import circular_pad  # noqa: F401

Arguments = tuple


def _layouts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield x
    if x.ndim == 4:
        yield x.contiguous(memory_format=torch.channels_last)


def _scatter(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for points, cells in ((1, 16), (5000, 64), (5000, 65536)):
        cell = torch.randint(cells, (points,), generator=random)
        yield cell, torch.randn(points, generator=random), torch.rand(points, generator=random), cells
        yield cell, torch.randn(points, generator=random), None, cells


def _lowest(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for points, cells in ((1, 16), (5000, 1024)):
        yield torch.randint(cells, (points,), generator=random), torch.randn(points, generator=random), cells


def _pad(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape, reach in (((2, 5, 24), 2), ((1, 3, 120), 8), ((2, 4, 6, 24), 1)):
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield x, reach


def _warp(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape in ((2, 3, 16, 16), (1, 8, 32, 20)):
        pose = torch.randn(shape[0], 3, generator=random) * torch.tensor([5.0, 5.0, 0.5])
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield x, se2_matrix(pose), 40.0


def _mean_and_max(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for shape in ((1, 1, 4, 4), (2, 40, 16, 12)):
        for x in _layouts(torch.randn(shape, generator=random).to(dtype)):
            yield (x,)


def _pose_scores(random: torch.Generator, dtype: torch.dtype) -> Iterator[Arguments]:
    for (b, y, c, h, w), shifts in (((2, 3, 4, 16, 16), 4), ((1, 1, 2, 12, 20), 2), ((1, 2, 1, 7, 5), 7),
                                    ((2, 1, 3, 8, 8), 0)):
        scale = (c * h * w) ** -0.5  # sums about 1
        for seen in _layouts((torch.randn(b, c, h, w, generator=random) * scale).to(dtype)):
            yield seen, torch.randn(b, y, c, h, w, generator=random).to(dtype), shifts


CASES: dict[str, Callable[[torch.Generator, torch.dtype], Iterator[Arguments]]] = {
    'scatter_cells': _scatter,
    'lowest_in_cells': _lowest,
    'circular_pad': _pad,
    'warp': _warp,
    'pose_scores': _pose_scores,
    'mean_and_max': _mean_and_max,
}
