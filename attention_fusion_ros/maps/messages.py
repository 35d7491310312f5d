# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Goals, paths and map alignments from messages, duck-typed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, malformed, stamp_and_frame, text
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion, yaw_of
from attention_fusion_ros.maps.settings import Degrees, parse_degrees

WGS84 = 'wgs84'  # as in mapviz and swri_transform_util: x is the longitude, y the latitude
USUAL_STD_M, USUAL_STD_RAD = 1.0, math.radians(1.0)  # of poses whose covariance is empty


@dataclass(frozen=True)
class Goal:
    """A place in a frame."""

    frame_id: str
    place: tuple[float, float]  # m; in the frame WGS84: longitude, latitude in degrees


@dataclass(frozen=True)
class GivenPath:
    """A path in a frame."""

    frame_id: str
    points: np.ndarray  # (P, 2) m


@dataclass(frozen=True)
class Alignment:
    """The motion in base_link that moves the map to where it belongs."""

    stamp_ns: int
    dx: float  # m
    dy: float
    dyaw: float  # rad
    covariance: np.ndarray  # (3, 3) of them


def _frame(msg: Any) -> str:
    return text(attribute(msg, 'header'), 'frame_id').lstrip('/')  # tools leave the stamp of goals empty


def _numbers(msg: Any, *names: str) -> tuple[float, ...]:
    try:
        return tuple(float(attribute(msg, name)) for name in names)
    except (TypeError, ValueError, OverflowError) as error:
        malformed(f'The {type(msg).__name__} cannot be read: {error}.')


def decode_goal_pose(msg: Any) -> Goal:
    """geometry_msgs/PoseStamped. Raises InputError: malformed_message, goal_malformed."""
    x, y = _numbers(attribute(attribute(msg, 'pose'), 'position'), 'x', 'y')
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError('goal_malformed', 'a goal is not finite.', 'give x and y in metres.')
    return Goal(_frame(msg), (x, y))


def decode_goal_fix(msg: Any) -> Degrees:
    """sensor_msgs/NavSatFix. Raises InputError: malformed_message, goal_malformed, near_pole."""
    latitude, longitude = _numbers(msg, 'latitude', 'longitude')
    return parse_degrees(f'{latitude!r}, {longitude!r}')


def decode_path(msg: Any) -> GivenPath:
    """nav_msgs/Path; poses that are not finite are left out. Raises InputError malformed_message."""
    try:
        places = [_numbers(attribute(attribute(pose, 'pose'), 'position'), 'x', 'y')
                  for pose in attribute(msg, 'poses')]
    except TypeError as error:
        malformed(f'The {type(msg).__name__} cannot be read: {error}.')
    points = np.array(places, np.float64).reshape(-1, 2)
    return GivenPath(_frame(msg), points[np.isfinite(points).all(axis=1)])


def decode_alignment(msg: Any) -> Alignment:
    """geometry_msgs/PoseWithCovarianceStamped. Raises InputError: malformed_message, stamp_zero, alignment_unusable."""
    stamp_ns, _ = stamp_and_frame(msg)
    T, covariance = _pose(msg, 'alignment_unusable')
    return Alignment(stamp_ns, float(T[0, 3]), float(T[1, 3]), yaw_of(T), covariance)


def deviations(msg: Any) -> tuple[float, float]:
    """Of the pose of a nav_msgs/Odometry: m and rad, usual ones where its covariance is empty.

    Raises InputError: malformed_message, bad_odometry.
    """
    _, covariance = _pose(msg, 'bad_odometry')
    std = math.sqrt(max(covariance[0, 0], covariance[1, 1], 0.0)) or USUAL_STD_M
    yaw_std = math.sqrt(max(covariance[2, 2], 0.0)) or USUAL_STD_RAD
    return std, min(yaw_std, math.pi)


def _pose(msg: Any, reason: str) -> tuple[np.ndarray, np.ndarray]:
    """(4, 4) and the (3, 3) covariance of x, y, yaw of `msg.pose` with covariance."""
    with_covariance = attribute(msg, 'pose')
    pose = attribute(with_covariance, 'pose')
    try:
        covariance = np.asarray(attribute(with_covariance, 'covariance'), np.float64).reshape(6, 6)
        T = se3_from_quaternion(_numbers(attribute(pose, 'position'), *'xyz'),
                                _numbers(attribute(pose, 'orientation'), *'xyzw'))
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(reason, f'a pose is unusable: {error}.', 'fix its publisher: finite numbers, a quaternion of '
                         'length 1, a covariance of 36 numbers.') from error
    if not np.isfinite(covariance).all():
        raise InputError(reason, 'a covariance is not finite.', 'fix its publisher.')
    return T, covariance[np.ix_((0, 1, 5), (0, 1, 5))]
