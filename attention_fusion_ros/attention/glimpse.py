# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Hard attention by sampling: a policy decides where to look and is trained by its reward.

Recurrent Models of Visual Attention, Mnih, Heess, Graves, Kavukcuoglu, NIPS 2014. https://arxiv.org/abs/1406.6247
Gradient and baseline: REINFORCE, Williams, Machine Learning 8, 1992. https://doi.org/10.1007/BF00992696
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least
from attention_fusion_ros.attention.patches import mask, pad_to_patches


class Glimpse(Mechanism):
    """Looks at `glimpses` patches, one after the other, never at one twice; everything else is zero.

    forward(x, choice=None): training samples the glimpses from the policy, evaluation takes the most probable ones;
    `choice` (B, glimpses), patch indices row by row, fixes them. glimpses: at most the number of patches. patch: edge
    of a patch in cells. hidden: channels of the policy's layer.
    Weights: 'spatial' (B, 1, H, W), 1 where it looked, else 0; 'policy' (B, 1, h, w), probability that the first
    glimpse falls on each patch, sum 1; 'choice' (B, glimpses); 'log_prob' (B,), of these glimpses in this order;
    'baseline' (B,), the reward expected from what is seen before choosing. Train with `reinforce_loss`.
    """

    loss_weights: Mapping[str, float] = {'reinforce': 0.2}

    def __init__(self, channels: int, glimpses: int = 4, patch: int = 8, hidden: int = 16):
        super().__init__(channels)
        self.glimpses, self.patch = at_least('glimpses', glimpses, 1), at_least('patch', patch, 1)
        self.score = nn.Sequential(nn.Conv2d(channels, at_least('hidden', hidden, 1), 3, padding=1), nn.ReLU(),
                                   nn.Conv2d(hidden, 1, 1))
        self.baseline = nn.Linear(channels, 1)

    def forward(self, x: Tensor, choice: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:  # x: (B, C, H, W)
        """x (B, C, H, W) -> weighted features (B, C, H, W) and weights."""
        H, W = x.shape[2:]
        padded = pad_to_patches(x, self.patch)
        scores = F.avg_pool2d(self.score(padded), self.patch)  # (B, 1, h, w)
        rows, columns = scores.shape[2:]
        logits = scores.flatten(1)  # (B, n)
        if choice is None:
            choice = self.choose(logits.detach())
        spatial = mask(choice, rows, columns, self.patch, x)[:, :, :H, :W]
        return x * spatial, {'spatial': spatial, 'policy': logits.softmax(dim=1).view(-1, 1, rows, columns),
                             'choice': choice, 'log_prob': log_probability(logits, choice),
                             'baseline': self.baseline(x.detach().mean(dim=(2, 3)))[:, 0]}

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`reinforce`: the reward of all samples is minus the loss of the batch."""
        used = {name: weights[name].float() for name in ('log_prob', 'baseline')}
        return {'reinforce': reinforce_loss(used, -task_loss.float().expand(len(used['log_prob'])))}

    def choose(self, logits: Tensor) -> Tensor:
        """(B, n) -> (B, glimpses). The largest logits + Gumbel noise are a sample without replacement, in its order."""
        if self.training:
            logits = logits - torch.empty_like(logits).exponential_().log()
        return logits.topk(min(self.glimpses, logits.shape[1]), dim=1).indices


def log_probability(logits: Tensor, choice: Tensor) -> Tensor:
    """Log probability (B,) of drawing the patches `choice` (B, k) in this order without replacement (Plackett-Luce)."""
    total = logits.new_zeros(logits.shape[0])
    for glimpse in torch.split(choice, 1, dim=1):  # each (B, 1)
        total = total + logits.log_softmax(dim=1).gather(1, glimpse)[:, 0]
        logits = logits.scatter(1, glimpse, float('-inf'))
    return total


def reinforce_loss(weights: dict[str, Tensor], reward: Tensor) -> Tensor:
    """Loss whose gradient is the REINFORCE estimate of that of -E[reward], plus the regression of the baseline.

    reward: (B,), for example minus the loss of the rest of the network; no gradient flows into it. The baseline makes
    the estimate less noisy and does not bias it.
    """
    advantage = (reward - weights['baseline']).detach()
    return (-advantage * weights['log_prob'] + (weights['baseline'] - reward.detach()).square()).mean()
