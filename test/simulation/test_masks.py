# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Road, roadside and vehicle masks against areas and places that can be written down."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.simulation.sensors.lidar import hdl_64e
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.truth.masks import masks, visible_cells
from attention_fusion_ros.simulation.world.drawing import Frame, junctions, road_mask
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.world import Post, Road, Terrain, Vehicle, Wall, World

GRID = Grid()
STRAIGHT = Road(np.array([[-90.0, 0.0], [90.0, 0.0]]), 8.0)


def cell_of(x: float, y: float) -> tuple[int, int]:
    row, column = GRID.metres_to_cells(x, y)
    return int(round(row)), int(round(column))


@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (3.0, -2.0, 0.0), (1.0, 1.5, 0.6), (0.0, 0.0, math.pi / 2)])
@pytest.mark.parametrize('width', [3.0, 7.0, 8.0])
def test_frame_puts_world_points_into_the_cells_of_the_bev_grid(pose, width):
    frame = Frame.bev(pose, GRID)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    base = np.array([[10.0, 3.0], [-25.0, 7.5], [0.0, 0.0]])
    world = base @ np.array([[c, s], [-s, c]]) + pose[:2]
    row, column = GRID.metres_to_cells(base[:, 0], base[:, 1])
    assert np.allclose(frame.pixels(world), np.column_stack([column, row]))
    road = Road(STRAIGHT.centre, width)
    mask = road_mask((road,), frame)
    x, y = GRID.centres()
    across = np.abs(s * x + c * y + pose[1])  # distance of the cell centre from the centre line
    assert np.array_equal(mask[across < width / 2 - 0.25] > 0, np.ones(np.sum(across < width / 2 - 0.25), bool))
    assert not mask[across > width / 2 + 0.25].any()
    assert mask.sum() == pytest.approx((across < width / 2).sum(), rel=0.05)


def test_kerb_corners_are_rounded_at_junctions_only():
    cross = (Road(np.array([[-90.0, 0], [0, 0], [90, 0]]), 8.0), Road(np.array([[0.0, -90], [0, 0], [0, 90]]), 8.0))
    frame = Frame.bev((0.0, 0.0, 0.0), GRID)
    assert len(junctions(cross)) == 1 and junctions(cross)[0][1] == 4.0
    sharp, rounded = road_mask(cross, frame, 0.0), road_mask(cross, frame, 6.0)
    added = (rounded > sharp).sum() * frame.resolution ** 2
    assert added == pytest.approx(4 * (1 - math.pi / 4) * 36.0, rel=0.1)  # four corners of radius 6 m
    assert np.all(rounded >= sharp)
    bend = (Road(np.array([[-90.0, 0], [0, 0], [0, 90]]), 8.0),)
    assert not junctions(bend)
    assert np.array_equal(road_mask(bend, frame, 0.0), road_mask(bend, frame, 6.0))


@pytest.mark.parametrize('scene_class, seed', [('dual', 8002), ('roundabout', 8012), ('x', 8007), ('y', 8010)])
def test_the_edge_of_the_array_makes_no_road(scene_class, seed):
    """A window cut from a larger mask is the mask of the window."""
    world = generate_world(seed, scene_class)
    radius = world.extra['corner_radius']
    small = road_mask(world.roads, Frame.bev(world.pose, Grid(40.0, 256)), radius)
    large = road_mask(world.roads, Frame.bev(world.pose, Grid(70.0, 448)), radius)[96:-96, 96:-96]
    assert np.array_equal(small, large)


def test_roadside_is_structure_within_six_metres_of_the_edge_and_not_open_ground():
    world = World('test', (STRAIGHT,), Terrain(kerb=0.0),
                  walls=(Wall(np.array([[5.0, 8.0], [25.0, 8.0]]), 5.0, 0.4, 'facade'),
                         Wall(np.array([[5.0, -14.0], [25.0, -14.0]]), 5.0, 0.4, 'facade')),
                  posts=(Post(-10.0, 6.0, 0.1, 5.0, 'pole'), Post(-20.0, 5.0, 0.15, 5.0, 'tree', 2.0, 2.5, 5.0)),
                  vehicles=(Vehicle(15.0, 3.0, 0.0, 4.4, 1.8, 1.5, 'car'),))
    found = masks(world, (0.0, 0.0, 0.0), GRID)
    assert found.roadside[cell_of(15.0, 8.0)] and found.roadside[cell_of(-10.0, 6.0)]
    assert not found.roadside[cell_of(15.0, -14.0)]  # 10 m from the edge
    assert not found.roadside[cell_of(15.0, 6.0)] and not found.roadside[cell_of(-30.0, 5.0)]  # open ground
    assert found.roadside[cell_of(-20.0, 5.5)]  # crown beside the road
    assert not (found.roadside & found.road).any() and not (found.roadside & found.vehicle).any()
    assert found.vehicle[cell_of(15.0, 3.0)] and found.vehicle.sum() * GRID.resolution ** 2 == pytest.approx(
        4.4 * 1.8, rel=0.15)
    kerbed = masks(World('test', (STRAIGHT,), Terrain(kerb=0.12)), (0.0, 0.0, 0.0), GRID).roadside
    assert kerbed[cell_of(0.0, 4.2)] and kerbed[cell_of(0.0, -4.2)] and not kerbed[cell_of(0.0, 5.5)]


def test_masks_turn_with_the_vehicle():
    world = World('test', (STRAIGHT,), Terrain(), vehicles=(Vehicle(12.0, 2.0, 0.0, 4.4, 1.8, 1.5, 'car'),))
    ahead = masks(world, (0.0, 0.0, 0.0), GRID)
    left = masks(world, (0.0, 0.0, -math.pi / 2), GRID)  # the road runs across; what was ahead is to the left
    assert np.mean(np.rot90(ahead.road) == left.road) > 0.99
    assert np.mean(np.rot90(ahead.vehicle) == left.vehicle) > 0.999
    assert left.vehicle[cell_of(-2.0, 12.0)]


def test_visible_cells_end_at_a_wall():
    world = World('test', (STRAIGHT,), Terrain(kerb=0.0, roughness=0.0),
                  walls=(Wall(np.array([[15.0, -20.0], [15.0, 20.0]]), 8.0, 0.4, 'wall'),))
    cloud, T = scan(world, (0.0, 0.0, 0.0), hdl_64e(dropout=0.0, stray=0.0, patch_dropout=0.0), 1)
    xyz = cloud.xyz @ T[:3, :3].T + T[:3, 3]
    visible = masks(world, (0.0, 0.0, 0.0), GRID, xyz).visible
    assert visible[cell_of(10.0, 0.0)] and visible[cell_of(14.5, 3.0)] and visible[cell_of(-20.0, 0.0)]
    assert not visible[cell_of(18.0, 0.0)] and not visible[cell_of(30.0, 5.0)]
    assert np.array_equal(visible, visible_cells(xyz, GRID))
    assert masks(world, (0.0, 0.0, 0.0), GRID).visible is None
