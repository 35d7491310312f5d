# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What all messages share: header, whole numbers and the byte buffer, read without trusting the sender."""

from __future__ import annotations

import operator
from typing import Any, NoReturn

import numpy as np

from attention_fusion_ros.errors import InputError

UINT32_MAX = 2**32 - 1
INT32_MAX = 2**31 - 1


def malformed(message: str) -> NoReturn:
    """Raise for a message that a conforming publisher cannot produce."""
    raise InputError('malformed_message', message, 'publish a message that conforms to its sensor_msgs definition.')


def attribute(msg: Any, name: str) -> Any:
    """`msg.name`; InputError(malformed_message) when there is none."""
    try:
        return getattr(msg, name)
    except AttributeError:
        malformed(f'The {type(msg).__name__} has no `{name}`.')


def whole_number(msg: Any, name: str, low: int = 0, high: int = UINT32_MAX) -> int:
    """`msg.name` as an int within low..high; InputError(malformed_message) otherwise."""
    value = attribute(msg, name)
    try:
        number = operator.index(value)
    except TypeError:
        malformed(f'`{name}` must be a whole number, got {type(value).__name__}.')
    if not low <= number <= high:
        malformed(f'`{name}` must be within {low} .. {high}, got {number}.')
    return number


def text(msg: Any, name: str) -> str:
    """`msg.name` as text; InputError(malformed_message) otherwise."""
    value = attribute(msg, name)
    if not isinstance(value, str):
        malformed(f'`{name}` must be text, got {type(value).__name__}.')
    return value


def flag(msg: Any, name: str) -> bool:
    """`msg.name` as a truth value: bool in PointCloud2, uint8 in Image."""
    value = attribute(msg, name)
    return bool(value) if isinstance(value, np.bool_) else bool(whole_number(msg, name, high=255))


def stamp_and_frame(msg: Any) -> tuple[int, str]:
    """Stamp in ns and frame of a message with a std_msgs/Header.

    Raises InputError: stamp_zero when the stamp was never filled in, malformed_message.
    """
    header = attribute(msg, 'header')
    stamp = attribute(header, 'stamp')
    sec = whole_number(stamp, 'sec', high=INT32_MAX)
    nanosec = whole_number(stamp, 'nanosec', high=10**9 - 1)
    if sec == 0 and nanosec == 0:
        raise InputError('stamp_zero', 'The stamp in the header is 0.',
                         'let the driver stamp its messages with the acquisition time.')
    return sec * 10**9 + nanosec, text(header, 'frame_id')


def byte_view(msg: Any, name: str = 'data') -> np.ndarray:
    """`msg.data` as a (n,) uint8 view, without a copy; InputError(malformed_message) when it holds no bytes."""
    data = attribute(msg, name)
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        malformed(f'`{name}` must be a buffer of bytes, got {type(data).__name__}.')
    if view.itemsize != 1 or not view.c_contiguous:
        malformed(f'`{name}` must be contiguous bytes, got items of {view.itemsize} bytes.')
    if view.nbytes == 0:
        return np.empty(0, np.uint8)
    return np.frombuffer(view, np.uint8)


def row_stride(what: str, got: int, rows: int, row_bytes: int, row_step: int, step_name: str) -> int:
    """Bytes from one row of the data to the next.

    got: bytes in `data`; row_bytes: bytes of a row that hold content, the rest pads; row_step: as the message states
    it. Where the length of the data leaves one reading, it decides: publishers fill in a step of 0, of the whole data
    (ROS 2's PointCloud2Modifier::resize(width, height) until ros2/common_interfaces#340) or of an earlier size.
    Raises InputError: truncated_data when there are fewer bytes than the steps say, size_mismatch when the numbers
    contradict each other otherwise.
    """
    if row_step >= row_bytes and got in (rows * row_step, (rows - 1) * row_step + row_bytes):  # the last row unpadded
        return row_step
    content = rows * row_bytes
    if got == content:
        return row_bytes
    message = (f'The data of the {what} is {got} bytes long, which fits neither {rows} rows of {row_bytes} bytes '
               f'({content}) nor {rows} rows of the {row_step} bytes that {step_name} says ({rows * row_step}).')
    remedy = f'fill in width, height and {step_name} as the data is laid out, and send all of it.'
    if row_step >= row_bytes and got < rows * row_step:
        raise InputError('truncated_data', message, remedy)
    raise InputError('size_mismatch', message, remedy)
