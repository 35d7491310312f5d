# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawn maps: they lie where they say, err as told, and read the same whichever way they are made."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import Motion
from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.simulation.sensors.map_image import (
    ENCODINGS,
    MISSING,
    SHIFT_SIGMA_M,
    YAW_SIGMA_RAD,
    MapError,
    MapStyle,
    draw_map,
    draw_road_layers,
    random_error,
    random_style,
)
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.world import Road, Terrain, World

GRID = Grid()
EXACT = MapError()
STILL = Motion(np.eye(4))


def _rng(seed=0):
    return np.random.default_rng(seed)


def _cross(route=None):
    """The vehicle's road along x, a side road to the left at x = 15, a road elsewhere."""
    lines = [[(-90, 0), (15, 0), (90, 0)], [(15, 0), (15, 90)], [(-90, -30), (90, -30)]]
    roads = tuple(Road(np.array(line, dtype=float), 6.0) for line in lines)
    return World('test', roads, Terrain(), route=None if route is None else np.array(route, dtype=float))


def _as_bev(image, layout, encoding):
    """A drawn image through the decoder and the warp of the node -> (3, H, W)."""
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id='base_link'), height=image.shape[0],
        width=image.shape[1], encoding=encoding, is_bigendian=0, step=image.strides[0], data=image.tobytes())
    config = MapConfig(resolution=layout.resolution, anchor=list(layout.anchor), orientation=layout.orientation)
    return map_bev(decode_map_image(message), STILL, config, GRID).numpy()


def _at(layer, x, y):
    row, column = (int(round(float(v))) for v in GRID.metres_to_cells(x, y))
    return float(layer[row, column])


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('resolution, anchor', [(0.2, (0.5, 0.5)), (0.5, (0.4, 0.7))])
def test_roads_lie_where_they_are(encoding, resolution, anchor):
    size = (int(120 / resolution), int(120 / resolution))
    style = MapStyle(width=4.0, resolution=resolution, size=size, anchor=anchor, encoding=encoding)
    image, layout = draw_map(_cross(), (0.0, 0.0, 0.0), style, EXACT, _rng())
    road, route, valid = _as_bev(image, layout, encoding)
    for x, y in ((0, 0), (-20, 0), (15, 20), (15, 35), (0, -30)):
        assert _at(road, x, y) > 0.9, (x, y)
    for x, y in ((0, 4), (15, -8), (0, -26), (20, 10)):
        assert _at(road, x, y) < 0.1, (x, y)
    assert route.max() == 0 and _at(valid, 0, 0) == 1


@given(x=st.floats(-6, 6), y=st.floats(-6, 6), yaw=st.floats(-0.4, 0.4))
@settings(max_examples=25, deadline=None)
def test_the_error_turns_about_the_vehicle_then_shifts(x, y, yaw):
    error = MapError(x, y, yaw)
    road, _ = draw_road_layers(_cross(), (0.0, 0.0, 0.0), GRID, error, _rng(), MapStyle(width=3.0))
    for point in ((0.0, 0.0), (-20.0, 0.0), (15.0, 15.0)):
        u, v = rotation_2d(yaw) @ point + (x, y)
        assert _at(road, u, v) > 0.9
    u, v = rotation_2d(yaw) @ (-10.0, 6.0) + (x, y)
    assert _at(road, u, v) < 0.1


def test_the_pose_of_the_vehicle_counts():
    pose = (15.0, 10.0, math.pi / 2)  # on the side road, looking along it
    road, _ = draw_road_layers(_cross(), pose, GRID, EXACT, _rng(), MapStyle(width=3.0))
    assert _at(road, 20, 0) > 0.9 and _at(road, -10, 20) > 0.9 and _at(road, 10, 10) < 0.1


@pytest.mark.parametrize('seed', range(12))
def test_layers_equal_an_image_that_went_through_the_node(seed):
    world = generate_world(seed)
    style = random_style(_rng(seed))
    rows = int(140 / style.resolution)
    style = replace(style, encoding='rgb8', size=(rows, rows), anchor=(0.5, 0.5))
    error = random_error(_rng(seed + 1))
    image, layout = draw_map(world, world.pose, style, error, _rng(7), route=True)
    slow = _as_bev(image, layout, 'rgb8')
    fast = draw_road_layers(world, world.pose, GRID, error, _rng(7), style, route=True)
    for name, a, b in zip(('road', 'route'), slow, fast):
        assert np.abs(a - b).mean() < 0.03, name
        top = max(float(a.max()), 0.1)
        both, either = ((a > top / 2) & (b > top / 2)).sum(), ((a > top / 2) | (b > top / 2)).sum()
        assert both / max(either, 1) > (0.75 if style.width and style.width < 3 else 0.85), name


