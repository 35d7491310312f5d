# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""mcap files byte by byte (https://mcap.dev/spec), for what no writer of ROS 2 writes."""

from __future__ import annotations

import struct
from collections.abc import Iterable

MAGIC = b'\x89MCAP0\r\n'


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack('<I', len(data)) + data


def record(kind: int, content: bytes) -> bytes:
    return struct.pack('<BQ', kind, len(content)) + content


def header(profile: str = '') -> bytes:
    return MAGIC + record(1, text(profile) + text('test'))


def schema(number: int, name: str, encoding: str, definition: str) -> bytes:
    return record(3, struct.pack('<H', number) + text(name) + text(encoding) + text(definition))


def channel(number: int, schema_number: int, topic: str, encoding: str, qos: str = '') -> bytes:
    metadata = text('offered_qos_profiles') + text(qos)
    return record(4, struct.pack('<HH', number, schema_number) + text(topic) + text(encoding)
                  + struct.pack('<I', len(metadata)) + metadata)


def message(number: int, stamp_ns: int, data: bytes) -> bytes:
    return record(5, struct.pack('<HIQQ', number, 0, stamp_ns, stamp_ns) + data)


def chunk(records: bytes, compression: str, packed: bytes, crc: int = 0) -> bytes:
    return record(6, struct.pack('<QQQI', 0, 0, len(records), crc) + text(compression)
                  + struct.pack('<Q', len(packed)) + packed)


def whole(records: Iterable[bytes], profile: str = '') -> bytes:
    """A file without summary."""
    return (header(profile) + b''.join(records) + record(15, struct.pack('<I', 0))
            + record(2, struct.pack('<QQI', 0, 0, 0)) + MAGIC)
