# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The fusion network: two encoders, channel attention where they meet, spatial attention in the residual stages, and a
direction head that reads the features in polar coordinates.

Channel before spatial, as in CBAM (Woo et al. 2018). All weights are returned, not hidden. Every mechanism of
`attention.MECHANISMS` can take one of the places that `NetworkConfig` names; two of these are empty by default: the
registration of the map to the LiDAR, and attention over past sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism
from attention_fusion_ros.bev import lidar as lidar_layers
from attention_fusion_ros.bev import map_image as map_layers
from attention_fusion_ros.contracts import READING
from attention_fusion_ros.network.blocks import (
    CircularConv,
    ConvNorm,
    PolarConv,
    apply_attention,
    build_attention,
    residual_block,
    resized,
)
from attention_fusion_ros.network.config import NetworkConfig, channel_labels
from attention_fusion_ros.network.head import head_layer
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import ROAD, ROAD_LAYER, SPATIAL_NAMES, NetworkOutput, spatial_weights
from attention_fusion_ros.network.polar import PolarSampler
from attention_fusion_ros.network.readings import PlaceReader, anything

# Some were defined here once; they can still be imported from here.
__all__ = ['ROAD', 'ROAD_LAYER', 'SPATIAL_NAMES', 'FusionNetwork', 'NetworkOutput']


