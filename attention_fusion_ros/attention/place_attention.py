# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Attention whose values are places: what a cell holds decides how much its place counts, and nothing else.

Scaled softmax attention over cells, several heads (Vaswani et al., "Attention Is All You Need", NIPS 2017,
https://arxiv.org/abs/1706.03762), where the values are positions, as in a soft argmax (Finn et al., "Deep Spatial
Autoencoders", ICRA 2016, https://arxiv.org/abs/1509.06113). There is no way round the weights: with other weights the
answer is another one, and a place without weight is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least, covering
from attention_fusion_ros.errors import ConfigurationError

NOT_ALLOWED = -1e30  # added to the logit of a cell that may have no weight
# Lower logits, of weights that are nothing beside the largest, are raised to so much below it: their exponentials would
# be denormal numbers, which processors compute many times slower than others.
LOWEST = -70.0
ROADSIDE, MOST_ON_ROADSIDE = 2.6, 0.9  # wanted: share of the weight over the share of the cells; at most
GAIN = 1000.0  # a distribution over some thousand cells, as numbers around one


class PlaceAttention(Mechanism):
    """x (B, C, H, W) -> (B, heads, H, W): distributions over cells, times GAIN. Whoever reads them knows the places.

    forward(x, allowed): allowed (B, 1, H, W), above zero where a cell may have weight; without any the weights are 0.
    heads: how many distributions.
    Weights: 'heads' (B, heads, H, W), each with sum 1; 'spatial' (B, 1, H, W) their mean, the greatest is 1.
    """

    slots = ('reading',)
    extra_inputs = ('allowed',)
    decisive = ('heads',)
    loss_weights: Mapping[str, float] = {'weight_on_vehicles': 1.0, 'weight_off_roadside': 0.0}

    def __init__(self, channels: int, heads: int = 16):
        super().__init__(channels)
        self.heads = at_least('heads', heads, 1)
        self.score = nn.Conv2d(channels, heads, 1, bias=False)  # a bias would not change a softmax

    def forward(self, x: Tensor, allowed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), allowed (B, 1, H, W) -> weights as features (B, heads, H, W), and the weights."""
        may = allowed > 0
        logits = self.score(x).float() + torch.where(may, 0.0, NOT_ALLOWED)
        logits = torch.maximum(logits, logits.amax(dim=(2, 3), keepdim=True) + LOWEST)
        heads = logits.flatten(2).softmax(dim=2).view_as(logits) * may
        mean = heads.mean(dim=1, keepdim=True)
        weights = {'heads': heads, 'spatial': mean / mean.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)}
        return (heads * GAIN).to(x.dtype), weights

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """The weights as features, see `Mechanism.reweighted`."""
        return (covering(weights['heads'], x) * GAIN).to(x.dtype)

    def indifferent(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Equal weights on all cells that have any."""
        some = (weights['heads'] > 0).to(weights['heads'].dtype)
        return {'heads': some / some.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)}

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`weight_on_vehicles`: the share of the weight that lies on vehicles, on top of what the task thinks of it.

        `weight_off_roadside`: how far the share of the mean weight that lies on the roadside is from ROADSIDE times its
        share of the cells that may have weight; the logarithm of the ratio, 0 where that is reached.
        """
        heads = weights['heads'].float()
        vehicle, roadside = (F.interpolate(truth.mask(name).nan_to_num(), size=heads.shape[-2:], mode='nearest')
                             for name in ('vehicle', 'roadside'))
        may = (heads > 0).any(dim=1, keepdim=True).float()
        area = (may * roadside).sum(dim=(1, 2, 3)) / may.sum(dim=(1, 2, 3)).clamp(min=1.0)
        share = (heads.mean(dim=1, keepdim=True) * roadside).sum(dim=(1, 2, 3))
        wanted = (ROADSIDE * area).clamp(max=MOST_ON_ROADSIDE)
        lacking = F.relu(wanted.clamp(min=1e-4).log() - share.clamp(min=1e-4).log()) * (area > 0)
        return {'weight_on_vehicles': (heads * vehicle).sum(dim=(2, 3)).mean(), 'weight_off_roadside': lacking.mean()}


def contribution(heads: Tensor, gradient: Tensor) -> Tensor:
    """(B, 1, H, W) >= 0: what each cell's weights contribute to a number with this gradient, heads summed up.

    heads, gradient: (B, heads, H, W). Raises ConfigurationError when they are not of the same cells.
    """
    if heads.shape != gradient.shape:
        raise ConfigurationError(f'weights {tuple(heads.shape)} and gradient {tuple(gradient.shape)} must have the '
                                 'same shape')
    return (heads * gradient).sum(dim=1, keepdim=True).abs()
