# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Restrictions of turns: what relations say, what becomes of it in the graph, and routes that heed it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.map_kit import FRAME, town

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.maps import osm_apart, osm_file, shortest_paths
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.kinds import DEFAULT_KINDS
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.route import Route, RoutePlanner
from attention_fusion_ros.maps.tags import TURNS, turn_of

osmium = pytest.importorskip('osmium', reason='needs osmium')
pytest.importorskip('pyproj', reason='needs pyproj')

# A crossing, node 1, in the middle of a ring; the arms are ways 10 (west), 11 (east), 12 (north), 13 (south).
NODES = {1: (0.0, 0.0), 2: (-200.0, 0.0), 3: (200.0, 0.0), 4: (0.0, 200.0), 5: (0.0, -200.0), 6: (200.0, 200.0),
         7: (-200.0, 200.0), 8: (200.0, -200.0), 9: (-200.0, -200.0)}
RING = [9, 5, 8, 3, 6, 4, 7, 2, 9]
ARMS = {10: [2, 1], 11: [1, 3], 12: [1, 4], 13: [1, 5]}
WAYS = {**ARMS, 20: RING}
WEST, NORTH, SOUTH = (-100.0, 0.0), (0.0, 100.0), (0.0, -100.0)
NO_LEFT = {'type': 'restriction', 'restriction': 'no_left_turn'}
Member = tuple[str, int, str]  # type, id, role


def members(origin: int = 10, via: int = 1, target: int = 12) -> list[Member]:
    return [('way', origin, 'from'), ('node', via, 'via'), ('way', target, 'to')]


def written(path: Path, relations: Sequence[tuple[Sequence[Member], dict[str, str]]], ways: dict[int, list[int]] = WAYS,
            tags: dict[int, dict[str, str]] | None = None) -> Path:
    """An .osm file."""
    frame = LocalFrame(*FRAME)
    text = '<osm version="0.6">'
    for number, xy in NODES.items():
        latitude, longitude = frame.to_degrees(np.array(xy))
        text += f'<node id="{number}" lat="{latitude:.9f}" lon="{longitude:.9f}"/>'
    for number, refs in ways.items():
        own = {'highway': 'residential', **(tags or {}).get(number, {})}
        text += f'<way id="{number}">' + ''.join(f'<nd ref="{r}"/>' for r in refs) + worded(own) + '</way>'
    for number, (parts, own) in enumerate(relations, 1):
        text += f'<relation id="{number}">' + ''.join(
            f'<member type="{kind}" ref="{ref}" role="{role}"/>' for kind, ref, role in parts) + worded(own)
        text += '</relation>'
    path.write_text(text + '</osm>')
    return path


def worded(tags: dict[str, str]) -> str:
    return ''.join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


def roads_of(path: Path) -> LocalRoads:
    return LocalRoads(load_roads(path, cache=None), LocalFrame(*FRAME))


Place = tuple[float, float]


def driven(roads: LocalRoads, goal: Place, start: Place = WEST, heading: float = 0.0) -> int:
    """m of the route."""
    route = RoutePlanner(roads).plan([goal], start, heading)
    check(roads.graph, route)
    return round(route.length)


def check(graph: RoadGraph, route: Route) -> None:
    """No turn is a forbidden one, or one on the spot."""
    forbidden = {((a, f), (b, g)) for a, f, b, g in graph.turns.tolist()}
    steps = list(zip(route.edges, map(int, route.forward)))
    for (a, f), (b, g) in zip(steps, steps[1:]):
        assert ((a, f), (b, g)) not in forbidden and (a, f) != (b, 1 - g)
        assert graph.ends[a, f] == graph.ends[b, 1 - g]


@pytest.mark.parametrize(('tags', 'counts'), [
    ({}, True), ({'except': 'psv;bicycle'}, True), ({'except': 'motorcar'}, False), ({'except': 'vehicle'}, False),
    ({'except': 'psv; motor_vehicle'}, False), ({'restriction:conditional': 'none @ (22:00-06:00)'}, True),
    ({'restriction:motorcar': 'none'}, False), ({'restriction:hgv': 'none'}, True), ({'hour_on': '07:30'}, False),
    ({'restriction': 'no_left_turn;no_u_turn'}, False), ({'restriction': 'no_fun'}, False), ({'type': 'route'}, False),
    ({'restriction': 'none', 'restriction:motorcar': 'no_left_turn'}, True),
    ({'restriction': 'none', 'restriction:vehicle': 'no_left_turn', 'restriction:motor_vehicle': 'none'}, False)])
