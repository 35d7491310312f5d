# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which kinds of places there are, and how often: scenes of one profile and seed never change.

`v1` is what the published tables are made of. `v2` adds streets in which a LiDAR alone takes the wrong thing for the
road: planted medians, dual carriageways, rows of parked cars, verges, driveways and car parks, acute junctions. Those
with `-city` have all of their roads from an OpenStreetMap extract, to judge one city.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from attention_fusion_ros.errors import ConfigurationError

CLASS_SHARES = {'straight': 0.11, 'curve': 0.15, 't': 0.16, 'x': 0.12, 'y': 0.06, 'skewed': 0.08, 'staggered': 0.07,
                'roundabout': 0.08, 'dead_end': 0.05, 'fork': 0.05, 'dual': 0.07}
CLASS_SHARES_V2 = {'straight': 0.07, 'curve': 0.1, 't': 0.13, 'x': 0.11, 'y': 0.05, 'skewed': 0.06, 'acute': 0.07,
                   'staggered': 0.05, 'roundabout': 0.07, 'dead_end': 0.04, 'fork': 0.05, 'dual': 0.1,
                   'boulevard': 0.1}


@dataclass(frozen=True)
class WorldProfile:
    """Shares 0..1 of the scenes that have a thing, unless said."""

    name: str
    class_shares: Mapping[str, float] = field(default_factory=lambda: CLASS_SHARES)
    osm_share: float = 0.2  # of the worlds, where an extract is given
    planted_gap: float = 0.0  # of the gaps between two carriageways
    parked_rows: float = 0.0
    lawn: float = 0.0
    ditch: float = 0.0
    driveways: float = 0.0
    car_parks: float = 0.0
    screens: float = 0.0  # noise walls and tall hedges along the road
    broad: float = 0.0  # roads broadened
    sensors: str = 'v1'  # name of the shares in `sensors.lidar.SENSOR_SHARES`
    faults: bool = False  # of the sensors, see `sensors.faults`


V1 = WorldProfile('v1')
V2 = WorldProfile('v2', CLASS_SHARES_V2, osm_share=0.35, planted_gap=0.75, parked_rows=0.4, lawn=0.3, ditch=0.2,
                  driveways=0.45, car_parks=0.2, screens=0.12, broad=0.08, sensors='v2', faults=True)
V1_CITY, V2_CITY = (replace(p, name=f'{p.name}-city', osm_share=1.0) for p in (V1, V2))
PROFILES = {profile.name: profile for profile in (V1, V2, V1_CITY, V2_CITY)}


def profile_of(name: str) -> WorldProfile:
    """The profile of this name. Raises ConfigurationError when there is none."""
    if name not in PROFILES:
        raise ConfigurationError(f"unknown profile of scenes '{name}'; known are {', '.join(PROFILES)}")
    return PROFILES[name]
