# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images on the grid: the same as the plain way over the whole image, at the cost of the part that is reached."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from attention_fusion_ros.bev.grid import Grid, pixels_to_unit
from attention_fusion_ros.bev.map_image import ROAD, VALID, map_bev, map_source, vehicle_to_map_frame
from attention_fusion_ros.bev.map_quality import map_problem
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion

GRID = Grid()
DRAWN = 0.2


def plain(image, motion, layout):
    """(3, H, W) the plain way: every pixel of the image is averaged."""
    layers = [image.road, np.zeros_like(image.road) if image.route is None else image.route, np.ones_like(image.road)]
    source, (height, width), resolution = torch.from_numpy(np.stack(layers)), image.road.shape, layout.resolution
    shrink = int(GRID.resolution // resolution)
    if shrink >= 2 and min(height, width) >= shrink:
        source = F.avg_pool2d(source[None], shrink, ceil_mode=True, count_include_pad=False)[0]
        resolution *= shrink
    x, y = GRID.centre_tensors()
    T = torch.from_numpy(vehicle_to_map_frame(motion, layout.orientation)).float()
    up, left = (T[i, 0] * x + T[i, 1] * y + T[i, 2] for i in (0, 1))
    column = layout.anchor[0] * width * layout.resolution / resolution - left / resolution
    row = layout.anchor[1] * height * layout.resolution / resolution - up / resolution
    unit = pixels_to_unit(column, row, source.shape[2], source.shape[1])
    return F.grid_sample(source[None], unit[None], align_corners=False, padding_mode='zeros')[0]


def pose(x, y, yaw):
    return se3_from_quaternion((x, y, 0.0), quaternion_from_yaw(yaw))


def wide_map(rng, shape, route):
    """Blotches, and a wide route across."""
    road = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 3.0)
    drawn = np.zeros(shape, np.float32)
    cv2.line(drawn, (0, 0), shape[::-1], 1.0, max(shape) // 8)
    return MapImage(1, '', road, drawn if route else None)


@pytest.mark.parametrize('route', [False, True])
@pytest.mark.parametrize(('shape', 'resolution', 'anchor'), [
    ((320, 320), 0.25, (0.5, 0.5)), ((500, 301), 0.1, (0.4, 0.7)), ((1601, 2003), 0.05, (0.5, 0.5)),
    ((90, 70), 1.0, (0.5, 0.5)), ((700, 900), 0.25, (1.0, 0.0)), ((3, 2000), 0.02, (0.5, 0.5))])
def test_tiles_are_the_same_as_the_whole_image(shape, resolution, anchor, route):
    rng = np.random.default_rng(0)
    image, layout = wide_map(rng, shape, route), MapConfig(resolution=resolution, anchor=list(anchor))
    source = map_source(image, layout, GRID)
    for x, y, yaw in [(0, 0, 0), (3, -2, 0.4), (25, 31, 2.5), (-40, 5, -1.2), (500, 0, 0)]:
        motion = Motion(np.eye(4), pose(x, y, yaw), np.eye(4))
        wanted = plain(image, motion, layout)
        for got in (map_bev(image, motion, layout, GRID), map_bev(image, motion, layout, GRID, source=source)):
            torch.testing.assert_close(got[[0, 2]], wanted[[0, 2]] if image.route is None else torch.stack(
                [torch.maximum(wanted[0], got[1]), wanted[2]]), atol=1e-4, rtol=0)


def test_a_source_is_kept_for_the_image_and_the_resolution_it_is_of():
    image, other = (wide_map(np.random.default_rng(i), (200, 200), False) for i in range(2))
    layout = MapConfig()
    source = map_source(image, layout, GRID)
    assert map_source(image, MapConfig(anchor=[0.2, 0.3]), GRID, last=source) is source
    assert map_source(other, layout, GRID, last=source) is not source
    assert map_source(image, MapConfig(resolution=0.5), GRID, last=source) is not source


@pytest.mark.parametrize('route', [False, True])
def test_a_map_that_has_not_moved_is_laid_on_the_grid_once(route):
    image, layout = wide_map(np.random.default_rng(0), (500, 301), route), MapConfig(resolution=0.1, anchor=[0.4, 0.7])
    source, sampled = map_source(image, layout, GRID), []
    sample = source.sample
    source.sample = lambda *where: sampled.append(where) or sample(*where)
    here, there = (Motion(np.eye(4), pose(x, 1, 0.3), pose(3, 1, 0.1)) for x in (5, 6))
    elsewhere = MapConfig(resolution=0.1, anchor=[0.5, 0.7])
    for motion, given, samples in ((here, layout, 1), (here, layout, 1), (there, layout, 2), (there, elsewhere, 3),
                                   (here, layout, 4), (here, layout, 4)):
        found = map_bev(image, motion, given, GRID, source=source)
        assert found.equal(map_bev(image, motion, given, GRID)) and len(sampled) == samples
        found.zero_()  # is nobody else's


@pytest.mark.parametrize('metres', [0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize('dashed', [False, True], ids=['solid', 'dashed'])
def test_a_route_of_one_pixel_is_as_bright_as_any_at_every_resolution(metres, dashed):
    size = int(100 / metres)
    drawn = np.zeros((size, size), np.float32)
    drawn[:, size // 2 + 3] = 1.0
    if dashed:
        drawn[(np.arange(size) * metres % 2.0) >= 1.0] = 0.0
    layers = map_bev(MapImage(1, '', drawn, drawn), Motion(np.eye(4)), MapConfig(resolution=metres), GRID)
    brightest = layers[1, 30:-30].amax(1)
    assert float(brightest.mean() if dashed else brightest.min()) > 0.45
    assert torch.equal(layers[0], layers[1])
    if not dashed:  # about the 1.5 m that networks know
        assert 0.9 < float(layers[1, 128].sum()) * GRID.resolution < 3.0


def test_a_wide_route_stays_as_it_is():
    drawn = np.zeros((400, 400), np.float32)
    cv2.line(drawn, (0, 50), (399, 300), 1.0, 8, cv2.LINE_AA)
    image, layout = MapImage(1, '', drawn, drawn), MapConfig()
    torch.testing.assert_close(map_bev(image, Motion(np.eye(4)), layout, GRID), plain(image, Motion(np.eye(4)), layout),
                               atol=2e-5, rtol=0)


# -- whether a map tells anything --------------------------------------------------------------------------------------

def strokes(on=255, off=0, width=24, size=400):
    picture = np.full((size, size), off, np.uint8)
    cv2.line(picture, (size // 2, 0), (size // 2 + 20, size), on, width, cv2.LINE_AA)
    cv2.line(picture, (0, size // 3), (size, size // 2), on, width, cv2.LINE_AA)
    return picture.astype(np.float32) / 255


def labelled(picture):
    """With a name in dark letters, as web maps have it."""
    cv2.putText(picture, 'High Street', (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0.2, 1, cv2.LINE_AA)
    return picture


PICTURES = {
    'strokes': (strokes(), ''),
    'every lane of a large junction': (strokes(width=90), ''),
    'strokes on dark grey': (strokes(off=40), ''),
    'black': (strokes(0, 0), 'map_without_roads'),
    'dark grey': (strokes(40, 40), 'map_without_roads'),
    'white': (strokes(255, 255), 'map_all_road'),
    'grey': (strokes(128, 128), 'map_all_road'),
    'white on cream, as web maps': (strokes(255, 242), 'map_all_road'),
    'and with labels': (labelled(strokes(255, 242)), 'map_all_road'),
    'free on unknown, as SLAM maps': (strokes(254, 205), 'map_all_road'),
    'dark on light': (strokes(0, 255), 'map_inverted'),
    'dark grey on light grey': (strokes(40, 200), 'map_inverted'),
    'a thin dark line on light': (strokes(0, 255, 5), 'map_inverted'),
}


@pytest.mark.parametrize('what', PICTURES)
@pytest.mark.parametrize('metres', [0.25, 0.1])
def test_a_map_that_tells_nothing_is_named(what, metres):
    road, reason = PICTURES[what]
    road = cv2.resize(road, None, fx=0.25 / metres, fy=0.25 / metres, interpolation=cv2.INTER_LINEAR)
    layers = map_bev(MapImage(1, '', road, None), Motion(np.eye(4)), MapConfig(resolution=metres), GRID)
    assert map_problem(layers, DRAWN) == reason


def test_only_the_surroundings_of_the_vehicle_are_judged():
    road = np.ones((1200, 1200), np.float32)
    road[400:800, 400:800] = strokes()
    image = MapImage(1, '', road, None)
    here, beside = (map_bev(image, Motion(np.eye(4), pose(x, 0, 0), np.eye(4)), MapConfig(), GRID) for x in (0, 95))
    assert (map_problem(here, DRAWN), map_problem(beside, DRAWN)) == ('', 'map_all_road')


def test_a_map_of_another_place_is_named():
    layers = map_bev(MapImage(1, '', strokes(), None), Motion(np.eye(4), pose(300, 0, math.pi), np.eye(4)), MapConfig(),
                     GRID)
    assert map_problem(layers, DRAWN) == 'map_elsewhere'


def test_what_covers_next_to_nothing_is_not_judged_by_its_share_of_road():
    layers = torch.zeros(3, 100, 100)
    layers[VALID, 45:55, 45:55] = layers[ROAD, 45:55, 45:52] = 1.0  # a hundredth of the grid, 0.7 of it road
    assert map_problem(layers, DRAWN) == ''
    layers[VALID] = 0.4  # an image of a pixel between the cells covers none of them
    assert map_problem(layers, DRAWN) == ''


def test_a_map_that_lies_still_is_the_same_array_for_every_sweep():
    """Copies of it took longer than all else about the map; nobody can write to what others read."""
    picture = np.zeros((64, 64), np.float32)
    picture[:, 30:34] = 1.0
    image, grid = MapImage(1, '', picture, None), Grid(cells=32)
    source = map_source(image, MapConfig(), grid, None)
    first, second = (map_bev(image, Motion(np.eye(4)), MapConfig(), grid, None, source) for _ in range(2))
    assert first is second and not first.flags.writeable
    source = map_source(image, MapConfig(), grid)
    first, second = (map_bev(image, Motion(np.eye(4)), MapConfig(), grid, 'cpu', source) for _ in range(2))
    expected = second.clone()
    first.zero_()  # of tensors everybody has their own
    assert torch.equal(second, expected) and torch.equal(map_bev(image, Motion(np.eye(4)), MapConfig(), grid, 'cpu',
                                                                 source), expected)
