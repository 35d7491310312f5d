# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Results of finished jobs on disk: an evaluation that was interrupted resumes where it stopped.

The folder's name is a digest of everything that results depend on: code, checkpoints, settings and the generator of the
scenes. When any of it changes, no older result is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json
from attention_fusion_ros.utils.typed_json import from_plain, to_plain

FORMAT_VERSION = 1
# Results depend neither on how sweeps come in, nor on how networks were trained, nor on how results are summarised.
EXCLUDED_PACKAGES = ('benchmarking', 'commands', 'report', 'ros', 'stream', 'studies', 'training', 'utils',
                     'evaluation/drives')
EXCLUDED_MODULES = ('evaluation/checkpoints.py', 'evaluation/plots.py', 'evaluation/result_cache.py',
                    'evaluation/tables.py', 'evaluation/simulation/blanked.py',
                    'evaluation/simulation/evaluate.py', 'evaluation/simulation/report.py', 'metrics/agreement.py',
                    'metrics/bootstrap.py', 'metrics/registry.py', 'metrics/summary.py')
INTERVENTIONS = 'evaluation/interventions'
WITHOUT_INTERVENTIONS = (*EXCLUDED_PACKAGES, *EXCLUDED_MODULES, INTERVENTIONS)
WITH_INTERVENTIONS = (*EXCLUDED_PACKAGES, *EXCLUDED_MODULES, f'{INTERVENTIONS}/evaluate.py',
                      f'{INTERVENTIONS}/attention_tables.py', f'{INTERVENTIONS}/map_tables.py')

Result = TypeVar('Result')


def results_digest(settings: Iterable[Any], files: Iterable[Path],
                   exclude: Sequence[str] = WITHOUT_INTERVENTIONS) -> str:
    """A name for results of this code with these settings (compared by their repr) and the content of `files`.

    exclude: packages and modules that the results do not depend on.
    """
    sources = source_files(exclude=tuple(exclude))
    return digest([*sources, *files], settings, length=16)


class ResultCache(Generic[Result]):
    """One JSON file for each job, which is a range of seeds. `kind`: the dataclass of one result."""

    def __init__(self, folder: Path, kind: type[Result]):
        self.folder = folder
        self._kind = kind

    def path(self, seeds: Sequence[int]) -> Path:
        """The file of these seeds."""
        return self.folder / f'{seeds[0]}-{seeds[-1]}.json'

    def read(self, seeds: Sequence[int]) -> list[Result] | None:
        """The results of these seeds; None where there is no file, or one that is damaged or of another format."""
        try:
            content = read_checked_json(self.path(seeds))
            if content['format'] != FORMAT_VERSION:
                return None
            return [from_plain(self._kind, result) for result in content['results']]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, seeds: Sequence[int], results: Sequence[Result]) -> None:
        """Keep them; whole or not at all. Raises OSError."""
        content = {'format': FORMAT_VERSION, 'results': [to_plain(result) for result in results]}
        write_checked_json(self.path(seeds), content, indent=None)
