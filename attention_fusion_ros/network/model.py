# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The fusion network: two encoders, channel attention where they meet, spatial attention in the residual stages, and a
direction head that reads the features in polar coordinates.

Channel before spatial, as in CBAM (Woo et al. 2018). All weights are returned, not hidden. Every mechanism of
`attention.MECHANISMS` can take one of the places that `NetworkConfig` names; two of these are empty by default: the
registration of the map to the LiDAR, and attention over past sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.bev import lidar as lidar_features
from attention_fusion_ros.bev import map_image as map_features
from attention_fusion_ros.network.blocks import (
    CircularConv,
    ConvNorm,
    PolarConv,
    attend,
    build_attention,
    residual_block,
)
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.head import head_layer
from attention_fusion_ros.network.polar import PolarSampler

SHOWN = ('channel', 'spatial', 'correction', 'correction_std', 'time')  # weights with a field of their own
SPATIAL_NAMES = {'encoder': 'encoder/spatial'}
ROAD = 0.2  # a map is drawn on where its road layer is brighter than this


@dataclass(frozen=True)
class Past:
    """P earlier sweeps of each of B sweeps, oldest first. Networks without `temporal` take no notice of them."""

    lidar: Tensor  # (B, P, 5, H, W) BEV features; encoded: (B, P, C, H / 4, W / 4), NetworkOutput.encoded of then
    moves: Tensor  # (B, P, 3, 3) T_now_then, planar, metres in base_link
    present: Tensor  # (B, P) bool, False where there is no such sweep
    encoded: bool = False

    def last(self, count: int) -> Past:
        """The newest `count` of them."""
        first = max(self.lidar.shape[1] - count, 0)
        return Past(self.lidar[:, first:], self.moves[:, first:], self.present[:, first:], self.encoded)

    def to(self, device) -> Past:
        """The same on another device."""
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True)
                                for name in ('lidar', 'moves', 'present')})


@dataclass(frozen=True)
class NetworkOutput:
    """B sweeps, K bearing bins. Logits where it says so; the decoding is in `direction.py`."""

    head: Tensor  # (B, 7, K), channels as in HEAD_CHANNELS
    no_direction: Tensor  # (B,) logit that there is no branch to take, beside the K direction logits
    road: Tensor  # (B, 1, H / 4, W / 4) logit of the road surface, an auxiliary task of the training
    channel: Tensor  # (B, C) weights of the fused channels, LiDAR first, then map
    spatial: dict[str, Tensor]  # stage name -> (B, 1, h, w) weights; mean over channels where each has its own (BAM)
    # (B, C) what each fused channel tells: its weight times its mean absolute deviation over the map before it was
    # weighed. What is alike everywhere, as the features of a missing map are, tells nothing.
    contribution: Tensor | None = None
    alignment: Tensor | None = None  # (B, 3) dx, dy [m], dyaw [rad]: p_true = R(dyaw) p_map + (dx, dy); None: no 'stn'
    alignment_std: Tensor | None = None  # (B, 3) its standard deviations
    time: Tensor | None = None  # (B, T, h, w) weight of each sweep, sum 1 over T, the last is now; None: no 'temporal'
    encoded: Tensor | None = None  # (B, C, h, w) LiDAR features to be kept for later sweeps; None: no 'temporal'
    extra: dict[str, Tensor] = field(default_factory=dict)  # 'stage/weight' -> what else the mechanisms return

    def only(self, k: int) -> NetworkOutput:
        """Sweep k of the batch, as a batch of one."""
        one = slice(k, k + 1)

        def cut(value):
            if isinstance(value, dict):
                return {name: cut(inner) for name, inner in value.items()}
            return None if value is None else value[one]
        return NetworkOutput(**{f.name: cut(getattr(self, f.name)) for f in fields(self)})


