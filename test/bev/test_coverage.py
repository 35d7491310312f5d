# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was looked at, on drawn and on simulated sweeps."""

import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.accumulate import EarlierSweep, Points, views, within_limit
from attention_fusion_ros.bev.coverage import (
    AZIMUTHS,
    View,
    close_array_gaps,
    close_gaps,
    coverage,
    drawn_bearings,
    view,
    view_of_cells,
    visible_cells,
)
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS, lidar_bev
from attention_fusion_ros.geometry import angle_between, bin_bearings, transform_points
from attention_fusion_ros.simulation.sensors.lidar import random_lidar
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.world.generate import generate_world

BINS, RING = 120, 20.0
BEARINGS = bin_bearings(BINS)


def circle(radius, height=0.0, step_deg=0.2, about=(0.0, 0.0)):
    """Points on a circle, as a wall all around gives them."""
    azimuth = np.radians(np.arange(0.0, 360.0, step_deg))
    points = np.stack([about[0] + radius * np.cos(azimuth), about[1] + radius * np.sin(azimuth),
                       np.full_like(azimuth, height)], axis=1)
    return torch.from_numpy(points.astype(np.float32))


def seen_of(*found):
    return coverage(list(found), BINS, RING)[0].numpy()


def test_a_wall_hides_what_is_behind_it_and_shows_the_way_to_it():
    share, reach = coverage([view(circle(8.0))], BINS, RING).numpy()
    assert share == pytest.approx(0.4, abs=0.03) and reach == pytest.approx(8.5, abs=0.6)
    assert seen_of(view(circle(50.0))) == pytest.approx(1.0), 'rays that end beyond the ring have passed it'


def test_nothing_returned_is_nothing_seen():
    points = circle(50.0)
    ahead = torch.atan2(points[:, 1], points[:, 0]).abs() < math.radians(45)
    share = seen_of(view(points[~ahead]))
    assert share[angle_between(BEARINGS, 0.0) < math.radians(40)].max() == 0
    assert share[angle_between(BEARINGS, 0.0) > math.radians(50)].min() == 1
    assert seen_of(view(points[:0])).max() == 0 and seen_of().max() == 0


def test_gaps_between_the_rays_of_a_sparse_sensor_are_seen_and_wide_gaps_are_not():
    assert seen_of(view(circle(30.0, step_deg=3.0))).min() > 0.95
    assert seen_of(view(circle(30.0, step_deg=20.0))).mean() < 0.3


def test_returns_high_above_the_ground_say_nothing_about_the_road():
    both = torch.cat([circle(8.0, height=2.0), circle(40.0, height=12.0)])  # a truck, and a facade seen above it
    assert seen_of(view(both)) == pytest.approx(0.4, abs=0.03)


def test_returns_from_below_the_ground_are_multipath_and_slopes_are_none():
    both = torch.cat([circle(8.0), circle(40.0, height=-4.0)])
    assert seen_of(view(both)) == pytest.approx(0.4, abs=0.03)
    for height in (-2.5, 7.5):  # a road that falls, and a wall where it has risen
        assert seen_of(view(torch.cat([circle(8.0), circle(40.0, height=height)]))).min() == 1


def test_nothing_is_seen_where_a_sensor_without_returns_stands():
    x, y = torch.tensor([3.0, 3.2]), torch.tensor([1.0, 1.0])
    assert not view(circle(5.0)[:0], (3.0, 1.0)).sees(x, y).any()
    assert view(circle(5.0, about=(3.0, 1.0)), (3.0, 1.0)).sees(x, y).all()


def test_ranges_are_noisy():
    one = view(circle(10.0))
    assert one.sees(torch.tensor([10.3]), torch.tensor([0.0])).all()
    assert not one.sees(torch.tensor([10.6]), torch.tensor([0.0])).any()


def test_rays_start_at_the_sensor():
    wall = torch.tensor([[20.0, y, 1.0] for y in np.arange(-3.0, 3.0, 0.02)])  # seen from 10 m to the left, at (0, 10)
    share = seen_of(view(wall, (0.0, 10.0)))
    ahead = angle_between(BEARINGS, 0.0) < math.radians(5)
    left = angle_between(BEARINGS, math.pi / 2) < math.radians(5)
    assert 0.1 < share[ahead].mean() < 0.7, 'the rays cross the way ahead only near the wall'
    assert share[left].max() < 0.15


def test_the_own_body_is_no_sight():
    assert seen_of(view(circle(1.5), min_range=1.8)).max() == 0


