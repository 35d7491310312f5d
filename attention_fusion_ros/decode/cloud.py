# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2 -> PointCloud: any field layout, mostly without a copy.

Fields are strided views over the message's own bytes (no structured dtype, so duplicated and overlapping fields do no
harm). Where x, y and z are float32 of this machine and follow each other, as all common drivers lay them out, and the
bytes last (`bytes`, or the `array.array` that rclpy makes for each message), the points are such a view themselves,
read only. Others are copied once into contiguous float32.
"""

from __future__ import annotations

import array
import dataclasses
import sys
from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode.message import (
    attribute,
    byte_view,
    flag,
    malformed,
    row_stride,
    stamp_and_frame,
    text,
    whole_number,
)
from attention_fusion_ros.decode.no_returns import no_returns
from attention_fusion_ros.decode.point_time import TIME_NAMES, UNITS, PointTimes
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.kernels.room import room

NATIVE = '<' if sys.byteorder == 'little' else '>'
# sensor_msgs/PointField; 9 to 11 came with PCL 1.12 and ROS 2 Rolling (ros2/common_interfaces#301).
DATATYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8', 9: 'i8', 10: 'u8', 11: 'u1'}
COORDINATE_DATATYPES = ('f4', 'f8')
# Names that drivers give to the strength of the return, best known first.
INTENSITY_NAMES = ('intensity', 'intensities', 'i', 'reflectivity')


class Field(NamedTuple):
    """Where one value lies inside a point."""

    offset: int  # bytes
    dtype: str  # numpy code without byte order


def decode_cloud(msg: Any) -> PointCloud:
    """One sweep in its sensor frame from a sensor_msgs/PointCloud2.

    x, y and z are float32 or float64 [m] at any offset; the intensity is the first of INTENSITY_NAMES present, of any
    datatype. Of fields with the same name the first counts; of a field with count > 1 the first element; a count of 0
    is read as 1. Numbers that the data contradicts are not believed, see `_layout`. Points whose coordinates are NaN,
    infinite or beyond float32 are dropped, and so are those that stand for 'no return', see `no_returns`; an intensity
    that is not finite becomes 0. The time of each point is the first of `point_time.TIME_NAMES` present, and is read
    only when somebody asks for it.

    Raises InputError: malformed_message, stamp_zero, empty_cloud, missing_field, unknown_datatype, field_out_of_point,
    fields_overlap, size_mismatch, truncated_data, no_finite_points, no_returns.
    """
    stamp_ns, frame_id = stamp_and_frame(msg)
    data = byte_view(msg)
    width, height, point_step, row_step = _layout(msg, len(data))
    fields = _fields(msg, point_step)

    order = '>' if flag(msg, 'is_bigendian') else '<'
    coordinates = _coordinates(fields)
    intensity_field = next((fields[name] for name in INTENSITY_NAMES if name in fields), None)
    time_name = next((name for name in TIME_NAMES if name in fields and fields[name].dtype in UNITS), None)

    def view(field: Field) -> np.ndarray:
        return _view(data, field, order, height, width, row_step, point_step)
    strength = None if intensity_field is None else view(intensity_field)
    # Other buffers that can be written to, a bytearray for example, may be filled again by whoever sent them.
    lasting = not data.flags.writeable or isinstance(attribute(msg, 'data'), array.array)
    together = lasting and (height == 1 or row_step == width * point_step)
    points = _points_view(data, coordinates, order, width * height, point_step) if together else None
    if points is None:
        x, y, z = map(view, coordinates)
        xyz, intensity = unpack_points(x, y, z, strength)
    else:
        xyz, intensity = points, None if strength is None else _as_float32(strength)
    times = None
    if time_name is not None:
        field = fields[time_name]
        times = PointTimes(time_name, field.dtype, view(field))
    return measured_cloud(stamp_ns, frame_id, xyz, intensity, times)


def _points_view(data: np.ndarray, coordinates: list[Field], order: str, count: int,
                 point_step: int) -> np.ndarray | None:
    """(N, 3) float32 over the message's bytes, read only; None where the numbers of a point do not lie like that."""
    x, y, z = coordinates
    if (order != NATIVE or {x.dtype, y.dtype, z.dtype} != {'f4'}
            or (y.offset, z.offset) != (x.offset + 4, x.offset + 8)):
        return None
    points: np.ndarray = np.ndarray((count, 3), np.float32, data, x.offset, (point_step, 4))
    points.flags.writeable = False
    return points


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Values (rows, columns) that follow each other -> (N,): a view, read only, of what is float32 already."""
    if values.dtype == np.float32 and values.dtype.isnative:
        flat = values.reshape(-1)
        flat.flags.writeable = False
        return flat
    narrow = room.lent('intensity', (values.size,))
    with np.errstate(over='ignore', invalid='ignore'):
        narrow.reshape(values.shape)[:] = values
    return narrow


@operation('unpack_points')
def unpack_points(x: np.ndarray, y: np.ndarray, z: np.ndarray, intensity: np.ndarray | None
                  ) -> tuple[np.ndarray, np.ndarray | None]:
    """Fields (rows, columns) of any number type and strides -> (N, 3) and (N,), float32, contiguous, row by row.

    What float32 cannot hold becomes infinite.
    """
    xyz = np.empty((*x.shape, 3), np.float32)
    with np.errstate(over='ignore', invalid='ignore'):
        for axis, values in enumerate((x, y, z)):
            xyz[..., axis] = values
        narrow = None if intensity is None else intensity.astype(np.float32).reshape(-1)
    return xyz.reshape(-1, 3), narrow


def _layout(msg: Any, got: int) -> tuple[int, int, int, int]:
    """Columns, rows, bytes of a point, and bytes from one row to the next.

    got: bytes in `data`. Where they leave one reading, it decides against the numbers beside it: `row_stride`, a height
    of 0 beside the points of one row, a width of 0 beside those of one column, and a width greater than the rows that
    row_step and data agree on.
    """
    width, height = whole_number(msg, 'width'), whole_number(msg, 'height')
    point_step, row_step = whole_number(msg, 'point_step'), whole_number(msg, 'row_step')
    if width * height == 0:
        points = max(width, height)
        if points < 2 or got == 0 or got != points * point_step:
            raise InputError('empty_cloud', f'The cloud has no points ({width} x {height}).', 'check that the sensor '
                             'sees anything and that no filter before this node removes every point.')
        return points, 1, point_step, got
    if 0 < point_step <= row_step < width * point_step and row_step % point_step == 0 and got == height * row_step:
        width = row_step // point_step
    return width, height, point_step, row_stride('cloud', got, height, width * point_step, row_step, 'row_step')


def described_fields(msg: Any) -> list[Any]:
    """The PointFields of a message, unread; InputError(malformed_message) when they are no list."""
    described = attribute(msg, 'fields')
    if isinstance(described, (str, bytes)) or not hasattr(described, '__iter__'):
        malformed(f'`fields` must be a list of PointField, got {type(described).__name__}.')
    return list(described)


def _fields(msg: Any, point_step: int) -> dict[str, Field]:
    """Every field by name, the first of each name; a layout that contradicts itself is an error even where unread."""
    fields: dict[str, Field] = {}
    for item in described_fields(msg):
        name, offset = text(item, 'name'), whole_number(item, 'offset')
        datatype, count = whole_number(item, 'datatype'), max(1, whole_number(item, 'count'))
        if datatype not in DATATYPES:
            raise InputError('unknown_datatype', f"Field '{name}' has datatype {datatype}; known are 1 to 11.",
                             'use a datatype of sensor_msgs/PointField.')
        size = np.dtype(DATATYPES[datatype]).itemsize
        if offset + size * count > point_step:
            raise InputError('field_out_of_point', f"Field '{name}' ({count} x {size} bytes at offset {offset}) does "
                             f'not fit into a point of {point_step} bytes.',
                             'fill in point_step, offset and count (1 for a single value) as the data is laid out.')
        fields.setdefault(name, Field(offset, DATATYPES[datatype]))
    return fields


def _coordinates(fields: dict[str, Field]) -> list[Field]:
    missing = [name for name in ('x', 'y', 'z') if name not in fields]
    if missing:
        raise InputError('missing_field', f"The cloud has no field {', '.join(missing)}; it has "
                         f"{', '.join(fields) or 'none'}.", 'publish a cloud with x, y and z in metres.')
    for name in ('x', 'y', 'z'):
        if fields[name].dtype not in COORDINATE_DATATYPES:
            raise InputError('unknown_datatype', f"Field '{name}' is of type {fields[name].dtype}, whose unit is not "
                             'known.', 'publish x, y and z as float32 or float64 in metres.')
    ends = {name: fields[name].offset + np.dtype(fields[name].dtype).itemsize for name in ('x', 'y', 'z')}
    for one, other in (('x', 'y'), ('y', 'z'), ('x', 'z')):
        if fields[one].offset < ends[other] and fields[other].offset < ends[one]:
            raise InputError('fields_overlap', f"Fields '{one}' and '{other}' share bytes: they begin at "
                             f'{fields[one].offset} and {fields[other].offset}.',
                             'fill in the offset of each field as the data is laid out.')
    return [fields[name] for name in ('x', 'y', 'z')]


def _view(data: np.ndarray, field: Field, order: str, height: int, width: int, row_step: int,
          point_step: int) -> np.ndarray:
    """One field of every point as a (height, width) view over the message's bytes."""
    return np.ndarray((height, width), np.dtype(order + field.dtype), data, field.offset, (row_step, point_step))


