# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What crosses the kerb or hides it: driveways, car parks with cars in them, rows of parked cars along the road."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.simulation.world.polyline import arc_length, offset_curve, point_at
from attention_fusion_ros.simulation.world.roads import Plan, Section
from attention_fusion_ros.simulation.world.site import Site
from attention_fusion_ros.simulation.world.traffic import make_vehicle, near_other_road, put
from attention_fusion_ros.simulation.world.world import Apron, Vehicle

OVERLAP_M = 1.0  # that paving reaches over the road's edge, so that no kerb is left between
EDGE_M = 8.0  # of the site where nothing is put
FREE_M = 1.5  # beyond a piece of paving that must be free of roads


def paved_places(rng: np.random.Generator, site: Site, plan: Plan, driveways: bool,
                 car_parks: bool) -> tuple[list[Apron], list[Vehicle]]:
    """Driveways off the roads, and car parks with a mouth each and cars in bays; their ground is taken."""
    aprons: list[Apron] = []
    vehicles: list[Vehicle] = []
    spacing = float(rng.uniform(9, 30))
    parks = int(rng.integers(1, 3)) if car_parks else 0
    for number, (centre, section) in enumerate(zip(plan.centres, plan.sections)):
        if section.kind in ('roundabout', 'service'):
            continue
        for side in (1, -1):
            edge = offset_curve(centre, side * (section.width / 2 - OVERLAP_M))
            s = arc_length(edge)
            at = np.arange(rng.uniform(0, spacing), s[-1] - 1.0, spacing)
            at = at + rng.uniform(-0.3, 0.3, len(at)) * spacing
            points, ahead = _within(site, point_at(edge, at, s), point_at(edge, at + 0.5, s))
            for k in np.flatnonzero(~near_other_road(plan, number, points)):
                out = side * _left(ahead[k] - points[k])
                if parks and rng.random() < 0.08:
                    made, cars = _car_park(rng, site, points[k], out)
                    parks -= bool(made)
                elif driveways and rng.random() < 0.75:
                    made, cars = _driveway(rng, site, points[k], out)
                else:
                    continue
                aprons += made
                vehicles += cars
    return aprons, vehicles


