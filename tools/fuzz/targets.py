# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of everything that reads what others wrote: how inputs are made, and what reads them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from attention_fusion_ros import decode
from attention_fusion_ros.decode.map_scale import float_scale, integer_scale
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.fix import fix_from_message
from attention_fusion_ros.maps.heading import heading_from_message
from attention_fusion_ros.maps.messages import decode_alignment, decode_goal_fix, decode_goal_pose, decode_path
from fuzz import clouds, messages
from fuzz.file_targets import FILE_TARGETS
from fuzz.judge import Fault
from fuzz.mutate import other_value, put, spoiled
from fuzz.stream_target import STREAM_TARGETS
from fuzz.target import Target
from fuzz.value_targets import VALUE_TARGETS

# Of map images in files: one may claim as many pixels as its bytes can hold.
FILE_MIB = 400.0
PROBE = 8  # one message in so many is good as it is


def _mutated(*makers: Callable[[random.Random], Any]) -> Callable[[random.Random], Any]:
    """Messages of one of the makers, most of them with something wrong."""
    def make(choices: random.Random) -> Any:
        message = makers[choices.randrange(len(makers))](choices)
        kind = choices.randrange(PROBE)
        if kind == 0:
            return message
        if kind == 1:  # sizes that may or may not fit together
            return _other_sizes(message, choices)
        return spoiled(message, choices, odd_types=bool(choices.randrange(2)))
    return make


def _other_sizes(message: Any, choices: random.Random) -> Any:
    message = spoiled(message, choices, odd_types=False)
    for name in ('width', 'height', 'point_step', 'row_step', 'step'):
        if isinstance(getattr(message, name, None), int) and not choices.randrange(3):
            put(message, name, other_value(getattr(message, name), choices))
    return message


def _garbage(choices: random.Random) -> Any:
    """Something that is no message at all."""
    return choices.choice((None, 7, '', b'', [], {}, object(), SimpleNamespace(), SimpleNamespace(header=None),
                           SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=1)))))


def _reads(function: Callable[[Any], Any], check: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(message: Any) -> None:
        check(function(message))
    return run


def must(holds: Any, what: str) -> None:
    """Raises Fault."""
    if not holds:
        raise Fault(f'a value that no decoder may give: {what}')


def _check_cloud(cloud: Any) -> None:
    count = len(cloud.xyz)
    must(cloud.stamp_ns > 0 and isinstance(cloud.frame_id, str), 'stamp or frame')
    must(count and cloud.xyz.shape == (count, 3) and cloud.xyz.dtype == np.float32, 'shape of the points')
    must(np.isfinite(cloud.xyz).all(), 'a point that is not finite')
    if cloud.intensity is not None:
        must(cloud.intensity.shape == (count,) and np.isfinite(cloud.intensity).all(), 'intensity')
    if cloud.times is not None:
        offsets, told = cloud.times.offsets_s(cloud.stamp_ns, cloud.xyz)  # InputError implausible_time
        must(offsets.shape == (count,) and np.isfinite(offsets).all() and told, 'times of the points')


def _check_map(image: Any) -> None:
    for plane in (image.road, image.route):
        if plane is not None:
            must(plane.dtype == np.float32 and plane.ndim == 2 and plane.size, 'shape of the map')
            must(np.isfinite(plane).all() and plane.min() >= 0 and plane.max() <= 1 + 1e-6, 'brightness of the map')
    if image.placement is not None:
        _check_pose(image.placement.T_frame_image)
        must(np.isfinite(image.placement.resolution) and image.placement.resolution > 0, 'resolution')


def _check_pose(T: np.ndarray) -> None:
    must(T.shape == (4, 4) and np.isfinite(T).all(), 'a pose that is not finite')
    must(np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6), 'a rotation that is none')


def _check_transforms(found: Any) -> None:
    for item in found.items:
        _check_pose(item.T_parent_child)
        must(item.parent and item.child and item.parent != item.child, 'names of frames')
    if found.problem is not None:
        raise found.problem


def _check_fix(fix: Any) -> None:
    must(fix.stamp_ns > 0 and abs(fix.latitude) <= 90 and abs(fix.longitude) <= 360 and 0 < fix.std < 1e3, 'a fix')


