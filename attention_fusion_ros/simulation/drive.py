# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A drive through a simulated town: one long route past straights, bends, T and X junctions, and the poses along it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attention_fusion_ros.simulation.world.drawing import fill_buffer
from attention_fusion_ros.simulation.world.polyline import arc_length, distances, normals, point_at, smoothed, tangents
from attention_fusion_ros.simulation.world.roads import Piece, Plan, Section, simplify
from attention_fusion_ros.simulation.world.roadside import populate_roadside, random_environment
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.traffic import drive_around, park
from attention_fusion_ros.simulation.world.world import World

START_NS = 10**9  # stamps of a drive begin here: a stamp of 0 means 'not set'
MAIN = Section(2, 3.3, (0.0, 2.0))
SIDE_ROAD_M = 75.0
BEFORE_M, BEYOND_M = 30.0, 35.0  # of route behind the first and ahead of the last pose
CORNER_M = 5.0  # standard deviation of the smoothing that rounds the corners of the route
SIDEWAYS_M_S2 = 1.8  # lateral acceleration that the driver accepts in bends
CLEAR_M = 1.5  # on both sides of the driven line that stay free

# What comes along the route: (length of the stretch, bend at most [rad], arms at its end, the way taken there).
# Arms and ways are turns against the stretch: 1 is 90 degrees to the left, -1 to the right, 0 straight on.
LEGS = (
    (75.0, 0.0, (0, 1, -1), 0),  # X, straight on
    (65.0, 0.9, (0, -1), 0),  # a bend, then a side road
    (60.0, 0.2, (1, -1), 1),  # T ahead, turn left
    (70.0, 0.0, (0, 1), 0),  # a side road
    (75.0, -0.8, (0, 1, -1), -1),  # a bend, then X, turn right
    (60.0, 0.3, (1, -1), -1),  # T ahead, turn right
    (90.0, 0.5, (), 0),
)


def demo_world(seed: int = 0) -> World:
    """A route of about half a kilometre through a town, with `World.route` from end to end and `pose` at its start."""
    rng = np.random.default_rng([seed, 2])
    plan = _town(rng)
    roads, route = plan.roads(), np.concatenate([plan.way[0].xy, *(p.xy[1:] for p in plan.way[1:])])
    place = random_environment(rng, plan, str(rng.choice(['urban', 'suburb'])))
    place = replace(place, parking=0.5, traffic=0.4, people=8.0)
    aside = plan.sections[0].lane_offset(0)
    world = World('town', roads, place.terrain, route=route, seed=seed,
                  extra={'corner_radius': place.corner_radius, 'left_hand': False, 'lane_offset': aside})
    line, along = _driving_line(world)
    world = replace(world, pose=_pose(line, along, BEFORE_M))
    low, high = np.min([c.min(axis=0) for c in plan.centres], axis=0), np.max([c.max(axis=0) for c in plan.centres],
                                                                             axis=0)
    site = Site(roads, (low + high) / 2, float((high - low).max() / 2 + 40.0), place.corner_radius)
    fill_buffer(site.taken, site.frame, line, CLEAR_M, 1)
    vehicles = park(rng, site, plan, place)
    walls, posts, bushes = populate_roadside(rng, site, place)
    vehicles += drive_around(rng, site, plan, place, world, left_hand=False)
    return replace(world, walls=tuple(walls), posts=tuple(posts), bushes=tuple(bushes), vehicles=tuple(vehicles))


