# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What commands share that work over many recordings: their options, what results depend on, running and telling."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.interrupt import SignalGuard, explaining

if TYPE_CHECKING:
    from attention_fusion_ros.engines.engine import Engine
    from attention_fusion_ros.fleet.work import Task

RECORDINGS_HELP = (cli.RECORDING_HELP + "; or many: several of them, folders of them, 'a/*/glob', @list.txt with one "
                   'a line, URLs (s3://bucket/day/*)')
KEPT = 'interrupted: what was complete is kept, and the same command goes on from there'
# Options that results do not depend on.
FREE = ('bag', 'bags', 'out', 'ray', 'ray_cpus', 'ray_gpus', 'ray_retries', 'worst', 'params', 'live', 'host', 'port',
        'wait', 'rate')


def add_ray_options(to: argparse.ArgumentParser, what: str = 'recordings') -> None:
    """--ray and what belongs to it."""
    group = to.add_argument_group(f'many {what}', 'docs/fleet.md tells how')
    group.add_argument('--ray', metavar='ADDRESS', help='work on a Ray cluster: local (one on this machine), auto, '
                       'HOST:PORT or ray://HOST:PORT (default: one after the other in this process)')
    group.add_argument('--ray-cpus', type=float, default=1.0, metavar='N', help='CPUs of it that each takes (default '
                       '1)')
    group.add_argument('--ray-gpus', type=float, default=0.0, metavar='N', help='GPUs, or a share of one, that each '
                       'takes of it (default 0: none is seen)')
    group.add_argument('--ray-retries', type=int, default=3, metavar='N', help='how often each is begun again where '
                       'its worker dies (default 3)')


def add_many_options(to: argparse.ArgumentParser) -> None:
    """--ray, and --worst for the table of all."""
    add_ray_options(to)
    to.add_argument('--worst', type=int, default=100, metavar='N', help='of many: sweeps in the table of the worst '
                    'ones (default 100)')


def is_many(options: argparse.Namespace, arguments: Sequence[str]) -> bool:
    """Whether the options mean work over many recordings."""
    from attention_fusion_ros.fleet.sources import is_many
    return options.ray is not None or is_many(arguments)


@contextmanager
def engine_of(options: argparse.Namespace) -> Iterator[Engine]:
    """Where the options say that work runs. Raises ConfigurationError."""
    from attention_fusion_ros.engines.engine import Resources, engine_at
    if options.ray_cpus < 0 or options.ray_gpus < 0 or options.ray_retries < 0:
        raise ConfigurationError('--ray-cpus, --ray-gpus and --ray-retries must not be negative')
    with engine_at(options.ray, Resources(options.ray_cpus, options.ray_gpus, options.ray_retries)) as engine:
        yield engine


@contextmanager
def ray_of(options: argparse.Namespace) -> Iterator[Engine | None]:
    """The same for work that has processes of its own where there is no --ray: None then."""
    if options.ray is None:
        yield None
        return
    with engine_of(options) as engine:
        yield engine


def dependencies(options: argparse.Namespace, *leave_out: str) -> tuple[object, ...]:
    """What results depend on of the options, except files and those that only say where and how fast."""
    values = {name: value for name, value in vars(options).items() if name not in (*FREE, *leave_out)}
    return tuple(sorted((name, str(value)) for name, value in values.items()))


def given_files(*files: Path | None) -> tuple[Path, ...]:
    """Those of the files that were named. Raises ConfigurationError for one that is not there."""
    for file in files:
        if file is not None and not file.is_file():
            raise ConfigurationError(f"'{file}' does not exist or is no file")
    return tuple(file for file in files if file is not None)


def run_many(options: argparse.Namespace, named: Sequence[str], task: Task, arguments: Sequence[str]) -> int:
    """Do the task with all recordings that are named, write the tables to --out; returns the exit status.

    arguments: of the command, for the record. Raises ConfigurationError and InputError; Interrupted after a signal.
    """
    from attention_fusion_ros.fleet.run import run_recordings
    from attention_fusion_ros.fleet.sources import find_sources
    from attention_fusion_ros.fleet.table import status_of, summary, worst_first, write_many
    from attention_fusion_ros.fleet.work import NOT_DONE
    from attention_fusion_ros.utils import provenance

    if options.worst < 0:
        raise ConfigurationError('--worst must not be negative')
    sources = find_sources(named)
    with SignalGuard(), explaining(KEPT), engine_of(options) as engine:
        print(f'{len(sources)} recordings, {engine.name}')
        many = run_recordings(sources, task, options.out, engine, new_bar, options.worst)
    written = write_many(options.out, task, many, provenance.collect(arguments))
    print('\n'.join(summary(many)))
    for outcome in worst_first(many.outcomes):
        if outcome.status == NOT_DONE:
            print(f'failed      {outcome.recording}: {outcome.reason}: {outcome.message}')
    print('\n'.join(f'wrote {path}' for path in written))
    return status_of(many)


def new_bar(what: str, recordings: int) -> AbstractContextManager[tqdm]:
    """A progress bar of so many recordings."""
    bar: AbstractContextManager[tqdm] = cli.progress(total=recordings, desc=what, unit=' recordings')
    return bar
