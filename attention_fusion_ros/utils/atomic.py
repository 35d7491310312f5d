# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all: no reader sees half of one, and a run that was cut off leaves none."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing bytes; it takes the place of `path` when the block ends.

    After an error in the block the old file is still there and the temporary one is gone. The file gets the
    permissions of an ordinary new file (umask). Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial')
    try:
        with open(temporary, 'xb') as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy, without pickle."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as a compressed .npz."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stubs take names for options
