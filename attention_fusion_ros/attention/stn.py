# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Spatial Transformer Networks, Jaderberg, Simonyan, Zisserman, Kavukcuoglu, NIPS 2015. https://arxiv.org/abs/1506.02025

Here the transformer registers the map image to the LiDAR BEV. A map is shifted and turned, not scaled or sheared, so
the transformation is SE(2) and means something: it is the correction of the map's pose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.errors import ConfigurationError


class SpatialTransformer(Mechanism):
    """Localisation net -> SE(2) correction -> affine grid -> bilinear sampler. Starts at the identity.

    forward(x, lidar): x (B, C, H, W) the map's features, lidar (B, lidar_channels, H, W) on the same grid. Returns the
    map's features moved to where the LiDAR says they belong; zero where the map did not reach.
    lidar_channels: default C. width: of the localisation net. max_shift [m], max_yaw [rad]: the largest correction it
    can give. extent [m]: half the height of the grid.
    Weights: 'correction' (B, 3): dx, dy [m], dyaw [rad] in base_link: p_true = R(dyaw) p_map + (dx, dy);
    'correction_std' (B, 3) in the same units, meaningful once trained with `alignment_loss`.
    """

    extra_inputs = ('lidar',)
    slots = ('map_registration',)
    limits: Tensor
    loss_weights: Mapping[str, float] = {'alignment': 0.2}

    def __init__(self, channels: int, lidar_channels: int | None = None, width: int = 16, max_shift: float = 10.0,
                 max_yaw: float = 0.35, extent: float = 40.0):
        super().__init__(channels)
        lidar_channels = at_least('lidar_channels', channels if lidar_channels is None else lidar_channels, 1)
        w = at_least('width', width, 1)
        for name, value in (('max_shift', max_shift), ('max_yaw', max_yaw), ('extent', extent)):
            if not 0 < value < math.inf:
                raise ConfigurationError(f"attention option '{name}' must be positive, got {value!r}")
        self.extent = float(extent)
        self.register_buffer('limits', torch.tensor([max_shift, max_shift, max_yaw]), persistent=False)
        widths = [channels + lidar_channels, w, 2 * w, 2 * w, 4 * w]
        stages = [(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
                  for a, b in itertools.pairwise(widths)]
        # Where in the map something lies must survive the pooling, hence 4 x 4 cells and not one.
        self.localisation = nn.Sequential(*[layer for stage in stages for layer in stage], nn.AdaptiveAvgPool2d(4),
                                          nn.Flatten(), nn.Linear(64 * w, 4 * w), nn.ReLU())
        self.regression = nn.Linear(4 * w, 6)
        nn.init.zeros_(self.regression.weight)
        nn.init.zeros_(self.regression.bias)

    def forward(self, x: Tensor, lidar: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) of the map, lidar (B, lidar_channels, H, W) -> moved x (B, C, H, W) and weights."""
        found = self.regression(self.localisation(torch.cat([x, lidar], dim=1)))
        # Autocast gives half precision, whose steps are centimetres here.
        mean, log_std = found.to(torch.promote_types(found.dtype, torch.float32)).chunk(2, dim=1)
        correction = mean.tanh() * self.limits
        # Before training: the spread of a uniform error over the whole range, that is, no knowledge.
        std = self.limits / math.sqrt(3) * log_std.clamp(-6.0, 2.0).exp()
        return move(x, se2_matrix(correction), self.extent), {'correction': correction, 'correction_std': std}

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`alignment`, see `alignment_loss`; nothing where no map's error is known."""
        return {} if truth.map_error is None else {'alignment': alignment_loss(weights, truth.map_error)}


def alignment_loss(weights: dict[str, Tensor], truth: Tensor) -> Tensor:
    """Negative log likelihood (up to a constant) of the true correction under the predicted Gaussian.

    truth: (B, 3) dx, dy [m], dyaw [rad]; samples with NaN count nothing. Returns () the mean over the others, or 0.
    """
    known = truth.isfinite().all(dim=1)
    # What is unknown must not reach the gradient, not even as 0 times infinity.
    error = torch.where(known[:, None], weights['correction'].float() - truth.nan_to_num(), 0.0)
    std = weights['correction_std'].float()
    likelihood = (0.5 * (error / std).square() + std.log()).mean(dim=1)
    return (likelihood * known).sum() / known.sum().clamp(min=1)
