# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all: no reader sees half of one, and a run that was cut off leaves none.

Whatever the process or the machine dies of: a file gets its name only when its content is on the disk. What a process
that was killed has left is removed by the next one that writes into the same folder.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

PARTIAL = re.compile(r'\..+\.\d+-[0-9a-f]{8}\.partial')  # names of unfinished files, and of nothing else
_cleaned: set[tuple[int, Path]] = set()  # by this process; one that is forked from it is another


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing bytes; it takes the place of `path` when the block ends.

    After an error in the block the old file is still there and the temporary one is gone. The file gets the
    permissions of an ordinary new file (umask). Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(path.parent)
    file, temporary = _begin(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else the name may reach the disk before the content
            os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _begin(path: Path) -> tuple[IO[bytes], Path]:
    """A new temporary file, locked: whoever finds one that nobody has locked may remove it."""
    while True:
        temporary = path.with_name(f'.{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial')
        file = open(temporary, 'xb')
        with suppress(OSError):  # of file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # it was removed before it was locked


def remove_left_behind(folder: Path) -> None:
    """Remove the unfinished files in `folder` that nobody is writing; once for each folder and process."""
    key = os.getpid(), folder.absolute()
    if key in _cleaned:
        return
    _cleaned.add(key)
    with suppress(OSError):
        for file in [entry for entry in os.scandir(folder) if PARTIAL.fullmatch(entry.name)]:
            if file.is_file(follow_symlinks=False):
                remove_unless_locked(Path(file.path))


def remove_unless_locked(file: Path) -> None:
    """Remove a file, unless some process holds its lock or the file system has no locks."""
    with suppress(OSError), open(file, 'rb') as left:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_below(folder: Path) -> None:
    """Bring every file below a folder to the disk, and their names."""
    for place, _, names in os.walk(folder):
        for name in names:
            with open(Path(place, name), 'rb') as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """Write plain values as JSON with a newline at the end."""
    write_text(path, json.dumps(content, indent=indent) + '\n')


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())


def copy(source: Path, path: Path) -> None:
    """Copy the content of a file."""
    with open(source, 'rb') as original, replacing(path) as file:
        shutil.copyfileobj(original, file)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy, without pickle."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as a compressed .npz."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stubs take names for options


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture, (H, W) or (H, W, 3) BGR uint8, in the format that the name ends in. Raises OSError."""
    import cv2
    try:
        good, content = cv2.imencode(Path(path).suffix, image)
    except cv2.error as error:
        raise OSError(f"'{path}' cannot be written as a picture: {error.err}") from error
    if not good:
        raise OSError(f"'{path}' cannot be written as a picture")
    write_bytes(path, content.tobytes())
