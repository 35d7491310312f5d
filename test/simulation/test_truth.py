# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Branches and direction against scenes whose answer can be written down."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_fusion_ros.geometry import angle_between, wrap
from attention_fusion_ros.simulation.truth.branches import merge, truth
from attention_fusion_ros.simulation.world.world import Road, Terrain, World

R = 20.0
TOLERANCE = 1e-6


def _world(*centres, width=6.0, route=None, oneway=False):
    roads = tuple(Road(np.array(c, dtype=float), width, oneway=oneway) for c in centres)
    return World('test', roads, Terrain(), route=None if route is None else np.array(route, dtype=float))


def _same(found, expected, tolerance=TOLERANCE):
    """Branches equal as sets, bearings and headings on the circle."""
    assert len(found) == len(expected), f'{np.degrees(found)} instead of {np.degrees(expected)}'
    left = list(found)
    for bearing, heading in expected:
        nearest = min(left, key=lambda b: angle_between(b[0], bearing))
        assert angle_between(nearest[0], bearing) < tolerance and angle_between(nearest[1], heading) < tolerance
        left.remove(nearest)


def test_straight_road_seen_from_its_right_lane():
    answer = truth(_world([(-100, 0), (100, 0)]), (3.0, -2.0, 0.0))
    beside = math.asin(2.0 / R)
    _same(answer.branches, [(beside, 0.0), (math.pi - beside, math.pi)])
    assert answer.direction == pytest.approx((beside, 0.0)) and answer.direction_reason == ''


@given(x=st.floats(-40, 40), y=st.floats(-5, 5), yaw=st.floats(-3.14, 3.14))
@settings(max_examples=60, deadline=None)
def test_turning_the_vehicle_shifts_every_angle(x, y, yaw):
    world = _world([(-100, 0), (0, 0), (100, 0)], [(0, 0), (0, 90)])
    plain, turned = truth(world, (x, y, 0.0)), truth(world, (x, y, yaw))
    _same(turned.branches, [(wrap(b - yaw), wrap(h - yaw)) for b, h in plain.branches])


@given(d=st.floats(1.0, 40.0))
@settings(max_examples=40, deadline=None)
def test_t_junction_at_a_known_distance(d):
    """The side road leaves to the left at x = d: it is a branch once the junction is inside the ring."""
    world = _world([(-100, 0), (d, 0), (100, 0)], [(d, 0), (d, 100)])
    expected = [(0.0, 0.0), (math.pi, math.pi)]
    if d < R - 0.01:
        expected.append((math.acos(d / R), math.pi / 2))
    if abs(d - R) > 0.2:  # nearer to the ring, the side road and the road ahead merge
        _same(truth(world, (0.0, 0.0, 0.0)).branches, expected if d < R - 0.02 else expected[:2])


def test_stem_of_a_t_has_two_arms_and_no_direction():
    world = _world([(-100, 0), (10, 0)], [(10, -100), (10, 0), (10, 100)])
    answer = truth(world, (0.0, 0.0, 0.0))
    _same(answer.branches, [(math.pi, math.pi), (math.pi / 3, math.pi / 2), (-math.pi / 3, -math.pi / 2)])
    assert answer.direction is None and 'no road goes straight on' in answer.direction_reason
    away = truth(world, (0.0, 0.0, math.pi))
    assert away.direction == pytest.approx((0.0, 0.0), abs=1e-6)


def test_main_road_goes_on_at_a_t():
    world = _world([(-100, 0), (10, 0), (100, 0)], [(10, 0), (10, -100)])
    assert truth(world, (0.0, 0.0, 0.3)).direction == pytest.approx((-0.3, -0.3))