class FusionNetwork(nn.Module):
    """forward(lidar (B, 5, H, W), map (B, 3, H, W), past) -> NetworkOutput.

    Mechanisms that ask for a query (SCA) are given the pooled features of the map: the map asks, the LiDAR features,
    and what both have become in later stages, are searched.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        config.check()
        self.config = config
        c = config
        half = max(8, c.lidar_width // 2)
        self.lidar_stem = nn.Sequential(ConvNorm(len(lidar_features.CHANNELS), half, stride=2),
                                        ConvNorm(half, c.lidar_width, stride=2))
        self.lidar_block = residual_block(c.lidar_width, c.lidar_width, 1, c.encoder_attention, c.map_width)
        self.map_encoder = nn.Sequential(ConvNorm(len(map_features.CHANNELS), 8, stride=2),
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

        self.polar = PolarSampler(c.extent, c.polar_ranges, c.bins, c.polar_max)
        self.polar_lateral = nn.ModuleList(nn.Conv2d(w, c.polar_widths[0], 1) for w in c.widths)
        widths = [c.polar_widths[0], *c.polar_widths]
        self.polar_stages = nn.Sequential(*(PolarConv(a, b) for a, b in zip(widths, widths[1:])))
        remaining = c.polar_ranges // 2 ** len(c.polar_widths)
        self.to_head = nn.Conv1d(c.polar_widths[-1] * remaining, c.head_width, 1)
        self.circular = nn.Sequential(*(CircularConv(c.head_width, dilation=d) for d in (1, 2, 4)))
        self.head = head_layer(c.head_width)
        self.no_direction = nn.Linear(c.head_width, 1)

    def channel_labels(self) -> tuple[str, ...]:
        """Name of each fused channel."""
        return (*(f'lidar/{i:02d}' for i in range(self.config.lidar_width)),
                *(f'map/{i:02d}' for i in range(self.config.map_width)))

    def forward(self, lidar: Tensor, map_image: Tensor, past: Past | None = None) -> NetworkOutput:
        of_map = self.map_encoder(map_image)
        query = of_map.mean(dim=(2, 3))
        x, weights = self._encode(lidar, query)
        seen = {'encoder': weights}
        encoded = x if self.temporal.NEEDS else None
        if self.temporal.NEEDS:
            x, seen['temporal'] = self.temporal(x, *self._history(x, past, query))
        if self.map_registration.NEEDS:
            of_map, seen['map'] = self._register(of_map, x, map_image)
        x = torch.cat([x, of_map], dim=1)
        told = (x - x.mean(dim=(2, 3), keepdim=True)).abs().mean(dim=(2, 3))
        x, seen['fusion'] = attend(self.fusion, x, query)
        channel = seen['fusion'].get('channel')
        if channel is None:  # plain concatenation weighs every channel alike
            channel = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        levels = []
        for i, stage in enumerate(self.stages):
            for block in stage:
                x, seen[f'stage{i + 1}'] = block(x, query)
            levels.append(x)
        head = self.circular(self.to_head(self._polar_features(levels).flatten(1, 2)))
        return NetworkOutput(
            head=self.head(head), no_direction=self.no_direction(head.mean(-1))[:, 0], road=self._road(levels),
            channel=channel, contribution=channel * told, encoded=encoded,
            spatial={SPATIAL_NAMES.get(name, name): w['spatial'] for name, w in seen.items() if 'spatial' in w},
            alignment=seen.get('map', {}).get('correction'), alignment_std=seen.get('map', {}).get('correction_std'),
            time=seen.get('temporal', {}).get('time'),
            extra={f'{name}/{key}': value for name, w in seen.items() for key, value in w.items() if key not in SHOWN})

    def _encode(self, lidar: Tensor, query: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.lidar_block(self.lidar_stem(lidar), query)

    def _history(self, now: Tensor, past: Past | None, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded features (B, P, C, h, w), moves (B, P, 3, 3) and presence (B, P) of the earlier sweeps."""
        B = now.shape[0]
        if past is None:
            return now.new_zeros(B, 0, *now.shape[1:]), now.new_zeros(B, 0, 3, 3), now.new_zeros(B, 0).bool()
        past = past.last(self.config.time_steps - 1)
        if past.encoded:
            return past.lidar, past.moves, past.present
        history = now.new_zeros(*past.present.shape, *now.shape[1:])
        if bool(past.present.any()):
            # As in the node, which keeps what it has encoded: what trains the encoder is the sweep of now.
            with torch.no_grad():
                asked = query[:, None].expand(-1, past.present.shape[1], -1)[past.present]
                history[past.present] = self._encode(past.lidar[past.present], asked)[0].to(history.dtype)
        return history, past.moves, past.present

    def _register(self, of_map: Tensor, lidar: Tensor, map_image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Moves the map's features; where no road is drawn there is nothing to be moved."""
        moved, weights = self.map_registration(of_map, lidar)
        drawn = map_image[:, :1].amax(dim=(2, 3), keepdim=True) > ROAD
        return torch.where(drawn, moved, of_map), weights

    def _polar_features(self, levels: list[Tensor]) -> Tensor:  # -> (B, C, R', K)
        # 1x1 convolution first: sampling is linear, so the order does not matter, and fewer channels are sampled.
        polar = sum(self.polar(lateral(level)) for lateral, level in zip(self.polar_lateral, levels))
        return self.polar_stages(F.relu(polar))

    def _road(self, levels: list[Tensor]) -> Tensor:
        size = levels[0].shape[-2:]
        merged = sum(F.interpolate(lateral(level), size=size, mode='bilinear', align_corners=False)
                     for lateral, level in zip(self.road_lateral, levels))
        return self.road_head(F.relu(merged))
