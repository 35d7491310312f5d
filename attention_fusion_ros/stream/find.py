# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings among files: which files belong together, by their names alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from attention_fusion_ros.stream.storage import metadata
from attention_fusion_ros.stream.storage.files import is_storage

Place = TypeVar('Place', bound=PurePath)


def recordings_among(files: Iterable[Place]) -> list[Place]:
    """The recordings that files make, sorted: folders with metadata.yaml or the parts of one, and single files."""
    files = list(files)
    storage = [file for file in files if is_storage(Path(file))]
    bags = {file.parent for file in files if file.name == metadata.NAME} | _split(storage)
    return sorted(bags | {file for file in storage if file.parent not in bags})


def recordings_below(folder: Path) -> list[Path]:
    """Every recording below a folder, or the folder or file itself, sorted; none is opened."""
    folder = folder.parent if folder.name == metadata.NAME else folder
    if folder.is_file():
        return [folder]
    return recordings_among(file for file in folder.rglob('*') if not _hidden(file, folder) and file.is_file())


def _hidden(file: Path, below: Path) -> bool:
    """Whether it is in a folder like `.work`, where what is not complete is written."""
    return any(part.startswith('.') for part in file.relative_to(below).parts[:-1])


def _split(files: Sequence[Place]) -> set[Place]:
    """Folders whose files are the parts of one recording: the same name with the numbers from 0 on behind it."""
    names: dict[Place, list[tuple[str, str]]] = {}
    for file in files:
        prefix, _, number = file.name.partition('.')[0].rpartition('_')
        names.setdefault(file.parent, []).append((prefix, number))
    return {folder for folder, found in names.items() if len(found) > 1 and len({prefix for prefix, _ in found}) == 1
            and {number for _, number in found} == {str(i) for i in range(len(found))}}