def _check_heading(heading: Any) -> None:
    must(np.isfinite(heading.R_enu_sensor).all() and 0 < heading.std < 10, 'a heading')


def _check_alignment(found: Any) -> None:
    must(all(map(np.isfinite, (found.dx, found.dy, found.dyaw))) and np.isfinite(found.covariance).all(), 'alignment')


def _check_goal(goal: Any) -> None:
    must(isinstance(goal.frame_id, str) and np.isfinite(goal.place).all(), 'a goal')


def _check_path(path: Any) -> None:
    must(path.points.ndim == 2 and np.isfinite(path.points).all(), 'a path')


def _plane(choices: random.Random) -> np.ndarray:
    """Pixels of any kind: what the scale of a map image is found for."""
    kind = choices.choice((np.uint8, np.uint16, np.float32))
    values = [choices.choice((0, 1, 2, 50, 51, 255, 4095, 9999, 32767, 65535, 1e9, 1e38, 0.1, choices.random()))
              for _ in range(1 + choices.randrange(24))]
    limit = 255 if kind is np.uint8 else 65535 if kind is np.uint16 else sys.float_info.max
    return np.array([[min(v, limit) for v in values]] * (1 + choices.randrange(3))).astype(kind)


def _scale(plane: np.ndarray) -> None:
    scale = float_scale(plane) if plane.dtype.kind == 'f' else integer_scale(plane)
    must(np.isfinite(scale.full) and scale.full > 0 and np.isfinite(scale.cut), 'scale of a map image')


def _message(name: str, function: Callable[[Any], Any], check: Callable[[Any], None],
             *makers: Callable[[random.Random], Any], memory_mib: float = 48.0, share: float = 1.0) -> Target:
    mutated = _mutated(*makers)

    def make(choices: random.Random) -> Any:
        return mutated(choices) if choices.randrange(64) else _garbage(choices)
    return Target(name, make, _reads(function, check), memory_mib=memory_mib, share=share)


def warm_up() -> None:
    """Let everything be imported and compiled that is only when the first message comes: it is not the message's."""
    for number in range(20):
        choices = random.Random(number)
        for read, make in ((decode.decode_cloud, clouds.cloud), (decode.decode_map_image, messages.image)):
            try:
                read(make(choices))
            except InputError:
                continue


TARGETS: tuple[Target, ...] = (
    _message('PointCloud2', decode.decode_cloud, _check_cloud, clouds.cloud, clouds.recorded_cloud, share=4.0),
    _message('CompressedPointCloud2', decode.decode_compressed_cloud, _check_cloud, clouds.compressed_cloud, share=3.0),
    _message('Livox CustomMsg', decode.decode_livox, _check_cloud, clouds.livox),
    _message('any cloud', decode.decode_sweep, _check_cloud, clouds.cloud, clouds.recorded_cloud, clouds.livox,
             clouds.compressed_cloud),
    _message('Image', decode.decode_map_image, _check_map, messages.image, share=3.0),
    _message('CompressedImage', decode.decode_compressed_map_image, _check_map, messages.compressed_image,
             memory_mib=FILE_MIB, share=3.0),
    _message('OccupancyGrid', decode.decode_map_grid, _check_map, messages.grid),
    Target('scale of map images', _plane, _scale),
    _message('Odometry', decode.decode_odometry, lambda o: _check_pose(o.T_odom_child), messages.odometry),
    _message('TFMessage', decode.decode_transforms, _check_transforms, messages.transforms),
    _message('NavSatFix', fix_from_message, _check_fix, messages.fix),
    _message('Imu', heading_from_message, _check_heading, messages.imu),
    _message('map_alignment', decode_alignment, _check_alignment, messages.alignment),
    _message('goal_pose', decode_goal_pose, _check_goal, messages.goal_pose),
    _message('goal_fix', decode_goal_fix, lambda g: must(np.isfinite(g[:2]).all(), 'a goal'), messages.fix),
    _message('Path', decode_path, _check_path, messages.path),
    *STREAM_TARGETS,
    *FILE_TARGETS,
    *VALUE_TARGETS,
)

