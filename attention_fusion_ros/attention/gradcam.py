# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM: Visual Explanations from Deep Networks, Selvaraju et al., ICCV 2017. https://arxiv.org/abs/1610.02391"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def grad_cams(features: Sequence[Tensor], scalar: Tensor) -> list[Tensor]:
    """L = relu(sum over k of alpha_k A_k), alpha_k the mean over the map of dy/dA_k, for several stages A at once.

    features: of each stage in question (B, C, H, W), part of the graph of `scalar`. scalar: y, one number or one a
    sample (B,), for example the logit of the direction. Needs gradients: not within `torch.no_grad`. The graph is kept.
    Returns (B, H, W) for each stage, not negative, not normalised, detached.
    Raises ValueError when `scalar` does not depend on the features of a stage.
    """
    if not (scalar.requires_grad and all(A.requires_grad for A in features)):
        raise ValueError('Grad-CAM needs gradients: run the network outside torch.no_grad')
    gradients = torch.autograd.grad(scalar.sum(), list(features), retain_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        raise ValueError('the scalar does not depend on the features of this stage')
    return [(gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
            for A, gradient in zip(features, gradients)]
