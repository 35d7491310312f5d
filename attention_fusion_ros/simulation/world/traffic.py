# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parked cars, moving vehicles and people: everything of a scene that can be taken away."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.simulation.world.polyline import arc_length, distances, offset_curve, point_at
from attention_fusion_ros.simulation.world.roads import Plan
from attention_fusion_ros.simulation.world.roadside import EnvironmentConfig
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.world import Vehicle, World

# length, width, height in metres: mean, and standard deviation as a share
SIZES = {'car': (4.4, 1.8, 1.5), 'van': (5.4, 2.0, 2.2), 'truck': (8.5, 2.5, 3.4), 'bus': (12.0, 2.55, 3.1),
         'pedestrian': (0.5, 0.55, 1.72), 'cyclist': (1.8, 0.6, 1.75)}
SPREAD = 0.06
NO_PARKING_M = 7.0  # around another road's edge


def make_vehicle(rng: np.random.Generator, kind: str, x: float, y: float, yaw: float, parked: bool,
                 speed: float = 0.0) -> Vehicle:
    """A vehicle of a kind of SIZES, of a size that varies."""
    factors = (1.0 + SPREAD * rng.standard_normal(3)).tolist()
    length, width, height = (v * min(max(f, 0.8), 1.2) for v, f in zip(SIZES[kind], factors))
    return Vehicle(float(x), float(y), float(yaw), length, min(width, 2.55), height, kind, parked, speed)


def put(site: Site, vehicle: Vehicle, room: float) -> bool:
    """Take the vehicle's place unless something is within `room` metres ahead and behind, or beside it."""
    if not site.box_free(vehicle.x, vehicle.y, vehicle.yaw, vehicle.length + 2 * room, vehicle.width + 0.3):
        return False
    site.take_box(vehicle.x, vehicle.y, vehicle.yaw, vehicle.length, vehicle.width)
    return True


