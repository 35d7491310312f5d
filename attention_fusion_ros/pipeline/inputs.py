# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything that the pipeline is given for one sweep."""

from __future__ import annotations

from dataclasses import dataclass, field

from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion, PointCloud


@dataclass(frozen=True)
class SweepInputs:
    """Everything the node would have at hand for one sweep."""

    cloud: PointCloud
    map_image: MapImage | None
    motion: Motion
    layout: MapConfig = field(default_factory=MapConfig)  # how the map image lies
