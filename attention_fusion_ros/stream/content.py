# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A name for what a recording holds: the same wherever it lies, another one when a byte of it changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.digest import digest

CHUNK_BYTES = 1 << 20
# What work on many recordings writes beside a recording that it makes: it tells of times and places.
NOT_CONTENT = ('fleet.json', 'fleet.log')
BESIDE = ('replay.yaml', 'truth.json')  # what is read with a recording that is a single file


def files_of(recording: Path) -> list[Path]:
    """The files that count as its content, sorted: those of its folder, without hidden ones, or the file itself and
    what is read with it. Raises OSError.
    """
    if recording.is_file():
        return [recording, *(file for name in BESIDE if (file := recording.with_name(name)).is_file())]
    return sorted(file for file in recording.iterdir()
                  if file.is_file() and not file.name.startswith('.') and file.name not in NOT_CONTENT)


def content_digest(recording: Path) -> str:
    """SHA-256 over its files, their names included unless it is a single file. Raises OSError."""
    found = hashlib.sha256()
    for number, file in enumerate(files_of(recording)):
        name = '' if number == 0 and file == recording else file.name
        found.update(f'{name}\0{_file_digest(file)}\n'.encode())
    return found.hexdigest()


def _file_digest(file: Path) -> str:
    found = hashlib.sha256()
    with open(file, 'rb') as content:
        while chunk := content.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def local_state(recording: Path) -> str:
    """What changes whenever its files do, without reading them: sizes and times of change. Raises OSError."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files_of(recording)]
    return digest((), [str(recording.resolve()), stats], length=32)


class ContentIndex:
    """Digests of contents by state (see `local_state`), so that what has not changed is not read again.

    A file for each, in a folder that several machines may write to.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def known(self, state: str | None) -> str | None:
        """The digest of what is in this state; None where it is not known."""
        try:
            return None if state is None else (self._folder / state).read_text().strip() or None
        except OSError:
            return None

    def remember(self, state: str | None, content: str) -> None:
        """Keep it. Raises OSError."""
        if state is not None:
            atomic.write_text(self._folder / state, content + '\n')
