# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""zstd and lz4, as rosbag2 and mcap use them. Recognised by what compressed data begins with, not by names."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'  # RFC 8878, section 3.1.1
LZ4_MAGIC = b'\x04\x22\x4d\x18'  # LZ4 frame format, version 1.6
MAX_BYTES = 2**30  # of a message, or of a chunk of messages, unpacked; recorders close a chunk at a megabyte
MAX_WINDOW_LOG = 27  # of zstd: 128 MiB, what its own command accepts
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


def _decompressor(name: str) -> Any:
    """With `decompress(data, max_length)`, `eof` and `unused_data`."""
    if name == 'lz4':
        return _lz4().LZ4FrameDecompressor()
    zstd = _zstd()
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})


def name_of(beginning: bytes) -> str:
    """`zstd`, `lz4` or ''."""
    return MAGICS.get(beginning[:4], '')


def decompress(data: bytes, name: str) -> bytes:
    """The data of a whole frame, or of several one after the other.

    Raises ValueError where the name is unknown, the data damaged or larger than MAX_BYTES.
    """
    if name == '':
        return data
    if name not in MAGICS.values():
        raise ValueError(f"unknown compression '{name}'")
    found = bytearray()
    try:
        while data:
            decompressor = _decompressor(name)
            found += decompressor.decompress(data, MAX_BYTES + 1 - len(found))
            if len(found) > MAX_BYTES:
                raise ValueError(f'it unpacks to more than {MAX_BYTES // 2**20} MiB')
            if not decompressor.eof:
                raise ValueError('it breaks off')
            data = decompressor.unused_data or b''
    except Exception as error:  # ZstdError, RuntimeError, EOFError
        raise ValueError(f'{name}: {error}') from error
    return bytes(found)


def decompress_beginning(data: bytes, name: str) -> bytes:
    """As much as there is of a frame that breaks off."""
    if name == '':
        return data
    found = bytearray()
    try:
        decompressor = _decompressor(name)
        for start in range(0, len(data), 4096):
            if decompressor.eof or len(found) > MAX_BYTES:
                break
            found += decompressor.decompress(data[start:start + 4096])
    except Exception:  # what came before is good
        pass
    return bytes(found)


def decompress_message(data: bytes) -> bytes:
    """A message of a recording with compression mode `message`: serialised messages never begin as a frame does."""
    return decompress(data, name_of(data))


def unpack(source: Path, name: str, target: Path) -> bool:
    """Write a compressed file of any size without its compression; returns whether it was whole."""
    opened: BinaryIO = _zstd().open(source, 'rb') if name == 'zstd' else _lz4().open(source, 'rb')
    with opened, open(target, 'wb') as file:
        try:
            shutil.copyfileobj(opened, file, 2**14)  # where it breaks off, the last piece is lost
        except OSError as error:
            if error.errno is not None:  # no space left, for example
                raise
            return False
        except Exception:  # ZstdError, EOFError, RuntimeError: what came before is good
            return False
    return True
