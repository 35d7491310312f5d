# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Routes: the quickest, never against a oneway road, and clear answers where there is none."""

from __future__ import annotations

import json
import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.map_kit import city, town

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.follow import RouteFollower
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.route import Route, RoutePlanner, route_from_path

pytest.importorskip('pyproj', reason='needs pyproj')

S = 1_000_000_000


def check(roads: LocalRoads, route: Route) -> None:
    """Edges follow each other, closed ones are not used, and the line runs along them the allowed way."""
    graph = roads.graph
    assert graph.routable[list(route.edges)].all()
    assert not [e for e, forward in zip(route.edges, route.forward) if graph.oneway[e] and not forward]
    tails = [int(graph.ends[e, 0 if f else 1]) for e, f in zip(route.edges, route.forward)]
    heads = [int(graph.ends[e, 1 if f else 0]) for e, f in zip(route.edges, route.forward)]
    assert heads[:-1] == tails[1:]
    for a, b in zip(route.xy[:-1], route.xy[1:]):  # the line itself, without the list of edges
        middle = (a + b) / 2
        way = math.atan2(*(b - a)[::-1])
        near = roads.matches(middle, 0.05, routable=True, limit=1000)
        along = [abs(math.remainder(m.heading - way, 2 * math.pi)) < 0.1 or not graph.oneway[m.edge] for m in near]
        assert any(along) or math.dist(a, b) < 0.05


def best_seconds(roads: LocalRoads, start: int, goal: int) -> float:
    """From node to node, by another library."""
    graph = roads.graph
    other = networkx.MultiDiGraph()
    for e in np.flatnonzero(graph.routable):
        a, b = graph.ends[e].tolist()
        other.add_edge(a, b, t=float(graph.lengths[e] / graph.speeds[e]))
        if not graph.oneway[e]:
            other.add_edge(b, a, t=float(graph.lengths[e] / graph.speeds[e]))
    return networkx.shortest_path_length(other, start, goal, 't')


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 7))
    nodes = {r * size + c: (c * 150 + rng.uniform(-30, 30), r * 150 + rng.uniform(-30, 30))
             for r in range(size) for c in range(size)}
    pairs = [(n, n + 1) for n in nodes if n % size < size - 1] + [(n, n + size) for n in nodes if n < size * (size - 1)]
    ways = [(list(p) if rng.random() < 0.5 else list(p)[::-1],
             {'oneway': str(rng.choice(['no', 'yes', '-1'])), 'maxspeed': str(rng.choice([20, 50, 100])),
              'access': 'private' if rng.random() < 0.05 else 'yes'}) for p in pairs if rng.random() < 0.9]
    roads = town(nodes, ways)
    planner = RoutePlanner(roads)
    free = np.flatnonzero(roads.graph.routable)
    a, b = (int(e) for e in rng.choice(free, 2))
    start, goal = roads.line(a).mean(axis=0), roads.line(b).mean(axis=0)
    heading = float(rng.uniform(-math.pi, math.pi)) if rng.random() < 0.5 else None
    try:
        route = planner.plan([goal], start, heading)
    except InputError as error:
        assert error.reason == 'goal_unreachable'
        ends = [n for n in roads.graph.ends[a][1 if roads.graph.oneway[a] else 0:]]
        for n in ends:
            for m in roads.graph.ends[b][:1 if roads.graph.oneway[b] else 2]:
                with pytest.raises((networkx.NetworkXNoPath, networkx.NodeNotFound)):
                    best_seconds(roads, int(n), int(m))
        return
    check(roads, route)
    assert route.xy[0] == pytest.approx(start, abs=0.1) and route.xy[-1] == pytest.approx(goal, abs=0.1)
    if heading is None and a != b and len(route.edges) > 2:
        inner = route.edges[1:-1]
        first = int(roads.graph.ends[inner[0], 0 if route.forward[1] else 1])
        last = int(roads.graph.ends[inner[-1], 1 if route.forward[-2] else 0])
        seconds = sum(float(roads.graph.lengths[e] / roads.graph.speeds[e]) for e in inner)
        assert seconds == pytest.approx(best_seconds(roads, first, last), rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(49.4, 7.8), (-33.9, 151.2), (65.0, -179.9999), (1.3, 103.8)]))
