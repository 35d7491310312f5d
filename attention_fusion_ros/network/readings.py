# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Two readings of where the roads go, one of the map and one of both together, bearing by bearing.

A reading is a head (B, R, C, K) of R rings, C = len(HEAD_CHANNELS), K bearing bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism
from attention_fusion_ros.network.blocks import CircularConv, build_attention, circular_pad, resized
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.head import HEAD_CHANNELS, INITIAL_BIAS
from attention_fusion_ros.network.polar import PolarSampler

OVERSAMPLING = 4  # bearings at which the map is read, for each bin: a map says where its roads are to a pixel
MAP_RANGE_STEP_M = 0.75
FIT_CHANNELS = 6  # what a fusion is told of the registration, see TwoReadings


def ring_head(inputs: int, rings: int) -> nn.Conv1d:
    """The last layer: (B, inputs, K) features -> (B, rings * len(HEAD_CHANNELS), K)."""
    layer = nn.Conv1d(inputs, rings * len(HEAD_CHANNELS), 1)
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.zero_()
        for name, value in INITIAL_BIAS.items():
            layer.bias[HEAD_CHANNELS.index(name)::len(HEAD_CHANNELS)] = value
    return layer


def by_ring(head: Tensor) -> Tensor:
    """(B, R * C, K) -> (B, R, C, K)."""
    return torch.unflatten(head, 1, (-1, len(HEAD_CHANNELS)))


class WrappedConv(nn.Module):
    """Convolution over (range, bearing) that wraps around in bearing; zero padded in range; normalised; ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]):
        super().__init__()
        self.reach = kernel[1] // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel[0] // 2, 0), bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, R, K) -> (B, C', R / stride, K / stride)."""
        return F.relu(self.norm(self.conv(circular_pad(x, self.reach))), inplace=True)


