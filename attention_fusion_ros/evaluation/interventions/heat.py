# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Heats that claim to say which places an answer rests on: spatial attention, Grad-CAM, input times gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.attention.gradcam import grad_cams
from attention_fusion_ros.attention.place_attention import contribution
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import READING, SELECTION, FusionResult
from attention_fusion_ros.evaluation.interventions.cells import coarse
from attention_fusion_ros.network.head import head_channel
from attention_fusion_ros.pipeline.gradcam import branch_bin

PUBLISHED, GRADCAM, INPUT_GRADIENT, MAP_GRADIENT, DENSITY = (
    'published', 'Grad-CAM', '|input x gradient|', '|map x gradient|', 'point density')
RANDOM, RANDOM_WITH_POINTS = 'random visible', 'random visible with points'


def heats(network: torch.nn.Module, lidar: Tensor, map_image: Tensor, results: Sequence[FusionResult],
          cells: int) -> dict[str, np.ndarray]:
    """Heat -> (n, cells, cells) float32 of n sweeps, lidar (n, C, H, W), map_image (n, 3, H, W) and their results.

    Gradients are those of the presence logits of all published branches together. 'published' is there only for
    networks with spatial attention.
    """
    with torch.inference_mode(False), torch.enable_grad():
        grids = [grid.clone().requires_grad_() for grid in (lidar, map_image)]
        output, stages = network.forward_intermediates(*grids)  # type: ignore[operator]
        asked = torch.stack([_bins(head, result) for head, result in
                             zip(output.head.detach().float().cpu().numpy(), results, strict=True)])
        scalar = (head_channel(output.head, 'presence') * asked.to(output.head)).sum()
        cams = grad_cams(stages[:1], scalar)
        heads = output.weights.get(READING, {}).get('heads')
        wanted = grids if heads is None else [*grids, heads]
        gradients = torch.autograd.grad(scalar, wanted, allow_unused=True)
    shares = [torch.zeros_like(grid[:, 0]) if gradient is None
              else (grid * gradient)[:, :len(CHANNELS)].abs().sum(dim=1).detach()  # the way driven is no cell
              for grid, gradient in zip(grids, gradients)]
    found = {GRADCAM: cams[0], INPUT_GRADIENT: shares[0], MAP_GRADIENT: shares[1],
             DENSITY: lidar[:, CHANNELS.index('density')]}
    pooled = {name: coarse(heat.detach(), cells) for name, heat in found.items()}
    if heads is not None and SELECTION in output.weights:  # as `pipeline.contribution` has it
        published: Tensor | None = coarse(contribution(heads, gradients[2])[:, 0].detach(), cells)
    else:
        spatial = {name: w.detach() for name, w in output.spatial.items()}
        published = published_heat(spatial, pooled[INPUT_GRADIENT], cells)
    if published is not None:
        pooled = {PUBLISHED: published, **pooled}
    return {name: heat.float().cpu().numpy() for name, heat in pooled.items()}


def published_heat(spatial: Mapping[str, Tensor], contribution: Tensor, cells: int) -> Tensor | None:
    """The attention over places, or the spatial attention of the finest stage, (B, 1, h, w) each -> (B, cells, cells);
    None without any.

    Hard attention, whose weights are 0 or 1, leaves open which of the chosen cells counts more: there their
    contribution (B, cells, cells) says it.
    """
    if not spatial:
        return None
    finest = spatial[READING] if READING in spatial else max(spatial.values(), key=lambda weights: weights.shape[-1])
    finest = finest[:, 0]
    heat = coarse(finest, cells)
    hard = bool(((finest == 0) | (finest == 1)).all())
    return heat * (contribution + 1e-9) if hard else heat


def _bins(head: np.ndarray, result: FusionResult) -> Tensor:
    """(K,) 1 in the bins that the published branches were read from, in all bins when there is none."""
    bins = torch.zeros(head.shape[-1])
    bins[[branch_bin(head, branch) for branch in result.branches] or slice(None)] = 1.0
    return bins
