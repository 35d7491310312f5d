# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Read and make sensor_msgs/PointCloud2: the interface of `sensor_msgs_py.point_cloud2` as of ROS 2 Jazzy.

What surprises in the original is kept: fields with the same name are refused; a field with count n becomes n fields
with the suffixes _0 ... _(n-1); `read_points_numpy` wants every field to have the datatype of the first; padding at row
ends is not looked at; an organised cloud is reshaped to (width, height). One thing differs: a cloud of foreign byte
order is swapped in a copy, where the original swaps the message's own data.
"""

from __future__ import annotations

import array
import sys
from collections import namedtuple
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

DUMMY_FIELD_PREFIX = 'unnamed_field'

_DATATYPES = {
    PointField.INT8: np.dtype('i1'),
    PointField.UINT8: np.dtype('u1'),
    PointField.INT16: np.dtype('i2'),
    PointField.UINT16: np.dtype('u2'),
    PointField.INT32: np.dtype('i4'),
    PointField.UINT32: np.dtype('u4'),
    PointField.FLOAT32: np.dtype('f4'),
    PointField.FLOAT64: np.dtype('f8'),
}


def dtype_from_fields(fields: Iterable[PointField], point_step: int | None = None) -> np.dtype:
    """The structured dtype of a point; its size is `point_step` where given.

    Raises AssertionError for count 0 or a repeated name, KeyError for an unknown datatype.
    """
    names, formats, offsets = [], [], []
    for index, field in enumerate(fields):
        base = _DATATYPES[field.datatype]
        assert field.count > 0, "Can't process fields with count = 0."
        stem = field.name or f'{DUMMY_FIELD_PREFIX}_{index}'
        for element in range(field.count):
            name = stem if field.count == 1 else f'{stem}_{element}'
            assert name not in names, 'Duplicate field names are not allowed!'
            names.append(name)
            formats.append(base)
            offsets.append(field.offset + element * base.itemsize)
    layout = {'names': names, 'formats': formats, 'offsets': offsets}
    if point_step is not None:
        layout['itemsize'] = point_step
    return np.dtype(layout)


def read_points(cloud: PointCloud2, field_names: Sequence[str] | None = None, skip_nans: bool = False,
                uvs: Iterable | None = None, reshape_organized_cloud: bool = False) -> np.ndarray:
    """Structured array of the points.

    field_names: only these. skip_nans: leave out points with a NaN, unless the cloud says it is dense. uvs: only the
    points of these indices. reshape_organized_cloud: (width, height) for a cloud with more than one row.
    """
    assert isinstance(cloud, PointCloud2), 'Cloud is not a sensor_msgs.msg.PointCloud2'
    points = np.ndarray((cloud.width * cloud.height,), dtype_from_fields(cloud.fields, cloud.point_step), cloud.data)
    if field_names is not None:
        assert all(name in points.dtype.names for name in field_names), \
            'Requests field is not in the fields of the PointCloud!'
        points = points[list(field_names)]
    if bool(cloud.is_bigendian) != (sys.byteorder == 'big'):
        points = points.byteswap()
    if skip_nans and not cloud.is_dense:
        keep = np.ones(len(points), dtype=bool)
        for name in points.dtype.names:
            keep &= ~np.isnan(points[name])
        points = points[keep]
    if uvs is not None:
        points = points[uvs if isinstance(uvs, np.ndarray) else np.fromiter(uvs, int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(cloud: PointCloud2, field_names: Sequence[str] | None = None, skip_nans: bool = False,
                      uvs: Iterable | None = None, reshape_organized_cloud: bool = False) -> np.ndarray:
    """The same as a plain (N, number of fields) array.

    Raises AssertionError when a wanted field differs in datatype from the cloud's first field, wanted or not.
    """
    wanted = [field for field in cloud.fields[1:] if field_names is None or field.name in field_names]
    assert all(field.datatype == cloud.fields[0].datatype for field in wanted), \
        'All fields need to have the same datatype. Use `read_points()` otherwise.'
    return structured_to_unstructured(read_points(cloud, field_names, skip_nans, uvs, reshape_organized_cloud))


def read_points_list(cloud: PointCloud2, field_names: Sequence[str] | None = None, skip_nans: bool = False,
                     uvs: Iterable | None = None) -> list:
    """The same as a list of named tuples; slow."""
    assert isinstance(cloud, PointCloud2), 'cloud is not a sensor_msgs.msg.PointCloud2'
    if field_names is None:
        field_names = [field.name for field in cloud.fields]
    point_type = namedtuple('Point', field_names)
    return [point_type._make(point) for point in read_points(cloud, field_names, skip_nans, uvs)]


def create_cloud(header: Header, fields: Sequence[PointField], points: Iterable,
                 point_step: int | None = None) -> PointCloud2:
    """A cloud from a structured array, a plain array of one datatype, or a list of tuples.

    A second array dimension makes the cloud organised. Raises AssertionError when array and fields do not agree.
    """
    dtype = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        points = np.array([tuple(point) for point in points], dtype=dtype)
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, \
            'All fields need to have the same datatype. Pass a structured NumPy array with multiple dtypes otherwise.'
        points = unstructured_to_structured(points, dtype=dtype)
    else:
        assert points.dtype == dtype, \
            'PointFields and structured NumPy array dtype do not match for all fields! ' \
            'Check their field order, names and types.'
    assert points.ndim <= 2, 'Too many dimensions for organized cloud! Points can only be organized in max. two ' \
        'dimensional space'
    cloud = PointCloud2(header=header, height=points.shape[1] if points.ndim == 2 else 1, width=points.shape[0],
                        is_dense=False, is_bigendian=sys.byteorder == 'big', fields=fields, point_step=dtype.itemsize,
                        row_step=dtype.itemsize * points.shape[0])
    # As an array.array, assigned to the property: the message takes it over as it is, while bytes or an ndarray are
    # checked element by element on some distributions (ros2/common_interfaces#176).
    data = array.array('B')
    data.frombytes(memoryview(points).cast('B'))
    cloud.data = data
    return cloud


def create_cloud_xyz32(header: Header, points: Iterable) -> PointCloud2:
    """A cloud of x, y, z float32 from (N, 3) values."""
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate('xyz')]
    return create_cloud(header, fields, points)