def _stations(site: Site, line: np.ndarray, begin: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) and headings (N,) along a polyline inside the site."""
    s = arc_length(line)
    at = np.arange(begin, s[-1] - 1, spacing)
    a, b = point_at(line, at, s), point_at(line, at + 0.8, s)
    inside = np.abs(a - site.centre).max(axis=1) < site.extent - 6
    a, b = a[inside], b[inside]
    return a, np.arctan2(b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])


def park(rng: np.random.Generator, site: Site, plan: Plan, place: EnvironmentConfig) -> list[Vehicle]:
    """Cars along the kerb on both sides, half on the sidewalk, or in bays across; fewer near other roads."""
    parked: list[Vehicle] = []
    if place.parking <= 0:
        return parked
    for number, (centre, section) in enumerate(zip(plan.centres, plan.sections)):
        if section.kind in ('roundabout', 'service') or np.abs(centre[-1] - centre[0]).sum() < 12:
            continue
        for side in (1, -1):
            strip = section.parking[0 if side > 0 else 1]
            kind = 'kerb' if strip else place.parking_kind
            if not strip and (section.kind == 'carriageway' or rng.random() < (0.75 if kind == 'kerb' else 0.45)):
                continue
            across = kind == 'bays'
            edge = section.width / 2
            offset = {'kerb': edge - (strip or 2.0) / 2, 'half': edge + rng.uniform(-0.3, 0.4),
                      'bays': edge + rng.uniform(2.5, 3.2)}[kind]
            if kind == 'kerb' and not strip and section.width < 5.5:
                continue
            lean = rng.choice([math.pi / 2, math.radians(60), -math.radians(60)]) if across else 0.0
            line = offset_curve(centre, side * offset)
            spacing = rng.uniform(2.6, 3.1) if across else rng.uniform(5.3, 6.6)
            if lean and abs(lean) < 1.5:
                spacing *= 1.2
            points, headings = _stations(site, line, rng.uniform(6, 12), spacing)
            taken = rng.random(len(points)) < _clumped(rng, len(points), place.parking)
            taken &= ~near_other_road(plan, number, points)
            for (x, y), heading in zip(points[taken], headings[taken]):
                yaw = heading + lean + (math.pi if rng.random() < 0.3 else 0.0) + rng.normal(0, 0.03)
                kind_of = 'car' if rng.random() < 0.88 else 'van'
                vehicle = make_vehicle(rng, kind_of, x + rng.normal(0, 0.12), y + rng.normal(0, 0.12), yaw, True)
                if put(site, vehicle, 0.2):
                    parked.append(vehicle)
    return parked


def _clumped(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    """(N,) probabilities around `share` that rise and fall along the row, as cars come in groups."""
    wave = np.sin(np.arange(count) * rng.uniform(0.15, 0.6) + rng.uniform(0, 6.28))
    return np.clip(share + 0.35 * wave, 0.0, 1.0) if share < 0.99 else np.ones(count)


def near_other_road(plan: Plan, own: int, points: np.ndarray) -> np.ndarray:
    """(N, 2) -> (N,) whether another street comes near; not one that goes straight on where this one ends."""
    near = np.zeros(len(points), bool)
    for number, (centre, section) in enumerate(zip(plan.centres, plan.sections)):
        if number == own or _continues(plan, own, number):
            continue
        a, d = centre[:-1], np.diff(centre, axis=0)
        share = np.clip(((points[:, None] - a) * d).sum(axis=2) / np.maximum((d * d).sum(axis=1), 1e-12), 0.0, 1.0)
        squared = ((a + share[..., None] * d - points[:, None]) ** 2).sum(axis=2).min(axis=1)
        near |= squared < (section.width / 2 + NO_PARKING_M) ** 2
    return near


def _continues(plan: Plan, a: int, b: int) -> bool:
    """Whether street b goes straight on where street a ends: parking need not stop there."""
    p, q = plan.centres[a], plan.centres[b]
    for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        if np.abs(p[i] - q[j]).max() < 0.1:
            u = p[1] - p[0] if i == 0 else p[-2] - p[-1]
            v = q[1] - q[0] if j == 0 else q[-2] - q[-1]
            return bool(u @ v < -0.9 * np.linalg.norm(u) * np.linalg.norm(v))
    return False


def drive_around(rng: np.random.Generator, site: Site, plan: Plan, place: EnvironmentConfig, world: World,
                 left_hand: bool) -> list[Vehicle]:
    """Moving vehicles in lanes, sometimes a truck or bus beside the own vehicle, people on foot and on bicycles."""
    moving = []
    if place.traffic > 0 and rng.random() < 0.35:
        moving += _beside(rng, site, plan, world)
    for centre, section in zip(plan.centres, plan.sections):
        length = arc_length(centre)[-1]
        if section.kind == 'service':
            continue
        forward = section.forward_lanes(left_hand)
        for lane in range(section.lanes):
            count = rng.poisson(place.traffic * min(length, 130) / 100)
            if count == 0:
                continue
            along_centre = lane in forward if section.lanes > 1 or section.oneway else rng.random() < 0.5
            line = offset_curve(centre, section.lane_offset(lane) + rng.normal(0, 0.15))
            line = line if along_centre else line[::-1]
            points, headings = _stations(site, line, rng.uniform(1, 8), rng.uniform(7.5, 12))
            for k in rng.permutation(len(points))[:count]:
                kind = str(rng.choice(['car', 'van', 'truck', 'bus', 'cyclist'], p=[0.75, 0.11, 0.07, 0.03, 0.04]))
                x, y = points[k]
                vehicle = make_vehicle(rng, kind, x, y, headings[k] + rng.normal(0, 0.03), False, rng.uniform(0, 14))
                if put(site, vehicle, 1.5):
                    moving.append(vehicle)
    return moving + _people(rng, site, place)


def _beside(rng: np.random.Generator, site: Site, plan: Plan, world: World) -> list[Vehicle]:
    """A truck, bus or car in the next lane, hiding what is behind it, or close ahead."""
    x, y, _ = world.pose
    own = min(range(len(plan.centres)), key=lambda i: distances(plan.centres[i], (x, y)).min())
    centre, section = plan.centres[own], plan.sections[own]
    points, headings = _stations(site, centre, 0.5, 1.0)
    if len(points) == 0:
        return []
    k = int(np.argmin(((points - (x, y)) ** 2).sum(axis=1)))
    k = int(np.clip(k + rng.integers(-7, 14), 0, len(points) - 1))
    lane = int(rng.integers(section.lanes))
    normal = np.array([-math.sin(headings[k]), math.cos(headings[k])])
    at = points[k] + section.lane_offset(lane) * normal
    kind = str(rng.choice(['truck', 'bus', 'van', 'car'], p=[0.35, 0.3, 0.15, 0.2]))
    yaw = headings[k] + (math.pi if rng.random() < 0.4 else 0)
    vehicle = make_vehicle(rng, kind, at[0], at[1], yaw, False, rng.uniform(0, 10))
    return [vehicle] if put(site, vehicle, 0.3) else []


def _people(rng: np.random.Generator, site: Site, place: EnvironmentConfig) -> list[Vehicle]:
    people: list[Vehicle] = []
    count = rng.poisson(place.people)
    for x, y in site.centre + rng.uniform(-35, 35, (count * 4, 2)):
        if len(people) >= count:
            break
        d = float(site.distance(np.array([x, y])))
        if 0.2 < d < 4.0 or (d == 0 and rng.random() < 0.12):
            kind = 'pedestrian' if rng.random() < 0.85 else 'cyclist'
            person = make_vehicle(rng, kind, x, y, rng.uniform(-math.pi, math.pi), False, rng.uniform(0, 1.8))
            if put(site, person, 0.1):
                people.append(person)
    return people
