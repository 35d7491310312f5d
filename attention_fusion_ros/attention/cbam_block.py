# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM inside a residual block, as in figure 3 of Woo et al., ECCV 2018. https://arxiv.org/abs/1807.06521"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from attention_fusion_ros.attention.cbam import CBAM
from attention_fusion_ros.attention.mechanism import Mechanism, at_least, construct


class CBAMResBlock(Mechanism):
    """conv 3x3, BN, ReLU, conv 3x3, BN, then CBAM, then the skip connection and ReLU: every residual stage attends.

    out_channels: channels of the output (default: as many as the input). stride: of the first convolution; the skip
    connection is a 1x1 convolution with BN where shapes differ. cbam: options of CBAM.
    Features: (B, out_channels, ceil(H / stride), ceil(W / stride)). Weights: as CBAM, at that size.
    """

    # Its convolutions mix the channels: at the fusion nothing would tell any more which are whose.
    slots = ('encoder_attention', 'stage_attention')
    placement = 'block'

    def __init__(self, channels: int, out_channels: int | None = None, stride: int = 1, cbam: dict | None = None):
        super().__init__(channels)
        out = at_least('out_channels', channels if out_channels is None else out_channels, 1)
        stride = at_least('stride', stride, 1)
        self.body = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
        self.cbam = construct('cbam', CBAM, out, cbam or {})
        self.skip = nn.Identity() if stride == 1 and out == channels else nn.Sequential(
            nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        refined, weights = self.cbam(self.body(x))
        return (refined + self.skip(x)).relu(), weights

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """The block with other weights on its residual; see `Mechanism.reweighted`."""
        features: Tensor = (self.cbam.reweighted(self.body(x), weights) + self.skip(x)).relu()
        return features