def drive_poses(world: World, speed: float = 8.0, rate_hz: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """The vehicle's poses in its lane along `world.route`, slower in bends.

    speed: m/s on straights. Returns stamps (N,) int64 in ns and poses (N, 3): x, y in metres, yaw in rad.
    Raises ValueError when speed or rate is not positive, or the world has no route, or one too short to drive.
    """
    if speed <= 0 or rate_hz <= 0:
        raise ValueError(f'speed and rate must be positive, got {speed} m/s and {rate_hz} Hz')
    line, along = _driving_line(world)
    if along[-1] < BEFORE_M + BEYOND_M + 5.0:
        raise ValueError(f'the route is {along[-1]:.0f} m long; at least {BEFORE_M + BEYOND_M + 5:.0f} m are needed')
    return paced(line, BEFORE_M, float(along[-1]) - BEYOND_M, speed, rate_hz)[:2]


def paced(line: np.ndarray, begin: float, end: float, speed: float,
          rate_hz: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses along a line (P, 2) m from one arc length to another, slower in bends: see `drive_poses`.

    Returns stamps, poses and (N,) m along the line.
    Raises ValueError when speed or rate is not positive.
    """
    if speed <= 0 or rate_hz <= 0:
        raise ValueError(f'speed and rate must be positive, got {speed} m/s and {rate_hz} Hz')
    along = arc_length(line)
    s = np.arange(begin, end, 0.25)
    heading = np.unwrap(np.arctan2(*tangents(point_at(line, s, along)).T[::-1]))
    bend = np.abs(np.gradient(heading, s))
    pace = np.minimum(speed, np.sqrt(SIDEWAYS_M_S2 / np.maximum(_smooth(bend, 8), 1e-6)))
    seconds = np.concatenate([[0.0], np.cumsum(np.diff(s) / pace[:-1])])
    times = np.arange(0.0, seconds[-1], 1.0 / rate_hz)
    at = np.interp(times, seconds, s)
    yaw = np.interp(times, seconds, heading)
    poses = np.column_stack([point_at(line, at, along), np.angle(np.exp(1j * yaw))])
    return START_NS + np.rint(times * 1e9).astype(np.int64), poses, at


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """(N,) -> (N,) Gaussian mean over neighbours; the ends are held."""
    reach = int(3 * sigma) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values, reach, mode='edge'), weights / weights.sum(), mode='valid')


def _driving_line(world: World) -> tuple[np.ndarray, np.ndarray]:
    """The route with rounded corners, moved into the lane; and its arc length."""
    if world.route is None:
        raise ValueError('the world has no route to drive')
    smooth = smoothed(world.route, CORNER_M)
    line = smooth + normals(smooth) * float(world.extra.get('lane_offset', 0.0))
    return line, arc_length(line)


def _pose(line: np.ndarray, along: np.ndarray, s: float) -> tuple[float, float, float]:
    (x, y), (u, v) = point_at(line, s, along), point_at(line, s + 1, along) - point_at(line, s, along)
    return float(x), float(y), math.atan2(v, u)


def _stretch(start: np.ndarray, heading: float, length: float, bend: float) -> tuple[np.ndarray, float]:
    """A stretch that turns by `bend` radians smoothly; (vertices, heading at its end)."""
    n = int(round(length / 0.5))
    share = (np.arange(n) + 0.5) / n
    angle = heading + bend * share * share * (3 - 2 * share)
    step = length / n * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return simplify(start + np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])), heading + bend


def _town(rng: np.random.Generator) -> Plan:
    """Roads and route along LEGS, mirrored and varied at random."""
    mirror = int(rng.choice([-1, 1]))
    at, heading, route, arms = np.zeros(2), float(rng.uniform(-math.pi, math.pi)), [], []
    for length, bend, turns, way in LEGS:
        line, heading = _stretch(at, heading, length * rng.uniform(0.9, 1.15), mirror * bend * rng.uniform(0.7, 1.1))
        route.append(line)
        at = line[-1]
        skew = rng.normal(0, 0.08)
        arms += [(at, heading + mirror * turn * math.pi / 2 + skew) for turn in turns if turn != way]
        heading += mirror * way * math.pi / 2 + (skew if way else 0.0)
    plan = Plan()
    plan.way = [Piece(plan.add(line, MAIN), line, True) for line in route]
    for start, direction in arms:
        whole, _ = _stretch(start, direction, SIDE_ROAD_M, rng.normal(0, 0.25))
        free = _cut(whole, plan.centres)
        if free is not None:
            plan.add(free, Section(2, float(rng.uniform(2.6, 3.4))))
    return plan


def _cut(line: np.ndarray, others: list[np.ndarray], apart: float = 28.0, short: float = 32.0) -> np.ndarray | None:
    """The line up to where it comes near others, those at its own start aside; None when little is left of it."""
    far = [o for o in others if distances(o, line[0]).min() > 1.0]
    for k, point in enumerate(line):
        if any(distances(o, point).min() < apart for o in far):
            return line[:k] if k > 1 and arc_length(line[:k])[-1] >= short else None
    return line
