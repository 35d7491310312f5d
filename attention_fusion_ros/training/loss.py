# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network is trained for: presence of branches on the ring, where exactly, which heading, which one to take.

Mechanisms that need a loss of their own bring it, see `attention.Mechanism.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.attention.mechanism import Mechanism
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.network.head import bin_centres, bin_width, head_channel
from attention_fusion_ros.network.output import NetworkOutput

PRESENCE_SIGMA_BINS = 1.3  # width of the target around a branch
OFFSET_REACH_BINS = 1.5  # where the offset is asked for
HEADING_REACH_BINS = 3.0  # where the heading is asked for
MIN_STD_RAD = math.radians(0.4)  # no label is better than this
# Wanted ratio of attention on cells of a mask to the mean: at least, and at most.
SHARES = {'presence': 1.0, 'offset': 0.3, 'heading': 0.6, 'direction': 0.5}  # of the parts of one answer
MIN_ROADSIDE_RATIO, MAX_VEHICLE_RATIO = 2.6, 0.3


def losses(output: NetworkOutput, target: Target, weights: Mapping[str, float],
           mechanisms: Mapping[str, Mechanism] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum () and its parts, () each, by name.

    Args:
        output: of the network for B samples.
        target: their truth. A part about which the data tell nothing is zero.
        weights: of every part, see `config.loss_weights`.
        mechanisms: of the network (`Network.mechanisms`); their own losses are added, equal names summed up.
    """
    everyone = torch.ones_like(target.direction_known)
    assert output.road is not None  # networks in torch compute all
    parts = _answer(output.head, output.no_direction, Rings.main(target), everyone)
    parts |= {
        'rings': output.head.new_zeros((), dtype=torch.float32),
        'lidar_reading': _reading(output, 'lidar', target, everyone),
        'map_reading': _reading(output, 'map', target, everyone if output.present is None else output.present > 0),
        'road': _road(output.road.float(), target),
        'spatial': _spatial(output, target),
    }
    if output.rings is not None and output.rings_no_direction is not None:
        parts['rings'] = _other_rings(output.rings, output.rings_no_direction, target)
    task_loss = (parts['presence'] + parts['direction']).detach()
    for stage, mechanism in (mechanisms or {}).items():
        for name, value in mechanism.losses(output.weights.get(stage, {}), target, task_loss).items():
            parts[name] = parts[name] + value if name in parts else value
    return torch.stack([weights[name] * value for name, value in parts.items()]).sum(), parts


def vehicle_loss(output: NetworkOutput, bare: NetworkOutput, rows: Tensor) -> Tensor:
    """How differently the same scenes are answered with and without their vehicles: existence, direction, and which
    cells were read for it.

    bare: the answers without vehicles, of the samples `rows` (R,) of `output`. Each is told to agree with the other.
    """
    presence = head_channel(output.head[rows].float(), 'presence')
    other = head_channel(bare.head.float(), 'presence')
    agree = (F.binary_cross_entropy_with_logits(presence, other.sigmoid().detach())
             + F.binary_cross_entropy_with_logits(other, presence.sigmoid().detach()))
    ways = [torch.cat([head_channel(o.head.float(), 'direction'), o.no_direction.float()[:, None]], dim=1)
            for o in (output, bare)]
    one, two = ways[0][rows].log_softmax(1), ways[1].log_softmax(1)
    direction = -(two.exp().detach() * one).sum(1).mean() - (one.exp().detach() * two).sum(1).mean()
    return agree + 0.1 * direction + 0.1 * _read_differently(output, bare, rows)


def _read_differently(output: NetworkOutput, bare: NetworkOutput, rows: Tensor) -> Tensor:
    """Share of the cells read that were read in one of two scenes only."""
    one, two = (o.weights.get('selection', {}).get('spatial') for o in (output, bare))
    if one is None or two is None:
        return output.head.new_zeros((), dtype=torch.float32)
    one, two = one[rows].float(), two.float()
    return (one - two).abs().sum() / (one + two).detach().sum().clamp(min=1.0)


@dataclass(frozen=True)
class Rings:
    """The truth on one ring."""

    branches: Tensor  # (B, M, 2)
    direction: Tensor  # (B, 2)
    direction_known: Tensor  # (B,)
    known: Tensor  # (B, K)

    @classmethod
    def main(cls, target: Target) -> Rings:
        """The ring that is asked for."""
        return cls(target.branches, target.direction, target.direction_known, target.known)


def _answer(head: Tensor, no_direction: Tensor | None, truth: Rings, chosen: Tensor) -> dict[str, Tensor]:
    """Losses of one head (B, 7, K) on the samples `chosen` (B,) bool. no_direction None: without the direction."""
    head = head.float()
    bins = head.shape[2]
    step, centres = bin_width(bins), bin_centres(bins, head.device)
    bearing, heading = truth.branches[..., 0], truth.branches[..., 1]  # (B, M)
    exists = bearing.isfinite() & chosen[:, None]
    distance = _wrap(bearing.nan_to_num()[:, :, None] - centres) / step  # (B, M, K), bins
    near = torch.where(exists[:, :, None], distance.abs(), torch.full_like(distance, 1e6))
    closest, which = near.min(dim=1)  # (B, K)
    true_offset = distance.gather(1, which[:, None])[:, 0]
    true_heading = _wrap(heading.nan_to_num().gather(1, which) - centres)
    parts = {
        'presence': _presence(head_channel(head, 'presence'), closest, truth.known & chosen[:, None]),
        'offset': _offset(head, true_offset, closest, step),
        'heading': _heading(head, true_heading, closest),
    }
    if no_direction is not None:
        parts['direction'] = _direction(head_channel(head, 'direction'), no_direction.float(), truth, chosen, centres,
                                        step)
    return parts


def _sum(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack([SHARES[name] * value for name, value in parts.items()]).sum()


def _reading(output: NetworkOutput, name: str, target: Target, chosen: Tensor) -> Tensor:
    """Loss of one reading by itself, all rings."""
    heads = output.readings.get(name)
    if heads is None:
        return output.head.new_zeros((), dtype=torch.float32)
    truths = _truths(target, heads.shape[1])
    return torch.stack([_sum(_answer(heads[:, r], None, truth, chosen)) for r, truth in truths]).mean()


def _other_rings(heads: Tensor, no_direction: Tensor, target: Target) -> Tensor:
    """Loss of the fused heads (B, R, 7, K) on all rings; that of the main one counts twice."""
    chosen = torch.ones_like(target.direction_known)
    truths = _truths(target, heads.shape[1])
    return torch.stack([_sum(_answer(heads[:, r], no_direction[:, r], truth, chosen)) for r, truth in truths]).mean()


def _truths(target: Target, rings: int) -> list[tuple[int, Rings]]:
    """(index of the ring, its truth) of those whose truth is known."""
    if target.rings is None or target.ring_directions is None:
        return [(target.main_ring, Rings.main(target))]
    return [(r, Rings(target.rings[:, r], target.ring_directions[:, r], target.direction_known, target.known))
            for r in range(rings)]


def _wrap(a: Tensor) -> Tensor:
    return torch.remainder(a + math.pi, 2 * math.pi) - math.pi


def _laplace(error: Tensor, log_std: Tensor) -> Tensor:
    """Negative log likelihood of |error| under a Laplace distribution with that standard deviation."""
    std = log_std.exp().clamp(min=MIN_STD_RAD)
    return math.sqrt(2) * error / std + std.log()


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _presence(logit: Tensor, closest: Tensor, known: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CornerNet, Law and Deng 2018; CenterNet, Zhou et al. 2019)."""
    target = torch.exp(-0.5 * (closest / PRESENCE_SIGMA_BINS) ** 2)
    positive = closest <= 0.5
    p = logit.sigmoid()
    on = -(1 - p) ** 2 * F.logsigmoid(logit) * positive
    off = -(1 - target) ** 4 * p ** 2 * F.logsigmoid(-logit) * ~positive
    return ((on + off) * known).sum() / positive.sum().clamp(min=1)


def _offset(head: Tensor, true_offset: Tensor, closest: Tensor, step: float) -> Tensor:
    error = (head_channel(head, 'offset') - true_offset).abs() * step
    return _masked(_laplace(error, head_channel(head, 'bearing_log_std')), closest <= OFFSET_REACH_BINS)


def _heading(head: Tensor, true_heading: Tensor, closest: Tensor) -> Tensor:
    cos, sin = head_channel(head, 'heading_cos'), head_channel(head, 'heading_sin')
    radius = (torch.stack([cos, sin], dim=1).norm(dim=1) - 1).abs()  # keeps atan2 well conditioned
    error = _wrap(torch.atan2(sin, cos + 1e-6) - true_heading).abs()
    return _masked(_laplace(error, head_channel(head, 'heading_log_std')) + 0.1 * radius, closest <= HEADING_REACH_BINS)


def _direction(logits: Tensor, no_direction: Tensor, truth: Rings, chosen: Tensor, centres: Tensor,
               step: float) -> Tensor:
    """Cross entropy over the bins and 'no direction'."""
    bearing = truth.direction[:, 0]
    has = bearing.isfinite()
    distance = _wrap(bearing.nan_to_num()[:, None] - centres) / step
    soft = torch.exp(-0.5 * (distance / 1.0) ** 2)
    soft = soft / soft.sum(1, keepdim=True) * has[:, None]
    wanted = torch.cat([soft, (~has)[:, None].to(soft.dtype)], dim=1)
    scores = torch.cat([logits, no_direction[:, None]], dim=1).log_softmax(1)
    return _masked(-(wanted * scores).sum(1), truth.direction_known & chosen)


def _road(logit: Tensor, target: Target) -> Tensor:
    road = target.mask('road')
    known = road.isfinite()
    return _masked(F.binary_cross_entropy_with_logits(logit, road.nan_to_num(), reduction='none'), known)


def _spatial(output: NetworkOutput, target: Target) -> Tensor:
    """Hinge on the attention ratios of the finest stage: look at the roadside, not at vehicles."""
    stages = {k: v for k, v in output.spatial.items() if k.startswith('stage')}
    if not stages:
        return output.head.new_zeros((), dtype=torch.float32)
    weights = max(stages.values(), key=_columns).float()
    if weights.shape[-2:] != target.masks.shape[-2:]:
        return output.head.new_zeros((), dtype=torch.float32)
    visible = target.visible
    mean = (weights * visible).sum((1, 2, 3)) / visible.sum((1, 2, 3)).clamp(min=1)
    total = weights.new_zeros(())
    for name, sign, wanted in (('roadside', 1.0, MIN_ROADSIDE_RATIO), ('vehicle', -1.0, MAX_VEHICLE_RATIO)):
        mask = target.mask(name).nan_to_num() * visible
        area = mask.sum((1, 2, 3))
        ratio = (weights * mask).sum((1, 2, 3)) / area.clamp(min=1e-3) / mean.clamp(min=1e-4)
        hinge = F.relu(sign * (math.log(wanted) - ratio.clamp(min=1e-4).log()))
        total = total + _masked(hinge, area > 1.0)
    return total


def _columns(weights: Tensor) -> int:
    return weights.shape[-1]