class FusionNetwork(nn.Module):
    """forward(lidar (B, C, H, W), map (B, 3, H, W), history) -> NetworkOutput. C channels, see `bev.lidar.CHANNELS`.

    Mechanisms that ask for a query (SCA) are given the pooled features of the map: the map asks, the LiDAR features,
    and what both have become in later stages, are searched.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        config.check()
        self.config = config
        c = config
        half = max(8, c.lidar_width // 2)
        self.lidar_stem = nn.Sequential(ConvNorm(len(lidar_layers.CHANNELS), half, stride=2),
                                        ConvNorm(half, c.lidar_width, stride=2))
        self.lidar_block = residual_block(c.lidar_width, c.lidar_width, 1, c.encoder_attention, c.map_width)
        self.map_encoder = nn.Sequential(ConvNorm(len(map_layers.CHANNELS), 8, stride=2),
                                         ConvNorm(8, c.map_width, stride=2), ConvNorm(c.map_width, c.map_width))
        fused = c.lidar_width + c.map_width
        self.temporal = build_attention(c.temporal, c.lidar_width, extent=c.extent)
        self.map_registration = build_attention(c.map_registration, c.map_width, lidar_channels=c.lidar_width,
                                               extent=c.extent)
        self.fusion = build_attention(c.fusion, fused, query_channels=c.map_width)
        inputs = [fused, *c.widths[:-1]]
        self.stages = nn.ModuleList(
            nn.ModuleList(residual_block(inputs[i] if b == 0 else c.widths[i], c.widths[i],
                                         2 if i > 0 and b == 0 else 1, c.stage_attention, c.map_width)
                          for b in range(c.blocks[i])) for i in range(len(c.widths)))
        self.road_lateral = nn.ModuleList(nn.Conv2d(w, 16, 1) for w in c.widths)
        self.road_head = nn.Conv2d(16, 1, 1)

        if c.reading['name'] == 'none':
            self.polar = PolarSampler(c.extent, c.polar_ranges, c.bins, c.polar_max)
            self.polar_lateral = nn.ModuleList(nn.Conv2d(w, c.polar_widths[0], 1) for w in c.widths)
        else:
            self.place_reader = PlaceReader(c, half)
        widths = [c.polar_widths[0], *c.polar_widths]
        self.polar_stages = nn.Sequential(*(PolarConv(a, b) for a, b in zip(widths, widths[1:])))
        remaining = c.polar_ranges // 2 ** len(c.polar_widths)
        self.to_head = nn.Conv1d(c.polar_widths[-1] * remaining, c.head_width, 1)
        self.circular = nn.Sequential(*(CircularConv(c.head_width, dilation=d) for d in (1, 2, 4)))
        self.head = head_layer(c.head_width)
        self.no_direction = nn.Linear(c.head_width, 1)

    def channel_labels(self) -> tuple[str, ...]:
        """Name of each fused channel."""
        return channel_labels(self.config)

    def mechanisms(self) -> dict[str, Mechanism]:
        """Stage -> its mechanism, for the stages in `NetworkOutput.weights`; of several blocks in a stage the last."""
        found: dict[str, Any] = {'encoder': self.lidar_block.attention, 'temporal': self.temporal,
                                 'map': self.map_registration, 'fusion': self.fusion}
        for i, stage in enumerate(self.stages):
            found[f'stage{i + 1}'] = cast(nn.ModuleList, stage)[-1].attention
        if self.config.reading['name'] != 'none':
            found[READING] = self.place_reader.attention
        return found

    def forward(self, lidar: Tensor, map_image: Tensor, history: History | None = None) -> NetworkOutput:
        """lidar (B, C, H, W), map_image (B, 3, H, W), history of P earlier sweeps -> NetworkOutput of B sweeps."""
        return self.forward_intermediates(lidar, map_image, history)[0]

    def forward_intermediates(self, lidar: Tensor, map_image: Tensor,
                              history: History | None = None) -> tuple[NetworkOutput, tuple[Tensor, ...]]:
        """As `forward`, and the features of every residual stage, (B, C_i, h_i, w_i), that the head reads."""
        map_features = self.map_encoder(map_image)
        query = map_features.mean(dim=(2, 3))
        detail = self.lidar_stem[0](lidar)
        x, weights = self.lidar_block(self.lidar_stem[1](detail), query)
        weights_by_stage = {'encoder': weights}
        encoded = x if self.temporal.extra_inputs else None
        if self.temporal.extra_inputs:
            x, weights_by_stage['temporal'] = self.temporal(x, *self._encoded_history(x, history, query))
        if self.map_registration.extra_inputs:
            map_features, weights_by_stage['map'] = self._register(map_features, x, map_image)
        x = torch.cat([x, map_features], dim=1)
        deviation = (x - x.mean(dim=(2, 3), keepdim=True)).abs().mean(dim=(2, 3))
        x, weights_by_stage['fusion'] = apply_attention(self.fusion, x, query)
        channel = weights_by_stage['fusion'].get('channel')
        if channel is None:  # plain concatenation weighs every channel alike
            channel = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        stages = []
        for i, stage in enumerate(self.stages):
            for block in cast(nn.ModuleList, stage):
                x, weights_by_stage[f'stage{i + 1}'] = block(x, query)
            stages.append(x)
        if self.config.reading['name'] == 'none':
            polar = self.polar_features(stages)
        else:
            drawn = (map_image[:, ROAD_LAYER:ROAD_LAYER + 1] > ROAD).to(lidar.dtype)
            allowed = anything(lidar) + F.max_pool2d(drawn, 2)
            places, weights_by_stage[READING] = self.place_reader(stages, detail, allowed)
            polar = self.polar_stages(places)
        head = self.circular(self.to_head(polar.flatten(1, 2)))
        registration = weights_by_stage.get('map', {})
        output = NetworkOutput(
            head=self.head(head), no_direction=self.no_direction(head.mean(-1))[:, 0], road=self._road(stages),
            channel=channel, contribution=channel * deviation, encoded=encoded,
            spatial=spatial_weights(weights_by_stage),
            alignment=registration.get('correction'), alignment_std=registration.get('correction_std'),
            temporal_weights=weights_by_stage.get('temporal', {}).get('time'), weights=weights_by_stage)
        return output, tuple(stages)

    def encode(self, lidar: Tensor, query: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """LiDAR grid (B, C, H, W) and query (B, C_q) of the map -> features (B, C', H / 4, W / 4) and their weights."""
        features, weights = self.lidar_block(self.lidar_stem(lidar), query)
        return features, weights

    def _encoded_history(self, now: Tensor, history: History | None, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded features (B, P, C, h, w), T_now_then (B, P, 3, 3) and validity (B, P) of the earlier sweeps."""
        B = now.shape[0]
        if history is None:
            return now.new_zeros(B, 0, *now.shape[1:]), now.new_zeros(B, 0, 3, 3), now.new_zeros(B, 0).bool()
        history = history.last(self.config.time_steps - 1)
        if history.encoded:
            return history.lidar, history.T_now_then, history.valid
        features = now.new_zeros(*history.valid.shape, *now.shape[1:])
        if bool(history.valid.any()):
            # As in the node, which keeps what it has encoded: what trains the encoder is the sweep of now.
            with torch.no_grad():
                queries = query[:, None].expand(-1, history.valid.shape[1], -1)[history.valid]
                encoded, _ = self.encode(history.lidar[history.valid], queries)
                features[history.valid] = encoded.to(features.dtype)
        return features, history.T_now_then, history.valid

    def _register(self, map_features: Tensor, lidar: Tensor, map_image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Move the map's features; where no road is drawn there is nothing to be moved."""
        moved, weights = self.map_registration(map_features, lidar)
        road = map_image[:, ROAD_LAYER:ROAD_LAYER + 1]
        drawn = road.amax(dim=(2, 3), keepdim=True) > ROAD
        return torch.where(drawn, moved, map_features), weights

    def polar_features(self, stages: Sequence[Tensor]) -> Tensor:
        """Features of the stages, (B, C_i, h_i, w_i) each -> (B, C, R', K): ranges by bearings."""
        # 1x1 convolution first: sampling is linear, so the order does not matter, and fewer channels are sampled.
        polar = [self.polar(lateral(stage)) for lateral, stage in zip(self.polar_lateral, stages)]
        features: Tensor = self.polar_stages(F.relu(sum(polar[1:], start=polar[0])))
        return features

    def _road(self, stages: Sequence[Tensor]) -> Tensor:
        size = stages[0].shape[-2:]
        levels = [resized(lateral(stage), size) for lateral, stage in zip(self.road_lateral, stages)]
        logit: Tensor = self.road_head(F.relu(sum(levels[1:], start=levels[0])))
        return logit

