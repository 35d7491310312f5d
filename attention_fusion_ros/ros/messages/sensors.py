# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays and numbers -> messages of sensors, as drivers, map servers and localisation publish them.

Arrays are handed over as `array.array`: other types are checked element by element, or refused, on some distributions.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence

import numpy as np

from attention_fusion_ros.decode.plain_messages import point_fields
from attention_fusion_ros.geometry import quaternion_from_yaw
from attention_fusion_ros.ros.messages.classes import (
    Clock,
    Header,
    Image,
    Imu,
    NavSatFix,
    Odometry,
    PointCloud2,
    PointField,
    TransformStamped,
)


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header. stamp_ns: ns."""
    message = Header(frame_id=frame_id)
    message.stamp.sec, message.stamp.nanosec = divmod(int(stamp_ns), 10**9)
    return message


def point_cloud(points: np.ndarray, head: Header) -> PointCloud2:
    """A cloud of (N,) points of a structured dtype, in the layout of that."""
    points = np.ascontiguousarray(points)
    fields = [PointField(name=name, offset=offset, datatype=datatype, count=1)
              for name, offset, datatype in point_fields(points.dtype)]
    message = PointCloud2(header=head, height=1, width=len(points), fields=fields, is_bigendian=False,
                          point_step=points.itemsize, row_step=points.nbytes, is_dense=True)
    message.data = bytes_of(points)
    return message


def bytes_of(values: np.ndarray) -> array.array:
    """The memory of a contiguous array, copied once."""
    found = array.array('B')
    found.frombytes(values.reshape(-1).view(np.uint8).data)
    return found


def image(pixels: np.ndarray, head: Header, encoding: str = 'rgb8') -> Image:
    """An image of (H, W) or (H, W, C) pixels in the data type of `encoding`."""
    pixels = np.ascontiguousarray(pixels)
    message = Image(header=head, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    is_bigendian=int(sys.byteorder == 'big'), step=pixels.nbytes // max(1, pixels.shape[0]))
    message.data = bytes_of(pixels)
    return message


def odometry(pose: Sequence[float], head: Header, child_frame_id: str = 'base_link', speed: float = 0.0) -> Odometry:
    """The pose (x, y, yaw) in m and rad of `child_frame_id` in the header's frame. speed: m/s, forward."""
    message = Odometry(header=head, child_frame_id=child_frame_id)
    position, turn = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y = float(pose[0]), float(pose[1])
    turn.x, turn.y, turn.z, turn.w = quaternion_from_yaw(pose[2])
    message.twist.twist.linear.x = float(speed)
    return message


def transform(translation: Sequence[float], yaw: float, head: Header, child_frame_id: str) -> TransformStamped:
    """The pose of `child_frame_id` in the header's frame: a translation (x, y, z) in m and a yaw in rad."""
    message = TransformStamped(header=head, child_frame_id=child_frame_id)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, translation)
    q.x, q.y, q.z, q.w = quaternion_from_yaw(yaw)
    return message


def fix(latitude: float, longitude: float, altitude: float, covariance: np.ndarray, head: Header, status: int = 0,
        covariance_type: int = 2) -> NavSatFix:
    """A position: degrees, m above the ellipsoid, covariance (3, 3) m^2 (east, north, up)."""
    message = NavSatFix(header=head, latitude=float(latitude), longitude=float(longitude), altitude=float(altitude),
                        position_covariance=covariance.ravel().tolist(), position_covariance_type=covariance_type)
    message.status.status, message.status.service = status, 1  # GPS
    return message


def imu(yaw: float, std: float, rate: float, head: Header) -> Imu:
    """An absolute yaw [rad, from true east] with its deviation, and its rate; accelerations are not said (-1)."""
    message = Imu(header=head)
    q = message.orientation
    q.x, q.y, q.z, q.w = quaternion_from_yaw(yaw)
    message.orientation_covariance = np.diag([1e-4, 1e-4, std**2]).ravel().tolist()
    message.angular_velocity.z = float(rate)
    message.angular_velocity_covariance = np.diag([1e-4] * 3).ravel().tolist()
    message.linear_acceleration_covariance = [-1.0] + 8 * [0.0]
    return message


def clock(stamp_ns: int) -> Clock:
    """A /clock message. stamp_ns: ns."""
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(int(stamp_ns), 10**9)
    return message
