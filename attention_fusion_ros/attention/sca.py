# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""SCA-CNN: Spatial and Channel-wise Attention in Convolutional Networks for Image Captioning, Chen et al., CVPR 2017.
https://arxiv.org/abs/1611.05594

The paper asks 'what the caption needs next': the decoder's state h conditions both attentions. Here the question comes
from the other modality: h is the vector of its pooled features.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism, at_least, one_of


class SCA(Mechanism):
    """Channels: beta = softmax(Wi' tanh(Wc v + bc + Whc h)); cells: alpha = softmax(Wi tanh(Ws V + bs + Whs h)).

    forward(x, query): x (B, C, H, W), query (B, query_channels), the pooled features of the other modality.
    query_channels: default C. hidden: k, the common space (512 in the paper). order: 'channel_spatial' (C-S) or
    'spatial_channel' (S-C). rescale: multiply the weights by their number, so that even attention leaves the features
    as they are; the paper does not, and its features shrink by C H W. The biases inside the softmax are left out: they
    cannot change it.
    Weights: 'channel' (B, C) and 'spatial' (B, 1, H, W), as the softmax gives them: each in 0..1, sum 1.
    """

    extra_inputs = ('query',)

    def __init__(self, channels: int, query_channels: int | None = None, hidden: int = 64,
                 order: str = 'channel_spatial', rescale: bool = True):
        super().__init__(channels)
        h = at_least('query_channels', channels if query_channels is None else query_channels, 1)
        k = at_least('hidden', hidden, 1)
        self.order = one_of('order', order, ('channel_spatial', 'spatial_channel'))
        self.rescale = rescale
        self.Wc, self.Whc, self.Wi_c = nn.Linear(1, k), nn.Linear(h, k, bias=False), nn.Linear(k, 1, bias=False)
        self.Ws, self.Whs = nn.Conv2d(channels, k, 1), nn.Linear(h, k, bias=False)
        self.Wi_s = nn.Conv2d(k, 1, 1, bias=False)

    def forward(self, x: Tensor, query: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), query (B, query_channels) -> weighted features (B, C, H, W) and weights."""
        if self.order == 'channel_spatial':
            x, beta = self.attend_channels(x, query)
            x, alpha = self.attend_cells(x, query)
        else:
            x, alpha = self.attend_cells(x, query)
            x, beta = self.attend_channels(x, query)
        return x, {'channel': beta, 'spatial': alpha}

    def attend_channels(self, V: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """V (B, C, H, W), query h -> weighted V and beta (B, C)."""
        v = V.mean(dim=(2, 3))  # (B, C)
        b = (self.Wc(v[:, :, None]) + self.Whc(h)[:, None]).tanh()  # (B, C, k)
        beta = self.Wi_c(b)[:, :, 0].softmax(dim=1)  # (B, C)
        return V * (beta * self.channels if self.rescale else beta)[:, :, None, None], beta

    def attend_cells(self, V: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """V (B, C, H, W), query h -> weighted V and alpha (B, 1, H, W)."""
        a = (self.Ws(V) + self.Whs(h)[:, :, None, None]).tanh()  # (B, k, H, W)
        logits = self.Wi_s(a)
        alpha = logits.flatten(1).softmax(dim=1).view_as(logits)  # (B, 1, H, W)
        return V * (alpha * (V.shape[2] * V.shape[3]) if self.rescale else alpha), alpha

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """x times other weights, times their number where the mechanism rescales; see `Mechanism.reweighted`."""
        features = super().reweighted(x, weights)
        return features * self.channels * x.shape[2] * x.shape[3] if self.rescale else features

    def indifferent(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Even attention: each weight 1 over their number."""
        return {name: torch.full_like(weights[name], 1 / weights[name][0].numel()) for name in self.decisive
                if name in weights}
