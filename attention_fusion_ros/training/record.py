# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training run was: `run.json` beside its weights, from which the model card is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attention_fusion_ros.datasets.shards import SceneStore
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.training.config import TrainingConfig
from attention_fusion_ros.utils import provenance
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

NAME = 'run.json'


def describe(store: SceneStore) -> dict[str, Any]:
    """Which simulated scenes a store holds."""
    infos = store.infos()
    if not infos:
        return {'sweeps': 0}
    seeds = {info.seed for info in infos}
    about: dict[str, Any] = {
        'sweeps': len(infos), 'seeds': len(seeds), 'first seed': min(seeds), 'last seed': max(seeds),
        'classes': dict(sorted(Counter(info.scene_class for info in infos).items()))}
    profiles, cities = {info.profile for info in infos}, Counter(info.city for info in infos if info.city)
    if profiles != {'v1'}:
        about['profiles'] = sorted(profiles)
    if cities:
        about['cities'] = dict(sorted(cities.items()))
    return about


def begin(folder: Path, arguments: Sequence[str], config: TrainingConfig, data: dict[str, Any],
          start_from: Path | None) -> None:
    """Note how the run begins; a run that goes on keeps what was noted, and the new command besides."""
    files = {} if start_from is None else {'start': start_from}
    origin = provenance.collect(['train', *arguments], files)
    record = read(folder) or {'started': _now(), 'commands': []}
    record['commands'] = [*record['commands'], origin.command]
    record |= {'commit': origin.commit, 'machine': origin.machine, 'settings': config.to_dict(), 'data': data,
               'started from': origin.checkpoints[0].removeprefix('start: ') if files else 'random weights'}
    write_checked_json(folder / NAME, record)


def end(folder: Path, step: int, minutes: float, validation: dict[str, float], history: list[dict[str, float]]) -> None:
    """Note how it ended: steps and minutes trained, figures on the held-back scenes, and those on the way there."""
    record = read(folder) or {}
    ended = {'finished': _now(), 'steps': step, 'minutes': minutes, 'validation': validation, 'history': history}
    write_checked_json(folder / NAME, record | ended)


def read(folder: Path) -> dict[str, Any] | None:
    """What is noted of the run in `folder`; None when nothing is.

    Raises ConfigurationError where the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return read_checked_json(path)
    except (OSError, Damaged) as error:
        raise ConfigurationError(f"the record of the run, '{path}', cannot be read: {error}. Remedy: remove it; a new "
                                 'one is begun, and the training goes on.') from error


def _now() -> str:
    return datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
