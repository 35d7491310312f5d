# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""BAM: Bottleneck Attention Module, Park, Woo, Lee, Kweon, BMVC 2018. https://arxiv.org/abs/1807.06514

The authors' code differs from the paper: it multiplies the two branches instead of adding them, and normalises after
the hidden layers instead of at the end of each branch. The paper is the default; options give the code.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, bottleneck, one_of


class BottleneckAttention(Mechanism):
    """F' = F (1 + M(F)), M(F) = sigmoid(Mc(F) + Ms(F)): one weight for every channel and cell.

    Mc: mean of each channel, MLP. Ms: 1x1, two dilated 3x3, 1x1 convolutions.
    reduction: r. hidden: width of both branches instead of C / r. dilation: d. combine: 'sum' or 'product' of the
    branches. norm: 'output' (BN at the end of each branch) or 'hidden' (BN after each hidden layer). In training mode a
    batch of one cannot be normalised (BN of one vector).
    Weights: 'joint' (B, C, H, W), M(F) itself, and what it amounts to: 'channel' (B, C): its mean over the map,
    'spatial' (B, 1, H, W): its mean over the channels; each in 0..1 (the factor applied is 1 + M).
    """

    decisive = ('joint',)

    placement = 'after'  # between the stages of a network, as in figure 1 of the paper

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4, hidden: int | None = None,
                 combine: str = 'sum', norm: str = 'output'):
        super().__init__(channels)
        self.combine = one_of('combine', combine, ('sum', 'product'))
        one_of('norm', norm, ('output', 'hidden'))
        w = bottleneck(channels, reduction, hidden)
        d = at_least('dilation', dilation, 1)
        inner, outer = (nn.BatchNorm2d, nn.Identity) if norm == 'hidden' else (nn.Identity, nn.BatchNorm2d)
        self.channel = nn.Sequential(nn.Conv2d(channels, w, 1), inner(w), nn.ReLU(), nn.Conv2d(w, channels, 1),
                                     outer(channels))
        self.spatial = nn.Sequential(nn.Conv2d(channels, w, 1), inner(w), nn.ReLU(),
                                     nn.Conv2d(w, w, 3, padding=d, dilation=d), inner(w), nn.ReLU(),
                                     nn.Conv2d(w, w, 3, padding=d, dilation=d), inner(w), nn.ReLU(),
                                     nn.Conv2d(w, 1, 1), outer(1))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        Mc = self.channel(x.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        Ms = self.spatial(x)  # (B, 1, H, W)
        M = (Mc + Ms if self.combine == 'sum' else Mc * Ms).sigmoid()  # (B, C, H, W)
        return x * (1 + M), {'joint': M, 'channel': M.mean(dim=(2, 3)), 'spatial': M.mean(dim=1, keepdim=True)}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """F (1 + M) with another M, 'joint'; see `Mechanism.reweighted`."""
        return x * (1 + weights['joint'])