@pytest.mark.parametrize('angle', [30, 50, 90, 120])
def test_skewed_crossing(angle):
    a = math.radians(angle)
    far = 100 * np.array([math.cos(a), math.sin(a)])
    world = _world([(-100, 0), (0, 0), (100, 0)], [-far, (0, 0), far])
    _same(truth(world, (0.0, 0.0, 0.0)).branches, [(0, 0), (math.pi, math.pi), (a, a), (a - math.pi, a - math.pi)])
    d = 8.0  # the crossing is 8 m ahead: law of sines
    b = a - math.asin(d / R * math.sin(a))
    c = wrap(a - math.pi + math.asin(d / R * math.sin(a)))
    answer = truth(world, (-d, 0.0, 0.0))
    _same(answer.branches, [(0, 0), (math.pi, math.pi), (b, a), (c, a - math.pi)])
    assert answer.direction == pytest.approx((0, 0))


def test_crossing_without_a_shared_vertex_is_a_bridge():
    world = _world([(-100, 0), (100, 0)], [(5, -100), (5, 100)])
    _same(truth(world, (0.0, 0.0, 0.0)).branches, [(0, 0), (math.pi, math.pi)])


def test_dead_end_has_one_branch():
    world = _world([(-100, 0), (12, 0)])
    answer = truth(world, (0.0, 0.0, 0.0))
    _same(answer.branches, [(math.pi, math.pi)])
    assert answer.direction is None and 'ends' in answer.direction_reason
    assert truth(world, (0.0, 0.0, math.pi)).direction == pytest.approx((0.0, 0.0), abs=1e-6)


def test_the_other_carriageway_counts_only_where_it_is_joined():
    on, back = [(-100, 0), (8, 0), (100, 0)], [(100, 9), (8, 9), (-100, 9)]
    apart = truth(_world(on, back, oneway=True), (0.0, 0.0, 0.0))
    _same(apart.branches, [(0, 0), (math.pi, math.pi)])
    joined = truth(_world(on, back, [(8, 0), (8, 9)]), (0.0, 0.0, 0.0))
    b = math.asin(9 / R)
    _same(joined.branches, [(0, 0), (math.pi, math.pi), (b, 0), (math.pi - b, math.pi)])
    assert joined.direction == pytest.approx((0, 0))
    beyond = [(-100, 0), (30, 0), (100, 0)], [(100, 9), (30, 9), (-100, 9)], [(30, 0), (30, 9)]
    _same(truth(_world(*beyond), (0.0, 0.0, 0.0)).branches, [(0, 0), (math.pi, math.pi)])


def _roundabout(radius=10.0):
    a = np.radians(np.arange(0, 361, 1))
    ring = radius * np.stack([np.cos(a), np.sin(a)], axis=1)
    ring[-1] = ring[0]
    arms = [[(radius * math.cos(t), radius * math.sin(t)), (100 * math.cos(t), 100 * math.sin(t))]
            for t in (0.0, math.pi / 2, math.pi, -math.pi / 2)]
    return _world(ring, *arms)


def test_roundabout_from_its_centre_and_from_an_arm():
    world = _roundabout()
    quarter = math.pi / 2
    _same(truth(world, (0.0, 0.0, 0.0), lookahead=20.0).branches,
          [(0, 0), (quarter, quarter), (math.pi, math.pi), (-quarter, -quarter)])
    # 12 m before the ring: of the arms only the own one is inside, the ring is met twice.
    d, r = 22.0, 10.0
    along = (R * R + d * d - r * r) / (2 * d)
    bearing = math.acos(along / R)
    at = np.array([along - d, R * math.sin(bearing)])
    heading = math.atan2(-at[0], at[1])  # the ring's tangent, outward
    answer = truth(world, (-d, 0.0, 0.0))
    _same(answer.branches, [(math.pi, math.pi), (bearing, heading), (-bearing, -heading)], math.radians(0.6))
    assert answer.direction is None


def test_driving_on_a_roundabout_the_ring_goes_on():
    world = _roundabout(16.0)
    answer = truth(world, (0.0, -16.0, 0.0))
    assert answer.direction is not None
    assert 0 < math.degrees(answer.direction[0]) < 60


