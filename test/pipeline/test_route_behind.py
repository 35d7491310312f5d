# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A route that the vehicle drives away from is named; a route ahead is not, however the picture lies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.pipeline.route_behind import ROUTE_BEHIND, RouteBehindCheck


def pose(x: float, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    T[:2, 3] = x, y
    return T


def straight(ahead: float, behind: float, resolution: float = 0.25, width: float = 2.0) -> np.ndarray:
    """(n, n) float32: a route from so many metres ahead to so many behind the middle."""
    n = round(100 / resolution)
    route = np.zeros((n, n), np.float32)
    half = max(1, round(width / resolution / 2))
    route[n // 2 - round(ahead / resolution):n // 2 + round(behind / resolution), n // 2 - half:n // 2 + half] = 1.0
    return route


def say(routes: list[np.ndarray | None], poses: list[np.ndarray], layout: MapConfig | None = None) -> list[str]:
    check = RouteBehindCheck()
    found = [check.finding(MapImage(k, '', np.ones((2, 2), np.float32) if r is None else r, r), Motion(np.eye(4), T, T),
                           layout or MapConfig()) for k, (r, T) in enumerate(zip(routes, poses, strict=True))]
    assert all(finding.name == ROUTE_BEHIND and finding.input == 'map_image' for finding in found if finding)
    return [finding.message for finding in found if finding]


AHEAD = [pose(3.0 * k) for k in range(20)]


@pytest.mark.parametrize('resolution', [0.05, 0.25, 2.0])
def test_a_picture_that_is_upside_down(resolution):
    layout = MapConfig(resolution=resolution)
    right = straight(45.0, 5.0, resolution)
    assert not say([right] * 20, AHEAD, layout)
    found = say([np.rot90(right, 2)] * 20, AHEAD, layout)
    assert 'has driven away from it for 24 m' in found[0] and 'upside down' in found[0]


def test_strokes_of_one_pixel_are_seen():
    thin = np.zeros((2000, 2000), np.float32)
    thin[1003:1600, 1001] = 1.0
    assert say([thin] * 20, AHEAD, MapConfig(resolution=0.05))


def test_a_picture_with_north_up_is_turned_with_the_vehicle():
    east = [pose(3.0 * k) for k in range(20)]  # x of odometry is east, which is right in the picture
    north_up = MapConfig(orientation='north_up')
    to_the_right = np.rot90(straight(45.0, 5.0), 3)
    assert not say([to_the_right] * 20, east, north_up)
    assert say([np.rot90(to_the_right, 2)] * 20, east, north_up)


@pytest.mark.parametrize('route', [
    straight(45.0, 5.0), straight(10.0, 45.0), straight(0.0, 6.0), np.rot90(straight(45.0, 0.0)), None],
    ids=['ahead', 'its end', 'its last metres', 'to the left', 'none'])
def test_other_routes_are_none_of_its_business(route):
    assert not say([route] * 20, AHEAD)


def test_an_anchor_far_outside_of_the_image():
    for anchor in ([0.5, -8.0], [9.0, 0.5]):
        assert not say([straight(-5.0, 45.0)] * 20, AHEAD, MapConfig(anchor=anchor))


def test_a_vehicle_that_goes_backwards_stands_or_jumps():
    back = [pose(-3.0 * k) for k in range(20)]
    behind = straight(-5.0, 45.0)
    assert not say([behind] * 20, back) and say([straight(45.0, -5.0)] * 20, back)
    assert not say([behind] * 20, [pose(0.0)] * 20)
    assert not say([behind] * 20, [pose(100.0 * k) for k in range(20)])
    assert not say([behind] * 20, [pose(12.0 * (k % 2), 50.0 * k) for k in range(20)])


def test_it_is_over_when_the_vehicle_has_turned_or_the_route_is_gone():
    behind, ahead = straight(-5.0, 45.0), straight(45.0, 5.0)
    there = [pose(3.0 * k) for k in range(10)]
    back = [pose(30.0 - 3.0 * k, 0.0, math.pi) for k in range(10)]
    assert 0 < len(say([behind] * 10 + [ahead] * 10, there + back)) < 10
    assert 0 < len(say([behind] * 10 + [None] * 10, AHEAD)) < 10
