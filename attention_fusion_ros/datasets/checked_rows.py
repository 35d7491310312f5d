# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of samples on disk whose rows carry a checksum each: .npy files can be mapped and read at random, but nothing
in them tells a byte that has changed. The checksums are in one file beside them; folders of before there were any have
none and are read all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import map_array, read_arrays, row_checksum, row_checksums
from attention_fusion_ros.utils.damaged import Damaged

NAME = 'checksums.npz'
THREADS = 2  # CRC-32 does not hold the interpreter's lock


class CheckedRows:
    """An array (N, ...) that is mapped from its file. checksums: (N,) uint32 of its rows; None: nothing is compared."""

    def __init__(self, name: str, array: np.ndarray, checksums: np.ndarray | None):
        if checksums is not None and checksums.shape != array.shape[:1]:
            raise Damaged(f'{name}.npy has {len(array)} rows, and checksums of {len(checksums)}')
        self.name, self.array, self._checksums = name, array, checksums

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, row: int) -> np.ndarray:
        """A copy of one row. Raises Damaged when its checksum is wrong."""
        found = np.array(self.array[row])
        if self._checksums is not None and row_checksum(found) != self._checksums[row]:
            raise Damaged(f'the checksum of row {row} of {self.name}.npy is wrong')
        return found

    def whole(self) -> np.ndarray:
        """A copy of all rows. Raises Damaged when the checksum of one is wrong."""
        return np.array([self[row] for row in range(len(self))], self.array.dtype).reshape(self.array.shape)

    def check(self) -> None:
        """Read every row. Raises Damaged when the checksum of one is wrong."""
        if self._checksums is not None:
            for row in range(len(self)):
                self[row]


def write_checksums(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Those of the arrays that are stored in a folder as NAME.npy. Raises OSError."""
    atomic.save_arrays(folder / NAME, {name: row_checksums(array) for name, array in arrays.items()})


def open_rows(folder: Path, names: list[str]) -> dict[str, CheckedRows]:
    """The arrays of these names in a folder. Raises OSError, and Damaged for what is no array or does not fit."""
    checksums = read_arrays(folder / NAME) if (folder / NAME).exists() else {}
    return {name: CheckedRows(name, map_array(folder / f'{name}.npy'), checksums.get(name)) for name in names}


def check_rows(folder: Path) -> None:
    """Compare every row of every array in a folder that has checksums. Raises OSError, and Damaged."""
    if (folder / NAME).exists():
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(CheckedRows.check, open_rows(folder, list(read_arrays(folder / NAME))).values()))
