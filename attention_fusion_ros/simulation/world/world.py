# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a simulated road world is made of. Vector geometry only: rasters, rays and truth are made from it elsewhere.

World frame: x, y in metres on a plane, z up; ground height comes from `Terrain`. Every list may be empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

Pose = tuple[float, float, float]  # x, y [m] and yaw [rad] of base_link in the world
CORNER_RADIUS_M = 6.0  # of kerbs at junctions, unless World.extra['corner_radius'] says otherwise


@dataclass(frozen=True)
class Road:
    """A stretch of road. Roads that share an end point (within 0.1 m) or cross at a shared vertex are connected."""

    centre: np.ndarray  # (P, 2) float64, m, centre line of the carriageway
    width: float  # m, kerb to kerb
    lanes: int = 2  # lanes of the carriageway, both directions together
    oneway: bool = False  # drawn in driving direction when True
    kind: str = 'street'  # street, service, roundabout, carriageway (one side of a dual carriageway)
    median: float = 0.0  # m in the middle of the width that are no carriageway, between its two directions


@dataclass(frozen=True)
class Wall:
    """A vertical surface along a polyline: facade, wall, fence, hedge or guard rail. Gaps are separate walls."""

    line: np.ndarray  # (P, 2) m
    height: float  # m above the ground
    thickness: float  # m
    kind: str  # facade, wall, fence, hedge, rail
    porosity: float = 0.0  # share of rays that pass through (fences, hedges)


@dataclass(frozen=True)
class Post:
    """A vertical cylinder, with a crown of leaves for trees."""

    x: float
    y: float
    radius: float  # m
    height: float  # m
    kind: str  # pole, lamp, tree, bollard
    crown_radius: float = 0.0  # m, 0 = no crown
    crown_bottom: float = 0.0  # m above the ground
    crown_top: float = 0.0


@dataclass(frozen=True)
class Bush:
    """A rough clump of vegetation."""

    x: float
    y: float
    radius: float  # m
    height: float  # m


@dataclass(frozen=True)
class Island:
    """A raised strip amid a road: planted median, refuge, nose of a row of parking bays. No road surface."""

    line: np.ndarray  # (P, 2) m
    width: float  # m
    planted: bool = True  # grass, else paved


@dataclass(frozen=True)
class Apron:
    """Paved ground off the road, flush with it: driveway, garage entrance, car park. Looks like a road, is none."""

    line: np.ndarray  # (P, 2) m
    width: float  # m


@dataclass(frozen=True)
class Vehicle:
    """Anything that comes and goes: removable, so that the same scene exists with and without it."""

    x: float
    y: float
    yaw: float  # rad
    length: float  # m
    width: float
    height: float
    kind: str  # car, van, truck, bus, pedestrian, cyclist
    parked: bool = True
    speed: float = 0.0  # m/s along yaw

    def before(self, seconds: float) -> Vehicle:
        """Where it was so long ago."""
        way = self.speed * seconds
        return replace(self, x=self.x - way * math.cos(self.yaw), y=self.y - way * math.sin(self.yaw))


@dataclass(frozen=True)
class Terrain:
    """Ground height: a tilted plane, smooth undulation, the road's crown, kerbs, and roughness off the road."""

    slope_x: float = 0.0  # m/m
    slope_y: float = 0.0
    undulation: float = 0.0  # m, amplitude
    wavelength: float = 60.0  # m
    phase: tuple[float, float] = (0.0, 0.0)  # rad
    crown: float = 0.0  # m, how much the centre line is higher than the road edge
    kerb: float = 0.12  # m, step up at the road edge; 0 = flush, negative = ditch or shoulder drop
    sidewalk: float = 2.0  # m, width of the flat strip beyond the kerb; verge beyond it
    verge_slope: float = 0.0  # m/m, rise (or fall) of the ground beyond the sidewalk
    roughness: float = 0.02  # m, standard deviation of the ground beyond the sidewalk
    lawn: float = 0.0  # m, width of a strip of grass between kerb and sidewalk
    ditch_depth: float = 0.0  # m, of a ditch behind the sidewalk; negative: a bank
    ditch_width: float = 3.0  # m


@dataclass(frozen=True)
class World:
    """A piece of town or country, at least 70 m around `origin` in every direction."""

    scene_class: str  # straight, curve, t, x, y, skewed, staggered, roundabout, dead_end, fork, dual, osm
    roads: tuple[Road, ...]
    terrain: Terrain
    walls: tuple[Wall, ...] = ()
    posts: tuple[Post, ...] = ()
    bushes: tuple[Bush, ...] = ()
    vehicles: tuple[Vehicle, ...] = ()
    route: np.ndarray | None = None  # (P, 2) m, the way the vehicle will take along centre lines, from behind it on
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)  # x, y [m], yaw [rad] of the vehicle (base_link) in the world
    seed: int = 0
    extra: dict = field(default_factory=dict)
    islands: tuple[Island, ...] = ()
    aprons: tuple[Apron, ...] = ()

    def without_vehicles(self) -> World:
        """The same world with every vehicle and pedestrian gone."""
        return replace(self, vehicles=())


def to_base(points: np.ndarray, pose: Pose) -> np.ndarray:
    """(..., 2) world metres -> base_link of a vehicle at `pose`."""
    x, y, yaw = pose
    c, s = math.cos(yaw), math.sin(yaw)
    return np.asarray((np.asarray(points, dtype=np.float64) - (x, y)) @ np.array([[c, -s], [s, c]]))
