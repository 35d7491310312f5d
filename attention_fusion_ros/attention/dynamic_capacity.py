# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic Capacity Networks, Almahairi, Ballas, Cooijmans, Zheng, Larochelle, Courville, ICML 2016.
https://arxiv.org/abs/1511.07838

Hard attention without a policy: coarse layers see everything, and the k patches whose coarse features most change the
entropy of the coarse output are seen again by fine layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least
from attention_fusion_ros.attention.patches import cut, mask, pad_to_patches, paste, to_patches


class TopLayers(nn.Module):
    """g: coarse features -> logits of the coarse output: evidence in each patch, its smooth maximum, a linear layer.

    The smooth maximum (log mean exp) tells patches apart by how much they contribute, which a mean would not. All of it
    is small enough for the gradient of its entropy to be written out, so that inference needs no autograd and the
    mechanism can be exported.
    """

    def __init__(self, channels: int, classes: int, patch: int, hidden: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, patch, stride=patch)
        self.classify = nn.Linear(hidden, classes)

    def forward(self, c: Tensor) -> Tensor:
        """c (B, C, H, W) -> logits (B, classes)."""
        h = self.conv(c).flatten(2)
        logits: Tensor = self.classify(h.logsumexp(dim=2) - math.log(h.shape[2]))
        return logits

    def entropy_gradient(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) and dH/dc (B, C, H, W), H the entropy of softmax(logits)."""
        h = self.conv(c)
        flat = h.flatten(2)  # (B, hidden, patches)
        logits = self.classify(flat.logsumexp(dim=2) - math.log(flat.shape[2]))
        log_p = logits.log_softmax(dim=1)
        p = log_p.exp()
        H = -(p * log_p).sum(dim=1, keepdim=True)
        d_logits = -p * (log_p + H)
        d_maximum = d_logits @ self.classify.weight  # (B, hidden)
        d_h = (d_maximum[:, :, None] * flat.softmax(dim=2)).view_as(h)
        gradient = nn.functional.conv_transpose2d(d_h, self.conv.weight, stride=self.conv.stride)
        return logits, gradient


class DynamicCapacity(Mechanism):
    """f_c everywhere, f_f on the k most salient patches, whose features replace the coarse ones.

    forward(x): x (B, C, H, W). The saliency is that of built-in top layers, which `losses` trains on 'coarse_logits'.
    k: patches seen by the fine layers (all of them where there are fewer). patch: edge of a patch in cells.
    coarse_width, fine_width: channels of f_c and f_f (default C / 4 and 2 C). classes, top_hidden: of the built-in top.
    Weights: 'spatial' (B, 1, H, W), 1 on the chosen patches, else 0; 'saliency' (B, 1, h, w), |dH/dc| of each patch;
    'hint' (B,), the squared distance of coarse to fine features on the chosen patches, to be added to the loss: its
    gradient reaches the coarse layers only; 'coarse_logits' (B, classes).
    """

    # Its layers mix the channels: at the fusion nothing would tell any more which are whose.
    slots = ('encoder_attention', 'stage_attention')
    # The hint is a sum over channels and cells, hence its small weight.
    loss_weights: Mapping[str, float] = {'hint': 2e-4, 'coarse': 0.2}

    def __init__(self, channels: int, k: int = 8, patch: int = 8, coarse_width: int | None = None,
                 fine_width: int | None = None, classes: int = 36, top_hidden: int = 16):
        super().__init__(channels)
        self.k, self.patch = at_least('k', k, 1), at_least('patch', patch, 1)
        coarse = at_least('coarse_width', max(1, channels // 4) if coarse_width is None else coarse_width, 1)
        fine = at_least('fine_width', 2 * channels if fine_width is None else fine_width, 1)
        self.coarse = nn.Sequential(nn.Conv2d(channels, coarse, 3, padding=1), nn.ReLU(),
                                    nn.Conv2d(coarse, channels, 1))
        self.halo = 2  # two 3x3 convolutions without padding
        self.fine = nn.Sequential(nn.Conv2d(channels, fine, 3), nn.ReLU(), nn.Conv2d(fine, fine, 3), nn.ReLU(),
                                  nn.Conv2d(fine, channels, 1))
        self.top = TopLayers(channels, at_least('classes', classes, 2), patch, at_least('top_hidden', top_hidden, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> refined features (B, C, H, W) and weights."""
        H, W = x.shape[2:]
        x = pad_to_patches(x, self.patch)
        rows, columns = x.shape[2] // self.patch, x.shape[3] // self.patch
        c = self.coarse(x)
        logits, gradient = self.top.entropy_gradient(c)
        saliency = to_patches(gradient.detach(), self.patch).square().sum(dim=(2, 3, 4)).sqrt()  # (B, h w)
        chosen = saliency.topk(min(self.k, rows * columns), dim=1).indices  # (B, k)

        seen = cut(x, chosen, columns, self.patch, self.halo)
        f = self.fine(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])  # (B, k, C, patch, patch)
        index = chosen[:, :, None, None, None].expand(f.shape)
        hint = (to_patches(c, self.patch).gather(1, index) - f.detach()).square().sum(dim=(1, 2, 3, 4))
        refined = paste(c, chosen, f)[:, :, :H, :W]
        return refined, {'spatial': mask(chosen, rows, columns, self.patch, x)[:, :, :H, :W],
                         'saliency': saliency.view(-1, 1, rows, columns), 'hint': hint, 'coarse_logits': logits}

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """Fine features where 'spatial' is 1, coarse where it is 0, a mixture between; see `Mechanism.reweighted`."""
        H, W = x.shape[2:]
        x = pad_to_patches(x, self.patch)
        coarse: Tensor = self.coarse(x)[:, :, :H, :W]
        fine: Tensor = self.fine(nn.functional.pad(x, (self.halo,) * 4))[:, :, :H, :W]
        return coarse + weights['spatial'] * (fine - coarse)

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`hint`, and `coarse`: what the coarse output says about the sector of the direction."""
        coarse = sector_loss(weights['coarse_logits'].float(), truth.direction[:, 0], truth.direction_known)
        return {'hint': weights['hint'].float().mean(), 'coarse': coarse}


def sector_loss(logits: Tensor, bearing: Tensor, known: Tensor) -> Tensor:
    """Cross entropy of the sector that a bearing lies in, of C equal ones of which the first begins at -pi.

    logits: (B, C); bearing: (B,) rad; known: (B,) bool. Samples without a known, finite bearing count nothing.
    """
    classes = logits.shape[1]
    asked = bearing.isfinite() & known
    sector = ((bearing.nan_to_num() + math.pi) / (2 * math.pi) * classes).long().clamp(0, classes - 1)
    costs = nn.functional.cross_entropy(logits, sector, reduction='none')
    return (costs * asked).sum() / asked.sum().clamp(min=1)