def test_which_relations_count_for_cars(tmp_path, tags, counts):
    assert turn_of({**NO_LEFT, **tags}) == ('no_left_turn' if counts else None)
    roads = roads_of(written(tmp_path / 'a.osm', [(members(), {**NO_LEFT, **tags})]))
    assert len(roads.graph.turns) == counts and driven(roads, NORTH) == (800 if counts else 200)


@pytest.mark.parametrize('key', ['restriction:hgv', 'restriction:bus', 'restriction:conditional'])
def test_words_for_others_and_for_some_hours_alone_do_not_count(tmp_path, key):
    hours = ' @ (Mo-Fr 07:00-09:00)' if key == 'restriction:conditional' else ''
    tags = {'type': 'restriction', key: f'no_left_turn{hours}'}
    assert driven(roads_of(written(tmp_path / 'a.osm', [(members(), tags)])), NORTH) == 200


@pytest.mark.parametrize(('what', 'target', 'north', 'south'), [
    ('no_left_turn', 12, 800, 200), ('no_right_turn', 13, 200, 800), ('no_straight_on', 11, 200, 200),
    ('no_entry', 12, 800, 200), ('no_exit', 13, 200, 800), ('only_straight_on', 11, 800, 800),
    ('only_left_turn', 12, 200, 1000), ('only_right_turn', 13, 1000, 200), ('no_u_turn', 10, 200, 200)])
def test_every_word(tmp_path, what, target, north, south):
    """The crossing is the first node after the start, and the last before the goal."""
    roads = roads_of(written(tmp_path / 'a.osm', [(members(target=target), {**NO_LEFT, 'restriction': what})]))
    assert (driven(roads, NORTH), driven(roads, SOUTH)) == (north, south)
    assert len(roads.graph.turns) == (3 if what.startswith('only') else 1), 'the turn on the spot is another one'
    for start, heading in (((100.0, 0.0), math.pi), ((0.0, -100.0), math.pi / 2)):
        assert driven(roads, NORTH, start, heading) == 200, 'from elsewhere'


def test_of_several_turns_that_are_prescribed_each_is_allowed(tmp_path):
    both = [(members(target=12), {**NO_LEFT, 'restriction': 'only_left_turn'}),
            (members(target=11), {**NO_LEFT, 'restriction': 'only_straight_on'})]
    roads = roads_of(written(tmp_path / 'a.osm', both))
    assert (driven(roads, NORTH), driven(roads, (100.0, 0.0)), driven(roads, SOUTH)) == (200, 200, 800)


def test_a_member_that_is_there_twice(tmp_path):
    for number in range(3):
        roads = roads_of(written(tmp_path / 'a.osm', [([*members(), members()[number]], NO_LEFT)]))
        assert len(roads.graph.turns) == 1 and driven(roads, NORTH) == 800


def test_ways_that_are_there_twice(tmp_path):
    """Two extracts in one file, put together without merging them: the second copy is no way round the restriction."""
    path = written(tmp_path / 'a.osm', [(members(), NO_LEFT)])
    text = path.read_text()
    ways = text[text.index('<way'):text.index('<relation')]
    path.write_text(text.replace(ways, ways + ways))
    roads = roads_of(path)
    assert len(roads.graph) == 9 and driven(roads, NORTH) == 800
    path.write_text(re.sub('<way id="[0-9]+"', '<way', text))
    assert len(roads_of(path).graph) == 9, 'without ids all are kept'


def test_several_ways_lead_to_no_entry_and_from_no_exit(tmp_path):
    entry = [('way', 13, 'from'), *members()], {**NO_LEFT, 'restriction': 'no_entry'}
    roads = roads_of(written(tmp_path / 'a.osm', [entry]))
    assert driven(roads, NORTH) == 800 and driven(roads, NORTH, SOUTH, math.pi / 2) == 800
    leave = [*members(), ('way', 13, 'to')], {**NO_LEFT, 'restriction': 'no_exit'}
    roads = roads_of(written(tmp_path / 'a.osm', [leave]))
    assert driven(roads, NORTH) == driven(roads, SOUTH) == 800


@pytest.mark.parametrize('what', ['no_left_turn', 'only_straight_on'])
@pytest.mark.parametrize('parts', [
    [], members(origin=99), members(target=99), members(via=99), members(via=6), members()[1:], members()[:2],
    [*members(), ('node', 2, 'via')], [('way', 10, 'from'), ('way', 12, 'to')],
    [('way', 10, 'from'), ('way', 11, 'via'), ('way', 12, 'to')], [('node', 10, 'from'), *members()[1:]],
    [('way', 20, 'from'), *members()[1:]]])
