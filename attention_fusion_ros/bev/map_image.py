# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A topological map image -> the BEV grid of the sweep: resolution, anchor, orientation and motion since its stamp."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.bev.grid import Grid, pixels_to_unit
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, planar, rotation_2d, se2
from attention_fusion_ros.utils.tensors import upload

CHANNELS = ('road', 'route', 'valid')


def vehicle_to_map_frame(motion: Motion, orientation: str) -> np.ndarray:
    """(3, 3) planar transform from base_link at the sweep's stamp to the metric frame of the map image.

    That frame has its origin at the vehicle at the map's stamp; x points up in the image, y left.
    Raises InputError `north_up_without_odometry` when the orientation needs odometry and there is none.
    """
    if orientation == 'north_up':
        if motion.T_odom_base is None or motion.T_odom_base_map is None:
            raise InputError('north_up_without_odometry', 'a north_up map image needs odometry to be turned.',
                             'publish odometry (x east, y north) or use map.orientation heading_up.')
        now, then = planar(motion.T_odom_base), planar(motion.T_odom_base_map)
        relative = se2(now[0, 2] - then[0, 2], now[1, 2] - then[1, 2], 0.0)
        relative[:2, :2] = now[:2, :2]
        up_is_y = np.eye(3)
        up_is_y[:2, :2] = rotation_2d(-np.pi / 2)  # odom north (+y) is up (+x of the map frame), odom east is right
        turned: np.ndarray = up_is_y @ relative
        return turned
    if motion.T_odom_base is None or motion.T_odom_base_map is None:
        return np.eye(3)
    moved: np.ndarray = inverse(planar(motion.T_odom_base_map)) @ planar(motion.T_odom_base)
    return moved


def map_bev(image: MapImage, motion: Motion, layout: MapConfig, grid: Grid,
            device: torch.device | str = 'cpu') -> Tensor:
    """-> (3, H, W) float32: road 0..1, route 0..1, valid (1 where the image covers the cell).

    Raises InputError, see `vehicle_to_map_frame`.
    """
    T = vehicle_to_map_frame(motion, layout.orientation)
    layers = [image.road, image.route if image.route is not None else np.zeros_like(image.road)]
    source = upload(np.stack([*layers, np.ones_like(image.road)]), device)
    height, width = image.road.shape
    resolution = layout.resolution
    shrink = int(grid.resolution // resolution)
    if shrink >= 2 and min(height, width) >= shrink:  # finer than the grid: average first, else thin lines vanish
        source = F.avg_pool2d(source[None], shrink, ceil_mode=True, count_include_pad=False)[0]
        resolution = resolution * shrink
    x, y = grid.centre_tensors(device)
    T_map_base = upload(T, device)
    up = T_map_base[0, 0] * x + T_map_base[0, 1] * y + T_map_base[0, 2]
    left = T_map_base[1, 0] * x + T_map_base[1, 1] * y + T_map_base[1, 2]
    column = layout.anchor[0] * width * layout.resolution / resolution - left / resolution
    row = layout.anchor[1] * height * layout.resolution / resolution - up / resolution
    unit = pixels_to_unit(column, row, source.shape[2], source.shape[1])
    return F.grid_sample(source[None], unit[None], align_corners=False, padding_mode='zeros')[0]


def empty_map_bev(grid: Grid, device: torch.device | str = 'cpu') -> Tensor:
    """(3, H, W) zeros: there is no map, and nothing of it is valid."""
    return torch.zeros(len(CHANNELS), grid.cells, grid.cells, device=device)
