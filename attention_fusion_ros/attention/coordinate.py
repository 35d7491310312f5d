# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate Attention for Efficient Mobile Network Design, Hou, Zhou, Feng, CVPR 2021.
https://arxiv.org/abs/2103.02907
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, bottleneck


class CoordinateAttention(Mechanism):
    """y(c, i, j) = x(c, i, j) g_h(c, i) g_w(c, j): each channel says which rows and which columns matter to it.

    On a BEV grid rows are distances ahead and columns distances to the side. reduction, minimum: the squeezed width is
    max(C / r, minimum). hidden: that width itself. bias: of the three 1x1 convolutions.
    Weights: 'rows' (B, C, H) and 'columns' (B, C, W), g_h and g_w, each in 0..1, and what their product amounts to:
    'channel' (B, C), its mean over the map, and 'spatial' (B, 1, H, W), its mean over the channels.
    """

    decisive = ('rows', 'columns')

    def __init__(self, channels: int, reduction: int = 32, minimum: int = 8, hidden: int | None = None,
                 bias: bool = True):
        super().__init__(channels)
        w = bottleneck(channels, reduction, hidden, at_least('minimum', minimum, 1))
        self.F1 = nn.Sequential(nn.Conv2d(channels, w, 1, bias=bias), nn.BatchNorm2d(w), nn.Hardswish())
        self.Fh = nn.Conv2d(w, channels, 1, bias=bias)
        self.Fw = nn.Conv2d(w, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        H, W = x.shape[2:]
        zh, zw = x.mean(dim=3), x.mean(dim=2)  # (B, C, H), (B, C, W)
        f = self.F1(torch.cat([zh, zw], dim=2)[..., None])  # (B, w, H + W, 1): one transform for both axes
        fh, fw = f.split([H, W], dim=2)
        gh, gw = self.Fh(fh).sigmoid(), self.Fw(fw).sigmoid().transpose(2, 3)  # (B, C, H, 1), (B, C, 1, W)
        rows, columns = gh[..., 0], gw[:, :, 0]
        spatial = torch.einsum('bch,bcw->bhw', rows, columns)[:, None] / self.channels
        return x * gh * gw, {'rows': rows, 'columns': columns, 'channel': rows.mean(2) * columns.mean(2),
                             'spatial': spatial}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """x times other 'rows' and 'columns'; see `Mechanism.reweighted`."""
        return x * weights['rows'][:, :, :, None] * weights['columns'][:, :, None, :]