def _within(site: Site, points: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of the (N, 2) points that lie well within the site, and what belongs to them."""
    inside = np.abs(points - site.centre).max(axis=1) < site.extent - EDGE_M
    return points[inside], ahead[inside]


def _left(way: np.ndarray) -> np.ndarray:
    return np.array([-way[1], way[0]]) / max(math.hypot(*way), 1e-9)


def _free(site: Site, start: np.ndarray, out: np.ndarray, length: float, width: float) -> bool:
    """Whether the strip beyond the road's edge lies on free land."""
    along = np.arange(OVERLAP_M + 0.6, length + FREE_M, 0.6)
    across = np.linspace(-width / 2, width / 2, max(int(width / 0.8), 3))
    p = start + along[:, None, None] * out + across[None, :, None] * _left(out)
    return bool(site.open_land(p, 0.0).all())


def _take(site: Site, apron: Apron) -> None:
    a, b = apron.line[0], apron.line[-1]
    middle, length = (a + b) / 2, float(np.hypot(*(b - a)))
    site.take_box(float(middle[0]), float(middle[1]), math.atan2(*(b - a)[::-1]), length, apron.width + 0.4)


def _driveway(rng: np.random.Generator, site: Site, start: np.ndarray,
              out: np.ndarray) -> tuple[list[Apron], list[Vehicle]]:
    length = float(OVERLAP_M + (rng.uniform(4, 9) if rng.random() < 0.6 else rng.uniform(9, 28)))
    width = float(rng.uniform(2.6, 6.5))
    if not _free(site, start, out, length, width):
        return [], []
    apron = Apron(np.stack([start, start + length * out]), width)
    cars = []
    if rng.random() < 0.35 and length > 8:
        x, y = start + (length - 2.8) * out
        yaw = math.atan2(out[1], out[0]) + (math.pi if rng.random() < 0.5 else 0.0)
        car = make_vehicle(rng, 'car', x, y, yaw, True)
        cars = [car] if put(site, car, 0.0) else []
    _take(site, apron)
    return [apron], cars


def _car_park(rng: np.random.Generator, site: Site, start: np.ndarray,
              out: np.ndarray) -> tuple[list[Apron], list[Vehicle]]:
    mouth, set_back = float(rng.uniform(4.5, 8.0)), float(OVERLAP_M + rng.uniform(0.5, 6.0))
    depth, width = float(rng.choice([17.0, 33.0])), float(rng.uniform(18, 40))
    near = start + set_back * out
    if not (_free(site, start, out, set_back, mouth) and _free(site, near, out, depth, width)):
        return [], []
    aprons = [Apron(np.stack([start, near + out]), mouth), Apron(np.stack([near, near + depth * out]), width)]
    cars, full, left = [], float(rng.uniform(0.2, 0.95)), _left(out)
    for row in np.arange(3.0, depth - 2.0, 11.0):
        for aside in np.arange(-width / 2 + 1.6, width / 2 - 1.2, 2.6):
            if (row < 4 and abs(aside) < mouth / 2 + 1) or rng.random() > full:
                continue
            x, y = near + row * out + aside * left
            yaw = math.atan2(out[1], out[0]) + (math.pi if rng.random() < 0.5 else 0.0) + rng.normal(0, 0.03)
            car = make_vehicle(rng, 'car' if rng.random() < 0.9 else 'van', x, y, yaw, True)
            if put(site, car, 0.0):
                cars.append(car)
    for apron in aprons:
        _take(site, apron)
    return aprons, cars


def parked_rows(rng: np.random.Generator, site: Site, plan: Plan) -> list[Vehicle]:
    """Cars bumper to bumper along the kerb of nearly every road: in the road, astride the kerb, or on the pavement."""
    cars: list[Vehicle] = []
    sides = ((1, -1), (1, -1), (1,), (-1,))[int(rng.integers(4))]
    astride = float(rng.choice([-0.95, -0.95, -0.1, 0.5])) + float(rng.normal(0, 0.1))  # m outside the kerb
    full, spacing = float(rng.uniform(0.8, 1.0)), float(rng.uniform(5.0, 6.0))
    for number, (centre, section) in enumerate(zip(plan.centres, plan.sections)):
        if section.kind in ('roundabout', 'service') or arc_length(centre)[-1] < 15 or rng.random() < 0.15:
            continue
        for side in sides:
            if section.kind == 'carriageway' and side > 0 and rng.random() < 0.8:
                continue  # beside the median
            line = offset_curve(centre, side * (section.width / 2 + _outside(section, side, astride)))
            s = arc_length(line)
            at = np.arange(rng.uniform(3, 8), s[-1] - 1.0, spacing)
            points, ahead = _within(site, point_at(line, at, s), point_at(line, at + 0.8, s))
            for k in np.flatnonzero(~near_other_road(plan, number, points) & (rng.random(len(points)) < full)):
                way = ahead[k] - points[k]
                yaw = math.atan2(way[1], way[0]) + (math.pi if rng.random() < 0.2 else 0.0) + rng.normal(0, 0.02)
                kind = str(rng.choice(['car', 'van', 'truck'], p=[0.86, 0.12, 0.02]))
                x, y = points[k] + rng.normal(0, 0.08, 2)
                car = make_vehicle(rng, kind, x, y, yaw, True)
                if put(site, car, 0.15):
                    cars.append(car)
    return cars


def _outside(section: Section, side: int, astride: float) -> float:
    """Metres from the kerb to the middle of the parked cars; narrow streets are parked on the pavement."""
    strip = section.parking[0 if side > 0 else 1]
    if strip:
        return -strip / 2
    return max(astride, 0.2) if section.width < 5.2 else astride