def test_the_route_is_red_and_begins_at_the_vehicle():
    world = _cross(route=[(-60, 0), (15, 0), (15, 80)])
    style = MapStyle(width=4.0, route_behind=0.0)
    image, layout = draw_map(world, (0.0, 0.0, 0.0), style, EXACT, _rng(), route=True)
    road, route, _ = _as_bev(image, layout, 'rgb8')
    assert _at(route, 8, 0) > 0.9 and _at(route, 15, 20) > 0.9 and _at(road, 8, 0) > 0.9
    assert _at(route, -10, 0) < 0.1 and _at(route, 30, 0) < 0.1 and _at(road, -10, 0) > 0.9
    plain, _ = draw_map(world, (0.0, 0.0, 0.0), style, EXACT, _rng(), route=False)
    assert (plain[..., 0] == plain[..., 1]).all()
    grey, _ = draw_map(world, (0.0, 0.0, 0.0), replace(style, encoding='mono8'), EXACT, _rng(), route=True)
    assert (grey == plain[..., 0]).all()


def test_missing_spares_the_own_road_and_added_draws_more():
    gone, _ = draw_road_layers(_cross(), (0.0, 0.0, 0.0), GRID, MapError(missing=1.0), _rng(), MapStyle())
    assert _at(gone, 0, 0) > 0.9 and _at(gone, 30, 0) > 0.9 and _at(gone, 15, 20) < 0.1 and _at(gone, 0, -30) < 0.1
    whole, _ = draw_road_layers(_cross(), (0.0, 0.0, 0.0), GRID, EXACT, _rng(), MapStyle())
    more, _ = draw_road_layers(_cross(), (0.0, 0.0, 0.0), GRID, MapError(added=1.0), _rng(), MapStyle())
    assert (more >= whole - 1e-6).all() and more.sum() > 1.05 * whole.sum()


def test_shares_of_missing_roads():
    count = 0
    for seed in range(200):
        layer, _ = draw_road_layers(_cross(), (0.0, 0.0, 0.0), GRID, MapError(missing=MISSING), _rng(seed), MapStyle())
        count += _at(layer, 15, 20) < 0.1
    assert 8 <= count <= 35  # binomial, 200 trials of 10 %


def test_the_standard_error():
    errors = [random_error(_rng(s)) for s in range(2000)]
    x, y, yaw = (np.array([getattr(e, k) for e in errors]) for k in ('x', 'y', 'yaw'))
    assert x.std() == pytest.approx(SHIFT_SIGMA_M, rel=0.06) and y.std() == pytest.approx(SHIFT_SIGMA_M, rel=0.06)
    assert yaw.std() == pytest.approx(YAW_SIGMA_RAD, rel=0.06) and abs(yaw.mean()) < 0.01
    double = np.array([random_error(_rng(s), scale=2.0).x for s in range(2000)])
    assert double.std() == pytest.approx(2 * SHIFT_SIGMA_M, rel=0.06)
    wide = [random_error(_rng(s), wide=True) for s in range(500)]
    assert max(math.hypot(e.x, e.y) for e in wide) <= 8.0 and max(abs(e.yaw) for e in wide) <= math.radians(15)
    assert max(math.hypot(e.x, e.y) for e in wide) > 7.0


def test_lanes_and_the_driven_path():
    world = _cross(route=[(-60, 0), (90, 0)])
    style = MapStyle(width=0.6, lanes=True, resolution=0.1, size=(600, 600))
    lanes, _ = draw_map(world, (0.0, 0.0, 0.0), style, EXACT, _rng())
    across = lanes[200, 250:350, 0]  # 10 m ahead of the vehicle, 5 m to both sides
    assert across[[35, 65]].min() > 200 and across[50] == 0  # two lanes of 3 m, nothing on the centre line
    road, _ = draw_road_layers(world, (0.0, -1.5, 0.0), GRID, EXACT, _rng(), MapStyle(width=1.5, driven_path=True))
    assert _at(road, 20, 0) > 0.9 and _at(road, -20, 0) > 0.9 and _at(road, 15, 20) < 0.1 and _at(road, 20, 1.5) < 0.6
    turned = (0.0, -1.5, math.pi)  # on the right of the way it takes, whichever way it looks
    road, _ = draw_road_layers(world, turned, GRID, EXACT, _rng(), MapStyle(width=1.5, driven_path=True))
    assert _at(road, 20, 0) > 0.9 and _at(road, -20, 0) > 0.9


def test_equal_random_numbers_draw_equal_maps_and_styles_differ():
    world = generate_world(3)
    for seed in range(6):
        style, error = random_style(_rng(seed)), random_error(_rng(seed))
        a, b = (draw_map(world, world.pose, style, error, _rng(seed), route=True)[0] for _ in range(2))
        assert a.dtype == b.dtype and (a == b).all()
    styles = [random_style(_rng(s)) for s in range(200)]
    assert {s.encoding for s in styles} == set(ENCODINGS)
    assert {s.antialias for s in styles} == {True, False} and any(s.lanes for s in styles)
    assert min(s.resolution for s in styles) < 0.2 and max(s.resolution for s in styles) > 0.8
    assert all(0.15 <= s.resolution <= 1.0 for s in styles)


def test_lines_alone_will_do():
    lines = [np.array([(-90.0, 0), (90, 0)])]
    road, route = draw_road_layers(lines, (0.0, 0.0, 0.0), GRID, EXACT, _rng(), MapStyle(width=3.0))
    assert _at(road, 10, 0) > 0.9 and route.max() == 0
