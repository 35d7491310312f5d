# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages without ROS: objects with the fields of the ROS message of the same name, for benchmarks, data and tests."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np

from attention_fusion_ros.decode.cloud import DATATYPES

# The layout of the Velodyne driver: packed, 22 bytes a point.
VELODYNE_POINT = np.dtype({'names': ['x', 'y', 'z', 'intensity', 'ring', 'time'],
                           'formats': ['<f4', '<f4', '<f4', '<f4', '<u2', '<f4'],
                           'offsets': [0, 4, 8, 12, 16, 18], 'itemsize': 22})
_CODES = {name: code for code, name in reversed(DATATYPES.items())}  # reversed: of two codes for bytes, the first one


def point_fields(dtype: np.dtype) -> list[tuple[str, int, int]]:
    """A structured dtype -> (name, offset in bytes, datatype of sensor_msgs/PointField) of each field."""
    found: list[tuple[str, int, int]] = []
    for name in dtype.names or ():
        assert dtype.fields is not None
        kind, offset = dtype.fields[name][:2]
        found.append((name, offset, _CODES[kind.str[1:]]))
    return found


def header(stamp_ns: int, frame_id: str) -> SimpleNamespace:
    """A std_msgs/Header."""
    sec, nanosec = divmod(int(stamp_ns), 10**9)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)


def point_cloud(points: np.ndarray, stamp_ns: int, frame_id: str) -> SimpleNamespace:
    """A sensor_msgs/PointCloud2 of (N,) points of a structured dtype."""
    points = np.ascontiguousarray(points)
    fields = [SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1)
              for name, offset, datatype in point_fields(points.dtype)]
    return SimpleNamespace(header=header(stamp_ns, frame_id), height=1, width=len(points), fields=fields,
                           is_bigendian=False, point_step=points.itemsize, row_step=points.nbytes, is_dense=True,
                           data=points.tobytes())


def image(pixels: np.ndarray, stamp_ns: int, frame_id: str = 'base_link', encoding: str = 'rgb8') -> SimpleNamespace:
    """A sensor_msgs/Image of (H, W) or (H, W, C) pixels in the data type of `encoding`."""
    pixels = np.ascontiguousarray(pixels)
    return SimpleNamespace(header=header(stamp_ns, frame_id), height=pixels.shape[0], width=pixels.shape[1],
                           encoding=encoding, is_bigendian=int(sys.byteorder == 'big'),
                           step=pixels.nbytes // max(1, pixels.shape[0]), data=pixels.reshape(-1).view(np.uint8))
