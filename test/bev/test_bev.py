# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The BEV grid, LiDAR features and the map image on the same cells."""

import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev import lidar, map_image
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.ground import estimate_ground
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion

GRID = Grid()


def test_grid_looks_like_the_road_does_to_the_driver():
    assert GRID.resolution == 0.3125
    assert GRID.cells_to_metres(0, 0) == (40 - 0.15625, 40 - 0.15625)
    row, column = GRID.metres_to_cells(30.0, -10.0)
    assert row < 127 and column > 128  # ahead is up, right is right
    assert GRID.cells_to_metres(row, column) == pytest.approx((30.0, -10.0))


def test_unit_coordinates_are_those_of_grid_sample():
    x, y = GRID.centres()
    image = torch.from_numpy(x.copy())[None, None].float()
    u, v = GRID.metres_to_unit(torch.tensor([12.5]), torch.tensor([-3.0]))
    sampled = torch.nn.functional.grid_sample(image, torch.stack([u, v], -1)[None, None], align_corners=False)
    assert float(sampled) == pytest.approx(12.5, abs=1e-3)


def _street(rng, count=60000, height=0.0, pitch=0.0, roll=0.0):
    """Flat ground with two walls (y = +-8 m, 3 m high), seen from a sensor that is mounted a little wrong."""
    ground = np.c_[rng.uniform(-40, 40, (count, 2)), np.zeros(count)]
    wall = np.c_[rng.uniform(-40, 40, count // 4), rng.choice([-8.0, 8.0], count // 4), rng.uniform(0, 3, count // 4)]
    xyz = np.r_[ground, wall]
    xyz[:, 2] += height + math.tan(pitch) * xyz[:, 0] + math.tan(roll) * xyz[:, 1] + rng.normal(0, 0.01, len(xyz))
    return torch.from_numpy(xyz.astype(np.float32)), len(ground)


@pytest.mark.parametrize('height, pitch, roll', [(0, 0, 0), (0.8, 0, 0), (-1.2, 0, 0), (0.3, 3, -2), (0, -4, 3)])
def test_height_above_ground_does_not_know_the_mounting(height, pitch, roll):
    xyz, on_ground = _street(np.random.default_rng(0), height=height, pitch=math.radians(pitch),
                             roll=math.radians(roll))
    h = xyz[:, 2] - estimate_ground(xyz, 40.0).at(xyz[:, 0], xyz[:, 1])
    assert float(h[:on_ground].abs().quantile(0.99)) < 0.08
    assert abs(float(h[on_ground:].max()) - 3.0) < 0.15


def test_ground_follows_a_hill():
    rng = np.random.default_rng(1)
    xy = rng.uniform(-40, 40, (60000, 2))
    z = 1.5 * np.sin(xy[:, 0] / 15)
    xyz = torch.from_numpy(np.c_[xy, z].astype(np.float32))
    h = z - estimate_ground(xyz, 40.0).at(xyz[:, 0], xyz[:, 1]).numpy()
    inner = np.abs(xy).max(1) < 35
    assert np.quantile(np.abs(h[inner]), 0.95) < 0.2


def test_ground_is_not_pulled_by_returns_from_below():
    xyz, on_ground = _street(np.random.default_rng(2))
    stray = xyz[:200].clone()
    stray[:, 2] -= 5.0
    h = xyz[:, 2] - estimate_ground(torch.cat([xyz, stray]), 40.0).at(xyz[:, 0], xyz[:, 1])
    assert float(h[:on_ground].abs().quantile(0.95)) < 0.08


@pytest.mark.parametrize('height', [0.8, 3.0])
def test_ground_does_not_rise_under_what_hides_it(height):
    """A lorry, say, of which only the roof is seen."""
    xyz, on_ground = _street(np.random.default_rng(6))
    xyz = xyz[:on_ground]
    xyz[(xyz[:, 0] - 15).abs().maximum((xyz[:, 1] - 15).abs()) < 3, 2] += height
    x, y = torch.meshgrid(torch.arange(13.0, 18.0), torch.arange(13.0, 18.0), indexing='ij')
    assert float(estimate_ground(xyz, 40.0).at(x.flatten(), y.flatten()).abs().max()) < 0.1


@pytest.mark.parametrize('height, counts', [(-0.8, True), (-1.2, False)])
def test_points_far_below_the_ground_are_left_out(height, counts):
    xyz, _ = _street(np.random.default_rng(7))
    low = lidar.lidar_bev(torch.cat([xyz, torch.tensor([[10.05, 5.05, height]])]), None, GRID)[CHANNELS.index('low')]
    row, column = (round(float(v)) for v in GRID.metres_to_cells(10.05, 5.05))
    expected = -math.log1p(0.8 / 0.1) / math.log1p(60) if counts else 0.0
    assert float(low[row, column]) == pytest.approx(expected, abs=0.1)


def test_features_of_one_wall_cell_by_hand():
    rng = np.random.default_rng(3)
    xyz, _ = _street(rng)
    post = torch.tensor([[10.05, 5.05, z] for z in (0.0, 1.0, 2.0)])
    features = lidar.lidar_bev(torch.cat([xyz, post]), None, GRID)
    row, column = (round(float(v)) for v in GRID.metres_to_cells(10.05, 5.05))
    expected = math.log1p(2.0 / 0.1) / math.log1p(60)
    assert features.shape == (len(CHANNELS), 256, 256)
    assert float(features[0, row, column]) == pytest.approx(expected, abs=0.03)
    assert float(features[2, row, column]) == pytest.approx(expected, abs=0.03)
    assert not features[4].any()


def test_intensity_is_the_same_in_any_unit():
    rng = np.random.default_rng(4)
    xyz, _ = _street(rng)
    intensity = torch.from_numpy(rng.gamma(2.0, 20.0, len(xyz)).astype(np.float32))
    assert torch.allclose(lidar.lidar_bev(xyz, intensity, GRID), lidar.lidar_bev(xyz, intensity * 257 + 3, GRID),
                          atol=1e-3)


@pytest.mark.parametrize('place', [(0.0, 0.0, 1.0), (1.0, -1.0, 0.5), (500.0, 0.0, 0.0), (10.0, 10.0, 90.0)],
                         ids=['origin', 'vehicle itself', 'beyond the grid', 'above'])
@pytest.mark.parametrize('value', [0.0, -50.0, 255.0, 1e30])
def test_no_intensity_of_points_that_are_not_used_moves_the_others(place, value):
    rng = np.random.default_rng(4)
    xyz, _ = _street(rng)
    intensity = torch.from_numpy(rng.gamma(2.0, 20.0, len(xyz)).astype(np.float32))
    plain = lidar.lidar_bev(xyz, intensity, GRID)
    more = lidar.lidar_bev(torch.cat([xyz, torch.tensor([place]).repeat(len(xyz), 1)]),
                           torch.cat([intensity, torch.full((len(xyz),), value)]), GRID)
    assert torch.allclose(plain[4], more[4], atol=1e-6)


@pytest.mark.parametrize('value', [1e30, -1e30, 3e38])
def test_a_single_absurd_intensity_is_one_bright_cell(value):
    rng = np.random.default_rng(4)
    xyz, _ = _street(rng)
    intensity = torch.from_numpy(rng.gamma(2.0, 20.0, len(xyz)).astype(np.float32))
    plain = lidar.lidar_bev(xyz, intensity, GRID)[4]
    intensity[7] = value
    absurd = lidar.lidar_bev(xyz, intensity, GRID)[4]
    assert absurd.isfinite().all() and int(((plain - absurd).abs() > 1e-3).sum()) == 1


@pytest.mark.parametrize('value', [0.0, 0.1, 100.0, -7.0, 65535.0, 3e38])
def test_equal_intensities_say_nothing(value):
    xyz, _ = _street(np.random.default_rng(4))
    rounding = 1.0 + 1e-7 * torch.randn(len(xyz), generator=torch.Generator().manual_seed(1))
    features = lidar.lidar_bev(xyz, value * rounding.clamp(max=1.0), GRID)
    assert float(features[4].abs().max()) < 0.1


def test_intensities_of_both_ends_of_float32_stay_finite():
    xyz, _ = _street(np.random.default_rng(4))
    intensity = torch.full((len(xyz),), 3.4e38)
    intensity[::2] = -3.4e38
    features = lidar.lidar_bev(xyz, intensity, GRID)
    assert features.isfinite().all() and float(features[4].abs().max()) <= 1.0


def test_the_order_of_points_does_not_matter():
    xyz, _ = _street(np.random.default_rng(5))
    order = torch.randperm(len(xyz))
    assert torch.allclose(lidar.lidar_bev(xyz, None, GRID), lidar.lidar_bev(xyz[order], None, GRID), atol=1e-5)


@pytest.mark.parametrize('xyz', [[[100.0, 0, 0]], [[0.5, 0.5, 0]]])
def test_no_point_in_range_is_named(xyz):
    with pytest.raises(InputError) as caught:
        lidar.lidar_bev(torch.tensor(xyz), None, GRID)
    assert caught.value.reason == 'no_points_in_range'
    assert 'is_bigendian' in caught.value.remedy  # swapped bytes make numbers that are tiny or huge


def test_a_single_point_is_enough():
    assert lidar.lidar_bev(torch.tensor([[5.0, 0.0, -1.0]]), None, GRID)[3].count_nonzero() == 1


# --- map image

def _spot_image(x, y, size=480, resolution=0.25, anchor=(0.5, 0.5)):
    """Heading-up image with one 1 m spot at (x, y) in front of the vehicle."""
    road = np.zeros((size, size), np.float32)
    row, column = int(anchor[1] * size - x / resolution), int(anchor[0] * size - y / resolution)
    road[row - 2:row + 2, column - 2:column + 2] = 1.0
    return MapImage(0, 'base_link', road, None)


def _spot(layers):
    """Where the spot lies in the BEV, metres."""
    mass = layers[0].numpy()
    x, y = GRID.centres()
    return float((x * mass).sum() / mass.sum()), float((y * mass).sum() / mass.sum())


@pytest.mark.parametrize('resolution, anchor', [(0.25, (0.5, 0.5)), (0.1, (0.5, 0.5)), (0.25, (0.5, 0.75)),
                                                (1.0, (0.4, 0.6))])
def test_map_lies_where_its_layout_says(resolution, anchor):
    image = _spot_image(12.0, -7.0, 480 if resolution >= 0.25 else 1200, resolution, anchor)
    layers = map_image.map_bev(image, Motion(np.eye(4)), MapConfig(resolution=resolution, anchor=list(anchor)), GRID)
    assert _spot(layers) == pytest.approx((12.0, -7.0), abs=max(0.3, 0.6 * resolution))


def test_map_moves_with_the_vehicle_since_its_stamp():
    # 4 m ahead and a quarter turn to the left later, what was 12 m ahead and 7 m right lies 7 m behind, 8 m right.
    now = se3_from_quaternion((4, 0, 0), quaternion_from_yaw(math.pi / 2))
    layers = map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), now, np.eye(4)), MapConfig(), GRID)
    assert _spot(layers) == pytest.approx((-7.0, -8.0), abs=0.3)


