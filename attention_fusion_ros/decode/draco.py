# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds that draco_point_cloud_transport compressed -> one array a field, with DracoPy.

The plugin makes every field of the PointCloud2 an attribute of its own, in the order of the fields: x, y and z are
three attributes of one component each (ros-perception/point_cloud_transport_plugins, draco_publisher.cpp). How many
points of how many bytes there are is read from the file itself before anything is decoded, so that a few hostile bytes
cannot claim gigabytes (google/draco, point_cloud_decoder.cc, attributes_decoder.cc and metadata_decoder.cc).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.errors import InputError

SIGNATURE = b'DRACO'
MAJOR_VERSION = 2  # of the bitstream, since 2017; earlier ones lie differently
POINT_CLOUD, SEQUENTIAL = 0, 0  # the kind of geometry (1 is a mesh), and the method (1 is a kd-tree)
# Bytes of a component by DataType, from DT_INT8 to DT_BOOL (draco_types.h).
COMPONENT_BYTES = dict(zip(range(1, 12), (1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 1)))
PORTABLE_BYTES = 4  # of a component while it is decoded
HAS_METADATA = 0x8000
MAX_METADATA_DEPTH = 8


class _Reader:
    """Bytes from the front to the back. Raises IndexError at the end."""

    def __init__(self, data: bytes, at: int):
        self._data, self._at = data, at

    def skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError

    def whole(self, size: int) -> int:
        start = self._at
        self.skip(size)
        return int.from_bytes(self._data[start : self._at], 'little')

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.whole(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError

    def skip_metadata(self, depth: int = 0) -> None:
        if depth > MAX_METADATA_DEPTH:
            raise IndexError
        for _ in range(self.varint()):  # entries: name and value, each after its length
            self.skip(self.whole(1))
            self.skip(self.varint())
        for _ in range(self.varint()):  # metadata inside, after its name
            self.skip(self.whole(1))
            self.skip_metadata(depth + 1)


class Outline(NamedTuple):
    """What a Draco file says it holds."""

    points: int
    point_bytes: int  # that one point takes while it is decoded


def outline(data: bytes) -> Outline:
    """How much a Draco file says it has. Raises InputError `undecodable`."""
    try:
        header = _Reader(data, len(SIGNATURE))
        major = header.whole(1)
        header.skip(1)
        kind, method = header.whole(1), header.whole(1)
        if major != MAJOR_VERSION:
            raise _undecodable(f'version {major} of the format is not read')
        if header.whole(2) & HAS_METADATA:
            for _ in range(header.varint()):  # of attributes, after their number
                header.varint()
                header.skip_metadata()
            header.skip_metadata()
        if kind != POINT_CLOUD:
            raise _undecodable('it holds a mesh')
        points, decoders = header.whole(4), header.whole(1)
        return Outline(points, sum(_attribute_bytes(header, method) for _ in range(decoders)))
    except IndexError:
        raise _undecodable('its header breaks off') from None


def _attribute_bytes(header: _Reader, method: int) -> int:
    """Bytes of a point in the attributes of one decoder."""
    count = header.varint()
    found = 0
    for _ in range(count):
        header.skip(1)  # what it is for
        size = COMPONENT_BYTES.get(header.whole(1))
        if size is None:
            raise _undecodable('an attribute is of no known type')
        found += (size + PORTABLE_BYTES) * header.whole(1)
        header.skip(1)  # whether it is normalised
        header.varint()  # its number
    if method == SEQUENTIAL:
        header.skip(count)  # how each is decoded
    return found


def attributes(data: bytes) -> list[np.ndarray]:
    """The attributes of a Draco point cloud in the order in which they were added, each (N, components).

    Raises InputError: `decoder_missing` without DracoPy, `undecodable`.
    """
    try:
        import DracoPy
    except ImportError as error:
        raise InputError('decoder_missing', f'The cloud is compressed with Draco, and DracoPy is not there ({error}).',
                         'python -m pip install DracoPy, or subscribe to the zstd or zlib transport.') from error
    try:
        found: list[dict[str, Any]] = DracoPy.decode(data).attributes
        numbers = [attribute['unique_id'] for attribute in found]
        if sorted(numbers) == list(range(len(found))):
            found = [found[numbers.index(number)] for number in range(len(found))]
        return [np.asarray(attribute['data']) for attribute in found]
    except Exception as error:  # the binding raises anything from ValueError to its own exceptions
        raise _undecodable(str(error).strip() or type(error).__name__) from error


def _undecodable(why: str) -> InputError:
    return InputError('undecodable', f'The compressed cloud cannot be decoded: {why}.',
                      'check the compressing publisher.')
