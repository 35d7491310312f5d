# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one error of files that may come from anybody: too large to be read, damaged, or changed by somebody."""

from __future__ import annotations

from pathlib import Path

MEGABYTE = 2**20


class Damaged(ValueError):
    """Why a file is not read. Whoever asked for it adds what can be done about it."""


def check_size(path: Path, limit: int) -> int:
    """The size of a file in bytes, looked at before anything of it is read.

    Raises OSError where there is none, Damaged where it is larger than `limit` bytes.
    """
    size = Path(path).stat().st_size
    if size > limit:
        raise Damaged(f'it has {size} bytes; at most {limit} are read')
    return size
