# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a simulated drive is like. Apart from the simulation, so that `simulate --help` need not wait for that."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DriveOptions:
    """What is simulated. Equal options give equal drives."""

    seed: int = 3  # of the town; this one is built up
    rate: float = 5.0  # sweeps a second
    speed: float = 8.0  # m/s on straights
    lidar: str = 'hdl_64e'  # a name of lidar.PRESETS
    with_map: bool = True
    route: bool = True  # drawn in the map image
    map_shift: tuple[float, float] = (1.5, -1.5)  # m in base_link: forward, left
    map_yaw: float = math.radians(3.0)
    duration: float = 0.0  # s, 0 for the whole way; there is at least one sweep, however short
