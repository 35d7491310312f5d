# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages as large as the grid, the picture or the cloud: what the network paid attention to. See `encode`."""

from __future__ import annotations

import array
import math

import cv2
import numpy as np

from attention_fusion_ros.bev import map_image
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.contracts import FusionResult, Mode
from attention_fusion_ros.ros.messages.classes import Header, Image, OccupancyGrid, PointCloud2
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import image, point_cloud
from attention_fusion_ros.visualization.panels import compose_picture, point_attention

# Levels of a heatmap. Displays of occupancy draw 0 as nothing, 1 to 98 from blue to red, and 99 and 100 (obstacles) in
# cyan and purple: faint attention is nothing, and the strongest is red.
MOST, FAINT = 98, 0.1
ATTENTION_POINT = np.dtype([(name, np.float32) for name in ('x', 'y', 'z', 'attention')])
MAP_POINT = np.dtype([*((name, np.float32) for name in 'xyz'), ('rgb', np.uint32)])  # 0x00rrggbb
ROAD_RGB, ROUTE_RGB = (105, 115, 135), (225, 45, 45)
PICTURE_PX = 320  # edge of a panel of the picture: three stand side by side
DRAWN = 0.5  # of a cell that is road, or route: that is drawn


def spatial(sweep: PublishedSweep, head: Header) -> OccupancyGrid:
    """Spatial attention 0..98 on the ground."""
    return _on_ground(sweep.heatmap, sweep.result, head)


def gradcam(sweep: PublishedSweep, head: Header) -> OccupancyGrid | None:
    """Grad-CAM 0..98 on the ground, on the grid of `spatial`; None when there is nothing to explain."""
    return None if sweep.gradcam is None else _on_ground(sweep.gradcam, sweep.result, head)


def no_heatmap(head: Header) -> OccupancyGrid:
    """Takes back a heatmap: a cell with nothing in it (displays refuse a grid without cells)."""
    message = OccupancyGrid(header=head)
    message.info.map_load_time = head.stamp
    message.info.height = message.info.width = 1
    message.info.resolution = 1.0
    message.info.origin.orientation.w = 1.0
    message.data = array.array('b', [0])
    return message


def map_points(sweep: PublishedSweep, head: Header) -> PointCloud2:
    """Roads and route of the map image where the network says they lie: a coloured point a cell of the BEV grid.

    No points without a map image that was used: the last ones must not go on being shown.
    """
    result = sweep.result
    if result.mode is not Mode.FUSED:
        return point_cloud(np.empty(0, MAP_POINT), head)
    road, route = (result.map_bev[map_image.CHANNELS.index(name)] for name in ('road', 'route'))
    share = np.clip(route, 0.0, 1.0)
    number = np.flatnonzero(np.maximum(road, share) > DRAWN)  # much faster than finding rows and columns
    row, column = np.divmod(number, road.shape[1])
    share = share.reshape(-1)[number]
    points = np.zeros(len(number), MAP_POINT)
    x, y = Grid(result.extent, road.shape[0]).cells_to_metres(row, column)
    if result.alignment is not None:
        a = result.alignment
        x, y = (math.cos(a.dyaw) * x - math.sin(a.dyaw) * y + a.dx, math.sin(a.dyaw) * x + math.cos(a.dyaw) * y + a.dy)
    points['x'], points['y'] = x, y
    for colour, of_road, of_route in zip((16, 8, 0), ROAD_RGB, ROUTE_RGB):
        level = np.rint(of_road + (of_route - of_road) * share).astype(np.uint32)
        points['rgb'] |= level << colour
    return point_cloud(points, head)


def no_points(head: Header) -> PointCloud2:
    """Takes back `map_points`."""
    return point_cloud(np.empty(0, MAP_POINT), head)


def no_attention_points(head: Header) -> PointCloud2:
    """Takes back `attention_points`."""
    return point_cloud(np.empty(0, ATTENTION_POINT), head)


def picture(sweep: PublishedSweep, head: Header) -> Image:
    """BEV, map, heatmap and arrows side by side, bgr8."""
    return image(compose_picture(sweep.result, PICTURE_PX), head, 'bgr8')


def attention_points(sweep: PublishedSweep, head: Header) -> PointCloud2:
    """The sweep, in its own frame, with the attention of the cell in which each point lies (0 outside the grid)."""
    xyz = sweep.sweep.cloud.xyz
    if not len(xyz):
        return no_attention_points(head)
    attention = point_attention(sweep.result, xyz, sweep.heatmap, sweep.sweep.motion.T_base_sensor)
    points = np.empty((len(xyz), 1, 4), np.float32)
    # Faster than assigning columns: x, y, z, attention.
    cv2.mixChannels([np.ascontiguousarray(xyz, np.float32)[:, None], attention[:, None]], [points],
                    [0, 0, 1, 1, 2, 2, 3, 3])
    return point_cloud(points.view(ATTENTION_POINT).reshape(-1), head)


def _on_ground(heatmap: np.ndarray, result: FusionResult, head: Header) -> OccupancyGrid:
    """(H, W) in 0..1 on the BEV grid -> 0..MOST in the vehicle frame, 0 below FAINT.

    The BEV's first row is farthest ahead and its first column farthest left; an OccupancyGrid starts at the smallest x
    and y and runs along x first.
    """
    heat = np.rint(MOST * heatmap).astype(np.int8)
    heat[heatmap < FAINT] = 0
    message = OccupancyGrid(header=head)
    message.info.map_load_time = head.stamp
    message.info.height, message.info.width = heat.shape
    message.info.resolution = 2 * result.extent / heat.shape[0]
    message.info.origin.position.x = message.info.origin.position.y = -result.extent
    message.info.origin.orientation.w = 1.0
    message.data = array.array('b', np.ascontiguousarray(heat[::-1, ::-1].T).tobytes())
    return message
