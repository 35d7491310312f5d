# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Maps of a held-out scene with further errors, drawn from its seed: the scene itself holds one map only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attention_fusion_ros.datasets.held_out import HeldOutInfo, MapPicture, draw
from attention_fusion_ros.simulation.sensors.map_image import MapError, random_error, random_style
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.polyline import project, tangents
from attention_fusion_ros.simulation.world.profile import profile_of
from attention_fusion_ros.simulation.world.world import World

STANDARD, WIDE = 'standard', '8 m, 15 deg'
ACROSS, ALONG, YAW = 'across', 'along', 'yaw'
SHIFTS_M, TURNS_DEG = (1.0, 2.0, 4.0, 6.0, 8.0), (1.875, 3.75, 7.5, 11.25, 15.0)
STEPS = {ACROSS: SHIFTS_M, ALONG: SHIFTS_M, YAW: TURNS_DEG}


@dataclass(frozen=True)
class DrawnMap:
    """A map image and its error."""

    picture: MapPicture
    error: MapError


@dataclass(frozen=True)
class SceneMaps:
    """The maps of one scene."""

    axis: float  # rad in base_link, of the road at the vehicle
    wide: DrawnMap  # with a route where the scene's own map has one
    registration: dict[str, DrawnMap]  # STANDARD, WIDE; all roads, no driven path, no route
    exact: DrawnMap  # nothing is wrong with it
    moved: dict[tuple[str, float], DrawnMap]  # (ACROSS, ALONG or YAW, m or deg) -> `exact` with this error


def draw_maps(info: HeldOutInfo, osm: Path | None = None, profile: str = 'v1') -> SceneMaps:
    """The maps of the scene that `held_out.make_scene` makes of this seed, extract and profile."""
    world = generate_world(info.seed, osm=osm, profile=profile_of(profile))
    rng = np.random.default_rng([info.seed, 91])
    axis = road_axis(world)
    route_style = random_style(rng)
    if info.route_drawn:  # needs colours
        route_style = replace(route_style, encoding='rgb8')
    style = replace(random_style(rng), driven_path=False)
    side = float(rng.choice([-1.0, 1.0]))

    def drawn(error: MapError, look: str = '') -> DrawnMap:
        luck = np.random.default_rng([info.seed, 92])
        if look == 'routed':
            return DrawnMap(draw(world, route_style, error, luck, info.route_drawn), error)
        return DrawnMap(draw(world, style, error, luck, False), error)
    moved = {(way, size): drawn(_error(way, side * size, axis)) for way, sizes in STEPS.items() for size in sizes}
    return SceneMaps(axis, drawn(random_error(rng, wide=True), 'routed'),
                     {STANDARD: drawn(random_error(rng)), WIDE: drawn(random_error(rng, wide=True))},
                     drawn(MapError()), moved)


def _error(way: str, size: float, axis: float) -> MapError:
    """size: m or deg, of either sign."""
    if way == YAW:
        return MapError(yaw=math.radians(size))
    angle = axis + (math.pi / 2 if way == ACROSS else 0.0)
    return MapError(size * math.cos(angle), size * math.sin(angle))


def road_axis(world: World) -> float:
    """Direction of the road nearest to the vehicle, where it is nearest, in base_link [rad], of either sense."""
    x, y, yaw = world.pose
    road = min(world.roads, key=lambda r: project(r.centre, (x, y))[1])
    along, _ = project(road.centre, (x, y))
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(road.centre, axis=0).T))])
    tangent = tangents(road.centre)
    u, v = (float(np.interp(along, lengths, tangent[:, k])) for k in (0, 1))
    return math.atan2(v, u) - yaw
