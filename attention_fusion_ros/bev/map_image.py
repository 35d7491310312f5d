# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A topological map image -> the BEV grid of the sweep: resolution, anchor, orientation and motion since its stamp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_source import MapSource
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, MapPlacement, Motion
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, planar, planar_motion, rotation_2d, se2, tilt_of
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.tensors import zeros
from attention_fusion_ros.utils.torch_later import F, Tensor, torch

CHANNELS = ('road', 'route', 'valid')
ROAD, ROUTE, VALID = range(3)
RING_POINTS = 72
LOWER_LEFT = (0.0, 1.0)  # as an anchor
ROUTE_WIDTH_M = 1.5  # of the thinnest route that networks are trained with
THIN_CORE = 0.4  # a route is thin where no cell all of whose neighbours belong to it is covered by more
FAINTEST_ROUTE = 0.02  # of a thin route's brightest cell
# More than the steepest streets (35 %, 19 degrees): the frame of odometry itself is tilted then.
MAX_TILT_RAD = math.radians(20.0)


def vehicle_to_map_frame(motion: Motion, orientation: str) -> np.ndarray:
    """(3, 3) planar transform from base_link at the sweep's stamp to the metric frame of the map image.

    That frame has its origin at the vehicle at the map's stamp; x points up in the image, y left.
    Raises InputError when the orientation needs what odometry does not give: `north_up_without_odometry`,
    `north_up_not_level`.
    """
    now, then = motion.T_odom_base, motion.T_odom_base_map
    if orientation == 'north_up':
        if now is None or then is None:
            raise InputError('north_up_without_odometry', 'a north_up map image needs odometry to be turned.',
                             'publish odometry (x east, y north) or use map.orientation heading_up.')
        require_level(now)
        relative = se2(now[0, 3] - then[0, 3], now[1, 3] - then[1, 3], 0.0)
        relative[:2, :2] = planar(now)[:2, :2]
        up_is_y = np.eye(3)
        up_is_y[:2, :2] = rotation_2d(-np.pi / 2)  # odom north (+y) is up (+x of the map frame), odom east is right
        turned: np.ndarray = up_is_y @ relative
        return turned
    if now is None or then is None:
        return np.eye(3)
    return planar_motion(then, now)


def require_level(T_odom_base: np.ndarray, max_tilt_rad: float = MAX_TILT_RAD) -> None:
    """Raises InputError `north_up_not_level` where the z axis of the odometry frame does not point up.

    T_odom_base: (4, 4). max_tilt_rad: how far the vehicle itself may lean (slopes, rad).
    """
    tilt = tilt_of(T_odom_base)
    if tilt > max_tilt_rad:
        raise InputError('north_up_not_level', f'a north_up map image needs an odometry frame whose z axis points up, '
                         f'and this one is tilted by {math.degrees(tilt):.0f} degrees against the vehicle (LiDAR '
                         'odometry often starts as the frame of its sensor).',
                         'let odometry start level (x east, y north, z up), or draw the map heading_up and set '
                         'map.orientation.')


def vehicle_to_placed_image(placed: MapPlacement, motion: Motion) -> np.ndarray:
    """(3, 3) planar transform from base_link to metres up and left of the image's lower left corner.

    Raises InputError `map_not_placed` when it is not known where base_link is in the frame of the image.
    """
    if motion.T_map_base is None:
        raise InputError('map_not_placed', 'it is not known where the vehicle is in the frame of the map.',
                         'publish the transform between the two, or odometry in that frame.')
    T_image_base = planar(inverse(placed.T_frame_image) @ motion.T_map_base)  # x right, y up
    left_is_minus_x = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned: np.ndarray = left_is_minus_x @ T_image_base
    return turned


