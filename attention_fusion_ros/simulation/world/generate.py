# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A seed -> a world: layout of the roads, the vehicle on one of them, roadside, traffic, ground."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import rotation_2d, wrap
from attention_fusion_ros.simulation.world.details import Details
from attention_fusion_ros.simulation.world.drawing import fill_buffer
from attention_fusion_ros.simulation.world.layouts import LAYOUTS, add_neighbours, make_plan
from attention_fusion_ros.simulation.world.polyline import arc_length, point_at, substring
from attention_fusion_ros.simulation.world.profile import V1, WorldProfile
from attention_fusion_ros.simulation.world.roads import Piece, Plan
from attention_fusion_ros.simulation.world.roadside import EnvironmentConfig, populate_roadside, random_environment
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.traffic import drive_around, park
from attention_fusion_ros.simulation.world.world import World

SCENE_CLASSES = (*LAYOUTS, 'osm')
EXTENT_M = 74.0  # around the vehicle that are furnished
OWN_LENGTH_M, OWN_WIDTH_M = 6.0, 2.4  # around the vehicle that stay free


@dataclass(frozen=True)
class Placement:
    """Where the vehicle stands on the plan, and which way it drives."""

    x: float
    y: float
    heading: float  # rad, driving direction of its lane
    yaw: float  # rad, where it really looks
    lane_offset: float  # m left of the centre line, seen in driving direction
    s: float  # m along the way


def generate_world(seed: int, scene_class: str | None = None, osm: str | Path | None = None,
                   profile: WorldProfile = V1) -> World:
    """The world of a seed: equal arguments give equal worlds.

    scene_class: one of SCENE_CLASSES, or None to draw one by the profile's shares.
    osm: an OpenStreetMap extract (.osm, .osm.gz, .osm.pbf) for scenes of class 'osm'; without it there are none.
    profile: what kinds of places there are.
    Raises ConfigurationError for an unknown class, and for class 'osm' or a city without an extract.
    """
    rng = np.random.default_rng([seed, 1])
    if profile.osm_share >= 1.0 and osm is None:
        raise ConfigurationError(f"scenes of profile '{profile.name}' need an OpenStreetMap extract. Remedy: --osm "
                                 'FILE.')
    if scene_class is None:
        scene_class = str(rng.choice(list(profile.class_shares), p=list(profile.class_shares.values())))
        if osm is not None and rng.random() < profile.osm_share:
            scene_class = 'osm'
    left_hand = bool(rng.random() < 0.5)
    if scene_class == 'osm':
        if osm is None:
            raise ConfigurationError("scenes of class 'osm' need an OpenStreetMap extract: pass osm=PATH")
        from attention_fusion_ros.simulation.world.osm import load_extract, osm_plan
        plan, left_hand = osm_plan(rng, load_extract(osm)), False
    elif scene_class in LAYOUTS:
        plan = make_plan(rng, scene_class)
        add_neighbours(rng, plan)
        plan = plan.mirrored() if left_hand else plan
    else:
        raise ConfigurationError(f"unknown scene class '{scene_class}'; known are {', '.join(SCENE_CLASSES)}")
    return world_of_plan(rng, plan, scene_class, left_hand, seed, profile)


def world_of_plan(rng: np.random.Generator, plan: Plan, scene_class: str, left_hand: bool, seed: int,
                  profile: WorldProfile = V1) -> World:
    """Put the vehicle on the plan's way, turn the plan at random about it, and furnish the surroundings."""
    plan = plan.moved(rotation_2d(rng.uniform(-math.pi, math.pi)), np.zeros(2))
    details = None if profile is V1 else Details.draw(np.random.default_rng([seed, 3]), profile, plan)
    if details is not None:
        plan = details.broadened(plan)
    placed = place_vehicle(rng, plan, left_hand)
    origin = rng.uniform(-3, 3, 2)  # the vehicle is near the origin of the world, not on it
    plan = plan.moved(np.eye(2), origin - (placed.x, placed.y))
    pose = (float(origin[0]), float(origin[1]), placed.yaw)
    route = way_line(plan)
    s = arc_length(route)
    route = substring(route, max(placed.s - 60.0, 0.0), min(placed.s + 110.0, s[-1]), s)
    environment = random_environment(rng, plan)
    if details is not None:
        environment = details.environment(environment)
    world = World(scene_class, plan.roads(), environment.terrain, route=route, pose=pose, seed=seed,
                  extra={'corner_radius': environment.corner_radius, 'left_hand': left_hand,
                         'lane_offset': placed.lane_offset})
    return populate_world(rng, world, plan, environment, left_hand, EXTENT_M, details=details)