def test_what_is_not_whole_is_ignored(tmp_path, what, parts):
    roads = roads_of(written(tmp_path / 'a.osm', [(parts, {**NO_LEFT, 'restriction': what})]))
    assert not len(roads.graph.turns) and driven(roads, NORTH) == 200


def test_ways_that_pass_the_junction(tmp_path):
    """A word of a turn fits one of the two halves; that of the other would be another turn."""
    west_east = {10: [2, 1, 3], 12: [1, 4], 13: [1, 5], 20: RING}
    roads = roads_of(written(tmp_path / 'a.osm', [(members(), NO_LEFT)], west_east))
    assert driven(roads, NORTH) == 800 and driven(roads, NORTH, (100.0, 0.0), math.pi) == 200, 'to the right'
    north_south = {10: [2, 1], 11: [1, 3], 12: [5, 1, 4], 20: RING}
    roads = roads_of(written(tmp_path / 'b.osm', [(members(), NO_LEFT)], north_south))
    assert driven(roads, NORTH) == 800 and driven(roads, SOUTH) == 200
    along = [(members(target=10), {**NO_LEFT, 'restriction': 'only_straight_on'})]
    roads = roads_of(written(tmp_path / 'c.osm', along, west_east))
    assert driven(roads, NORTH) == driven(roads, SOUTH) == 800 and driven(roads, (100.0, 0.0)) == 200
    back = [(members(target=10), {**NO_LEFT, 'restriction': 'no_u_turn'})]
    roads = roads_of(written(tmp_path / 'd.osm', back, west_east))
    assert len(roads.graph.turns) == 2 and driven(roads, (100.0, 0.0)) == 200, 'straight on is no turn on the spot'
    entry = [(members(), {**NO_LEFT, 'restriction': 'no_entry'})]
    roads = roads_of(written(tmp_path / 'e.osm', entry, west_east))
    assert driven(roads, NORTH) == driven(roads, NORTH, (100.0, 0.0), math.pi) == 800, 'from both sides'


@pytest.mark.parametrize('what', ['no_u_turn', 'only_u_turn'])
@pytest.mark.parametrize('way', [([2, 1, 3], {'oneway': 'yes'}), ([1, 3, 6, 4, 1], {'junction': 'roundabout'})])
def test_driving_on_along_a_oneway_road_is_no_turn_back(what, way):
    """A roundabout may begin and end at the node: there is one edge, which follows itself."""
    graph = town(NODES, [way, ([1, 5], {})], turns=[(0, 1, 0, what)]).graph
    assert not len(graph.turns)


def test_a_turning_loop_with_one_end():
    """Driven round and into the stem again; not back at the node, nor round another time."""
    ways = [([2, 1], {}), ([1, 3, 6, 4, 1], {})]
    back = town(NODES, ways, turns=[(1, 1, 1, 'no_u_turn')])
    assert back.graph.turns.tolist() == [[1, 0, 1, 1], [1, 1, 1, 0]]
    assert driven(back, (-150.0, 0.0), (-50.0, 0.0)) == 50 + 800 + 150, 'round the loop and back'
    stem = town(NODES, ways, turns=[(1, 1, 0, 'no_entry')])
    assert stem.graph.turns.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize('what', ['only_straight_on', 'only_left_turn', 'no_right_turn'])
def test_a_way_that_ends_does_not_go_on_along_itself(tmp_path, what):
    """Somebody split it and left the relation behind: it does not forbid everything."""
    relation = members(target=10), {**NO_LEFT, 'restriction': what}
    roads = roads_of(written(tmp_path / 'a.osm', [relation]))
    assert not len(roads.graph.turns) and driven(roads, NORTH) == driven(roads, SOUTH) == 200


@pytest.mark.parametrize('turned', range(4))
@pytest.mark.parametrize(('what', 'edge'), [('no_left_turn', [2, 0]), ('no_right_turn', [3, 1])])
def test_two_nodes_at_one_place_have_no_direction(turned, what, edge):
    """The last node before the junction is drawn twice."""
    nodes = {n: (x, y) for n, (x, y) in NODES.items()}
    nodes[10] = nodes[1]
    for _ in range(turned):
        nodes = {n: (-y, x) for n, (x, y) in nodes.items()}
    graph = town(nodes, [([2, 1], {}), ([1, 3], {}), ([4, 10, 1, 5], {})], turns=[(0, 1, 2, what)]).graph
    assert graph.turns.tolist() == [[0, 1, *edge]]


