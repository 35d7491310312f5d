# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of finished chunks of scenes on disk: an evaluation that was cut off goes on where it stopped.

The folder's name is a digest of everything that answers depend on: code, checkpoints, settings and the recipe of the
scenes. Where any of it changes, nothing old is found.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attention_fusion_ros

PACKAGE = Path(attention_fusion_ros.__file__).parent
# Answers do not depend on how sweeps come in, on how networks were trained, nor on how answers are summed up.
NOT_ASKED = ('benchmarking', 'commands', 'report', 'ros', 'stream', 'studies', 'training')
SUMMING_UP = ('evaluation/result_cache.py', 'evaluation/plots.py', 'evaluation/tables.py', 'evaluation/drives/',
              'evaluation/simulation/report.py', 'metrics/bootstrap.py', 'utils/')


def digest(settings: Iterable[Any], files: Iterable[Path]) -> str:
    """A name for answers made with this code, these settings (told apart by their repr) and the content of `files`."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob('*.py')):
        part = path.relative_to(PACKAGE)
        if part.parts[0] in NOT_ASKED or part.as_posix().startswith(SUMMING_UP):
            continue
        found.update(str(part).encode() + path.read_bytes())
    for value in settings:
        found.update(repr(value).encode())
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


class ResultCache:
    """One file a chunk of seeds."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _path(self, seeds: Sequence[int]) -> Path:
        return self.folder / f'{seeds[0]}-{seeds[-1]}.pkl'

    def read(self, seeds: Sequence[int]) -> list | None:
        """The answers to these scenes; None where they were not given yet, or the file was cut off."""
        try:
            return pickle.loads(self._path(seeds).read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def write(self, seeds: Sequence[int], answers: list) -> None:
        """Keep them; whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f'{seeds[0]}.{os.getpid()}.partial'
        partial.write_bytes(pickle.dumps(answers))
        partial.replace(self._path(seeds))
