# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the cells that were read contribute to the answer: the heat of a network with a budget of cells.

A cell that was not chosen has no influence, and no heat. What a chosen one contributes to the presence of the branches
found is its input times the gradient, absolute and summed over its layers (Shrikumar et al., "Not just a black box",
2016, https://arxiv.org/abs/1605.01713). Where an attention over places reads the cells, the answer is made of its
weights alone, and it is they that are multiplied with their gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from attention_fusion_ros.backends.base import Backend, has_gradients
from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import READING, SELECTION, Branch
from attention_fusion_ros.network.head import head_channel
from attention_fusion_ros.pipeline.gradcam import ExplanationContext, branch_bin
from attention_fusion_ros.utils.torch_later import F, Tensor, torch

Heat = Callable[[Sequence[Branch], int], np.ndarray]


def contribution_heat(backend: Backend, given: ExplanationContext) -> Heat | None:
    """What makes the heat of a sweep, (branches, ring) -> (h, w) float32 in 0..1, the greatest is 1.

    ring: index of the ring that the branches are on. Costs a run of the network with gradients. None for a backend
    without gradients, and a network that does not choose cells.
    """
    if not has_gradients(backend) or backend.model.network.selection['name'] == 'none':
        return None
    network = backend.network  # reports read the heat when the backend has been closed

    def heat(branches: Sequence[Branch], ring: int) -> np.ndarray:
        with torch_threads(backend.threads), torch.inference_mode(False), torch.enable_grad():
            context = given.cloned()
            lidar = context.lidar[None].requires_grad_()
            known = (context.prior,) if backend.model.carries_map else ()
            output = network(lidar, context.map_image[None], context.history, *known)
            head = output.head if output.rings is None else output.rings[:, ring]
            presence, said = head_channel(head, 'presence')[0], head[0].detach().float().cpu().numpy()
            bins = [branch_bin(said, branch) for branch in branches] or list(range(len(presence)))
            if READING in output.weights:
                from attention_fusion_ros.attention.place_attention import contribution  # not at the top: torch
                heads = output.weights[READING]['heads']
                gradient, = torch.autograd.grad(presence[bins].sum(), heads)
                return _of_greatest(contribution(heads, gradient))
            gradient, = torch.autograd.grad(presence[bins].sum(), lidar)
            return _of_greatest(_of_inputs(output.weights[SELECTION]['spatial'], lidar, gradient))
    return heat


def _of_inputs(chosen: Tensor, lidar: Tensor, gradient: Tensor) -> Tensor:
    layers = len(CHANNELS)  # the way driven is no cell that was seen
    share = (lidar[:, :layers] * gradient[:, :layers]).abs().sum(dim=1, keepdim=True)
    return F.adaptive_avg_pool2d(share, (chosen.shape[-2], chosen.shape[-1])) * chosen


def _of_greatest(heat: Tensor) -> np.ndarray:
    heat = heat / heat.max().clamp(min=1e-12)
    values: np.ndarray = heat[0, 0].detach().float().cpu().numpy()
    return values
