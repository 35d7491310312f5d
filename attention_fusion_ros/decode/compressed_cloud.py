# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""point_cloud_interfaces/CompressedPointCloud2 -> PointCloud: zlib, zstd and draco of point_cloud_transport.

zlib and zstd hold the `data` of a PointCloud2; everything else stands beside it, as in ros-perception/
point_cloud_transport_plugins. The data tells its own format, the text in `format` is not needed. It is never unpacked
beyond the size that width, height and steps say.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode import draco
from attention_fusion_ros.decode.cloud import DATATYPES, decode_cloud, described_fields
from attention_fusion_ros.decode.message import attribute, byte_view, text, whole_number
from attention_fusion_ros.errors import InputError

MAX_BYTES = 512 * 2**20  # of an unpacked cloud
MAX_WINDOW_LOG = 27  # of zstd: 128 MiB, what its own command accepts
GZIP, ZSTD, CLOUDINI = b'\x1f\x8b', b'\x28\xb5\x2f\xfd', b'CLOUDINI_V'
ZSTD_MODULES = ('compression.zstd', 'backports.zstd')  # since Python 3.14, and before
FIELDS = ('header', 'height', 'width', 'fields', 'is_bigendian', 'point_step', 'row_step', 'is_dense')


def decode_compressed_cloud(msg: Any) -> PointCloud:
    """One sweep in its sensor frame from a point_cloud_interfaces/CompressedPointCloud2; see `decode_cloud`.

    Raises InputError: unknown_compression, decoder_missing, cloud_too_large, undecodable, empty_cloud, and what
    `decode_cloud` raises.
    """
    data = byte_view(msg, 'compressed_data').tobytes()
    name = text(msg, 'format').strip().lower()
    width, height = whole_number(msg, 'width'), whole_number(msg, 'height')
    point_step, row_step = whole_number(msg, 'point_step'), whole_number(msg, 'row_step')
    if not data:
        raise InputError('empty_cloud', f'The compressed cloud has no data ({width} x {height} points).',
                         'check that the sensor sees anything and that no filter before this node removes every point.')
    size = max(width, 1) * max(height, 1) * point_step  # a height of 0 beside points, as `decode_cloud` reads it
    if size > MAX_BYTES:
        raise InputError('cloud_too_large', f'The compressed cloud says {width} x {height} points of {point_step} '
                         f'bytes; at most {MAX_BYTES} bytes are unpacked.',
                         'fill in width, height and point_step as the points are laid out.')
    plain = SimpleNamespace(**{field: attribute(msg, field) for field in FIELDS}, data=b'')
    if data.startswith(draco.SIGNATURE):
        _unpack_draco(data, plain, width * height)
        return decode_cloud(plain)
    # Rows may be padded: what row_step says counts as well while it is of the same order.
    plain.data = _unpacker(data, name)(data, max(size, min(height * row_step, 2 * size)))
    return decode_cloud(plain)


def _unpacker(data: bytes, name: str) -> Callable[[bytes, int], bytes]:
    """What unpacks the data. Raises InputError `unknown_compression`."""
    if data.startswith(ZSTD):
        return _unzstd
    if data.startswith(GZIP) or data[0] & 0x0F == 8 and int.from_bytes(data[:2], 'big') % 31 == 0:  # RFC 1950
        return _unzlib
    if data.startswith(CLOUDINI):
        raise InputError('unknown_compression', 'The cloud is compressed with Cloudini, which no Python package reads.',
                         'publish it with the zstd or draco transport, or turn it into PointCloud2: '
                         'cloudini_topic_converter for topics, cloudini_rosbag_converter for recordings.')
    raise InputError('unknown_compression', f"The data of the compressed cloud is neither draco, zlib nor zstd; its "
                     f"format says '{name}'.", 'publish it with one of these transports of point_cloud_transport.')


def _unzlib(data: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip, as its own header says; the plugin writes gzip
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise _undecodable(str(error)) from error
    return _whole(unpacked, unpacker.eof, limit)


def _unzstd(data: bytes, limit: int) -> bytes:
    zstd = _zstd()
    try:
        unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
        unpacked = unpacker.decompress(data, limit + 1)
    except zstd.ZstdError as error:
        raise _undecodable(str(error)) from error
    return _whole(unpacked, unpacker.eof, limit)


def _zstd() -> Any:
    for module in ZSTD_MODULES:
        try:
            return import_module(module)
        except ImportError:
            continue
    raise InputError('decoder_missing', 'The cloud is compressed with zstd, and backports.zstd is not there.',
                     'python -m pip install backports.zstd, or subscribe to the zlib transport.')


def _whole(unpacked: bytes, ended: bool, limit: int) -> bytes:
    if len(unpacked) > limit:
        raise InputError('size_mismatch', f'The compressed cloud holds more than the {limit} bytes that width, height '
                         'and steps say.', 'fill in width, height, point_step and row_step as the data is laid out.')
    if not ended:
        raise InputError('truncated_data', f'The compressed cloud breaks off after {len(unpacked)} bytes.',
                         'send all of the compressed data.')
    return unpacked


def _unpack_draco(data: bytes, plain: SimpleNamespace, points: int) -> None:
    """Fill `data` of a PointCloud2 with what a Draco file holds, in the layout that the message describes."""
    count, point_bytes = draco.outline(data)
    if count * point_bytes > MAX_BYTES:
        raise InputError('cloud_too_large', f'The compressed cloud says that it holds {count} points of {point_bytes} '
                         f'bytes; at most {MAX_BYTES} bytes are unpacked.', 'check the compressing publisher.')
    if count > points:
        raise InputError('size_mismatch', f'The compressed cloud holds {count} points, more than the {points} that '
                         'width and height say.', 'fill in width and height as the points are laid out.')
    arrays = draco.attributes(data)
    described = described_fields(plain)
    if len(arrays) != len(described) or any(len(values) != count for values in arrays):
        lengths = sorted({len(values) for values in arrays})
        raise _undecodable(f'its {len(arrays)} attributes of {lengths} points are not the {len(described)} fields of '
                           f'{count} points that it describes')
    kept: list[tuple[str, str, tuple[int]]] = []
    columns = []
    for field, values in zip(described, arrays):
        dtype = DATATYPES.get(whole_number(field, 'datatype'))
        if dtype is None or values.ndim != 2 or values.shape[1] != max(1, whole_number(field, 'count')):
            continue  # colours are packed in another way; nothing reads them
        if dtype == 'f8' and values.dtype.itemsize < 8 and text(field, 'name') not in ('x', 'y', 'z'):
            continue  # a time since the epoch does not survive float32
        kept.append((str(len(kept)), f'<{dtype}', (values.shape[1],)))
        columns.append((field, values))
    packed = np.zeros(count, np.dtype(kept))
    assert packed.dtype.fields is not None
    fields = []
    with np.errstate(over='ignore', invalid='ignore'):
        for (name, (_, offset, *_)), (field, values) in zip(packed.dtype.fields.items(), columns):
            packed[name] = values
            fields.append(SimpleNamespace(name=text(field, 'name'), offset=offset, datatype=field.datatype,
                                          count=values.shape[1]))
    plain.fields, plain.is_bigendian, plain.data = fields, False, packed.view(np.uint8)
    plain.point_step, plain.width, plain.height = packed.itemsize, count, 1
    plain.row_step = packed.nbytes


def _undecodable(why: str) -> InputError:
    return InputError('undecodable', f'The compressed cloud cannot be decoded: {why}.',
                      'check the compressing publisher.')