def test_a_way_that_passes_a_node_where_nothing_meets_is_not_cut(tmp_path):
    ways = {**WAYS, 10: [2, 1, 3], 11: [9, 8]}
    del ways[12], ways[13]
    roads = roads_of(written(tmp_path / 'a.osm', [(members(target=10), {**NO_LEFT, 'restriction': 'no_u_turn'})], ways))
    assert not len(roads.graph.turns) and driven(roads, (100.0, 0.0)) == 200


@pytest.mark.parametrize(('refs', 'oneway'), [([1, 4], 'yes'), ([4, 1], '-1')])
def test_oneway_roads_in_both_orders(tmp_path, refs, oneway):
    path = written(tmp_path / 'a.osm', [(members(), NO_LEFT)], {**WAYS, 12: refs}, {12: {'oneway': oneway}})
    roads = roads_of(path)
    assert driven(roads, NORTH) == 1000, 'over the crossing, and over it again from the south'
    assert roads.graph.oneway[roads.graph.turns[0, 2]] and roads.graph.turns[0, 3] == 1


@pytest.mark.parametrize('tags', [{'oneway': '-1'}, {'access': 'private'}])
def test_a_prescribed_turn_that_cannot_be_made_forbids_nothing(tmp_path, tags):
    relation = members(target=11), {**NO_LEFT, 'restriction': 'only_straight_on'}
    assert driven(roads_of(written(tmp_path / 'a.osm', [relation], tags={11: tags})), NORTH) == 200


def test_no_turn_back_from_one_carriageway_to_the_other():
    nodes = {1: (0.0, 0.0), 2: (-200.0, 30.0), 3: (-200.0, -30.0), 4: (150.0, 0.0), 5: (150.0, 150.0),
             6: (0.0, 150.0)}
    ways = [([3, 1], {'oneway': 'yes'}), ([1, 2], {'oneway': 'yes'}), ([1, 4, 5, 6, 1], {})]
    free, forbidden = town(nodes, ways), town(nodes, ways, turns=[(0, 1, 1, 'no_u_turn')])
    ways[2] = ([1, 4], {})
    dead_end = town(nodes, ways, turns=[(0, 1, 1, 'no_u_turn')])
    start, goal = (-100.0, -15.0), (-160.0, 24.0)
    straight = math.hypot(*start) + math.hypot(*goal)
    assert driven(free, goal, start) == pytest.approx(straight, abs=1)
    assert driven(forbidden, goal, start) == pytest.approx(straight + 600, abs=1), 'round the block'
    with pytest.raises(InputError) as error:
        driven(dead_end, goal, start)
    assert error.value.reason == 'goal_unreachable', 'not by a turn on the spot at its end'


def test_no_way_is_left():
    arms = [(refs, {}) for refs in ARMS.values()]
    with pytest.raises(InputError, match='forbidden turns') as error:
        RoutePlanner(town(NODES, arms, turns=[(0, 1, 2, 'no_left_turn')])).plan([NORTH], WEST)
    assert error.value.reason == 'goal_unreachable'


@pytest.mark.parametrize('way', ['start', 'goal', 'both', 'waypoint', 'waypoint ahead'])
def test_a_place_near_the_junction_is_no_way_round_the_restriction(way):
    """Near a junction several roads are near; a route must not begin on the one that it may not turn into."""
    roads = town(NODES, [(refs, {}) for refs in WAYS.values()], turns=[(0, 1, 2, 'no_left_turn')])
    start = (-10.0, 0.0) if way in ('start', 'both') else WEST
    goal = (0.0, 10.0) if way in ('goal', 'both') else NORTH
    through = [(0.0, 0.0)] if way == 'waypoint' else [(10.0, 0.0)] if way == 'waypoint ahead' else []
    route = RoutePlanner(roads).plan([*through, goal], start, 0.0)
    check(roads.graph, route)
    # Round by the east and the north, as far as the goal is from the crossing less on its road.
    detour = 200 + 200 + 200 + (200 - math.dist(goal, (0.0, 0.0)))
    assert route.length == pytest.approx(math.dist(start, (0.0, 0.0)) + detour, abs=0.1)


