# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Clouds as other sensors, broken drivers and broken links send them: points -> message, or bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import PointCloud2

from attention_fusion_ros.decode.plain_messages import VELODYNE_POINT
from attention_fusion_ros.ros.messages import sensors


def _message(points: np.ndarray) -> PointCloud2:
    return sensors.point_cloud(points, sensors.header(0, 'lidar'))


def _copied(points: np.ndarray, dtype: np.dtype) -> np.ndarray:
    out = np.zeros(len(points), dtype)
    for name in set(dtype.names or ()) & set(points.dtype.names or ()):
        out[name] = points[name]
    return out


def doubles(points: np.ndarray) -> PointCloud2:
    """Float64 coordinates, padded to 40 bytes a point."""
    dtype = np.dtype({'names': ['x', 'y', 'z', 'intensity'], 'formats': ['<f8', '<f8', '<f8', '<f4'],
                      'offsets': [0, 8, 16, 32], 'itemsize': 40})
    return _message(_copied(points, dtype))


def velodyne(points: np.ndarray) -> PointCloud2:
    """The layout of the Velodyne driver, without times."""
    return _message(_copied(points, VELODYNE_POINT))


def big_endian(points: np.ndarray) -> PointCloud2:
    """The other byte order."""
    message = _message(points)
    message.data = sensors.bytes_of(points.view('<f4').byteswap())
    message.is_bigendian = True
    return message


def nothing(points: np.ndarray) -> PointCloud2:
    """No points."""
    return _message(points[:0])


def all_nan(points: np.ndarray) -> PointCloud2:
    """Coordinates that are NaN."""
    out = points.copy()
    for axis in 'xyz':
        out[axis] = np.nan
    return _message(out)


def half_nan(points: np.ndarray) -> PointCloud2:
    """As many points that are NaN in between, and is_dense true all the same."""
    out = np.repeat(points, 2)
    for axis in 'xyz':
        out[axis][::2] = np.nan
    return _message(out)


def origin(points: np.ndarray) -> PointCloud2:
    """Every point where the sensor is."""
    out = points.copy()
    for axis in 'xyz':
        out[axis] = 0.0
    return _message(out)


def cut(points: np.ndarray) -> PointCloud2:
    """Less data than there are points."""
    message = _message(points)
    message.data = message.data[:len(message.data) // 2]
    return message


def without_z(points: np.ndarray) -> PointCloud2:
    """A field is missing."""
    message = _message(points)
    message.fields = [f for f in message.fields if f.name != 'z']
    return message


def huge(points: np.ndarray) -> PointCloud2:
    """Coordinates of 1e30 m."""
    out = points.copy()
    out['x'] = 1e30
    return _message(out)


def garbage(points: np.ndarray) -> bytes:
    """Bytes that are no message."""
    return np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()


def sized(megabytes: float) -> Callable[[np.ndarray], PointCloud2]:
    """The same points again and again, up to a size."""
    def cloud(points: np.ndarray) -> PointCloud2:
        return _message(np.resize(points, int(megabytes * 1e6 / points.itemsize)))
    return cloud


CLOUDS: dict[str, Callable[[np.ndarray], PointCloud2 | bytes]] = {
    'plain': _message, 'doubles': doubles, 'velodyne': velodyne, 'big endian': big_endian, 'half NaN': half_nan,
    '2 MB': sized(2.0), '20 MB': sized(20.0), 'empty': nothing, 'NaN': all_nan, 'origin': origin, 'cut': cut,
    'without z': without_z, 'huge': huge, 'garbage': garbage}
GOOD_CLOUDS = ('plain', 'doubles', 'velodyne', 'big endian', 'half NaN', '2 MB', '20 MB')
