# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Hard attention with a budget: only so many cells of the LiDAR grid are read, the others are zero from there on.

Hard attention as in Dynamic Capacity Networks, Almahairi et al., ICML 2016 (https://arxiv.org/abs/1511.07838): a cheap
look at every place chooses the few where the capacity goes. It is trained through the sigmoid of the scores (the
straight-through estimator, Bengio, Leonard, Courville 2013, https://arxiv.org/abs/1308.3432).

Every cell is scored by what is in it and where it lies, before anything is mixed. So a cell that is not chosen has no
influence at all: taking its points away changes neither the choice nor what is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least
from attention_fusion_ros.bev.grid import unit_centres
from attention_fusion_ros.errors import ConfigurationError

NO_CANDIDATE = -1e4  # score of a cell in which there is nothing to be read
LOT = 71  # seed of the order in which cells of equal weight are taken, see `CellBudget.reweighted`


class CellBudget(Mechanism):
    """The `budget` best cells pass, square patches of `patch` x `patch` grid cells; cells without content never do.

    x: (B, C, H, W), H and W multiples of `patch`. Fewer cells than the budget that hold anything: all of them pass.
    width: of the scoring layers. softness: how far from the threshold, in units of the score, training still feels
    a cell that was left out. noise: standard deviation of what is added to the scores in training, so that cells get
    tried.
    Weights: 'spatial' (B, 1, H / patch, W / patch), 1 where a cell is read and 0 elsewhere; 'score' of the same shape,
    the logit that decided.
    """

    slots = ('selection',)
    loss_weights: Mapping[str, float] = {'cells_on_vehicles': 0.5}

    def __init__(self, channels: int, patch: int = 4, budget: int = 360, width: int = 32, softness: float = 1.0,
                 noise: float = 0.3):
        super().__init__(channels)
        self.patch = at_least('patch', patch, 1)
        self.budget = at_least('budget', budget, 1)
        at_least('width', width, 1)
        for name, value in (('softness', softness), ('noise', noise)):
            if not 0 <= value < math.inf or (name == 'softness' and value == 0):
                raise ConfigurationError(f"attention option '{name}' must be positive, got {value!r}")
        self.softness, self.noise = float(softness), float(noise)
        self.annealed = 1.0  # share of the training that is done; before its end more cells pass
        self.look = nn.Conv2d(channels, width, patch, stride=patch)
        self.place = nn.Conv2d(4, width, 1)
        self.score = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def anneal(self, progress: float) -> None:
        """progress 0..1 of the training: the budget shrinks from twice its size to its size in the first half."""
        self.annealed = min(1.0, 2.0 * progress)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> x where it is read, else 0, and the weights."""
        height, width = x.shape[2] // self.patch, x.shape[3] // self.patch
        score = self.score(self.look(x) + self.place(_places(height, width, x)))
        candidate = self._candidates(x)
        trying = score + self.noise * torch.randn_like(score) if self.training and self.noise else score
        ranked = torch.where(candidate, trying, NO_CANDIDATE).flatten(1)
        count = self.budget if not self.training else round(self.budget * (2.0 - self.annealed))
        threshold = ranked.topk(min(count, ranked.shape[1]), dim=1).values[:, -1:]  # (B, 1)
        hard = ((ranked >= threshold).view_as(score) & candidate).to(x.dtype)
        passes = hard
        if self.training:
            soft = ((trying - threshold.view(-1, 1, 1, 1).detach()) / self.softness).sigmoid() * candidate
            passes = hard + soft - soft.detach()
        return x * F.interpolate(passes, scale_factor=float(self.patch), mode='nearest'), {'spatial': passes,
                                                                                          'score': score}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """x in the cells whose weight is 1; of weights that are no choice, in the `budget` cells of greatest weight.

        So a mean of choices stays a choice, of as many cells, the same ones in all scenes: what is read is never
        scaled. Cells of equal weight are taken by lot, always the same one. See `Mechanism.reweighted`.
        """
        spatial = weights['spatial']
        if not bool(((spatial == 0) | (spatial == 1)).all()):
            candidate = self._candidates(x).flatten(1)
            ranked = torch.where(candidate, spatial.flatten(1), -torch.inf)
            lot = torch.randperm(ranked.shape[1], generator=torch.Generator().manual_seed(LOT)).to(x.device)
            order = lot[ranked[:, lot].argsort(dim=1, descending=True, stable=True)]
            chosen = torch.zeros_like(ranked).scatter(1, order[:, :self.budget], 1.0) * candidate
            spatial = chosen.view_as(spatial)
        return x * F.interpolate(spatial, scale_factor=float(self.patch), mode='nearest')

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`cells_on_vehicles`: the share of the ground under vehicles on which cells are read."""
        spatial = weights['spatial'].float()
        vehicle = F.interpolate(truth.mask('vehicle').nan_to_num(), size=spatial.shape[-2:], mode='nearest')
        return {'cells_on_vehicles': (spatial * vehicle).sum() / vehicle.sum().clamp(min=1.0)}

    @torch.no_grad()
    def take_patches(self, other: CellBudget) -> None:
        """Start from the scores of `other`, of larger patches: as it would score a whole one of such content.

        Raises:
            ConfigurationError: other's patches are no multiple of these, or its layers differ.
        """
        times, rest = divmod(other.patch, self.patch)
        if rest or self.look.weight.shape[:2] != other.look.weight.shape[:2]:
            raise ConfigurationError(f'patches of {self.patch} cells cannot start from patches of {other.patch} with '
                                     f'{tuple(other.look.weight.shape[:2])} weights')
        blocks = torch.unflatten(torch.unflatten(other.look.weight, 3, (times, self.patch)), 2, (times, self.patch))
        self.look.weight.copy_(blocks.sum(dim=(2, 4)))
        assert self.look.bias is not None and other.look.bias is not None
        self.look.bias.copy_(other.look.bias)
        self.place.load_state_dict(other.place.state_dict())
        self.score.load_state_dict(other.score.state_dict())

    def _candidates(self, x: Tensor) -> Tensor:
        """(B, 1, H / patch, W / patch) bool: the cells in which there is anything."""
        return F.avg_pool2d(x.square().sum(dim=1, keepdim=True), self.patch) > 0


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """(1, 4, height, width): where each cell lies: cosine and sine of its bearing, its range and the square of it."""
    ahead, left = -unit_centres(height, like.device, like.dtype), -unit_centres(width, like.device, like.dtype)
    x, y = ahead[:, None].expand(height, width), left[None, :].expand(height, width)
    r = (x * x + y * y).sqrt()
    return torch.stack([x / r.clamp(min=1e-3), y / r.clamp(min=1e-3), r, r * r])[None]