MOUNTINGS = {'upright': (0.0, 0.0, 0.0, 1.0), 'upside down': (1.0, 0.0, 0.0, 0.0),
             'on its side': (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)), 'on its nose': (0.0, math.sqrt(0.5), 0.0,
                                                                                        math.sqrt(0.5)),
             'tilted': (0.1, -0.2, 0.3, math.sqrt(1 - 0.14))}


@pytest.mark.parametrize('quaternion', MOUNTINGS.values(), ids=MOUNTINGS)
def test_how_the_odometry_frame_lies_does_not_matter(quaternion):
    """LiDAR odometry that starts as the frame of its sensor: upside down, x and yaw of each pose alone are wrong."""
    start = se3_from_quaternion((5, -3, 2), quaternion)
    now = start @ se3_from_quaternion((4, 0, 0), quaternion_from_yaw(math.pi / 2))
    layers = map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), now, start), MapConfig(), GRID)
    assert _spot(layers) == pytest.approx((-7.0, -8.0), abs=0.3)


@pytest.mark.parametrize('pitch', [15.0, -15.0])
def test_on_a_slope_the_map_moves_in_the_plane_of_the_vehicle(pitch):
    half = math.radians(pitch) / 2
    up = se3_from_quaternion((0, 0, 0), (0.0, -math.sin(half), 0.0, math.cos(half)))
    now = up @ se3_from_quaternion((4, 0, 0), quaternion_from_yaw(math.pi / 2))
    layers = map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), now, up), MapConfig(), GRID)
    assert _spot(layers) == pytest.approx((-7.0, -8.0), abs=0.3)