@pytest.mark.parametrize('away', [100.0, 10.0, 2.0])
def test_a_road_behind_a_short_one_is_no_way_round_the_restriction(away):
    """The few metres between two carriageways: what lies behind them is near as well."""
    nodes = {1: (0.0, 0.0), 2: (0.0, 8.0), 3: (-200.0, 0.0), 4: (0.0, 200.0), 5: (200.0, 0.0), 6: (200.0, 200.0),
             7: (200.0, 100.0)}
    ways = [([3, 1], {}), ([1, 2], {}), ([2, 4], {}), ([1, 5], {}), ([5, 7, 6, 4], {}), ([2, 7], {})]
    first = town(nodes, ways, turns=[(0, 1, 1, 'no_left_turn')])
    second = town(nodes, ways, turns=[(2, 2, 1, 'no_straight_on')])
    for roads, goal, start in ((first, (0.0, 150.0), (-away, 0.0)), (second, (-away, 0.0), (0.0, 150.0))):
        route = RoutePlanner(roads).plan([goal], start)
        check(roads.graph, route)
        assert np.allclose(route.xy[[0, -1]], [start, goal], atol=1e-6) and route.length > 400


def test_a_waypoint_at_the_junction_is_no_place_to_turn():
    """Even if there is no other way."""
    arms = [(refs, {}) for refs in ARMS.values()]
    planner = RoutePlanner(town(NODES, arms, turns=[(0, 1, 2, 'no_left_turn')]))
    with pytest.raises(InputError) as error:
        planner.plan([(0.0, 0.0), NORTH], WEST, 0.0)
    assert error.value.reason == 'goal_unreachable'
    assert planner.plan([(100.0, 0.0), NORTH], WEST, 0.0).length == pytest.approx(400.0, abs=0.1), 'on the road it is'


def test_legs_hang_together_at_a_waypoint_near_a_junction():
    """The road that the waypoint is nearest to leads elsewhere: the route passes it at the junction, without a jump."""
    roads = town(NODES, [(refs, {}) for refs in WAYS.values()])
    route = RoutePlanner(roads).plan([(6.0, 3.0), NORTH], WEST, 0.0)
    check(roads.graph, route)
    assert route.length == pytest.approx(200.0, abs=0.1)


