# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The baselines on scenes with known answers."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion, PointCloud
from attention_fusion_ros.datasets.drives import draw_lines, image_message
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.evaluation.methods import baselines
from attention_fusion_ros.evaluation.methods.map_tracing import skeletonise, trace_roads
from attention_fusion_ros.geometry import angle_between

rad = math.radians
NO_POINTS = PointCloud(1, 'lidar', np.zeros((0, 3), np.float32), None)
HERE = Motion(np.eye(4))


def line(angle: float, start: float = -60.0, end: float = 60.0, offset: float = 0.0) -> np.ndarray:
    """A straight line at `angle` [deg] through the vehicle, or `offset` metres left of it."""
    c, s = math.cos(rad(angle)), math.sin(rad(angle))
    t = np.linspace(start, end, 30)[:, None]
    return t * [c, s] + np.array([-s, c]) * offset


def seen(lines: list[np.ndarray], route: np.ndarray | None = None) -> PlacedSweep:
    return PlacedSweep(NO_POINTS, HERE, decode_map_image(image_message(1, draw_lines(lines, route))))


def assert_branches(estimate, expected: list[tuple[float, float]], bearing: float, heading: float) -> None:
    """Same number, each within the tolerances [deg]."""
    assert len(estimate.branches) == len(expected)
    for b, h in expected:
        found = min(estimate.branches, key=lambda x: angle_between(x.bearing, rad(b)))
        assert math.degrees(angle_between(found.bearing, rad(b))) < bearing
        assert math.degrees(angle_between(found.heading, rad(h))) < heading


@pytest.mark.parametrize('angle', [0, 7, 30, 45, 61, 90, 133, -20])
def test_map_alone_reads_a_straight_road_at_any_angle(angle):
    expected = [(angle, angle), (angle + 180, angle + 180)]
    assert_branches(baselines.map_alone(seen([line(angle)])), expected, 0.7, 1.0)


def test_map_alone_reads_a_shifted_road_as_it_is_drawn():
    """6 m to the left: bearing asin(6 / 20), heading that of the line."""
    b = math.degrees(math.asin(6 / 20))
    assert_branches(baselines.map_alone(seen([line(0, offset=6)])), [(b, 0), (180 - b, 180)], 0.7, 1.0)


def test_map_alone_reads_junctions_and_leaves_out_what_is_not_connected():
    side = line(90, 10, 60) - [0, 10]  # a T: from the own road to the left
    stranger = line(30, -60, 60, offset=-35)
    elsewhere = line(0, 5, 60, offset=-12)  # inside the ring, but joined to nothing
    estimate = baselines.map_alone(seen([line(0), side, stranger, elsewhere]))
    assert_branches(estimate, [(0, 0), (180, 180), (90, 90)], 1.0, 1.5)
    assert estimate.direction.bearing == pytest.approx(0, abs=rad(1))


def test_map_alone_follows_a_curve():
    """A circle of 40 m radius that starts straight ahead to the left: chord and tangent are known."""
    t = np.linspace(-1.2, 1.2, 200)
    curve = np.stack([40 * np.sin(t), 40 * (1 - np.cos(t))], axis=1)
    half = math.degrees(math.asin(20 / 80))  # chord of 20 m: tangent turns by twice this, bearing is this
    assert_branches(baselines.map_alone(seen([curve])), [(half, 2 * half), (180 - half, 180 - 2 * half)], 0.7, 2.5)


def test_map_alone_reads_a_wide_road_up_to_the_junction_behind_the_ring():
    """Three lanes drawn as one broad band that meets a broad crossing 30 m ahead: neither the flare nor the edge of the
    picture may bend the answer much."""
    lanes = [line(12, -60, 30, offset=o) for o in (-3, 0, 3)]
    crossing = [line(102, offset=-30 + o) for o in (-3, 0, 3)]
    assert_branches(baselines.map_alone(seen(lanes + crossing)), [(12, 12), (192, 192)], 1.5, 4.0)


@pytest.mark.parametrize('width, value', [(1, 255), (3, 180), (8, 255), (40, 120)])
def test_map_alone_does_not_care_for_width_and_brightness(width, value):
    image = np.zeros((480, 480), np.uint8)
    cv2.line(image, (240, 480), (240, 240), value, width, cv2.LINE_AA)
    cv2.line(image, (240, 240), (0, 0), value, width, cv2.LINE_AA)  # to the front left, 45 deg
    inputs = PlacedSweep(NO_POINTS, HERE, MapImage(1, '', image.astype(np.float32) / 255, None))
    assert_branches(baselines.map_alone(inputs), [(45, 45), (180, 180)], 1.2, 2.0)


def test_map_alone_obeys_resolution_and_anchor():
    """Same road, 10 m ahead of the vehicle and across, drawn at 0.5 m/pixel with the vehicle near the lower edge."""
    image = np.zeros((200, 160), np.float32)
    row = int(0.75 * 200 - 10 / 0.5)
    image[row - 3:row + 3] = 1
    layout = MapConfig(resolution=0.5, anchor=[0.5, 0.75])
    estimate = baselines.map_alone(PlacedSweep(NO_POINTS, HERE, MapImage(1, '', image, None), layout=layout))
    assert_branches(estimate, [(60, 90), (-60, -90)], 1.0, 1.0)