@pytest.mark.parametrize('degrees, refused', [(0, False), (15, False), (25, True), (90, True), (180, True)])
def test_north_up_needs_a_level_frame(degrees, refused):
    half = math.radians(degrees) / 2
    pose = se3_from_quaternion((50, 60, 0), (math.sin(half), 0.0, 0.0, math.cos(half)))
    make = lambda: map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), pose, pose),  # noqa: E731
                                     MapConfig(orientation='north_up'), GRID)
    if not refused:
        assert _spot(make()) == pytest.approx((7.0, 12.0), abs=0.3)
        return
    with pytest.raises(InputError, match=f'tilted by {degrees} degrees') as caught:
        make()
    assert caught.value.reason == 'north_up_not_level' and 'heading_up' in caught.value.remedy


def test_north_up_turns_with_the_heading():
    # The vehicle heads north (odom +y). A spot 12 m up (north) and 7 m right (east) is 12 m ahead and 7 m right.
    pose = se3_from_quaternion((50, 60, 0), quaternion_from_yaw(math.pi / 2))
    north_up = MapConfig(orientation='north_up')
    layers = map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), pose, pose), north_up, GRID)
    assert _spot(layers) == pytest.approx((12.0, -7.0), abs=0.3)
    # Heading east, the same spot is 12 m to the left and 7 m ahead; 2 m further east it is 5 m ahead.
    east = se3_from_quaternion((50, 60, 0), (0, 0, 0, 1))
    moved = se3_from_quaternion((52, 60, 0), (0, 0, 0, 1))
    layers = map_image.map_bev(_spot_image(12.0, -7.0), Motion(np.eye(4), moved, east), north_up, GRID)
    assert _spot(layers) == pytest.approx((5.0, 12.0), abs=0.3)