def vehicle_to_image(image: MapImage, motion: Motion, layout: MapConfig) -> tuple[np.ndarray, tuple[float, float]]:
    """(3, 3) planar transform from base_link to metres up and left of the anchor; the anchor, (column, row) of 0..1.

    Raises InputError, see `vehicle_to_map_frame` and `vehicle_to_placed_image`.
    """
    if image.placement is None:
        return vehicle_to_map_frame(motion, layout.orientation), (layout.anchor[0], layout.anchor[1])
    return vehicle_to_placed_image(image.placement, motion), LOWER_LEFT


def ring_share(image: MapImage, motion: Motion, layout: MapConfig, radius: float) -> float:
    """The share of a ring around the vehicle that the image covers, 0..1. radius: m. Raises as `vehicle_to_image`."""
    T, anchor = vehicle_to_image(image, motion, layout)
    bearings = np.linspace(-np.pi, np.pi, RING_POINTS, endpoint=False)
    up, left, _ = T @ np.stack([radius * np.cos(bearings), radius * np.sin(bearings), np.ones(RING_POINTS)])
    height, width = image.road.shape
    pixel = pixel_size(image, layout)
    row, column = anchor[1] * height - up / pixel, anchor[0] * width - left / pixel
    return float(((0 <= row) & (row <= height) & (0 <= column) & (column <= width)).mean())


def pixel_size(image: MapImage, layout: MapConfig) -> float:
    """m: that of a grid is in its message."""
    return layout.resolution if image.placement is None else image.placement.resolution


def map_bev(image: MapImage, motion: Motion, layout: MapConfig, grid: Grid, device: torch.device | str | None = 'cpu',
            source: MapSource | None = None) -> Any:
    """-> (3, H, W) float32: road 0..1, route 0..1, valid (1 where the image covers the cell).

    device: where the tensor is to be; None for an array.
    source: of this image, for several sweeps with it; see `map_source`. While the vehicle stands still relative to it,
    or nothing tells how it moves, they are given copies of what was made for the first.
    Raises InputError, see `vehicle_to_map_frame`.
    """
    T, anchor = vehicle_to_image(image, motion, layout)
    source = source or map_source(image, layout, grid, device)
    if (known := source.known(T, anchor)) is not None:
        return known
    grids = source.sample(T, anchor)
    return source.keep(T, anchor, grids if image.route is None else with_wide_route(grids, grid))


def map_source(image: MapImage, layout: MapConfig, grid: Grid, device: torch.device | str | None = 'cpu',
               last: MapSource | None = None) -> MapSource:
    """What sweeps with this image sample. last: the one before, which is given again where it is of this image."""
    resolution = pixel_size(image, layout)
    if last is not None and last.fits(image, resolution):
        return last
    return MapSource(image, resolution, grid, device)


def route_reach(grid: Grid) -> int:
    """Cells by which a thin route is drawn wider to every side."""
    return round(ROUTE_WIDTH_M / grid.resolution / 2)


@operation('with_wide_route')
def with_wide_route(grids: Tensor, grid: Grid) -> Tensor:
    """Draw a route of thin strokes as wide as the network knows it; others stay as they are. (3, H, W) -> (3, H, W).

    A stroke of a pixel is 5 cm wide in a map of that resolution: a sixth of a cell, as faint as no route at all.
    """
    route = grids[ROUTE]
    # What is left of it after a cell has been taken from every side: of a thin stroke, nothing.
    core = -F.max_pool2d(-route[None], 3, stride=1, padding=1)
    cells = 2 * route_reach(grid) + 1
    wide = F.max_pool2d(route[None], cells, stride=1, padding=cells // 2)[0]
    wide = wide / wide.max().clamp(min=FAINTEST_ROUTE)
    route = torch.where(core.max() < THIN_CORE, wide.clamp(max=1.0), route)
    return torch.stack([torch.maximum(grids[ROAD], route), route, grids[VALID]])


def empty_map_bev(grid: Grid, device: torch.device | str | None = 'cpu') -> Any:
    """(3, H, W) zeros: there is no map, and nothing of it is valid. device: None for an array."""
    return zeros((len(CHANNELS), grid.cells, grid.cells), device)
