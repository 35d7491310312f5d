# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/OccupancyGrid -> MapImage that says itself where it lies: free space is road."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_fusion_ros.contracts import MapImage, MapPlacement
from attention_fusion_ros.decode.image import MAX_PIXELS
from attention_fusion_ros.decode.message import attribute, byte_view, malformed, stamp_and_frame, text, whole_number
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion

UNDECIDED = 50  # percent: as likely occupied as free
REMEDY = 'publish a grid as nav2 map_server does: resolution in metres, and the pose of its lower left cell.'


def decode_map_grid(msg: Any) -> MapImage:
    """Road of a nav_msgs/OccupancyGrid: 0 (free) is road, 50 and more and unknown (-1) are none, linear between.

    `info.resolution`, `info.origin` and the frame in the header place it. A grid may have no stamp: what is placed in a
    fixed frame has no age.
    Raises InputError: malformed_message, empty_image, image_too_large, size_mismatch, bad_grid.
    """
    try:
        stamp_ns, frame_id = stamp_and_frame(msg)
    except InputError as error:
        if error.reason != 'stamp_zero':
            raise
        stamp_ns, frame_id = 0, text(msg.header, 'frame_id')
    info = attribute(msg, 'info')
    width, height = whole_number(info, 'width'), whole_number(info, 'height')
    if width * height == 0:
        raise InputError('empty_image', f'The map grid has no cells ({width} x {height}).',
                         'publish the grid only once there is one.')
    if width * height > MAX_PIXELS:
        raise InputError('image_too_large', f'The map grid has {width} x {height} cells; at most {MAX_PIXELS} are '
                         'read.',
                         'crop the map, or make its cells larger.')
    data = byte_view(msg)
    if len(data) != width * height:
        raise InputError('size_mismatch', f'The map grid has {len(data)} cells, not {width} x {height}.',
                         'fill in width and height as the data is laid out.')
    cells = data.view(np.int8).reshape(height, width)[::-1]  # its first row is the lowest
    road = cells.astype(np.float32)
    road *= np.float32(-1.0 / UNDECIDED)
    road += 1.0
    np.clip(road, 0.0, 1.0, out=road)
    road[cells < 0] = 0.0
    return MapImage(stamp_ns, frame_id.lstrip('/'), road, None, MapPlacement(_resolution(info), _origin(info)))


def _resolution(info: Any) -> float:
    value = attribute(info, 'resolution')
    try:
        resolution = float(value)
    except (TypeError, ValueError, OverflowError):
        malformed(f'`resolution` must be a number, got {type(value).__name__}.')
    if not math.isfinite(resolution) or resolution <= 0:
        raise InputError('bad_grid', f'The resolution of the map grid is {resolution}.', REMEDY)
    return resolution


def _origin(info: Any) -> np.ndarray:
    pose = attribute(info, 'origin')
    p, q = attribute(pose, 'position'), attribute(pose, 'orientation')
    try:
        turn = (q.x, q.y, q.z, q.w)
        return se3_from_quaternion((p.x, p.y, p.z), turn if any(turn) else (0.0, 0.0, 0.0, 1.0))
    except ValueError as error:
        raise InputError('bad_grid', f'The origin of the map grid is unusable: {error}.', REMEDY) from error
    except (AttributeError, TypeError, OverflowError) as error:
        malformed(f'The origin of the map grid cannot be read: {error}.')
