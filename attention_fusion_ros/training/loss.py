# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network is asked for: presence of branches on the ring, where exactly, which heading, which one to take."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.attention.glimpse import reinforce_loss
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.network.model import NetworkOutput

PRESENCE_SIGMA = 1.3  # bins, width of the target around a branch
OFFSET_REACH = 1.5  # bins, where the offset is asked for
HEADING_REACH = 3.0  # bins, where the heading is asked for
MIN_STD = math.radians(0.4)  # rad, no label is better than this
SPATIAL_MARGIN = (2.6, 0.3)  # wanted attention ratio on roadside structure (at least) and on vehicles (at most)
HINT = 1e-3  # of the hint loss, which is a sum over channels and cells


def _wrap(a: Tensor) -> Tensor:
    return torch.remainder(a + math.pi, 2 * math.pi) - math.pi


def _laplace(error: Tensor, log_std: Tensor) -> Tensor:
    """Negative log likelihood of |error| under a Laplace distribution with that standard deviation."""
    std = log_std.exp().clamp(min=MIN_STD)
    return math.sqrt(2) * error / std + std.log()


def losses(output: NetworkOutput, target: Target, weights: dict[str, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum and the parts: presence, offset, heading, direction, road, spatial, alignment, hard.

    A part of which the network or the data have nothing is zero.
    """
    head = output.head.float()
    bins = head.shape[2]
    step = 2 * math.pi / bins
    centres = -math.pi + (torch.arange(bins, device=head.device) + 0.5) * step
    bearing, heading = target.branches[..., 0], target.branches[..., 1]  # (B, M)
    exists = bearing.isfinite()
    distance = _wrap(bearing.nan_to_num()[:, :, None] - centres) / step  # (B, M, K), bins
    near = torch.where(exists[:, :, None], distance.abs(), torch.full_like(distance, 1e6))
    closest, which = near.min(dim=1)  # (B, K)
    parts = {'presence': _presence(head[:, 0], closest, target.known)}
    offset = distance.gather(1, which[:, None])[:, 0]
    parts['offset'] = _masked(_laplace((head[:, 1] - offset).abs() * step, head[:, 4]), closest <= OFFSET_REACH)
    wanted = _wrap(heading.nan_to_num().gather(1, which) - centres)
    found = torch.atan2(head[:, 3], head[:, 2] + 1e-6)
    radius = (head[:, 2:4].norm(dim=1) - 1).abs()  # keeps atan2 well conditioned
    parts['heading'] = _masked(_laplace(_wrap(found - wanted).abs(), head[:, 5]) + 0.1 * radius,
                               closest <= HEADING_REACH)
    parts['direction'] = _direction(head[:, 6], output.no_direction.float(), target, centres, step)
    parts['road'] = _road(output.road.float(), target)
    parts['spatial'] = _spatial(output, target)
    parts['alignment'] = _alignment(output, target)
    parts['hard'] = _hard(output, target, parts)
    return sum(weights[k] * v for k, v in parts.items()), parts


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _presence(logit: Tensor, closest: Tensor, known: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CornerNet, Law and Deng 2018; CenterNet, Zhou et al. 2019)."""
    target = torch.exp(-0.5 * (closest / PRESENCE_SIGMA) ** 2)
    positive = closest <= 0.5
    p = logit.sigmoid()
    on = -(1 - p) ** 2 * F.logsigmoid(logit) * positive
    off = -(1 - target) ** 4 * p ** 2 * F.logsigmoid(-logit) * ~positive
    return ((on + off) * known).sum() / positive.sum().clamp(min=1)


def _direction(logits: Tensor, no_direction: Tensor, target: Target, centres: Tensor, step: float) -> Tensor:
    """Cross entropy over the bins and 'no direction'."""
    bearing = target.direction[:, 0]
    has = bearing.isfinite()
    distance = _wrap(bearing.nan_to_num()[:, None] - centres) / step
    soft = torch.exp(-0.5 * (distance / 1.0) ** 2)
    soft = soft / soft.sum(1, keepdim=True) * has[:, None]
    wanted = torch.cat([soft, (~has)[:, None].to(soft.dtype)], dim=1)
    scores = torch.cat([logits, no_direction[:, None]], dim=1).log_softmax(1)
    return _masked(-(wanted * scores).sum(1), target.direction_known)


def _road(logit: Tensor, target: Target) -> Tensor:
    road = target.masks[:, :1]
    known = road.isfinite()
    return _masked(F.binary_cross_entropy_with_logits(logit, road.nan_to_num(), reduction='none'), known)


def _spatial(output: NetworkOutput, target: Target) -> Tensor:
    """Hinge on the attention ratios of the finest stage: look at the roadside, not at vehicles."""
    stages = {k: v for k, v in output.spatial.items() if k.startswith('stage')}
    if not stages:
        return output.head.new_zeros(())
    weights = max(stages.values(), key=lambda w: w.shape[-1]).float()
    if weights.shape[-2:] != target.masks.shape[-2:]:
        return output.head.new_zeros(())
    visible = target.visible
    mean = (weights * visible).sum((1, 2, 3)) / visible.sum((1, 2, 3)).clamp(min=1)
    total = weights.new_zeros(())
    for channel, sign, wanted in ((1, 1.0, SPATIAL_MARGIN[0]), (2, -1.0, SPATIAL_MARGIN[1])):
        mask = target.masks[:, channel:channel + 1].nan_to_num() * visible
        area = mask.sum((1, 2, 3))
        ratio = (weights * mask).sum((1, 2, 3)) / area.clamp(min=1e-3) / mean.clamp(min=1e-4)
        hinge = F.relu(sign * (math.log(wanted) - ratio.clamp(min=1e-4).log()))
        total = total + _masked(hinge, area > 1.0)
    return total


def _alignment(output: NetworkOutput, target: Target) -> Tensor:
    """Negative log likelihood (up to a constant) of the true correction of the map, over the maps that have one."""
    if output.alignment is None or target.map_error is None:
        return output.head.new_zeros((), dtype=torch.float32)
    known = target.map_error.isfinite().all(dim=1, keepdim=True)
    # What cannot be known must not reach the gradient, not even as 0 times infinity.
    error = torch.where(known, output.alignment.float() - target.map_error.nan_to_num(), 0.0)
    std = output.alignment_std.float()
    return _masked((0.5 * (error / std) ** 2 + std.log()).mean(dim=1), known[:, 0])


def _hard(output: NetworkOutput, target: Target, parts: dict[str, Tensor]) -> Tensor:
    """What hard attention learns from besides the answer, over all stages that use it.

    Dynamic Capacity: the hints, and the coarse output, which is asked for the direction. Glimpse: REINFORCE, the
    reward is minus the loss of the presence of branches and of the direction, of the batch: one number for all samples.
    """
    total = output.head.new_zeros((), dtype=torch.float32)
    for name, value in output.extra.items():
        stage, _, key = name.rpartition('/')
        if key == 'hint':
            total = total + value.float().mean() * HINT
        elif key == 'coarse_logits':
            total = total + _coarse(value.float(), target)
        elif key == 'log_prob':
            reward = -(parts['presence'] + parts['direction']).detach().float().expand(value.shape[0])
            weights = {'log_prob': value.float(), 'baseline': output.extra[f'{stage}/baseline'].float()}
            total = total + reinforce_loss(weights, reward)
    return total


def _coarse(logits: Tensor, target: Target) -> Tensor:
    """Cross entropy of the direction's sector (of C equal ones, the first begins at -pi) where there is one."""
    bearing = target.direction[:, 0]
    known = bearing.isfinite() & target.direction_known
    sector = ((bearing.nan_to_num() + math.pi) / (2 * math.pi) * logits.shape[1]).long().clamp(0, logits.shape[1] - 1)
    return _masked(F.cross_entropy(logits, sector, reduction='none'), known)
