# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Imu -> absolute yaw with its deviation, duck-typed: dual antennas, INS, IMUs with a compass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, malformed, stamp_and_frame
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion

USUAL_STD_RAD = math.radians(3.0)  # of senders that leave the covariance empty
MIN_STD_RAD = math.radians(0.05)
UNKNOWN_RAD = math.radians(90.0)  # beyond, drivers mean that they do not know the yaw


@dataclass(frozen=True)
class Heading:
    """One orientation of the sensor against east, north and up."""

    stamp_ns: int
    frame_id: str
    R_enu_sensor: np.ndarray  # (3, 3)
    std: float  # rad, of the yaw


def heading_from_message(msg: Any) -> Heading:
    """Raises InputError: malformed_message, stamp_zero, no_orientation, bad_yaw."""
    stamp_ns, frame_id = stamp_and_frame(msg)
    q = attribute(msg, 'orientation')
    try:
        covariance = np.asarray(attribute(msg, 'orientation_covariance'), np.float64).ravel()
        values = tuple(float(attribute(q, name)) for name in 'xyzw')
    except (TypeError, ValueError, OverflowError) as error:
        malformed(f'The {type(msg).__name__} cannot be read: {error}.')
    if len(covariance) != 9:
        malformed(f'The orientation_covariance has {len(covariance)} numbers, not 9.')
    # sensor_msgs/Imu: -1 says that there is no orientation; drivers also leave the quaternion empty, or give a
    # variance as large as the circle.
    if covariance[0] == -1.0 or not any(values) or covariance[8] > UNKNOWN_RAD**2:
        raise InputError('no_orientation', 'the message says that it holds no orientation.',
                         'use the topic with the heading of the receiver or INS, or set position.imu to off.')
    try:
        T = se3_from_quaternion((0.0, 0.0, 0.0), values)
    except ValueError as error:
        raise InputError('bad_yaw', f'the orientation is unusable: {error}.',
                         'fix its publisher: a finite quaternion of length 1.') from error
    std = math.sqrt(covariance[8]) if covariance[8] > 0 else USUAL_STD_RAD
    return Heading(stamp_ns, frame_id.lstrip('/'), T[:3, :3], max(std, MIN_STD_RAD))
