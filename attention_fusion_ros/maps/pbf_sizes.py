# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How large a file of OpenStreetMap is unpacked, without unpacking it."""

from __future__ import annotations

import os

MAX_HEADER_BYTES = 64 * 2**10  # of a block (https://wiki.openstreetmap.org/wiki/PBF_Format)
LENGTH_DELIMITED, VARINT = 2, 0  # wire types of protobuf
DATA_SIZE = 3  # number of the field BlobHeader.datasize
RAW, RAW_SIZE = 1, 2  # of Blob: data that is not packed, and the size of data that is


def unpacked_bytes(path: str) -> float:
    """Bytes; infinite for .osm.gz and .osm.bz2, which do not say it. Of a damaged file what comes before the damage.

    Raises OSError.
    """
    if path.lower().endswith(('.gz', '.bz2')):
        return float('inf')
    if not path.lower().endswith('.pbf'):
        return os.path.getsize(path)
    total = 0
    with open(path, 'rb') as file:
        try:
            while head := file.read(4):
                length = int.from_bytes(head, 'big')
                if length > MAX_HEADER_BYTES:
                    break
                size = _field(file.read(length), (DATA_SIZE,))
                end = file.tell() + size
                total += _field(file.read(min(size, 32)), (RAW, RAW_SIZE))
                file.seek(end)
        except IndexError:
            pass
    return total


def _field(message: bytes, wanted: tuple[int, ...]) -> int:
    """Of the first of the wanted fields the number, or the length of its data. Raises IndexError without any."""
    at = 0

    def number() -> int:
        nonlocal at
        value = 0
        for shift in range(0, 70, 7):
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        return value
    while True:
        key = number()
        value = number()
        if key >> 3 in wanted:
            return value
        if key & 7 == LENGTH_DELIMITED:
            at += value
        elif key & 7 != VARINT:
            raise IndexError('another type of field')
