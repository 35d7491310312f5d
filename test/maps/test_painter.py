# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images against a slow drawing by distances, and through the decoder and the BEV grid of the fusion node."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.map_kit import CITIES, city, town

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import ROAD, ROUTE, map_bev
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.decode.map_style import road_and_route
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.painter import ImageLayout, MapPainter

pytest.importorskip('pyproj', reason='needs pyproj')


def places(layout: ImageLayout, pose: tuple[float, float, float]) -> np.ndarray:
    """(rows, columns, 2) m in the local frame of the middle of every pixel, by REP-103 alone."""
    columns, rows = layout.size
    u, v = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    left = (layout.anchor[0] * columns - u) * layout.resolution
    ahead = (layout.anchor[1] * rows - v) * layout.resolution
    yaw = pose[2] if layout.orientation == 'heading_up' else math.pi / 2
    return np.stack([pose[0] + math.cos(yaw) * ahead - math.sin(yaw) * left,
                     pose[1] + math.sin(yaw) * ahead + math.cos(yaw) * left], axis=-1)


def distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    found = np.full(points.shape[:2], np.inf)
    for a, b in zip(line[:-1], line[1:]):
        d = b - a
        t = np.clip(((points - a) @ d) / max(float(d @ d), 1e-12), 0.0, 1.0)
        found = np.minimum(found, np.hypot(*np.moveaxis(points - a - t[..., None] * d, -1, 0)))
    return found