def populate_world(rng: np.random.Generator, world: World, plan: Plan, environment: EnvironmentConfig, left_hand: bool,
                   extent: float, centre: ArrayLike | None = None, details: Details | None = None,
                   clear: tuple[np.ndarray, float] | None = None) -> World:
    """Parked cars first, then what stands beside the road, then what moves: each leaves the earlier ones alone.

    clear: a line (P, 2) and how many m on both sides of it stay free, as the vehicle will drive there.
    """
    if details is not None:
        world = replace(world, islands=tuple(details.islands(world)))
    site = Site(world.roads, world.pose[:2] if centre is None else centre, extent, environment.corner_radius,
                world.islands)
    if clear is None:
        site.take_box(*world.pose, OWN_LENGTH_M, OWN_WIDTH_M)
    else:
        fill_buffer(site.taken, site.frame, *clear, 1)
    early = None if details is None else details.before(site, plan, world)
    parked = park(rng, site, plan, environment)
    walls, posts, bushes = populate_roadside(rng, site, environment)
    if early is not None:
        world = replace(world, aprons=tuple(early.aprons))
        walls, posts, bushes = walls + early.walls, posts + early.posts, bushes + early.bushes
        parked = early.vehicles + parked
    moving = drive_around(rng, site, plan, environment, world, left_hand)
    return replace(world, walls=tuple(walls), posts=tuple(posts), bushes=tuple(bushes),
                   vehicles=tuple(parked + moving))


def way_line(plan: Plan) -> np.ndarray:
    """(P, 2) the way through the plan along centre lines."""
    return np.concatenate([plan.way[0].xy, *(p.xy[1:] for p in plan.way[1:])])


def place_vehicle(rng: np.random.Generator, plan: Plan, left_hand: bool) -> Placement:
    """Somewhere before or behind the focus of the way, in a lane of its direction, looking anywhere."""
    lengths = [arc_length(p.xy)[-1] for p in plan.way]
    s = float(np.clip(plan.focus - rng.uniform(plan.nearest, plan.farthest), 2.0, sum(lengths) - 2.0))
    piece, begin = _piece_at(plan, lengths, s)
    section = plan.sections[piece.street] if piece.forward else plan.sections[piece.street].reversed()
    lane = int(rng.choice(section.forward_lanes(left_hand)))
    offset = section.lane_offset(lane) + float(np.clip(rng.normal(0, 0.3), -0.8, 0.8))
    offset = float(np.clip(offset, -section.width / 2 + 1.0, section.width / 2 - 1.0)) if section.width > 2.4 else 0.0
    at = arc_length(piece.xy)
    a, b = point_at(piece.xy, [max(s - begin - 0.5, 0), min(s - begin + 0.5, at[-1])], at)
    heading = math.atan2(b[1] - a[1], b[0] - a[0])
    middle = point_at(piece.xy, [s - begin], at)[0]
    x, y = middle + offset * np.array([-math.sin(heading), math.cos(heading)])
    yaw = heading + (rng.normal(0, math.radians(8)) if rng.random() < 0.5 else rng.uniform(-math.pi, math.pi))
    return Placement(float(x), float(y), wrap(heading), wrap(float(yaw)), offset, s)


def _piece_at(plan: Plan, lengths: list[float], s: float) -> tuple[Piece, float]:
    begin = 0.0
    for piece, length in zip(plan.way, lengths):
        if s <= begin + length or piece is plan.way[-1]:
            return piece, begin
        begin += length
    raise AssertionError('a way has at least one piece')

