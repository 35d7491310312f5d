# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM: Convolutional Block Attention Module, Woo, Park, Lee, Kweon, ECCV 2018. https://arxiv.org/abs/1807.06521

Implementations differ where the paper is silent, hence the options: the authors' code has biases in the shared MLP, a
batch normalisation after the spatial convolution, and stacks [max, mean]; the paper and timm stack [mean, max].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, bottleneck, construct, odd, one_of
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.kernels import cbam, operation

POOLS = ('avg', 'max')
ORDERS = ('channel_first', 'spatial_first', 'parallel')


@operation('mean_and_max')
def mean_and_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) -> mean and maximum over the channels, (B, 1, H, W) each."""
    return x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)


class ChannelAttention(Mechanism):
    """CAM: Mc = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F))), one MLP for both (equation 2 of the paper).

    pools: ('avg', 'max') as in the paper, or only one of them. reduction: r. hidden: width of the MLP instead of C / r.
    bias: biases in the MLP. context: length of a vector that is known besides the features; it goes into the MLP beside
    what was pooled, and `forward` takes it as its second argument. Weights: 'channel' (B, C), each in 0..1.
    """

    def __init__(self, channels: int, reduction: int = 16, pools: Sequence[str] = POOLS, bias: bool = False,
                 hidden: int | None = None, context: int = 0):
        super().__init__(channels)
        if at_least('context', context, 0):
            self.extra_inputs = ('context',)
        if isinstance(pools, str) or not pools or not set(pools) <= set(POOLS) or len(set(pools)) != len(pools):
            raise ConfigurationError(f"attention option 'pools' must be a choice of {', '.join(POOLS)}, got {pools!r}")
        self.pools = tuple(pools)
        width = bottleneck(channels, reduction, hidden)
        self.fc1 = nn.Linear(channels + context, width, bias=bias)
        self.fc2 = nn.Linear(width, channels, bias=bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), context (B, context) -> weighted features (B, C, H, W), and the weights the class names."""
        logits = x.new_zeros(())
        for pool, pooled in (('avg', x.mean(dim=(2, 3))), ('max', x.amax(dim=(2, 3)))):
            if pool in self.pools:
                logits = logits + self.mlp(pooled if context is None else torch.cat([pooled, context], dim=1))
        channel = logits.sigmoid()
        return x * channel[:, :, None, None], {'channel': channel}

    def mlp(self, pooled: Tensor) -> Tensor:
        """(B, C + context) pooled features -> (B, C) logits."""
        logits: Tensor = self.fc2(self.fc1(pooled).relu())
        return logits


class SpatialAttention(Mechanism):
    """SAM: Ms = sigmoid(conv([mean over channels; max over channels])) (equation 3 of the paper).

    kernel: 7 in the paper, 3 the smaller choice it compares with. order: ('mean', 'max') or ('max', 'mean').
    bias: of the convolution. norm: batch normalisation of the map before the sigmoid, as in the authors' code.
    Weights: 'spatial' (B, 1, H, W), each in 0..1. The number of channels does not matter to it.
    """

    def __init__(self, channels: int, kernel: int = 7, order: tuple[str, str] = ('mean', 'max'), bias: bool = False,
                 norm: bool = False):
        super().__init__(channels)
        self.order = one_of('order', order, (('mean', 'max'), ('max', 'mean')))
        self.conv = nn.Conv2d(2, 1, odd('kernel', kernel), padding=kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(1) if norm else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        mean, maximum = mean_and_max(x)
        descriptor = torch.cat([mean, maximum] if self.order == ('mean', 'max') else [maximum, mean], dim=1)
        spatial = self.norm(self.conv(descriptor)).sigmoid()
        return x * spatial, {'spatial': spatial}


class CBAM(Mechanism):
    """CAM and SAM together.

    order: 'channel_first' (the paper's choice), 'spatial_first', or 'parallel': both look at the same features, which
    are multiplied by both weights. channel, spatial: options of the two parts.
    Weights: 'channel' (B, C) and 'spatial' (B, 1, H, W), each in 0..1.
    """

    def __init__(self, channels: int, order: str = 'channel_first', channel: dict | None = None,
                 spatial: dict | None = None):
        super().__init__(channels)
        self.order = one_of('order', order, ORDERS)
        self.cam = cast(ChannelAttention, construct('cbam_channel', ChannelAttention, channels, channel or {}))
        self.sam = cast(SpatialAttention, construct('cbam_spatial', SpatialAttention, channels, spatial or {}))
        # As in the paper, which has a fast version; what differs goes part by part.
        self._as_one = (set(self.cam.pools) == set(POOLS) and not self.cam.extra_inputs
                        and isinstance(self.sam.norm, nn.Identity))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> weighted features (B, C, H, W), and the weights that the class names."""
        if self.order == 'channel_first' and self._as_one:
            cam, conv = self.cam, self.sam.conv
            refined, channel_weights, spatial_weights = cbam(
                x, cam.fc1.weight, cam.fc1.bias, cam.fc2.weight, cam.fc2.bias, conv.weight, conv.bias,
                self.sam.order == ('mean', 'max'))
            return refined, {'channel': channel_weights, 'spatial': spatial_weights}
        if self.order == 'channel_first':
            refined, channel = self.cam(x)
            refined, spatial = self.sam(refined)
        elif self.order == 'spatial_first':
            refined, spatial = self.sam(x)
            refined, channel = self.cam(refined)
        else:
            refined, channel = self.cam(x)
            _, spatial = self.sam(x)
            refined = refined * spatial['spatial']
        return refined, channel | spatial
