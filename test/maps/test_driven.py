# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way driven, put on the roads: it is the route that was taken, whatever the position is off by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.map_kit import city, town

from attention_fusion_ros.maps.driven import DrivenWay
from attention_fusion_ros.maps.route import RoutePlanner

pytest.importorskip('pyproj', reason='needs pyproj')

N = 6
NODES = {i * N + j: (100.0 * i, 90.0 * j) for i in range(N) for j in range(N)}
WAYS = ([([i * N + j for j in range(N)], {}) for i in range(N)]
        + [([i * N + j for i in range(N)], {}) for j in range(N)])


def driven(line: np.ndarray, seed: int, beside: float = 3.0, noise: float = 1.5) -> np.ndarray:
    """(N, 2) places a metre apart beside a line, with an error that wanders."""
    s = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
    at = np.arange(0.0, s[-1], 1.0)
    xy = np.stack([np.interp(at, s, c) for c in line.T], axis=1)
    smooth = np.stack([np.convolve(np.pad(c, 6, 'edge'), np.ones(13) / 13, 'valid') for c in xy.T], axis=1)
    d = np.gradient(smooth, axis=0)
    d /= np.maximum(np.hypot(*d.T), 1e-9)[:, None]
    rng = np.random.default_rng(seed)
    wander = np.cumsum(rng.normal(0, 0.02, (len(at), 2)), axis=0) + rng.normal(0, noise, 2)
    return smooth + beside * np.stack([d[:, 1], -d[:, 0]], axis=1) + wander


def farthest(places: np.ndarray, line: np.ndarray) -> float:
    """m from the place that is farthest from a line."""
    a, d = line[:-1], np.diff(line, axis=0)
    t = np.clip(((places[:, None] - a) * d).sum(axis=2) / np.maximum((d**2).sum(axis=1), 1e-12), 0, 1)
    return float(np.hypot(*(a + t[..., None] * d - places[:, None]).T).min(axis=0).max())


def length(line: np.ndarray) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


@pytest.mark.parametrize('seed', range(8))
def test_the_way_is_the_route_that_was_taken(seed):
    roads = town(NODES, WAYS)
    rng = np.random.default_rng(seed)
    goals = rng.uniform(0, (500.0, 450.0), (3, 2))
    route = RoutePlanner(roads).plan(goals[1:], goals[0])
    way = DrivenWay(driven(route.xy, seed), roads)
    assert way.on_roads == 1.0
    ends = np.stack([route.xy[0], route.xy[-1]])  # of a corner just there, it cannot be known
    inner = route.xy[np.hypot(*(route.xy[:, None] - ends).T).min(axis=0) > 15.0]
    assert farthest(way.xy, np.vstack([route.xy, way.xy[-1:]])) < 95.0
    assert farthest(inner, way.xy) < 0.5, 'every corner of it'
    assert way.length == pytest.approx(route.length, abs=100.0)
    for k in range(0, len(driven(route.xy, seed)), 40):
        part = way.ahead(k, 60.0)
        assert part is not None and length(part) <= 40.0 + math.pi * 60.0 + 200.0
        assert farthest(driven(route.xy, seed)[k:k + 1], part) < 9.0, 'it starts where the vehicle is'


@pytest.mark.slow
@pytest.mark.parametrize('name', ['kaiserslautern', 'singapore_queenstown'])
def test_on_real_roads(name, shared_folder):
    roads = city(shared_folder, name)
    planner, rng, close = RoutePlanner(roads), np.random.default_rng(1), []
    while len(close) < 6:
        a, b = (roads.xy[int(k)] for k in rng.choice(len(roads.xy), 2))
        try:
            route = planner.plan([b], a)
        except ValueError:
            continue
        if 300.0 < route.length < 3000.0:
            way = DrivenWay(driven(route.xy, len(close)), roads)
            close.append(farthest(route.xy[1:-1], way.xy) if way.on_roads == 1.0 else math.inf)
    assert np.median(close) < 0.5 and sum(value < 8.0 for value in close) >= 5


def test_beside_all_roads_it_is_as_it_was_driven():
    roads = town(NODES, WAYS)
    line = np.stack([np.arange(0.0, 300.0), np.full(300, -60.0)], axis=1)
    way = DrivenWay(line, roads)
    assert way.on_roads == 0.0 and farthest(line[:290], way.xy) < 1e-6 and way.length == pytest.approx(299.0, abs=8.0)
    line[:, 1] = np.interp(line[:, 0], [120.0, 200.0], [-60.0, -2.0])  # a car park, and then a road
    way = DrivenWay(line, roads)
    assert 0.3 < way.on_roads < 0.7
    assert farthest(line[:100:10], way.xy) < 1.0 and way.xy[-1] == pytest.approx((300.0, 0.0), abs=1e-6)


def test_where_the_drive_ends_the_way_goes_on_to_the_next_junction():
    roads = town(NODES, WAYS)
    line = np.stack([np.arange(10.0, 150.0), np.full(140, 2.0)], axis=1)
    assert DrivenWay(line, roads).xy[-1] == pytest.approx((200.0, 0.0), abs=1e-6)
    assert DrivenWay(line[::-1], roads).xy[-1] == pytest.approx((0.0, 70.0), abs=15.0), 'round a corner, but not far'


def test_a_vehicle_that_stands_or_turns_back():
    roads = town(NODES, WAYS)
    there = np.stack([np.arange(10.0, 80.0), np.full(70, 1.0)], axis=1)
    way = DrivenWay(np.vstack([there, np.repeat(there[-1:], 200, axis=0), there[::-1] - (0.0, 2.0)]), roads)
    assert way.length == pytest.approx(140.0 + 80.0, abs=15.0)
    standing = DrivenWay(np.zeros((50, 2)), roads)
    assert standing.ahead(49, 50.0) is None and standing.length == 0.0
    assert DrivenWay(np.zeros((0, 2)), roads).length == 0.0
