# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Short names for what a result depends on (code, settings, files): when any of it changes, so does the name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def source_files(include: Sequence[str] = ('',), exclude: Sequence[str] = ()) -> list[Path]:
    """Python files of this package, sorted.

    Args:
        include: modules (`datasets/scenes.py`) and folders (`bev`), relative to the package; '' is all of it.
        exclude: the same, left out; also the name of a file wherever it is (`__init__.py`).

    Raises:
        ValueError: nothing is there under a name, as after a module has been moved.
    """
    found: set[Path] = set()
    for name in include:
        place = PACKAGE / name
        files = [place] if place.is_file() else list(place.rglob('*.py'))
        if not files:
            raise ValueError(f"there is no source '{name}' in {PACKAGE.name}")
        found.update(files)
    for name in exclude:
        if not any(_is_below(path.relative_to(PACKAGE), name) for path in found):
            raise ValueError(f"there is no source '{name}' to leave out in {', '.join(include) or PACKAGE.name}")
    return sorted(path for path in found if not any(_is_below(path.relative_to(PACKAGE), name) for name in exclude))


def _is_below(part: Path, place: str) -> bool:
    return part.is_relative_to(place) or part.name == place


def digest(files: Iterable[Path] = (), settings: Iterable[object] = (), length: int = 10) -> str:
    """The first `length` hexadecimal digits of a SHA-256 over the content of files and the repr of settings.

    Files of this package count with their place in it, others by their content alone.
    """
    found = hashlib.sha256()
    for path in files:
        if path.is_relative_to(PACKAGE):
            found.update(path.relative_to(PACKAGE).as_posix().encode())
        found.update(path.read_bytes())
    for value in settings:
        found.update(repr(value).encode())
    return found.hexdigest()[:length]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
