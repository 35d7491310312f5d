# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Selective Kernel Networks, Li, Wang, Hu, Yang, CVPR 2019. https://arxiv.org/abs/1903.06586"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, bottleneck
from attention_fusion_ros.errors import ConfigurationError

PAPER_GROUPS = 32  # G of the paper


class SelectiveKernel(Mechanism):
    """SK unit: split into M receptive fields, fuse, and let every channel choose between them.

    Path i is a grouped 3x3 convolution of dilation i + 1 (the paper's 5x5 is a dilated 3x3), BN, ReLU.
    paths: M. groups: G, must divide the channels (more groups than channels: as many). None: the greatest divisor of
    the channels up to the paper's 32, for example 20 for 40 channels. reduction, minimum: r and L, the squeezed width
    is max(C / r, L). hidden: that width itself. In training mode a batch of one cannot be normalised (BN of a vector).
    Weights: 'paths' (B, M, C), each in 0..1, sum 1 over the paths. No 'channel': paths are chosen, not channels.
    """

    decisive = ('paths',)

    def __init__(self, channels: int, paths: int = 2, groups: int | None = None, reduction: int = 16, minimum: int = 32,
                 hidden: int | None = None):
        super().__init__(channels)
        if groups is None:
            groups = next(g for g in range(min(PAPER_GROUPS, channels), 0, -1) if channels % g == 0)
        groups = min(at_least('groups', groups, 1), channels)
        if channels % groups:
            raise ConfigurationError(f"attention option 'groups' must divide the {channels} channels, got {groups}")
        self.split = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=i + 1, dilation=i + 1, groups=groups, bias=False),
                          nn.BatchNorm2d(channels), nn.ReLU()) for i in range(at_least('paths', paths, 2)))
        d = bottleneck(channels, reduction, hidden, at_least('minimum', minimum, 1))
        self.fuse = nn.Sequential(nn.Conv2d(channels, d, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU())
        self.select = nn.Linear(d, paths * channels, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        U = torch.stack([path(x) for path in self.split], dim=1)  # (B, M, C, H, W)
        s = U.sum(dim=1).mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        z = self.fuse(s).flatten(1)  # (B, d)
        weights = self.select(z).unflatten(1, (-1, self.channels)).softmax(dim=1)  # (B, M, C)
        V = (U * weights[:, :, :, None, None]).sum(dim=1)
        return V, {'paths': weights}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """The paths summed with other weights; see `Mechanism.reweighted`."""
        U = torch.stack([path(x) for path in self.split], dim=1)
        return (U * weights['paths'][:, :, :, None, None]).sum(dim=1)

    def indifferent(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every path alike."""
        return {'paths': torch.full_like(weights['paths'], 1 / len(self.split))}
