# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A synchronised sweep whose map image brings its own placement, as in data sets with a layout per scene."""

from __future__ import annotations

from dataclasses import dataclass, field

from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import SyncedSweep


@dataclass(frozen=True)
class PlacedSweep(SyncedSweep):
    """A `SyncedSweep` and how its map image lies on the ground."""

    layout: MapConfig = field(default_factory=MapConfig)
