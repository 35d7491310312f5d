"""The fusion network: two encoders, channel attention where they meet, spatial attention in the residual stages, and a
direction head that reads the features in polar coordinates.

Channel before spatial, as in CBAM (Woo et al. 2018). All weights are returned, not hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.bev import lidar as lidar_features
from attention_fusion_ros.bev import map_image as map_features
from attention_fusion_ros.network.blocks import CircularConv, ConvNorm, PolarConv, ResBlock, attention_from
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.polar import PolarSampler

# What the head says of every bearing bin.
HEAD_CHANNELS = ('presence', 'offset', 'heading_cos', 'heading_sin', 'bearing_log_std', 'heading_log_std', 'direction')


@dataclass(frozen=True)
class NetworkOutput:
    """B sweeps, K bearing bins. Logits where it says so; the decoding is in `direction.py`."""

    head: Tensor  # (B, 7, K), channels as in HEAD_CHANNELS
    no_direction: Tensor  # (B,) logit that there is no branch to take, beside the K direction logits
    road: Tensor  # (B, 1, H / 4, W / 4) logit of the road surface, an auxiliary task of the training
    channel: Tensor  # (B, C) weights of the fused channels, LiDAR first, then map
    spatial: dict[str, Tensor]  # stage name -> (B, 1, h, w) weights


class FusionNetwork(nn.Module):
    """forward(lidar (B, 5, H, W), map (B, 3, H, W)) -> NetworkOutput."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        config.check()
        self.config = config
        c = config
        half = max(8, c.lidar_width // 2)
        self.lidar_stem = nn.Sequential(ConvNorm(len(lidar_features.CHANNELS), half, stride=2),
                                        ConvNorm(half, c.lidar_width, stride=2))
        self.lidar_block = ResBlock(c.lidar_width, c.lidar_width, 1, c.encoder_attention)
        self.map_encoder = nn.Sequential(ConvNorm(len(map_features.CHANNELS), 8, stride=2),
                                         ConvNorm(8, c.map_width, stride=2), ConvNorm(c.map_width, c.map_width))
        fused = c.lidar_width + c.map_width
        self.fusion = attention_from(c.fusion, fused)
        inputs = [fused, *c.widths[:-1]]
        self.stages = nn.ModuleList(
            nn.ModuleList(ResBlock(inputs[i] if b == 0 else c.widths[i], c.widths[i], 2 if i > 0 and b == 0 else 1,
                                   c.stage_attention) for b in range(c.blocks[i])) for i in range(len(c.widths)))
        self.road_lateral = nn.ModuleList(nn.Conv2d(w, 16, 1) for w in c.widths)
        self.road_head = nn.Conv2d(16, 1, 1)

        self.polar = PolarSampler(c.extent, c.polar_ranges, c.bins, c.polar_max)
        self.polar_lateral = nn.ModuleList(nn.Conv2d(w, c.polar_widths[0], 1) for w in c.widths)
        widths = [c.polar_widths[0], *c.polar_widths]
        self.polar_stages = nn.Sequential(*(PolarConv(a, b) for a, b in zip(widths, widths[1:])))
        remaining = c.polar_ranges // 2 ** len(c.polar_widths)
        self.to_head = nn.Conv1d(c.polar_widths[-1] * remaining, c.head_width, 1)
        self.circular = nn.Sequential(*(CircularConv(c.head_width, dilation=d) for d in (1, 2, 4)))
        self.head = nn.Conv1d(c.head_width, len(HEAD_CHANNELS), 1)
        self.no_direction = nn.Linear(c.head_width, 1)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.bias[0] = -3.0  # branches are rare among the bins (focal loss prior, Lin et al. 2017)

    def channel_labels(self) -> tuple[str, ...]:
        """Name of each fused channel."""
        return (*(f'lidar/{i:02d}' for i in range(self.config.lidar_width)),
                *(f'map/{i:02d}' for i in range(self.config.map_width)))

    def forward(self, lidar: Tensor, map_image: Tensor) -> NetworkOutput:
        lidar, spatial = self.lidar_block(self.lidar_stem(lidar))
        spatial = {f'encoder/{k}': v for k, v in spatial.items() if k == 'spatial'}
        x = torch.cat([lidar, self.map_encoder(map_image)], dim=1)
        fused, weights = self.fusion(x)
        channel = weights.get('channel')
        if channel is None:  # plain concatenation weighs every channel alike
            channel = torch.ones(fused.shape[:2], dtype=fused.dtype, device=fused.device)
        if 'spatial' in weights:
            spatial['fusion'] = weights['spatial']
        x, levels = fused, []
        for i, stage in enumerate(self.stages):
            for block in stage:
                x, weights = block(x)
            if 'spatial' in weights:
                spatial[f'stage{i + 1}'] = weights['spatial']
            levels.append(x)
        head = self.circular(self.to_head(self._polar_features(levels).flatten(1, 2)))
        return NetworkOutput(head=self.head(head), no_direction=self.no_direction(head.mean(-1))[:, 0],
                             road=self._road(levels), channel=channel, spatial=spatial)

    def _polar_features(self, levels: list[Tensor]) -> Tensor:  # -> (B, C, R', K)
        # 1x1 convolution first: sampling is linear, so the order does not matter, and fewer channels are sampled.
        polar = sum(self.polar(lateral(level)) for lateral, level in zip(self.polar_lateral, levels))
        return self.polar_stages(F.relu(polar))

    def _road(self, levels: list[Tensor]) -> Tensor:
        size = levels[0].shape[-2:]
        merged = sum(F.interpolate(lateral(level), size=size, mode='bilinear', align_corners=False)
                     for lateral, level in zip(self.road_lateral, levels))
        return self.road_head(F.relu(merged))
