# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training for a heat that is true: the cells it names suffice for the answer, and without them it is less sure.

Sufficiency and comprehensiveness of DeYoung et al., "ERASER" (ACL 2020, https://arxiv.org/abs/1911.03429), asked for by
masking the input while training, as Ismail et al., "Improving Deep Learning Interpretability by Saliency Guided
Training" (NeurIPS 2021, https://arxiv.org/abs/2111.14338). Cells drawn by lot are taken away as well, and must change
nothing: that a hole is there is no reason to be less sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import READING, SELECTION
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.network.head import bin_centres, head_channel
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.training.loss import losses
from attention_fusion_ros.training.resting import normalisations

LOSSES = ('sufficiency', 'comprehensiveness')
ANSWERED = ('presence', 'offset', 'heading', 'direction', 'rings')  # losses of the answer itself
KEPT, DELETED = 0.3, 0.15  # of the patches with points; of visible ground these are about a fifth and a tenth
DROP = 0.15  # of the probability of a branch, once its cells are gone
ASKED = 4  # one of so many samples is asked without each kind of cells


@dataclass(frozen=True)
class Masked:
    """Sweeps of which some cells are left: first only the hottest, then all but them, then all but some by lot."""

    lidar: Tensor  # (3 r, C, H, W)
    rows: Tensor  # (3 r,) the samples that they were

    def part(self, kind: int) -> slice:
        """Which of the rows are of a kind: 0 kept, 1 deleted, 2 by lot."""
        number = len(self.rows) // 3
        return slice(kind * number, (kind + 1) * number)


def masked(lidar: Tensor, output: NetworkOutput, visible: Tensor) -> Masked | None:
    """Samples with cells missing, by the heat of `output`; None for a network that publishes no such heat.

    lidar: (B, C, H, W), what `output` is of; the layers after those of `bev.lidar.CHANNELS` stay. visible:
    (B, 1, h, w) share of the cells of a patch with points. Draws torch's random numbers.
    """
    heat = output.spatial.get(READING, output.spatial.get(SELECTION))
    number = len(lidar) // ASKED
    if heat is None or not number:
        return None
    rows = torch.arange(3 * number, device=lidar.device)
    heat = F.adaptive_avg_pool2d(heat[rows].detach().float(), (visible.shape[2], visible.shape[3]))
    seen = visible[rows] > 0
    hot = hottest(heat, seen, torch.where(rows < number, KEPT, DELETED))
    by_lot = hottest(torch.rand_like(heat), seen, torch.full_like(rows, DELETED, dtype=torch.float32))
    kind = (rows // number)[:, None, None, None]
    left = torch.where(kind == 0, hot, torch.where(kind == 1, ~hot, ~by_lot))
    left = F.interpolate(left.to(lidar.dtype), size=lidar.shape[-2:], mode='nearest')
    layers = len(CHANNELS)
    return Masked(torch.cat([lidar[rows, :layers] * left, lidar[rows, layers:]], dim=1), rows)


def hottest(heat: Tensor, allowed: Tensor, share: Tensor) -> Tensor:
    """(B, 1, h, w) bool: of the `allowed` patches (B, 1, h, w), the share (B,) with the greatest heat (B, 1, h, w)."""
    order = torch.where(allowed, heat, -1.0).flatten(1)
    rank = order.argsort(dim=1, descending=True).argsort(dim=1)
    number = (share * allowed.flatten(1).sum(dim=1)).round()
    return ((rank < number[:, None]) & allowed.flatten(1)).view_as(allowed)


def rows_of(target: Target, rows: Tensor) -> Target:
    """The truth of some samples."""
    values = {f.name: getattr(target, f.name) for f in fields(target)}
    chosen: dict[str, Any] = {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}
    return replace(target, **chosen)


def comprehensiveness(output: NetworkOutput, without: NetworkOutput, part: slice, target: Target,
                      rows: Tensor) -> Tensor:
    """How much of the wanted DROP of the probability is missing at the true branches, mean; 0 where there is none.

    output: as it was, of all samples; without: of the samples `rows` without some cells, of which `part` counts.
    """
    rows = rows[part]
    before = head_channel(output.head.detach().float(), 'presence')[rows].sigmoid()
    after = head_channel(without.head.float(), 'presence')[part].sigmoid()
    bearing = target.branches[rows, :, 0]
    exists = bearing.isfinite()
    distance = bearing.nan_to_num()[:, :, None] - bin_centres(before.shape[1], before.device)
    nearest = torch.cos(distance).argmax(dim=2)  # (r, M)
    lacking = F.relu(after.gather(1, nearest) - F.relu(before.gather(1, nearest) - DROP))
    return (lacking * exists).sum() / exists.sum().clamp(min=1)


def losses_of(output: NetworkOutput, inputs: Masked, answer: NetworkOutput, target: Target,
              weights: Mapping[str, float]) -> dict[str, Tensor]:
    """The losses `sufficiency`, of what must still be answered, and `comprehensiveness`, () each.

    output: as it was, of all samples; answer: to `inputs`. weights: of every loss, see `training.loss.losses`.
    """
    indices = torch.arange(len(inputs.rows), device=inputs.rows.device)
    enough = torch.cat([indices[inputs.part(kind)] for kind in (0, 2)])
    task = {name: weight if name in ANSWERED else 0.0 for name, weight in weights.items()}
    return {'sufficiency': losses(answer.rows(enough), rows_of(target, inputs.rows[enough]), task)[0],
            'comprehensiveness': comprehensiveness(output, answer, inputs.part(1), target, inputs.rows)}


@contextmanager
def statistics_of_whole_sweeps(network: nn.Module) -> Iterator[None]:
    """Normalise as in use, and leave the statistics alone: those of sweeps with holes must not become those of use."""
    norms = [module for module in normalisations(network) if module.training]
    for module in norms:
        module.eval()
    try:
        yield
    finally:
        for module in norms:
            module.train()