def coverage(layout, pose, lines: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """(rows, columns) 0..1: how much of a pixel lies within half a width of a line."""
    points = places(layout, pose)
    covered = np.zeros(points.shape[:2])
    for line, width in lines:
        covered = np.maximum(covered, np.clip((width / 2 - distance(points, line)) / layout.resolution + 0.5, 0.0, 1.0))
    return covered


def roads_of(roads: LocalRoads, width: float) -> list[tuple[np.ndarray, float]]:
    return [(roads.line(e), width or float(roads.graph.widths[e])) for e in range(len(roads.graph))]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_images_are_those_of_the_slow_drawing(seed):
    rng = np.random.default_rng(seed)
    nodes = {i: tuple(rng.uniform(-150, 150, 2)) for i in range(12)}
    ways = [(rng.choice(12, 3, replace=False).tolist(), {'highway': str(rng.choice(['residential', 'primary']))})
            for _ in range(5)]
    roads = town({**nodes, 90: (-9000.0, 13.0), 91: (9000.0, -40.0)}, [*ways, ([90, 91], {})])
    layout = ImageLayout(
        resolution=float(rng.choice([0.1, 0.25, 0.5, 1.0])), size=tuple(int(n) for n in rng.integers(60, 160, 2)),
        anchor=tuple(float(f) for f in rng.uniform(0.2, 0.8, 2)),
        orientation=str(rng.choice(['heading_up', 'north_up'])), road_width=float(rng.choice([0.0, 4.3])),
        route_behind=1e9)
    pose = tuple(float(v) for v in rng.uniform((-60, -60, -math.pi), (60, 60, math.pi)))
    route = np.array([nodes[i] for i in range(4)])
    image = MapPainter(roads, layout).draw(pose, route)
    assert image.shape == (*layout.size[::-1], 3) and image.dtype == np.uint8
    road = coverage(layout, pose, roads_of(roads, layout.road_width))
    red = coverage(layout, pose, [(route, layout.route_width)])
    error = np.abs(image[..., 0] / 255 - np.maximum(road, red))
    assert error.mean() < 0.02 and np.quantile(error, 0.98) < 0.5
    assert np.abs(image[..., 1] / 255 - road * (1 - red)).mean() < 0.03
    assert (image[..., 1] == image[..., 2]).all()


CORNER = ({1: (0, -60), 2: (0, 20), 3: (80, 20), 4: (-60, 20)}, [([1, 2, 3], {'width': '6'}), ([2, 4], {'width': '6'})])


@pytest.mark.parametrize('orientation', ['heading_up', 'north_up'])
@pytest.mark.parametrize('anchor', [(0.5, 0.5), (0.4, 0.7)])
def test_the_fusion_node_sees_the_roads_where_they_are(orientation, anchor):
    """Drawn, decoded and laid into the grid as the node does it, with the same parameters."""
    roads = town(*CORNER)
    layout = ImageLayout(resolution=0.25, size=(400, 360), anchor=anchor, orientation=orientation)
    pose = (1.0, -5.0, 2.0)  # m, m, rad
    image = MapPainter(roads, layout).draw(pose, np.array([[0.0, -60], [0, 20], [80, 20]]))
    layers = road_and_route(dict(zip('rgb', np.moveaxis(image, -1, 0))))
    assert layers.route is not None and not layers.warnings
    T = np.eye(4)
    T[:2, :2] = [[math.cos(pose[2]), -math.sin(pose[2])], [math.sin(pose[2]), math.cos(pose[2])]]
    T[:2, 3] = pose[:2]
    grid = Grid(extent=30.0, cells=120)
    config = MapConfig(resolution=layout.resolution, anchor=list(anchor), orientation=orientation)
    bev = map_bev(MapImage(1, 'map', layers.road, layers.route), Motion(np.eye(4), T, T), config, grid).numpy()
    half = grid.extent - grid.extent / grid.cells
    x = np.linspace(half, -half, grid.cells)  # row 0 farthest ahead, column 0 farthest left
    ahead, left = np.meshgrid(x, x, indexing='ij')
    points = np.stack([ahead, left], axis=-1) @ T[:2, :2].T + T[:2, 3]
    away = np.minimum(distance(points, roads.line(0)), np.minimum(distance(points, roads.line(1)),
                                                                  distance(points, roads.line(len(roads.graph) - 1))))
    valid = bev[2] > 0.999
    assert bev[ROAD][valid & (away < 2.4)].min() > 0.9 and bev[ROAD][valid & (away > 3.6)].max() < 0.1
    route = bev[ROUTE] > 0.5
    assert route.any() and distance(points, np.array([[0.0, -60], [0, 20], [80, 20]]))[route].max() < 1.6


def test_the_route_behind_the_vehicle_is_not_drawn():
    roads = town(*CORNER)
    layout = ImageLayout(route_behind=5.0)
    image = MapPainter(roads, layout).draw((0.0, -20.0, math.pi / 2), np.array([[0.0, -60], [0, 20], [80, 20]]))
    red = (image[..., 0] > 200) & (image[..., 1] < 50)
    assert places(layout, (0.0, -20.0, math.pi / 2))[red][:, 1].min() == pytest.approx(-25.0 - 1.0, abs=0.5)


def test_a_bridge_above_the_vehicle_is_drawn_by_choice_only():
    nodes = {1: (-100, 0), 2: (100, 0), 4: (0, -40), 5: (0, 40), 6: (0, -100), 7: (0, 100)}
    roads = town(nodes, [([1, 2], {}), ([6, 4], {}), ([4, 5], {'bridge': 'yes'}), ([5, 7], {})])
    seen = {}
    for layers in ('own', 'all'):
        layout = ImageLayout(size=(200, 200), layers=layers)
        image = MapPainter(roads, layout).draw((-10.0, 0.0, 0.0))
        points = places(layout, (-10.0, 0.0, 0.0))
        seen[layers] = image[(np.abs(points[..., 0]) < 2) & (points[..., 1] > 8)].mean()
    assert seen == {'own': 0.0, 'all': 255.0}


def test_nothing_near_is_a_black_image():
    image = MapPainter(town(*CORNER)).draw((5000.0, 5000.0, 0.0), np.array([[0.0, 0], [1, 0]]))
    assert not image.any()


@pytest.mark.parametrize('wrong', [
    {'resolution': 0.0}, {'resolution': math.nan}, {'size': (0, 10)}, {'size': (9999, 10)}, {'anchor': (0.5, 1.5)},
    {'orientation': 'east_up'}, {'layers': 'some'}])
def test_layouts_that_cannot_be_drawn(wrong):
    with pytest.raises(ConfigurationError, match='Remedy'):
        ImageLayout(**wrong)


@pytest.mark.parametrize('name', CITIES)
def test_a_real_city(name, shared_folder):
    roads = city(shared_folder, name)
    layout = ImageLayout(resolution=0.5, size=(160, 160), layers='all')
    rng = np.random.default_rng(2)
    for edge in rng.choice(len(roads.graph), 4, replace=False):
        pose = (*roads.line(edge).mean(axis=0).tolist(), float(rng.uniform(-3, 3)))
        near = [(roads.line(e), float(roads.graph.widths[e]))
                for e in roads.edges_in(np.array(pose[:2]) - 90, np.array(pose[:2]) + 90)]
        image = MapPainter(roads, layout).draw(pose)
        assert image.any() and np.abs(image[..., 0] / 255 - coverage(layout, pose, near)).mean() < 0.02