def measured_cloud(stamp_ns: int, frame_id: str, xyz: np.ndarray, intensity: np.ndarray | None,
                   times: PointTimes | None) -> PointCloud:
    """A cloud of what is a measurement among points (N, 3) float32 with intensities (N,) float32.

    Raises InputError: no_finite_points, no_returns.
    """
    xyz, intensity, kept = without_no_returns(xyz, intensity)
    if kept is not None and times is not None:
        times = dataclasses.replace(times, keep=kept)
    return PointCloud(stamp_ns, frame_id, xyz, intensity, times)


@operation('without_no_returns')
def without_no_returns(xyz: np.ndarray, intensity: np.ndarray | None
                       ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Points (N, 3) float32 and intensities (N,) float32 -> those that are a measurement, and their indices.

    The indices are None where all are. Intensities that are not finite become 0. What is given may be given back, and
    must not be used afterwards. Raises InputError: no_finite_points, no_returns.
    """
    count = len(xyz)
    kept: np.ndarray | None = None  # indices, None: all
    with np.errstate(over='ignore', invalid='ignore'):
        # A finite sum proves that all are finite, at a fraction of the cost of asking each one.
        suspicious = not np.isfinite(xyz.sum())
        finite_intensity = intensity is None or bool(np.isfinite(intensity.sum()))
    if suspicious:
        finite = np.isfinite(xyz[:, 0]) & np.isfinite(xyz[:, 1]) & np.isfinite(xyz[:, 2])
        keep = np.flatnonzero(finite)  # take() is three times as fast as a boolean index
        if not len(keep):
            raise no_finite_points(count)
        xyz, kept = xyz.take(keep, axis=0), keep
    no_return = no_returns(xyz)
    if no_return is not None:
        keep = np.flatnonzero(~no_return)
        if not len(keep):
            raise no_points_returned(count)
        xyz = xyz.take(keep, axis=0)
        kept = keep if kept is None else kept.take(keep)
    if intensity is not None:
        intensity = intensity if kept is None else intensity.take(kept)
        if not finite_intensity:
            intensity = np.where(np.isfinite(intensity), intensity, np.float32(0.0))
    return xyz, intensity, kept


def no_finite_points(count: int) -> InputError:
    """The error of a cloud of so many points without a finite one."""
    return InputError('no_finite_points', f'None of the {count} points is finite.',
                      'check that the sensor has a return at all, and its byte order (is_bigendian).')


def no_points_returned(count: int) -> InputError:
    """The error of a cloud of so many points without a measurement among them."""
    return InputError('no_returns', f"None of the {count} points is a return: all lie at the sensor's origin or at one "
                      'and the same place, or are not finite.',
                      'check that nothing covers the sensor, and that it is not in standby.')
