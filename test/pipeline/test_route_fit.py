# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A drawn route that crosses the ring far from the branch found: there is no direction, and the reason is named."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import MapImage, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.postprocess import fusion_result
from attention_fusion_ros.pipeline.preprocess import MapFeatures
from attention_fusion_ros.pipeline.route_fit import (
    OFF_ROUTE,
    WITHIN,
    goes_elsewhere,
    is_off_route,
    off_route,
    route_bearings,
)

GRID, BINS, RING = Grid(40.0, 256), 120, 20.0


def layers(*points: tuple[float, float], width: float = 3.0) -> np.ndarray:
    """(3, H, W) with a route along these places (x, y) in m."""
    route = np.zeros((GRID.cells, GRID.cells), np.float32)
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        for s in np.linspace(0.0, 1.0, 400):
            x, y = x0 + s * (x1 - x0), y0 + s * (y1 - y0)
            row, column = (round(float(v)) for v in GRID.metres_to_cells(np.array(x), np.array(y)))
            reach = round(width / 2 / GRID.resolution)
            route[max(0, row - reach):row + reach + 1, max(0, column - reach):column + reach + 1] = 1.0
    return np.stack([route, route, np.ones_like(route)])


def says_no(bearing_deg: float, *points: tuple[float, float]) -> bool:
    drawn = torch.from_numpy(layers(*points))
    across, *within = (np.asarray(route_bearings(drawn, GRID, BINS, share * RING)) for share in (1.0, *WITHIN))
    return is_off_route(math.radians(bearing_deg), across) and not goes_elsewhere(across, within)


HERE = (0.0, 0.0)


@pytest.mark.parametrize('bearing, no', [(0.0, False), (45.0, False), (-45.0, False), (80.0, True), (-100.0, True),
                                         (180.0, True)])
def test_a_branch_far_from_where_the_route_crosses_the_ring_is_not_the_one_to_take(bearing, no):
    assert says_no(bearing, HERE, (38.0, 0.0)) == no
    assert says_no(bearing + 180.0, HERE, (-38.0, 0.0)) == no
    assert says_no(bearing + 90.0, HERE, (0.0, 38.0)) == no


def test_it_may_leave_by_any_of_its_crossings():
    through = (-38.0, 0.0), (38.0, 0.0)
    assert not says_no(0.0, *through) and not says_no(180.0, *through) and says_no(90.0, *through)


@pytest.mark.parametrize('bearing', [0.0, 90.0, 180.0])
def test_a_route_that_ends_inside_the_ring_says_nothing(bearing):
    assert not says_no(bearing, HERE, (15.0, 0.0))
    assert not says_no(bearing, (-38.0, 0.0), (15.0, 0.0)), 'the goal is near: all that crosses the ring is behind'


def test_it_is_told_where_the_route_crosses_the_ring():
    drawn = torch.from_numpy(layers(HERE, (0.0, -38.0)))
    text = off_route(np.asarray(route_bearings(drawn, GRID, BINS, RING)))
    assert text.startswith(f'{OFF_ROUTE}: ') and '90 deg right' in text and 'map.orientation' in text


def test_the_result_has_no_direction_then_and_keeps_its_branches():
    config = from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu', 'backend': 'torch',
                        'branches.min_probability': 0.01, 'branches.min_direction_probability': 0.0})
    pipeline, rng = FusionPipeline(config), np.random.default_rng(0)
    xyz = np.c_[rng.uniform(-30, 30, (5000, 2)), rng.uniform(-1.7, 0.3, 5000)].astype(np.float32)
    road = np.zeros((480, 480), np.float32)
    road[:, 230:250] = 1.0
    features = pipeline.preprocess(SyncedSweep(PointCloud(1, 'lidar', xyz, rng.random(5000).astype(np.float32)),
                                               Motion(np.eye(4)), MapImage(1, 'base_link', road, None)))
    with torch.inference_mode():
        output = pipeline.backend.infer(features.lidar[None], features.map.grid[None], None, None)

    def result(bearing: float | None):
        grid = features.map.grid
        if bearing is not None:
            route = torch.from_numpy(layers(HERE, (38.0 * math.cos(bearing), 38.0 * math.sin(bearing))))[1]
            grid = torch.stack([grid[0], route, grid[2]])
        drawn = replace(features, map=MapFeatures(grid, Mode.FUSED, '', route=bearing is not None))
        return fusion_result(drawn, output, pipeline.backend.model, config)

    plain = result(None)
    along, away = result(plain.direction.bearing), result(wrap(plain.direction.bearing + math.pi))
    assert along.direction == plain.direction and along.direction_reason == '' and along.path
    assert away.direction is None and away.direction_reason.startswith(f'{OFF_ROUTE}: ') and away.path == ()
    assert away.branches == along.branches == plain.branches


def test_preprocessing_tells_whether_a_route_is_drawn():
    pipeline = FusionPipeline(from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu'}))
    road = np.zeros((480, 480), np.float32)
    road[:, 230:250] = 1.0
    for route in (None, road):
        sweep = SyncedSweep(PointCloud(1, 'lidar', np.ones((60, 3), np.float32), None), Motion(np.eye(4)),
                            MapImage(1, 'base_link', road, route))
        assert pipeline.preprocess.map(sweep).route == (route is not None)
