# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz and .npy files that may come from anybody: no pickle, no array larger than the file says it is, and
whatever is wrong with one is one error. Everything that reads such files does so here.

Members of .npz files carry a checksum (CRC-32, as in every zip file). A .npy file has none: where it matters the rows
have theirs, see `row_checksums`.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from attention_fusion_ros.utils.damaged import MEGABYTE, Damaged

MAX_BYTES = 4096 * MEGABYTE  # of all arrays of a file together
MAX_MEMBERS = 100_000
SUFFIX = '.npy'


def read_arrays(path: str | Path, names: Collection[str] | None = None, limit: int = MAX_BYTES,
                prefix: str = '') -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name: all of them, those of `names`, or those whose name begins with `prefix`.

    What the archive says of their sizes is looked at before any is unpacked, and none is unpacked beyond that.
    Raises OSError where the file cannot be opened, Damaged where it is no such file, damaged, lacks one of `names`,
    holds objects, or more than `limit` bytes.
    """
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check(archive, limit)
                found = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist()}
                wanted = [name for name in found if name.startswith(prefix)] if names is None else names
                return {name: _member(archive, found[name]) for name in wanted}
        except Damaged:
            raise
        except Exception as error:  # the libraries raise a dozen kinds, with every version others
            raise Damaged(f'it is no .npz file, or damaged ({_named(error)})') from error


def _check(archive: zipfile.ZipFile, limit: int) -> None:
    members = archive.infolist()
    unpacked = sum(info.file_size for info in members)
    if len(members) > MAX_MEMBERS or unpacked > limit:
        raise Damaged(f'it holds {len(members)} arrays of {unpacked} bytes; at most {limit} bytes are unpacked')
    if len({info.filename for info in members}) < len(members):
        raise Damaged('it holds two arrays of one name')


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        size = math.prod(shape) * dtype.itemsize
        if size > info.file_size:  # before the array is allocated
            raise Damaged(f'{info.filename} says that it has {size} bytes, and has {info.file_size}')
    with archive.open(info) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call]
        if stream.read(1):  # to the end: that is where the checksum is compared
            raise Damaged(f'{info.filename} goes on after its array')
        return np.asarray(array)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)  # type: ignore[no-untyped-call]
    if dtype.hasobject:
        raise Damaged('it holds Python objects, which are never loaded')
    return shape, dtype


def map_array(path: Path, mode: Literal['r', 'r+'] = 'r') -> np.ndarray:
    """The array of a .npy file, mapped: nothing is read yet. Raises OSError, and Damaged as `read_arrays`."""
    with open(path, 'rb'):  # what is wrong with the path is no damage
        pass
    try:
        mapped: np.ndarray = np.load(path, mmap_mode=mode, allow_pickle=False)
    except Exception as error:
        raise Damaged(f'{Path(path).name} is no .npy file, or cut off ({_named(error)})') from error
    if not isinstance(mapped, np.ndarray):
        raise Damaged(f'{Path(path).name} is an archive, not an array')
    return mapped


def row_checksums(array: np.ndarray) -> np.ndarray:
    """(N,) uint32 CRC-32 of each row of an array (N, ...)."""
    return np.array([row_checksum(row) for row in array], np.uint32)


def row_checksum(row: Any) -> int:
    """CRC-32 of the values of one row."""
    return zlib.crc32(np.ascontiguousarray(row).reshape(-1).view(np.uint8).data)


def _named(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text[:200]}'
