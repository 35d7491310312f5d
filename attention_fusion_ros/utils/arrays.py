# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz files that others wrote: no pickle, bounded before they are unpacked, and one kind of error."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

MAX_BYTES = 2**30  # of all arrays of a file together
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: str | Path, names: Collection[str], limit: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The named arrays of a file of `numpy.savez`, compressed or not.

    Raises OSError for a file that cannot be opened, and ValueError for anything else: no such file, an array that is
    missing or damaged or holds objects, and more bytes than `limit`.
    """
    found: dict[str, np.ndarray] = {}
    with open(path, 'rb') as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = [archive.getinfo(f'{name}.npy') for name in names]
                if sum(member.file_size for member in members) > limit:
                    raise ValueError(f'its arrays have more than {limit // 2**20} MiB')
                for name, member in zip(names, members):
                    found[name] = _array(archive.read(member))  # no more than file_size
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, NotImplementedError, RuntimeError,
                TypeError, OverflowError, MemoryError) as error:  # of zipfile and numpy, for damaged and encrypted ones
            raise ValueError(f'{type(error).__name__}: {" ".join(str(error)[:200].split())}') from error
    return found


def _array(content: bytes) -> np.ndarray:
    """The array of a .npy file. Its header is compared with its size first: it may claim anything."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f'version {version} of the .npy format is not read')
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f'an array of {dtype} is said to have the shape {shape}, which its bytes do not have')
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array