def tiny(rng: np.random.Generator) -> LocalRoads:
    """Six crossings with some of their turns forbidden."""
    nodes = {n: (n % 3 * 150 + rng.uniform(-20, 20), n // 3 * 150 + rng.uniform(-20, 20)) for n in range(6)}
    pairs = [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)]
    ways = [(list(p), {'oneway': str(rng.choice(['no', 'no', 'yes', '-1']))}) for p in pairs]
    roads = town(nodes, ways, barred=[1] if rng.random() < 0.2 else [])
    ends = roads.graph.ends
    steps = list(itertools.product(range(len(ends)), (0, 1), range(len(ends)), (0, 1)))
    turns = [s for s in steps if ends[s[0], s[1]] == ends[s[2], 1 - s[3]] and rng.random() < 0.3]
    graph = replace(roads.graph, turns=np.array(turns, np.int32).reshape(-1, 4))
    return LocalRoads(RoadGraph.from_arrays(graph.arrays()), roads.frame)


def best_seconds(graph: RoadGraph, start: int, goal: int) -> float:
    """From the middle of one edge to that of another: all ways are tried."""
    seconds = (graph.lengths / graph.speeds).tolist()
    turns = set(map(tuple, graph.turns.tolist()))
    arcs = [(e, f) for e in range(len(graph)) for f in ((1,) if graph.oneway[e] else (0, 1))]
    best = math.inf

    def drive(edge: int, forward: int, so_far: float, used: frozenset[tuple[int, int]]) -> None:
        nonlocal best
        node = graph.ends[edge, forward]
        for other, way in arcs:
            if (graph.ends[other, 1 - way] != node or other == edge or (edge, forward, other, way) in turns
                    or node in graph.barred or (other, way) in used or so_far >= best):
                continue
            if other == goal:
                best = min(best, so_far + seconds[other] / 2)
            drive(other, way, so_far + seconds[other], used | {(other, way)})

    for edge, forward in arcs:
        if edge == start:
            drive(edge, forward, seconds[edge] / 2, frozenset())
    return best


@pytest.mark.parametrize('seed', range(40))
def test_the_quickest_of_all_ways_with_and_without_scipy(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    roads = tiny(rng)
    start, goal = (int(e) for e in rng.choice(len(roads.graph), 2, replace=False))
    expected = best_seconds(roads.graph, start, goal)
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(shortest_paths, 'is_installed', lambda name: False)
        try:
            route = RoutePlanner(roads).plan([roads.line(goal).mean(axis=0)], roads.line(start).mean(axis=0))
        except InputError as error:
            assert error.reason == 'goal_unreachable' and math.isinf(expected)
            found.append(None)
            continue
        check(roads.graph, route)
        assert route.seconds == pytest.approx(expected, rel=1e-4)
        found.append((route.edges, route.forward))
    assert found[0] == found[1]


def test_every_format_and_the_other_process_read_the_same(tmp_path):
    relations = [(members(), NO_LEFT), (members(target=11), {**NO_LEFT, 'restriction': 'only_straight_on'})]
    plain, binary, negative = (tmp_path / name for name in ('a.osm', 'a.osm.pbf', 'b.osm'))
    written(plain, relations)
    with osmium.SimpleWriter(str(binary)) as writer:
        for thing in osmium.FileProcessor(str(plain)):
            writer.add(thing)
    negative.write_text(plain.read_text().replace('ref="', 'ref="-').replace('id="', 'id="-'))
    here = osm_file.read_ways(plain, DEFAULT_KINDS)
    assert here.turns.tolist() == [[0, 1, 2, TURNS.index('no_left_turn')], [0, 1, 1, TURNS.index('only_straight_on')]]
    assert np.array_equal(osm_apart.read_ways(plain, DEFAULT_KINDS).turns, here.turns)
    roads = load_roads(plain, cache=tmp_path / 'cache')
    assert len(roads.turns) == 3
    for path in (plain, binary):
        assert np.array_equal(load_roads(path, cache=tmp_path / 'cache').turns, roads.turns)
    assert len(load_roads(negative, cache=None).turns) == 3
    assert not len(osm_file.read_ways(plain, ('tertiary',)).turns)


def test_more_restrictions_than_there_are(tmp_path, monkeypatch):
    many = [('way', n, role) for n in (10, 11, 12) for role in ('from', 'to')] + [('node', 1, 'via')]
    path = written(tmp_path / 'a.osm', [(many, NO_LEFT)])
    assert len(osm_file.read_ways(path, DEFAULT_KINDS).turns) == 9
    monkeypatch.setattr(osm_file, 'MAX_TURNS', 8)
    with pytest.raises(ConfigurationError, match=r'over 8 restrictions.*Remedy'):
        osm_file.read_ways(path, DEFAULT_KINDS)


@pytest.mark.parametrize('turns', [
    np.zeros((1, 3), np.int32), np.zeros(4, np.int32), np.array([[0, 1, 99, 1]]), np.array([[-1, 1, 1, 1]]),
    np.array([[0, 2, 1, 1]]), np.array([[0, 0, 1, 1]])])
def test_turns_that_do_not_fit_the_graph_are_refused(turns):
    graph = town({1: (0, 0), 2: (100, 0), 3: (200, 0)}, [([1, 2], {}), ([2, 3], {})]).graph
    fits = {**graph.arrays(), 'turns': np.array([[0, 1, 1, 1]])}
    assert RoadGraph.from_arrays(fits).turns.tolist() == [[0, 1, 1, 1]]
    with pytest.raises(ValueError, match='forbidden turns'):
        RoadGraph.from_arrays({**fits, 'turns': turns})
    del fits['turns']
    with pytest.raises(KeyError):
        RoadGraph.from_arrays(fits)


def test_a_real_extract(shared_folder):
    path = shared_folder / 'data/osm/kaiserslautern.osm.gz'
    found = osm_file.read_ways(path, DEFAULT_KINDS).turns
    assert len(found) == 39, 'of 44 relations: one has a way between, of four a road is of another kind'
    graph = load_roads(path, cache=None)
    south, west, north, east = graph.bounds
    roads = LocalRoads(graph, LocalFrame((south + north) / 2, (west + east) / 2))
    planner, rng = RoutePlanner(roads), np.random.default_rng(5)
    turned = RoutePlanner(LocalRoads(replace(graph, turns=graph.turns[:0]), roads.frame))
    longer = 0
    for _ in range(60):
        a, b = (roads.line(int(e)).mean(axis=0) for e in rng.choice(np.flatnonzero(graph.routable), 2))
        try:
            route = planner.plan([b], a)
        except InputError as error:
            assert error.reason == 'goal_unreachable'
            continue
        check(graph, route)
        longer += route.edges != turned.plan([b], a).edges
    assert longer
