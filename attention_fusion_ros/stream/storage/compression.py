# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""zstd and lz4, as rosbag2 and mcap use them, and bz2 of ROS 1. Recognised by what compressed data begins with, not by
names. Nothing is unpacked beyond a limit.
"""

from __future__ import annotations

import bz2
import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'  # RFC 8878, section 3.1.1
LZ4_MAGIC = b'\x04\x22\x4d\x18'  # LZ4 frame format, version 1.6
MAX_BYTES = 2**30  # of an unpacked chunk; rosbag2 writes chunks of 768 kB, and one may hold a message of any size
MAX_MESSAGE_BYTES = 2**29
MAX_WINDOW_LOG = 27  # of zstd: 128 MiB, what its own command accepts
KEPT_FREE = 0.9  # of the room on a disk, at most, is filled with an unpacked file
MAGICS = {ZSTD_MAGIC: 'zstd', LZ4_MAGIC: 'lz4'}


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd  # comes with rosbags
    return zstd


def _lz4() -> Any:
    from lz4 import frame  # comes with rosbags
    return frame


def name_of(beginning: bytes) -> str:
    """`zstd`, `lz4` or ''."""
    return MAGICS.get(beginning[:4], '')


def decompress(data: bytes, name: str, limit: int = MAX_BYTES) -> bytes:
    """The data of whole frames.

    Raises ValueError where the name is unknown, the data damaged, or more than `limit` bytes would come of it, of which
    no more are kept in memory.
    """
    if name == '':
        return data
    found = bytearray()
    try:
        for piece in _pieces(data, name, limit + 1):
            found += piece
            if len(found) > limit:
                break
    except Exception as error:  # ZstdError, RuntimeError, EOFError
        raise ValueError(f'{name}: {error}') from error
    if len(found) > limit:
        raise ValueError(f'{name}: it unpacks to more than {limit / 2**20:g} MiB')
    return bytes(found)


def _pieces(data: bytes, name: str, limit: int) -> Iterator[bytes]:
    """What frames hold that stand one after the other, in pieces of `limit` at most. Raises EOFError for half one."""
    while data:
        decompressor = _decompressor(name)
        yield decompressor.decompress(data, limit)
        while not decompressor.eof:
            if decompressor.needs_input:
                raise EOFError('it breaks off')
            yield decompressor.decompress(b'', limit)
        data = decompressor.unused_data or b''


def _decompressor(name: str) -> Any:
    """With `decompress(data, max_length)`, `eof`, `needs_input` and `unused_data`."""
    if name == 'zstd':
        zstd = _zstd()
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
    if name == 'lz4':
        return _lz4().LZ4FrameDecompressor()
    if name == 'bz2':
        return bz2.BZ2Decompressor()
    raise ValueError(f"unknown compression '{name}'")


def decompress_beginning(data: bytes, name: str, limit: int = MAX_BYTES) -> bytes:
    """As much as there is of a frame that breaks off, not much more than `limit`."""
    if name == '':
        return data
    found = bytearray()
    try:
        decompressor = _decompressor(name)
        for start in range(0, len(data), 4096):
            if decompressor.eof or len(found) > limit:
                break
            found += decompressor.decompress(data[start:start + 4096], limit)
    except Exception:  # what came before is good
        pass
    return bytes(found)


def decompress_message(data: bytes) -> bytes:
    """A message of a recording with compression mode `message`: serialised messages never begin as a frame does."""
    return decompress(data, name_of(data), MAX_MESSAGE_BYTES)


def unpack(source: Path, name: str, target: Path) -> bool:
    """Write a compressed file of any size without its compression; returns whether it was whole.

    Raises OSError where it would need more than KEPT_FREE leaves of the room there, before that is used up.
    """
    room = int(KEPT_FREE * shutil.disk_usage(target.parent).free)
    opened: BinaryIO = _zstd().open(source, 'rb') if name == 'zstd' else _lz4().open(source, 'rb')
    with opened, open(target, 'wb') as file:
        try:
            while piece := opened.read(2**14):  # where it breaks off, the last piece is lost
                room -= len(piece)
                if room < 0:
                    raise OSError(errno.ENOSPC, 'it would fill the disk')
                file.write(piece)
        except OSError as error:
            if error.errno is not None:  # no space left, for example
                raise
            return False
        except Exception:  # ZstdError, EOFError, RuntimeError: what came before is good
            return False
    return True