def test_map_alone_takes_the_route():
    left = np.concatenate([line(0, -40, 0), line(90, 0, 60)])
    estimate = baselines.map_alone(seen([line(0), line(90)], left))
    assert len(estimate.branches) == 4
    assert math.degrees(estimate.direction.bearing) == pytest.approx(90, abs=1.5)


def test_map_alone_without_a_usable_map_has_no_answer():
    assert baselines.map_alone(PlacedSweep(NO_POINTS, HERE)).branches == ()
    assert baselines.map_alone(seen([])).branches == ()
    assert baselines.map_alone(seen([line(0, offset=18)])).branches == ()  # too far away to be the own road
    north_up = PlacedSweep(NO_POINTS, HERE, seen([line(0)]).map_image, layout=MapConfig(orientation='north_up'))
    assert baselines.map_alone(north_up).branches == ()  # needs odometry


def test_two_lanes_are_one_branch():
    roads = np.zeros((256, 256), np.float32)
    roads[:, 122:124] = roads[:, 132:134] = 1  # 3 m apart
    assert len(trace_roads(roads, Grid(), 20.0)) == 2
    own = [b for b, _ in trace_roads(roads, Grid(), 20.0)]
    assert all(min(abs(b), math.pi - abs(b)) < rad(5) for b in own)


def test_thinning_keeps_topology_and_is_one_cell_wide():
    mask = np.zeros((60, 60), np.uint8)
    cv2.circle(mask, (30, 30), 20, 1, 7)
    cv2.line(mask, (0, 30), (10, 30), 1, 5)
    skeleton = skeletonise(mask > 0)
    assert cv2.connectedComponents(skeleton.astype(np.uint8), connectivity=8)[0] == 2  # background and one piece
    assert cv2.connectedComponents((~skeleton).astype(np.uint8), connectivity=4)[0] == 3  # inside and outside
    blocks = sum(skeleton[a:59 + a, b:59 + b].astype(int) for a in (0, 1) for b in (0, 1))
    assert blocks.max() <= 3 and (skeleton <= (mask > 0)).all()
    assert not skeletonise(np.zeros((5, 5), bool)).any()


def street(angle: float, rng: np.random.Generator, branch: float | None = None) -> PlacedSweep:
    """Walls 6 m left and right of a street at `angle` [deg], with an opening 10 m wide towards `branch` [deg]."""
    t = rng.uniform(-40, 40, 12000)
    side = rng.choice([-6.0, 6.0], 12000)
    walls = np.stack([t, side, rng.uniform(0, 3, 12000)], axis=1)
    ground = np.stack([rng.uniform(-40, 40, 20000), rng.uniform(-6, 6, 20000), rng.normal(0, 0.01, 20000)], axis=1)
    if branch is not None:
        walls = walls[~((np.sign(walls[:, 1]) == np.sign(branch)) & (np.abs(walls[:, 0]) < 5))]
        s = rng.uniform(6, 40, 8000)
        walls = np.concatenate([walls, np.stack([rng.choice([-5.0, 5.0], 8000), np.sign(branch) * s,
                                                 rng.uniform(0, 3, 8000)], axis=1)])
    points = np.concatenate([walls, ground])
    c, s = math.cos(rad(angle)), math.sin(rad(angle))
    points[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]])
    return PlacedSweep(PointCloud(1, 'lidar', points.astype(np.float32), None), HERE)


@pytest.mark.parametrize('angle', [0, 25, -70])
def test_free_space_finds_a_street_at_any_angle(angle):
    estimate = baselines.lidar_alone(street(angle, np.random.default_rng(1)))
    assert_branches(estimate, [(angle, angle), (angle + 180, angle + 180)], 3.0, 4.0)


def test_free_space_finds_a_side_road():
    estimate = baselines.lidar_alone(street(10, np.random.default_rng(2), branch=90))
    assert_branches(estimate, [(10, 10), (190, 190), (100, 100)], 3.0, 4.0)


def test_free_space_answers_nothing_without_points_or_when_walled_in():
    assert baselines.lidar_alone(PlacedSweep(NO_POINTS, HERE)).branches == ()
    rng = np.random.default_rng(3)
    a = rng.uniform(-math.pi, math.pi, 30000)
    ring = np.stack([12 * np.cos(a), 12 * np.sin(a), rng.uniform(0, 3, 30000)], axis=1).astype(np.float32)
    assert baselines.lidar_alone(PlacedSweep(PointCloud(1, '', ring, None), HERE)).branches == ()


def test_straight_ahead_is_ahead_and_behind():
    estimate = baselines.straight_ahead(street(30, np.random.default_rng(0)))
    assert [b.bearing for b in estimate.branches] == [0.0, math.pi] and estimate.direction.bearing == 0
