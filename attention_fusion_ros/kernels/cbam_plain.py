# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM as one operation: channel attention, then spatial attention (Woo et al., ECCV 2018, equations 1 to 3).

    from attention_fusion_ros.kernels import cbam
    features, channel, spatial = cbam(x, w1, None, w2, None, kernel, None)

https://arxiv.org/abs/1807.06521. Here in plain torch; a fast version reads the features three times and writes them
once, where this one reads them six times and writes them twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.kernels.registry import operation


@operation('cbam')
def cbam(x: Tensor, fc1_weight: Tensor, fc1_bias: Tensor | None, fc2_weight: Tensor, fc2_bias: Tensor | None,
         kernel: Tensor, kernel_bias: Tensor | None, mean_first: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, C, H, W) -> weighted features (B, C, H, W), channel weights (B, C), spatial weights (B, 1, H, W).

    fc1_weight (R, C), fc2_weight (C, R), biases (R,) and (C,) or None: the MLP that mean and maximum share. kernel
    (1, 2, k, k), k odd, and its bias (1,) or None: of the convolution over [mean, maximum], or the other way round.
    """
    channel = channel_weights(x.mean(dim=(2, 3)), x.amax(dim=(2, 3)), fc1_weight, fc1_bias, fc2_weight, fc2_bias)
    gated = x * channel[:, :, None, None]
    spatial = spatial_weights(gated.mean(dim=1, keepdim=True), gated.amax(dim=1, keepdim=True), kernel, kernel_bias,
                              mean_first)
    return gated * spatial, channel, spatial


def channel_weights(mean: Tensor, maximum: Tensor, fc1_weight: Tensor, fc1_bias: Tensor | None, fc2_weight: Tensor,
                    fc2_bias: Tensor | None) -> Tensor:
    """What the cells of each channel pool to, (B, C) each -> (B, C) in 0..1."""
    logits = sum(F.linear(F.linear(pooled, fc1_weight, fc1_bias).relu(), fc2_weight, fc2_bias)
                 for pooled in (mean, maximum))
    assert isinstance(logits, Tensor)
    return logits.sigmoid()


def spatial_weights(mean: Tensor, maximum: Tensor, kernel: Tensor, bias: Tensor | None, mean_first: bool) -> Tensor:
    """What the channels of each cell pool to, (B, 1, H, W) each -> (B, 1, H, W) in 0..1."""
    pooled = torch.cat([mean, maximum] if mean_first else [maximum, mean], dim=1)
    return F.conv2d(pooled, kernel, bias, padding=kernel.shape[-1] // 2).sigmoid()
