# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The second network: a budget of LiDAR cells is read, the map is registered to what they show, and two readings of the
roads, one of the LiDAR and one of the map, are weighed against each other where they meet.

There is no way round the attention: every number of the answer comes from the cells that the selection let pass, and
from a map that the registration moved. The LiDAR's own reading never sees the map; without one it is the answer. With
the setting `reading` it is told nothing but places: how much weight each cell was given for what it holds.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.bev import lidar as lidar_layers
from attention_fusion_ros.bev import map_image as map_layers
from attention_fusion_ros.contracts import READING
from attention_fusion_ros.network.blocks import (
    CircularConv,
    ConvNorm,
    PolarConv,
    build_attention,
    residual_block,
    resized,
)
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import ROAD, ROAD_LAYER, NetworkOutput, spatial_weights
from attention_fusion_ros.network.polar import PolarSampler
from attention_fusion_ros.network.readings import (
    FIT_CHANNELS,
    Combination,
    MapReader,
    PlaceReader,
    WrappedConv,
    anything,
    by_ring,
    ring_head,
)

NEAR_M = 30.0  # misfit is judged so far around the vehicle


class TwoReadings(nn.Module):
    """forward(lidar (B, C, H, W), map (B, 3, H, W), history, prior) -> NetworkOutput. C: see `bev.lidar.CHANNELS`.

    With the setting `track` the way driven is one layer more, the last. prior (B, 13): where earlier sweeps put the
    map, see `attention.pose_volume.log_prior`.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        config.check()
        self.config = config
        c = config
        rings = len(c.rings)
        self.half_width = max(8, c.lidar_width // 2)
        inputs, layers = len(lidar_layers.CHANNELS), len(lidar_layers.CHANNELS) + c.track
        self.selection = build_attention(c.selection, inputs)
        self.lidar_stem = nn.Sequential(ConvNorm(layers, self.half_width, stride=2),
                                        ConvNorm(self.half_width, c.lidar_width, stride=2))
        self.lidar_block = residual_block(c.lidar_width, c.lidar_width, 1, c.encoder_attention, c.map_width)
        widths = [c.lidar_width, *c.widths[:-1]]
        self.stages = nn.ModuleList(
            nn.ModuleList(residual_block(widths[i] if b == 0 else c.widths[i], c.widths[i],
                                         2 if i > 0 and b == 0 else 1, c.stage_attention, c.map_width)
                          for b in range(c.blocks[i])) for i in range(len(c.widths)))
        self.road_lateral = nn.ModuleList(nn.Conv2d(w, 16, 1) for w in c.widths)
        self.road_head = nn.Conv2d(16, 1, 1)
        self.map_registration = build_attention(c.map_registration, len(map_layers.CHANNELS), coarse_channels=16,
                                                fine_channels=self.half_width, lidar_channels=16, extent=c.extent,
                                                cells=c.cells)
        if c.reading['name'] == 'none':
            self.polar = PolarSampler(c.extent, c.polar_ranges, c.bins, c.polar_max)
            self.polar_lateral = nn.ModuleList(nn.Conv2d(w, c.polar_widths[0], 1) for w in c.widths)
            self.polar_fine = PolarSampler(c.extent, 2 * c.polar_ranges, 2 * c.bins, c.polar_max)
            self.polar_detail = WrappedConv(self.half_width, c.polar_widths[0], (3, 3), (2, 2))
        else:
            self.place_reader = PlaceReader(c, self.half_width)
        widths = [c.polar_widths[0], *c.polar_widths]
        self.polar_stages = nn.Sequential(*(PolarConv(a, b) for a, b in zip(widths, widths[1:])))
        remaining = c.polar_ranges // 2 ** len(c.polar_widths)
        self.to_head = nn.Conv1d(c.polar_widths[-1] * remaining, c.head_width, 1)
        self.circular = nn.Sequential(*(CircularConv(c.head_width, dilation=d) for d in (1, 2, 4)))
        self.head = ring_head(c.head_width, rings)
        self.no_direction = nn.Linear(c.head_width, rings)

        self.map_reader = MapReader(len(map_layers.CHANNELS), c.map_reading_width, c.extent, c.polar_max, c.bins)
        self.map_head = ring_head(c.map_reading_width, rings)
        self.combination = Combination(c.head_width, c.map_reading_width, rings, build_attention(
            c.fusion, c.head_width + c.map_reading_width, query_channels=c.map_width, context=FIT_CHANNELS),
            c.readings_add)

    def mechanisms(self) -> dict[str, Mechanism]:
        """Stage -> its mechanism, for the stages in `NetworkOutput.weights`; of several blocks in a stage the last."""
        found: dict[str, Any] = {'selection': self.selection, 'encoder': self.lidar_block.attention,
                                 'map': self.map_registration, 'fusion': self.combination.attention}
        if self.config.reading['name'] != 'none':
            found[READING] = self.place_reader.attention
        for i, stage in enumerate(self.stages):
            found[f'stage{i + 1}'] = cast(nn.ModuleList, stage)[-1].attention
        return found

    def forward(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
                prior: Tensor | None = None) -> NetworkOutput:
        """lidar (B, C, H, W), map_image (B, 3, H, W), prior (B, 13) -> NetworkOutput of B sweeps."""
        return self.forward_intermediates(lidar, map_image, history, prior)[0]

    def forward_intermediates(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
                              prior: Tensor | None = None) -> tuple[NetworkOutput, tuple[Tensor, ...]]:
        """As `forward`, and the features of every residual stage, (B, C_i, h_i, w_i), that the head reads."""
        weights: dict[str, dict[str, Tensor]] = {}
        query = lidar.new_zeros(lidar.shape[0], self.config.map_width)  # the LiDAR's reading does not see the map
        swept, track = lidar[:, :len(lidar_layers.CHANNELS)], lidar[:, len(lidar_layers.CHANNELS):]
        read, weights['selection'] = self.selection(swept)
        if self.config.track:  # comes from odometry, not from the LiDAR
            read = torch.cat([read, track], dim=1)
        detail = self.lidar_stem[0](read)
        x, weights['encoder'] = self.lidar_block(self.lidar_stem[1](detail), query)
        stages = []
        for i, stage in enumerate(self.stages):
            for block in cast(nn.ModuleList, stage):
                x, weights[f'stage{i + 1}'] = block(x, query)
            stages.append(x)
        seen = self._seen(stages)
        road = self.road_head(seen)
        if self.config.reading['name'] == 'none':
            polar = self._polar(stages, detail)
        else:
            polar, weights[READING] = self.place_reader(stages, detail, anything(read[:, :swept.shape[1]]))
        features = self.circular(self.to_head(self.polar_stages(polar).flatten(1, 2)))
        lidar_head, none = by_ring(self.head(features)), self.no_direction(features.mean(dim=2))

        drawn = map_image[:, ROAD_LAYER:ROAD_LAYER + 1].amax(dim=(2, 3)) > ROAD
        present = drawn[:, 0].to(features.dtype)
        moved, weights['map'] = self._registered(map_image, seen, detail, prior)
        fit = self._fit(weights['map'], moved, road) * present[:, None]
        map_features = self.map_reader(moved, torch.zeros_like(fit) if self.config.readings_add else fit)
        map_head = by_ring(self.map_head(map_features))
        head, change, weights['fusion'], fused = self.combination(features, map_features, fit, lidar_head, map_head,
                                                                  present)
        none = none + change
        channel = weights['fusion'].get('channel', fused.new_ones(fused.shape[:2]))
        deviation = (fused - fused.mean(dim=2, keepdim=True)).abs().mean(dim=2)
        ring = self.config.rings.index(self.config.lookahead)
        registration = weights['map']
        output = NetworkOutput(
            head=head[:, ring], no_direction=none[:, ring], road=road, channel=channel,
            contribution=channel * deviation, spatial=spatial_weights(weights),
            alignment=registration.get('correction'), alignment_std=registration.get('correction_std'),
            weights=weights, rings=head, rings_no_direction=none, readings={'lidar': lidar_head, 'map': map_head},
            present=present, map_image=moved)
        return output, tuple(stages)

    def _seen(self, stages: list[Tensor]) -> Tensor:
        """(B, 16, H / 4, W / 4) what the LiDAR shows, with the context of every stage."""
        size = stages[0].shape[-2:]
        levels = [resized(lateral(stage), size) for lateral, stage in zip(self.road_lateral, stages)]
        return F.relu(sum(levels[1:], start=levels[0]))

    def _polar(self, stages: list[Tensor], detail: Tensor) -> Tensor:
        """Features of the stages and of the finest layer -> (B, C, R, K): ranges by bearings."""
        # 1x1 convolution first: sampling is linear, so the order does not matter, and fewer channels are sampled.
        polar = [self.polar(lateral(stage)) for lateral, stage in zip(self.polar_lateral, stages)]
        polar.append(self.polar_detail(self.polar_fine(detail)))
        return F.relu(sum(polar[1:], start=polar[0]))

    def _registered(self, map_image: Tensor, seen: Tensor, detail: Tensor,
                    prior: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The map image where it belongs, (B, 3, H, W), and what the mechanism returned."""
        wanted = self.map_registration.extra_inputs
        if 'coarse' in wanted:
            moved, found = self.map_registration(map_image, seen, detail, prior)
            return moved, found
        if 'lidar' in wanted:
            small = F.avg_pool2d(map_image, 4)
            _, found = self.map_registration(small, seen)
            return move(map_image, se2_matrix(found['correction']), self.config.extent), found
        return map_image, {}

    def _fit(self, registration: dict[str, Tensor], moved: Tensor, road: Tensor) -> Tensor:
        """(B, FIT_CHANNELS): what the registration says of itself, then how much is drawn but not seen, and seen but
        not drawn, shares of the road near the vehicle.
        """
        drawn = F.avg_pool2d(moved[:, ROAD_LAYER:ROAD_LAYER + 1], 4)
        wide = F.max_pool2d(drawn, 5, stride=1, padding=2)
        seen = road.sigmoid().to(drawn.dtype)
        near = _near(drawn, self.config.extent)
        unseen = (near * drawn * (1 - F.max_pool2d(seen, 3, stride=1, padding=1))).sum((1, 2, 3))
        undrawn = (near * seen * (1 - wide).clamp(min=0)).sum((1, 2, 3))
        misfit = torch.stack([unseen / (near * drawn).sum((1, 2, 3)).clamp(min=1.0),
                              undrawn / (near * seen).sum((1, 2, 3)).clamp(min=1.0)], dim=1)
        fit = registration.get('fit', misfit.new_zeros(misfit.shape[0], FIT_CHANNELS - 2))
        return torch.cat([fit.to(misfit.dtype), misfit], dim=1)


def _near(like: Tensor, extent: float) -> Tensor:
    """(1, 1, h, w) 1 within NEAR_M of the vehicle, else 0."""
    h, w = like.shape[-2:]
    y = (torch.arange(h, device=like.device) + 0.5) / h * 2 - 1
    x = (torch.arange(w, device=like.device) + 0.5) / w * 2 - 1
    return ((y[:, None].square() + x[None, :].square()) <= (NEAR_M / extent) ** 2).to(like.dtype)[None, None]