def test_accumulated_sweeps_count_and_move_with_the_vehicle():
    points = circle(50.0)
    behind = points[points[:, 0] < 0]
    now, looked_at = Points(behind, None), view(behind)
    turned = np.eye(4)
    turned[:2, :2] = [[-1.0, 0.0], [0.0, -1.0]]  # then the vehicle looked the other way
    earlier = [EarlierSweep(now, turned, (looked_at,))]
    assert seen_of(looked_at).min() == 0
    assert seen_of(looked_at, *views(within_limit(now, earlier))).min() == 1
    assert within_limit(now, earlier, max_points=len(behind)) == [], 'what is not accumulated does not count'
    still = [EarlierSweep(now, np.eye(4), (looked_at,))]
    assert seen_of(looked_at, *views(still)).min() == 0


def test_an_earlier_sweep_was_taken_from_where_the_vehicle_was():
    one = view(circle(5.0)).moved(10.0, 0.0, 0.0)  # 5 m around a place 10 m ahead of now
    share = seen_of(one)
    assert share[angle_between(BEARINGS, 0.0) < math.radians(3)].mean() == pytest.approx(0.5, abs=0.06)
    assert share[angle_between(BEARINGS, math.pi) < math.radians(90)].max() == 0


def test_cells_are_visible_to_the_wall():
    grid = Grid(40.0, 64)
    x, y = grid.centres()
    seen = visible_cells([view(circle(10.0))], grid).numpy()
    assert seen[np.hypot(x, y) < 9.5].all() and not seen[np.hypot(x, y) > 11.0].any()


@pytest.mark.parametrize('seed', [20_000_001, 20_000_002, 20_000_004])
def test_a_simulated_sweep_is_seen_alike_in_points_and_in_cells_and_dark_where_it_was_cut(seed):
    world = generate_world(seed)
    cloud, T = scan(world, world.pose, random_lidar(np.random.default_rng(seed)), seed)
    xyz = torch.from_numpy(transform_points(T, cloud.xyz).astype(np.float32))
    grid = Grid()
    of_points = seen_of(view(xyz, tuple(T[:2, 3])))
    cells = lidar_bev(xyz, None, grid)[CHANNELS.index('density')] > 0
    assert np.abs(of_points - seen_of(view_of_cells(cells, grid))).mean() < 0.1
    azimuth = torch.atan2(xyz[:, 1] - T[1, 3], xyz[:, 0] - T[0, 3])
    cut = seen_of(view(xyz[azimuth.abs() > math.radians(60)], tuple(T[:2, 3])))
    lost = of_points - cut
    assert lost[angle_between(BEARINGS, 0.0) > math.radians(80)].max() < 0.2
    assert cut[angle_between(BEARINGS, 0.0) < math.radians(40)].max() < 0.2


def test_the_bearings_at_which_a_map_draws_a_road():
    grid = Grid(40.0, 128)
    x, y = grid.centres()
    layers = np.zeros((3, 128, 128), np.float32)
    layers[0] = (np.abs(y) < 3.0) & (x > 0)  # a road straight ahead
    found = drawn_bearings(torch.from_numpy(layers), grid, BINS, RING).numpy() > 0
    assert found[angle_between(BEARINGS, 0.0) < math.radians(6)].all()
    assert not found[angle_between(BEARINGS, 0.0) > math.radians(14)].any()
    layers[0] = (np.abs(y) < 3.0) & (x > 21.0)  # drawn from a little beyond the ring on: maps are off
    assert (drawn_bearings(torch.from_numpy(layers), grid, BINS, RING).numpy() > 0)[BINS // 2]
    layers[0] = (np.abs(y) < 3.0) & (x > 25.0)
    assert not drawn_bearings(torch.from_numpy(layers), grid, BINS, RING).any()


def test_gaps_of_an_array_are_closed_as_those_of_a_tensor():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        reach = np.where(rng.random(AZIMUTHS) < share, rng.uniform(1, 60, AZIMUTHS), 0.0).astype(np.float32)
        assert np.array_equal(close_array_gaps(reach), close_gaps(torch.from_numpy(reach)).numpy())


def test_what_is_remembered_of_a_sensor_is_not_that_of_another():
    """Sectors about a sensor are kept from sweep to sweep, for each place that one is at."""
    rng = np.random.default_rng(1)
    reach = rng.uniform(0, 40, AZIMUTHS).astype(np.float32)
    for x, y, yaw in ((0.0, 0.0, 0.0), (2.0, -1.0, 0.0), (2.0, -1.0, 0.7), (0.0, 0.0, 0.0)):
        of_array = coverage([View(reach, x, y, yaw)], 120, 20.0)
        assert np.allclose(of_array, coverage.plain([View(torch.from_numpy(reach), x, y, yaw)], 120, 20.0), atol=1e-6)
