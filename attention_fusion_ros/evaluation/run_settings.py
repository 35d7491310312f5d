# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What all evaluations and studies have in common: where results go, how many processes, how progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.datasets.held_out import FIRST_SEED
from attention_fusion_ros.engines.engine import Engine
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils import provenance
from attention_fusion_ros.utils.provenance import Provenance


class ProgressBar(Protocol):
    """The part of a tqdm bar that is used."""

    def update(self, n: int) -> Any:
        """Count n more."""


NewBar = Callable[[str, int, str], AbstractContextManager[ProgressBar]]  # (title, total, unit) -> a bar


@dataclass(frozen=True)
class RunSettings:
    """Settings of one call of `evaluate`."""

    out: Path  # folder for tables, JSON and plots
    cache: Path  # where simulated scenes are kept
    first_seed: int  # of the simulated scenes
    workers: int
    arguments: Sequence[str]  # of the command, for the provenance
    new_bar: NewBar
    engine: Engine | None = None  # works in the place of the processes

    def provenance(self, checkpoints: dict[str, Path] | None = None) -> Provenance:
        """Command, commit, machine, and the checkpoints by name."""
        return provenance.collect(self.arguments, checkpoints)

    def check_held_out(self) -> None:
        """Raise ConfigurationError when the simulated scenes are among those of training."""
        if self.first_seed < FIRST_SEED:
            raise ConfigurationError(f'--first-seed {self.first_seed} is not held out: seeds below {FIRST_SEED} belong '
                                     'to training and validation')


@dataclass(frozen=True)
class RunOutput:
    """What an evaluation hands back: text for the terminal, and the files it wrote."""

    text: str
    written: list[Path]