def test_fork_with_similar_arms_has_no_direction_and_an_exit_has_one():
    def fork(a, b):
        arms = [[(10, 0), (10 + 100 * math.cos(t), 100 * math.sin(t))] for t in (math.radians(a), math.radians(b))]
        return truth(_world([(-100, 0), (10, 0)], *arms), (0.0, 0.0, 0.0))
    assert fork(12, -14).direction is None and 'forks' in fork(12, -14).direction_reason
    assert fork(2, -35).direction == pytest.approx((math.radians(1.02), math.radians(2)), abs=1e-3)


def test_a_bend_without_junction_is_followed_however_sharp():
    world = _world([(-100, 0), (10, 0), (10, -100)])
    assert truth(world, (0.0, 0.0, 0.0)).direction == pytest.approx((-math.pi / 3, -math.pi / 2))


def test_across_the_road_there_is_no_ahead():
    world = _world([(-100, 0), (100, 0)])
    answer = truth(world, (0.0, 0.0, math.radians(88)))
    assert answer.direction is None and 'across' in answer.direction_reason and len(answer.branches) == 2
    assert truth(world, (0.0, 0.0, math.radians(79))).direction == pytest.approx((-math.radians(79),) * 2)


def test_the_route_decides():
    route = [(-50, 0), (10, 0), (10, 90)]
    world = _world([(-100, 0), (10, 0)], [(10, -100), (10, 0), (10, 100)], route=route)
    assert truth(world, (0.0, -1.0, 0.0)).direction is None
    answer = truth(world, (0.0, 0.0, 0.0), route=True)
    assert answer.direction == pytest.approx((math.pi / 3, math.pi / 2)) and answer.direction in answer.branches
    backwards = truth(world, (0.0, 0.0, math.pi), route=True)
    assert backwards.direction == pytest.approx((math.pi / 3 - math.pi, -math.pi / 2))
    short = truth(_world([(-100, 0), (100, 0)], route=[(-50, 0), (10, 0)]), (0.0, 0.0, 0.0), route=True)
    assert short.direction is None and 'ends' in short.direction_reason


def test_the_vehicle_is_on_the_road_whose_surface_is_nearest():
    """8 m beside the middle of a wide road is still on it, though a lane of its own is nearer by its centre."""
    wide, lane = np.array([(-100.0, 0), (100, 0)]), np.array([(-100.0, 13), (100, 13)])
    world = World('test', (Road(wide, 20.0), Road(lane, 3.0)), Terrain())
    answer = truth(world, (0.0, 8.0, 0.0))
    _same(answer.branches, [(-math.asin(8 / R), 0), (-math.pi + math.asin(8 / R), math.pi)])


def test_no_road_near():
    answer = truth(_world([(50, 50), (90, 50)]), (0.0, 0.0, 0.0))
    assert answer.branches == () and answer.direction is None and answer.direction_reason


def test_merging_wraps_around_behind():
    (bearing, heading), = merge([(-math.pi + 0.01, 3.0), (math.pi - 0.01, 3.1)])
    assert abs(bearing) == pytest.approx(math.pi) and heading == pytest.approx(3.05)
    assert len(merge([(0.0, 0.0), (math.radians(4), 0.0)])) == 2


@pytest.mark.parametrize('scene_class', ['straight', 'curve', 't', 'x', 'y', 'skewed', 'staggered', 'roundabout',
                                         'dead_end', 'fork', 'dual'])
def test_truth_of_generated_worlds_holds_together(scene_class):
    from attention_fusion_ros.simulation.world.generate import generate_world
    for seed in range(4):
        world = generate_world(seed, scene_class)
        plain, routed = truth(world), truth(world, route=True)
        assert plain.branches == routed.branches and 1 <= len(plain.branches) <= 8
        for answer in (plain, routed):
            assert (answer.direction is None) == bool(answer.direction_reason)
            assert answer.direction is None or answer.direction in answer.branches
        # Roads lead outward where they leave the ring.
        assert all(angle_between(b, h) < math.pi / 2 for b, h in plain.branches)
        if scene_class in ('straight', 'curve'):
            assert len(plain.branches) == 2
        if scene_class != 'dead_end':
            assert routed.direction is not None
