# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Roads near a place, against all roads looked at one by one; bridges; datums without roads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.map_kit import city, town

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.layer import RoadTracker, drawn_edges
from attention_fusion_ros.maps.local_roads import LocalRoads

pytest.importorskip('pyproj', reason='needs pyproj')


def distances(roads: LocalRoads, place: np.ndarray) -> dict[int, float]:
    """Of every edge to a place, segment by segment."""
    found = {}
    for edge in range(len(roads.graph)):
        line = roads.line(edge)
        best = math.inf
        for a, b in zip(line[:-1], line[1:]):
            d = b - a
            t = min(max(float((place - a) @ d) / max(float(d @ d), 1e-12), 0.0), 1.0)
            best = min(best, math.dist(a + t * d, place))
        found[edge] = best
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(49.4, 7.8), (-33.9, 151.2), (65.0, -179.9999), (1.3, 103.8)]))
def test_matches_are_those_of_looking_at_every_road(seed, datum):
    rng = np.random.default_rng(seed)
    nodes = {i: tuple(rng.uniform(-400, 400, 2)) for i in range(30)}
    ways = [(rng.choice(30, rng.integers(2, 5), replace=False).tolist(), {}) for _ in range(15)]
    roads = town(nodes, ways, datum)
    place = rng.uniform(-450, 450, 2)
    expected = {edge: d for edge, d in distances(roads, place).items() if d <= 80.0}
    found = roads.matches(place, 80.0, limit=1000)
    assert {m.edge: m.distance for m in found} == pytest.approx(expected, abs=1e-6)
    assert [m.distance for m in found] == sorted(m.distance for m in found)
    for match in found:
        assert math.dist(match.place, place) == pytest.approx(match.distance, abs=1e-6)
        assert 0 <= match.at <= roads.length(match.edge) + 1e-6
    low, high = place - 60, place + 60
    touching = {e for e in range(len(roads.graph)) if distances(roads, place)[e] <= 60}
    assert touching <= set(roads.edges_in(low, high).tolist())


CROSSING = ({1: (-100, 0), 2: (0, 0), 3: (100, 0), 4: (0, -40), 5: (0, 40), 6: (0, -100), 7: (0, 100)},
            [([1, 3], {}), ([6, 4], {}), ([4, 5], {'bridge': 'yes'}), ([5, 7], {})])


def test_the_road_along_the_heading_is_preferred():
    roads = town(*CROSSING)
    across, along = roads.nearest(np.array([2.0, 3.0]), heading=0.0), roads.nearest(np.array([2.0, 3.0]), heading=1.57)
    assert across.edge == 0 and along.edge == 2
    assert roads.nearest(np.array([2.0, 3.0])).edge == 2


def test_of_other_layers_only_what_the_vehicle_can_reach_is_drawn():
    roads = town(*CROSSING)
    every = np.arange(4)
    assert drawn_edges(roads, every, 0).tolist() == [0, 1, 3], 'the bridge above is not drawn'
    assert drawn_edges(roads, every, 1).tolist() == [0, 1, 2, 3], 'the bridge ahead is'
    assert drawn_edges(roads, every, 2).tolist() == [1, 2, 3], 'on the bridge, not the road below'
    assert drawn_edges(roads, every, None).tolist() == [0, 1, 2, 3]


def test_on_the_bridge_the_vehicle_stays_on_its_road():
    roads = town(*CROSSING)
    tracker = RoadTracker(roads)
    seen = [tracker.update(np.array([1.0, y]), math.pi / 2).edge for y in range(-90, 91, 2)]
    assert sorted(set(seen)) == [1, 2, 3] and seen == sorted(seen)
    seen = [tracker.update(np.array([x, 2.0]), 0.0) for x in range(-90, 91, 2)]
    assert {m.edge for m in seen[3:]} == {0}
    assert tracker.update(np.array([500.0, 500.0]), 0.0) is None


def test_a_datum_on_another_continent_and_a_place_without_roads_are_named():
    roads = town(*CROSSING)
    with pytest.raises(InputError, match='-33.9') as error:
        LocalRoads(roads.graph, LocalFrame(-33.9, 151.2))
    assert error.value.reason == 'datum_far_from_map'
    with pytest.raises(InputError) as error:
        roads.nearest(np.array([5000.0, 0.0]))
    assert error.value.reason == 'no_roads_near'
    assert roads.matches(np.array([math.nan, 0.0])) == []


def test_a_real_city(shared_folder):
    roads = city(shared_folder, 'boston_seaport')
    rng = np.random.default_rng(1)
    for place in rng.uniform(-600, 600, (5, 2)):
        found = {m.edge: m.distance for m in roads.matches(place, 100.0, limit=1000)}
        assert found == pytest.approx({e: d for e, d in distances(roads, place).items() if d <= 100.0}, abs=1e-6)