def test_random_ways_through_waypoints_are_never_driven_backwards(seed, datum):
    rng = np.random.default_rng(seed)
    size = 5
    nodes = {n: tuple(np.array([n % size, n // size]) * 150.0 + rng.uniform(-30, 30, 2)) for n in range(size * size)}
    pairs = [(n, n + 1) for n in nodes if n % size < size - 1] + [(n, n + size) for n in nodes if n < size * (size - 1)]
    roads = town(nodes, [(list(p), {'oneway': str(rng.choice(['no', 'yes', '-1']))}) for p in pairs], datum)
    places = [roads.line(int(e)).mean(axis=0) for e in rng.choice(len(roads.graph), 4)]
    try:
        route = RoutePlanner(roads).plan(places[1:], places[0], float(rng.uniform(-math.pi, math.pi)))
    except InputError as error:
        assert error.reason == 'goal_unreachable' and error.remedy
        return
    check(roads, route)
    assert route.xy[0] == pytest.approx(places[0], abs=0.1) and route.xy[-1] == pytest.approx(places[-1], abs=0.1)
    s, last = np.append(0.0, np.cumsum(np.hypot(*np.diff(route.xy, axis=0).T))), -1.0
    for place in places[1:]:  # passed one after the other
        d = np.diff(route.xy, axis=0)
        t = np.clip(((place - route.xy[:-1]) * d).sum(axis=1) / np.maximum((d**2).sum(axis=1), 1e-12), 0.0, 1.0)
        away = np.hypot(*(route.xy[:-1] + t[:, None] * d - place).T)
        passed = (s[:-1] + t * np.hypot(*d.T))[away < 0.2]
        assert (passed >= last - 0.1).any()
        last = float(passed[passed >= last - 0.1].min())


BLOCK = ({1: (0, 0), 2: (200, 0), 3: (200, 200), 4: (0, 200), 5: (1000, 0), 6: (1200, 0), 7: (-400, 0)},
         [([1, 2], {'name': 'South'}), ([2, 3], {}), ([3, 4], {'oneway': 'yes', 'name': 'North'}), ([4, 1], {}),
          ([5, 6], {}), ([1, 7], {'oneway': 'reversible'})])


def test_a_vehicle_is_not_told_to_turn_where_it_stands():
    planner = RoutePlanner(town(*BLOCK))
    back = planner.plan([[20.0, 0.0]], [100.0, 0.0])
    assert back.length == pytest.approx(80.0, abs=0.1) and back.names == ('South',) and not back.u_turn
    around = planner.plan([[20.0, 0.0]], [100.0, 0.0], heading=0.0)
    assert around.length == pytest.approx(100 + 200 + 200 + 200 + 20, abs=0.1) and not around.u_turn
    assert around.names == ('South', 'North', 'South')
    alone = planner.plan([[1020.0, 0.0]], [1100.0, 0.0], heading=0.0)
    assert alone.u_turn or alone.length == pytest.approx(100 + 180, abs=0.1)


@pytest.mark.parametrize('twice', [1, 2])
def test_a_turn_where_the_vehicle_stands_is_told_even_if_a_waypoint_is_there(twice):
    planner = RoutePlanner(town({1: (0, 0), 2: (100, 0)}, [([1, 2], {})]))
    here, ahead, behind = (50.0, 0.0), (80.0, 0.0), (10.0, 0.0)
    back = planner.plan([here] * twice + [behind], here, 0.0)
    assert back.u_turn and back.length == pytest.approx(40.0, abs=0.1)
    later = planner.plan([here] * twice + [ahead, behind], here, 0.0)
    assert not later.u_turn and later.length == pytest.approx(100.0, abs=0.1), 'not at the second place'


def test_oneway_roads_are_gone_round():
    roads = town(*BLOCK)
    route = RoutePlanner(roads).plan([[190.0, 200.0]], [10.0, 200.0])
    check(roads, route)
    assert route.length == pytest.approx(10 + 200 + 200 + 200 + 10, abs=25)


def test_bollards_end_the_road_for_cars():
    nodes = {1: (0.0, 0.0), 2: (100.0, 0.0), 3: (200.0, 0.0), 4: (0.0, 150.0), 5: (200.0, 150.0)}
    ways = [([1, 2, 3], {}), ([1, 4, 5, 3], {})]
    free, barred = town(nodes, ways), town(nodes, ways, barred=[2])
    past = [RoutePlanner(roads).plan([(150.0, 0.0)], (50.0, 0.0)) for roads in (free, barred)]
    assert [round(route.length) for route in past] == [100, 600], 'round the block'
    check(barred, past[1])
    assert RoutePlanner(barred).plan([(95.0, 0.0)], (50.0, 0.0)).length == pytest.approx(45.0, abs=0.1)
    back = RoutePlanner(barred).plan([(10.0, 0.0)], (50.0, 0.0), heading=0.0)
    assert back.length == pytest.approx(40.0, abs=0.1) and back.u_turn
    dead_end = town(nodes, ways[:1], barred=[2])
    with pytest.raises(InputError, match='bollard') as error:
        RoutePlanner(dead_end).plan([(150.0, 0.0)], (50.0, 0.0))
    assert error.value.reason == 'goal_unreachable'


def test_waypoints_are_passed_in_order_without_turning_at_them():
    roads = town(*BLOCK)
    route = RoutePlanner(roads).plan([[200.0, 100.0], [100.0, 200.0], [0.0, 100.0]], [100.0, 0.0])
    check(roads, route)
    assert route.length == pytest.approx(100 + 200 + 200 + 100, abs=0.1)


@pytest.mark.parametrize(('goal', 'start', 'reason'), [
    ([1100.0, 0.0], [100.0, 0.0], 'goal_unreachable'), ([600.0, 500.0], [100.0, 0.0], 'goal_off_network'),
    ([100.0, 0.0], [600.0, 500.0], 'start_off_network'), ([math.nan, 0.0], [100.0, 0.0], 'goal_malformed'),
    ([1.0, 2.0, 3.0], [100.0, 0.0], 'goal_malformed'), ([-300.0, 0.0], [100.0, 0.0], 'goal_off_network')])
def test_why_there_is_no_route(goal, start, reason):
    with pytest.raises(InputError) as error:
        RoutePlanner(town(*BLOCK)).plan([goal], start)
    assert error.value.reason == reason and error.value.remedy


def test_goals_in_degrees_and_geojson():
    roads = town(*BLOCK)
    planner = RoutePlanner(roads)
    latitude, longitude = (float(v) for v in roads.frame.to_degrees([200.0, 150.0]))
    route = planner.to_degrees(latitude, longitude, [100.0, 0.0])
    feature = json.loads(route.geojson())
    assert feature['geometry']['coordinates'][-1] == pytest.approx([longitude, latitude], abs=1e-7)
    assert feature['properties']['length_m'] == pytest.approx(250.0, abs=0.1)
    assert feature['properties']['seconds'] == pytest.approx(250.0 / (30 / 3.6), rel=0.01)
    for bad, reason in (((math.nan, 7.0), 'goal_malformed'), ((7.76, 49.43), 'goal_off_network')):
        with pytest.raises(InputError) as error:
            planner.to_degrees(*bad, [100.0, 0.0])
        assert error.value.reason == reason


def test_the_goal_is_where_the_vehicle_is():
    route = RoutePlanner(town(*BLOCK)).plan([[100.0, 0.0]], [100.0, 0.0], 0.0)
    assert len(route.xy) >= 2 and route.length < 0.1


def test_a_given_path_is_a_route():
    frame = LocalFrame(49.43, 7.76)
    route = route_from_path(np.array([[0, 0], [0, 0], [30, 0], [30, math.nan], [30, 40]]), frame)
    assert route.length == 70.0 and route.edges == () and json.loads(route.geojson())['properties']['seconds'] is None
    with pytest.raises(InputError) as error:
        route_from_path(np.array([[1.0, 1.0], [1.0, 1.0]]), frame)
    assert error.value.reason == 'path_too_short'


def test_progress_leaving_and_arriving():
    there_and_back = np.array([[0.0, 0], [300, 0], [300, 10], [0, 10]])
    route = route_from_path(there_and_back, LocalFrame(49.43, 7.76))
    follower = RouteFollower(route)
    along = [follower.update(k * S, np.array([10.0 * k, 4.0]), 2.0, 0.0).along for k in range(30)]
    assert along == pytest.approx([10.0 * k for k in range(30)])
    back = [follower.update((30 + k) * S, np.array([290.0 - 10 * k, 6.0]), 2.0, math.pi) for k in range(29)]
    assert all(p.along > 300 and not p.off_route for p in back) and back[-1].arrived and not back[-4].arrived
    follower = RouteFollower(route)
    away = [follower.update(k * S, np.array([100.0, -20.0 * k]), 2.0) for k in range(8)]
    assert [p.off_route for p in away] == [False] * 5 + [True] * 3, 'far for 3 s'
    uncertain = [RouteFollower(route).update(k * S, np.array([100.0, -40.0]), 10.0).off_route for k in range(8)]
    assert not any(uncertain)


def test_driving_back_along_the_route_is_leaving_it():
    follower = RouteFollower(route_from_path(np.array([[0.0, 0], [500, 0]]), LocalFrame(49.43, 7.76)))
    for k in range(10):
        assert not follower.update(k * S, np.array([100.0 + 10 * k, 0.0]), 2.0, 0.0).off_route
    seen = [follower.update((10 + k) * S, np.array([190.0 - 10 * k, 0.0]), 2.0, math.pi).off_route for k in range(8)]
    assert not seen[0] and seen[-1]


@pytest.mark.parametrize('name', ['kaiserslautern', 'boston_seaport', 'singapore_queenstown'])
def test_real_cities_never_driven_backwards(name, shared_folder):
    roads = city(shared_folder, name)
    planner = RoutePlanner(roads)
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(12):
        a, b = rng.choice(np.flatnonzero(roads.graph.routable), 2)
        try:
            route = planner.plan([roads.line(b).mean(axis=0)], roads.line(a).mean(axis=0), float(rng.uniform(-3, 3)))
        except InputError as error:
            assert error.reason == 'goal_unreachable'
            continue
        found += 1
        check(roads, route)
    assert found >= 5
