# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a network returns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from attention_fusion_ros.bev import map_image as map_layers
from attention_fusion_ros.utils.torch_later import Tensor

SPATIAL_NAMES = {'encoder': 'encoder/spatial'}
ROAD_LAYER = map_layers.CHANNELS.index('road')
ROAD = 0.2  # a map is drawn on where its road layer is brighter than this


@dataclass(frozen=True)
class NetworkOutput:
    """B sweeps, K bearing bins. Logits where it says so; `head.py` reads them."""

    head: Tensor  # (B, 7, K), channels as in HEAD_CHANNELS
    no_direction: Tensor  # (B,) logit that there is no branch to take, beside the K direction logits
    # (B, 1, H / 4, W / 4) logit of the road surface, an auxiliary task of the training; None: not computed
    road: Tensor | None
    channel: Tensor  # (B, C) weights of the fused channels, LiDAR first, then map
    spatial: dict[str, Tensor]  # stage name -> (B, 1, h, w) weights; mean over channels where each has its own (BAM)
    # (B, C) contribution of each fused channel: its weight times its mean absolute deviation over the map before
    # weighting. Spatially constant features (e.g. of a missing map) contribute zero.
    contribution: Tensor | None = None
    alignment: Tensor | None = None  # (B, 3) dx, dy [m], dyaw [rad]: p_true = R(dyaw) p_map + (dx, dy); None: no 'stn'
    alignment_std: Tensor | None = None  # (B, 3) its standard deviations
    # (B, T, h, w) weight of each sweep, sum 1 over T, the last is now; None: no 'temporal'
    temporal_weights: Tensor | None = None
    encoded: Tensor | None = None  # (B, C, h, w) LiDAR features to be kept for later sweeps; None: no 'temporal'
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # stage -> all that its mechanism returned
    rings: Tensor | None = None  # (B, R, 7, K) heads of all rings, `head` among them; None: only that one
    rings_no_direction: Tensor | None = None  # (B, R)
    readings: dict[str, Tensor] = field(default_factory=dict)  # 'lidar', 'map' -> (B, R, 7, K), each by itself
    present: Tensor | None = None  # (B,) 1 where a map is drawn, else 0
    map_image: Tensor | None = None  # (B, 3, H, W) the map where the registration put it

    def only(self, k: int) -> NetworkOutput:
        """Sweep k of the batch, as a batch of one."""
        return self.rows(slice(k, k + 1))

    def rows(self, chosen: slice | Tensor) -> NetworkOutput:
        """Some sweeps of the batch; chosen: a slice, or their indices (n,)."""
        def cut(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: cut(inner) for name, inner in value.items()}
            return None if value is None else value[chosen]
        return NetworkOutput(**{f.name: cut(getattr(self, f.name)) for f in fields(self)})


def spatial_weights(weights_by_stage: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stage -> (B, 1, h, w) spatial weights, of those that have any."""
    return {SPATIAL_NAMES.get(stage, stage): weights['spatial']
            for stage, weights in weights_by_stage.items() if 'spatial' in weights}
