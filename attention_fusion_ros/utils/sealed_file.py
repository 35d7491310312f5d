# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A checksum beside a file of a cache whose format has none: what has changed since it was written is made again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attention_fusion_ros.utils import atomic


def seal(path: Path) -> None:
    """Write the SHA-256 of a file beside it, as `sha256sum` does. Raises OSError."""
    atomic.write_text(_seal_of(path), f'{_sha256(path)}  {path.name}\n')


def is_sealed(path: Path) -> bool:
    """Whether a file is there and is the one that was sealed."""
    try:
        return _seal_of(path).read_text(errors='replace').split()[:1] == [_sha256(path)]
    except OSError:
        return False


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + '.sha256')


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