def test_north_up_without_odometry_is_named():
    with pytest.raises(InputError) as caught:
        map_image.map_bev(_spot_image(1, 1), Motion(np.eye(4)), MapConfig(orientation='north_up'), GRID)
    assert caught.value.reason == 'north_up_without_odometry'


def test_valid_says_where_the_image_reaches():
    image = MapImage(0, 'base_link', np.ones((80, 80), np.float32), np.ones((80, 80), np.float32))  # 20 m x 20 m
    road, route, valid = map_image.map_bev(image, Motion(np.eye(4)), MapConfig(), GRID)
    assert float(valid.sum()) * GRID.resolution ** 2 == pytest.approx(400.0, rel=0.03)
    assert torch.equal(road, valid) and torch.equal(route, valid)


def test_a_thin_line_of_a_map_finer_than_the_grid_is_seen_wherever_it_lies():
    """A pixel of 4 cm in a cell of 31 cm: without averaging, it would be seen only where a sample hits it."""
    for column in range(1000, 1008):
        road = np.zeros((2000, 2000), np.float32)
        road[:, column] = 1.0
        layers = map_image.map_bev(MapImage(0, '', road, None), Motion(np.eye(4)), MapConfig(resolution=0.04), GRID)
        assert 0.11 < float(layers[0].max()) < 0.14, column