class PlaceReader(nn.Module):
    """Where the LiDAR's evidence lies, in polar coordinates: the weights of an attention over places, and no feature.

    forward(stages, detail (B, D, H / 2, W / 2), allowed (B, 1, H / 2, W / 2)) -> (B, polar_widths[0], R, K), weights.
    """

    def __init__(self, config: NetworkConfig, detail_width: int):
        super().__init__()
        c, width = config, config.lidar_width
        self.lateral = nn.ModuleList(nn.Conv2d(w, width, 1) for w in c.widths)
        self.detail = nn.Conv2d(detail_width, width, 1)
        self.attention = build_attention(c.reading, width)
        self.polar = PolarSampler(c.extent, 2 * c.polar_ranges, 2 * c.bins, c.polar_max)
        self.fold = WrappedConv(cast(int, self.attention.heads), c.polar_widths[0], (3, 3), (2, 2))

    def forward(self, stages: Sequence[Tensor], detail: Tensor, allowed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """stages (B, C_i, h_i, w_i), detail, allowed -> what each bearing and range holds, and the weights."""
        levels = [resized(lateral(stage), stages[0].shape[2:]) for lateral, stage in zip(self.lateral, stages)]
        seen = self.detail(detail) + resized(sum(levels[1:], start=levels[0]), detail.shape[2:])
        places, weights = self.attention(F.relu(seen), allowed)
        return self.fold(self.polar(places)), weights


def anything(layers: Tensor) -> Tensor:
    """(B, 1, H / 2, W / 2) above zero where any of the layers (B, C, H, W) holds anything."""
    return F.max_pool2d(torch.linalg.vector_norm(layers.detach(), ord=1, dim=1, keepdim=True), 2)


class MapReader(nn.Module):
    """What a map image that lies where it belongs says about every bearing.

    forward(map (B, M, H, W), fit (B, FIT_CHANNELS)) -> features (B, width, K). The map is read in polar coordinates,
    four times as finely as the bins, so that the bearing of a line is kept; the LiDAR has no part in it.
    """

    def __init__(self, layers: int, width: int, extent: float, polar_max: float, bins: int):
        super().__init__()
        ranges = 16 * math.ceil(polar_max / MAP_RANGE_STEP_M / 16)
        self.polar = PolarSampler(extent, ranges, OVERSAMPLING * bins, polar_max)
        self.convs = nn.Sequential(WrappedConv(layers, 24, (3, 7), (2, 2)), WrappedConv(24, 32, (3, 5), (2, 2)),
                                   WrappedConv(32, 48, (3, 3), (2, 1)), WrappedConv(48, 48, (3, 3), (2, 1)))
        self.fold = nn.Conv1d(48 * ranges // 16 + FIT_CHANNELS, width, 1)
        self.circular = CircularConv(width, dilation=1)

    def forward(self, map_image: Tensor, fit: Tensor) -> Tensor:
        """map_image (B, M, H, W), fit (B, FIT_CHANNELS) -> (B, width, K)."""
        folded = self.convs(self.polar(map_image)).flatten(1, 2)
        told = fit[:, :, None].expand(-1, -1, folded.shape[2]).to(folded.dtype)
        features: Tensor = self.circular(F.relu(self.fold(torch.cat([folded, told], dim=1))))
        return features


class Combination(nn.Module):
    """Two readings -> one: existence from both, the place from each by how precise it says it is.

    Channel attention weighs the features of both readings, where they meet; it is told how the map was registered.
    adds: what the two change is added up, so that nothing but the weights can hold a map that is wrong against what the
    LiDAR shows; otherwise the features of both are mixed.
    """

    def __init__(self, lidar_width: int, map_width: int, rings: int, attention: Mechanism, adds: bool = False):
        super().__init__()
        self.attention, self.adds = attention, adds
        self.parts = (lidar_width, map_width) if adds else (lidar_width + map_width,)
        if adds:
            self.changes = nn.ModuleList(_Change(width, lidar_width, rings) for width in self.parts)
            return
        self.mix = nn.Conv1d(lidar_width + map_width, lidar_width, 1)
        self.circular = nn.Sequential(CircularConv(lidar_width), CircularConv(lidar_width))
        # Beside the head's channels one that shifts the share of the map in the bearing.
        self.change = nn.Conv1d(lidar_width, rings * (len(HEAD_CHANNELS) + 1), 1)
        self.no_direction = nn.Linear(lidar_width, rings)
        for layer in (self.change, self.no_direction):  # starts as the LiDAR's reading
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, lidar: Tensor, map_features: Tensor, fit: Tensor, lidar_head: Tensor, map_head: Tensor,
                present: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
        """Features (B, C_l, K) and (B, C_m, K), fit (B, FIT_CHANNELS), heads (B, R, C, K), present (B,) 0 or 1.

        Returns the head (B, R, C, K), the change of the no-direction logits (B, R), what the attention returned, and
        the fused features before they were weighted (B, C_l + C_m, K). Where no map is present the head is the LiDAR's.
        """
        fused = torch.cat([lidar, map_features], dim=1)
        known = (fit,) if 'context' in self.attention.extra_inputs else ()
        weighted, weights = self.attention(fused[:, :, None], *known)
        if self.adds:
            found = [change(part) for change, part in zip(self.changes, weighted[:, :, 0].split(self.parts, dim=1))]
            change, none = (sum(of_part[1:], start=of_part[0]) for of_part in zip(*found))
        else:
            features = self.circular(F.relu(self.mix(weighted[:, :, 0])))
            change, none = self.change(features), self.no_direction(features.mean(dim=2))
        change = change.unflatten(1, (lidar_head.shape[1], -1)) * present[:, None, None, None]
        return _combined(lidar_head, map_head, change, present), none * present[:, None], weights, fused


class _Change(nn.Module):
    """What the weighted features of one reading change: (B, C, K) -> (B, R * C', K), (B, R). It starts at zero."""

    def __init__(self, inputs: int, width: int, rings: int):
        super().__init__()
        self.mix = nn.Conv1d(inputs, width, 1)
        self.circular = CircularConv(width)
        # Beside the head's channels one that shifts the share of the map in the bearing.
        self.change = nn.Conv1d(width, rings * (len(HEAD_CHANNELS) + 1), 1)
        self.no_direction = nn.Linear(width, rings)
        for layer in (self.change, self.no_direction):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.circular(F.relu(self.mix(x)))
        return self.change(features), self.no_direction(features.mean(dim=2))


def _combined(lidar: Tensor, of_map: Tensor, change: Tensor, present: Tensor) -> Tensor:
    """The LiDAR's head with the map's share of bearing and heading, and the learned change of everything."""
    index = HEAD_CHANNELS.index
    shift = change[:, :, -1]
    out = [lidar[:, :, i] + change[:, :, i] for i in range(len(HEAD_CHANNELS))]
    for names, std in ((('offset',), 'bearing_log_std'), (('heading_cos', 'heading_sin'), 'heading_log_std')):
        log_ratio = 2 * (lidar[:, :, index(std)] - of_map[:, :, index(std)])  # precision of the map over the LiDAR's
        share = (log_ratio + shift).sigmoid() * present[:, None, None]
        for name in names:
            i = index(name)
            out[i] = out[i] + share * (of_map[:, :, i] - lidar[:, :, i])
    return torch.stack(out, dim=2)
