# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM: Visual Explanations from Deep Networks, Selvaraju et al., ICCV 2017. https://arxiv.org/abs/1610.02391

And a measure of how well such an explanation and the network's own attention agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def grad_cams(features: Sequence[Tensor], scalar: Tensor) -> list[Tensor]:
    """As `grad_cam`, for several stages of one network with a single pass backwards."""
    if not (scalar.requires_grad and all(A.requires_grad for A in features)):
        raise ValueError('Grad-CAM needs gradients: run the network outside torch.no_grad')
    gradients = torch.autograd.grad(scalar.sum(), features, retain_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        raise ValueError('the scalar does not depend on the features of this stage')
    return [(gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
            for A, gradient in zip(features, gradients)]


def grad_cam(features: Tensor, scalar: Tensor) -> Tensor:
    """L = relu(sum over k of alpha_k A_k), alpha_k the mean over the map of dy/dA_k.

    features: A, (B, C, H, W), the output of the stage in question, part of the graph of `scalar`. scalar: y, one number
    or one a sample (B,), for example the logit of the direction. Needs gradients: not within `torch.no_grad`. The graph
    is kept. Returns (B, H, W), not negative, not normalised, detached.
    Raises ValueError when `scalar` does not depend on `features`.
    """
    return grad_cams([features], scalar)[0]

