# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Occupancy grids as maps: what their cells mean, and where they lie under the vehicle."""

from __future__ import annotations

import array
import math
from types import SimpleNamespace

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import MapConfig, NodeConfig
from attention_fusion_ros.decode import REASONS, decode_map_grid
from attention_fusion_ros.decode.odometry import Odometry
from attention_fusion_ros.decode.transforms import StampedTransform, Transforms
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.sync.synchronizer import Synchronizer

SECOND = 10**9
GRID = Grid()


def pose(x, y, yaw):
    return se3_from_quaternion((x, y, 0.0), quaternion_from_yaw(yaw))


def grid_message(cells, resolution=0.5, origin=(0.0, 0.0, 0.0), frame='map', stamp=(1, 0), quaternion=None):
    """cells: (H, W), row 0 the lowest."""
    x, y, z, w = quaternion_from_yaw(origin[2]) if quaternion is None else quaternion
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=stamp[0], nanosec=stamp[1]), frame_id=frame),
        info=SimpleNamespace(width=cells.shape[1], height=cells.shape[0], resolution=resolution, origin=SimpleNamespace(
            position=SimpleNamespace(x=origin[0], y=origin[1], z=0.0),
            orientation=SimpleNamespace(x=x, y=y, z=z, w=w))),
        data=array.array('b', cells.astype(np.int8).ravel().tolist()))


def spot(x, y, origin=(-60.0, -40.0, 0.0), frame='map', **more):
    """A grid of 120 m x 100 m in which only the metre around (x, y) of its frame is free."""
    T = inverse(pose(*origin))
    column, row = ((T @ [x, y, 0.0, 1.0])[:2] / 0.5).astype(int)
    cells = np.full((200, 240), 100)
    cells[row - 1:row + 1, column - 1:column + 1] = 0
    return decode_map_grid(grid_message(cells, origin=origin, frame=frame, **more))


def seen_at(image, motion):
    """Where the spot lies in the BEV, metres in base_link."""
    mass = map_bev(image, motion, MapConfig(), GRID)[0].numpy()
    x, y = GRID.centres()
    return float((x * mass).sum() / mass.sum()), float((y * mass).sum() / mass.sum())


def transform(parent, child, T, t=1, static=False):
    return Transforms((StampedTransform(t * SECOND, parent, child, T, static),), None)


def synchronizer(*transforms, odom=(), **flat):
    from attention_fusion_ros.config import from_flat
    s = Synchronizer(from_flat(flat) if flat else NodeConfig())
    s.add_transforms(transform('base_link', 'lidar', np.eye(4), static=True))
    for item in transforms:
        s.add_transforms(item)
    for t, T in odom:
        s.add_odometry(Odometry(t * SECOND, 'base_link', T, 'odom'))
    return s


def test_what_cells_mean():
    got = decode_map_grid(grid_message(np.array([[0, 25, 50], [100, -1, 75]])))
    np.testing.assert_allclose(got.road, [[0, 0, 0], [1, 0.5, 0]], atol=1e-6)  # the last row is the highest
    assert got.route is None and got.frame_id == 'map' and got.placement.resolution == 0.5


@pytest.mark.parametrize('origin', [(-60.0, -40.0, 0.0), (20.0, -50.0, 1.2), (0.0, 70.0, -2.0)])
def test_a_grid_lies_where_its_origin_says(origin):
    point = (pose(*origin) @ [50.0, 40.0, 0.0, 1.0])[:2]
    vehicle = pose(*point, 0.7) @ pose(-12.0, 7.0, 0.0)  # which has the spot 12 m ahead and 7 m to the right
    s = synchronizer(transform('map', 'base_link', vehicle))
    s.add('map_image', spot(*point, origin))
    found = s.match(SECOND, 'lidar')
    assert found.map_reason == ''
    assert seen_at(found.map_image, found.motion) == pytest.approx((12.0, -7.0), abs=0.4)


def test_odometry_in_the_frame_of_the_grid_is_enough():
    s = synchronizer(odom=[(1, pose(2.0, 0.0, 0.0)), (2, pose(12.0, 3.0, math.pi / 2))])
    s.add('map_image', spot(12.0, 23.0, frame='odom'))
    found = s.match(2 * SECOND, 'lidar')
    assert seen_at(found.map_image, found.motion) == pytest.approx((20.0, 0.0), abs=0.4)


def test_map_to_odom_by_tf_and_the_rest_by_odometry():
    s = synchronizer(transform('map', 'odom', pose(100.0, 0.0, 0.0), static=True), odom=[(1, pose(2.0, 0.0, 0.0))])
    s.add('map_image', spot(112.0, 5.0, (50.0, -40.0, 0.0)))
    found = s.match(SECOND, 'lidar')
    assert seen_at(found.map_image, found.motion) == pytest.approx((10.0, 5.0), abs=0.4)


def test_a_rolling_grid_moves_with_the_vehicle_and_ages():
    s = synchronizer(odom=[(1, pose(0.0, 0.0, 0.0)), (2, pose(4.0, 0.0, math.pi / 2)), (9, pose(4.0, 0.0, 0.0))])
    s.add('map_image', spot(12.0, -7.0, frame='base_link'))
    found = s.match(2 * SECOND, 'lidar')
    assert seen_at(found.map_image, found.motion) == pytest.approx((-7.0, -8.0), abs=0.4)
    assert s.match(9 * SECOND, 'lidar').map_reason == 'map_too_old'


def test_a_fixed_grid_does_not_age_and_needs_no_stamp():
    s = synchronizer(transform('map', 'base_link', pose(0.0, 0.0, 0.0), t=500))
    s.add('map_image', spot(10.0, 0.0, stamp=(0, 0)))
    assert s.match(500 * SECOND, 'lidar').map_reason == ''


def test_a_grid_that_cannot_be_placed_is_named():
    s = synchronizer(odom=[(1, pose(0.0, 0.0, 0.0))])
    s.add('map_image', spot(10.0, 0.0))
    found = s.match(SECOND, 'lidar')
    assert found.map_image is None and found.map_reason == 'map_not_placed'
    assert s.needs_dynamic_transforms('lidar')


@pytest.mark.parametrize(('change', 'reason'), [
    ({'resolution': 0.0}, 'bad_grid'), ({'resolution': math.nan}, 'bad_grid'),
    ({'resolution': None}, 'malformed_message'),
    ({'width': 0}, 'empty_image'), ({'width': 7}, 'size_mismatch'),
    ({'height': 2**31, 'width': 2}, 'image_too_large')])
def test_bad_grids_are_refused_with_a_reason(change, reason):
    msg = grid_message(np.zeros((4, 5)))
    vars(msg.info).update(change)
    with pytest.raises(InputError) as error:
        decode_map_grid(msg)
    assert error.value.reason == reason and reason in REASONS


def test_orientations_that_were_never_filled_in_are_none_and_false_ones_are_refused():
    assert np.allclose(decode_map_grid(grid_message(np.zeros((4, 5)), quaternion=(0, 0, 0, 0))).placement.T_frame_image,
                       np.eye(4))
    with pytest.raises(InputError) as error:
        decode_map_grid(grid_message(np.zeros((4, 5)), quaternion=(0, 0, 0, 5.0)))
    assert error.value.reason == 'bad_grid'
