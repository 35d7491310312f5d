# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Work over many recordings: what has been done is kept, the rest goes to an engine, and all of it into one table."""

from __future__ import annotations

import fcntl
import heapq
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.engines.engine import Engine, Lost
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.fleet.sources import Source
from attention_fusion_ros.fleet.work import (
    NOT_DONE,
    SEEN,
    WORK,
    BadSweep,
    Job,
    Outcome,
    Task,
    do_recording,
    folder_name,
    read_record,
)
from attention_fusion_ros.stream.content import ContentIndex

WORST = 100  # sweeps that the table of the worst ones shows
LOST = 'worker_lost'


class Bar(Protocol):
    """The part of a tqdm bar that is used."""

    def update(self, n: int) -> Any:
        """Count n more."""

    def set_postfix_str(self, s: str) -> Any:
        """What stands behind the numbers."""


NewBar = Callable[[str, int], AbstractContextManager[Bar]]  # (what, recordings) -> a bar


@dataclass(frozen=True)
class Many:
    """What came of many recordings, in the order in which they were given; their sweeps are in `worst` alone."""

    outcomes: tuple[Outcome, ...]
    worst: tuple[tuple[Outcome, BadSweep], ...]  # of all recordings, the worst first
    again: int  # attempts that were lost with their process

    def count(self, status: str) -> int:
        """How many recordings have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def run_recordings(sources: Sequence[Source], task: Task, out: Path, engine: Engine, new_bar: NewBar,
                   worst: int = WORST) -> Many:
    """Do the task with each recording, unless it has been done: a run that was cut off goes on where it was.

    A recording that cannot be used, and one whose worker dies time and again, is an outcome, and the others go on.
    Raises ConfigurationError where another run writes to `out`, or a worker cannot work at all; OSError.
    """
    base, out, worst_of_all = task.base(), out.absolute(), _Worst(worst)
    with _own_folder(out) as run:
        found: dict[int, Outcome] = {}
        for number, source in enumerate(sources):
            kept = _kept(source, base, out)
            if kept is not None:
                found[number] = worst_of_all.take(kept)
        missing = [number for number in range(len(sources)) if number not in found]
        jobs = [Job(sources[number], task, base, out, run.name, worst) for number in missing]
        with new_bar(task.name, len(sources)) as bar:
            bar.update(len(found))
            for place, value in engine.run(do_recording, jobs):
                source = sources[missing[place]]
                outcome = value if isinstance(value, Outcome) else _lost(source, value)
                found[missing[place]] = worst_of_all.take(outcome)
                failed = sum(outcome.status == NOT_DONE for outcome in found.values())
                bar.set_postfix_str(f'{failed} failed' if failed else '')
                bar.update(1)
        again = len(list(run.glob('*.log')))  # an attempt that comes to its end takes its log away
    return Many(tuple(found[number] for number in range(len(sources))), worst_of_all.found(), again)


class _Worst:
    """The worst sweeps of all recordings, in whatever order these come: a long run must not keep them all."""

    def __init__(self, count: int):
        self._count = count
        self._kept: list[tuple[Outcome, BadSweep]] = []

    def take(self, outcome: Outcome) -> Outcome:
        """Keep the sweeps that belong here; returns the outcome without any."""
        bare = replace(outcome, sweeps=())
        pairs = [*self._kept, *((bare, sweep) for sweep in outcome.sweeps)]
        self._kept = heapq.nsmallest(self._count, pairs, key=lambda pair: (
            -pair[1].badness, pair[0].name, pair[0].recording, pair[1].stamp_ns))
        return bare

    def found(self) -> tuple[tuple[Outcome, BadSweep], ...]:
        """The worst first."""
        return tuple(self._kept)


def _kept(source: Source, base: str, out: Path) -> Outcome | None:
    """What was made before of a recording that has not changed since it was last read."""
    content = ContentIndex(out / SEEN).known(source.state())
    return None if content is None else read_record(out / folder_name(source, base, content), source)


def _lost(source: Source, lost: Lost) -> Outcome:
    return Outcome(source.location, source.name, status=NOT_DONE, reason=LOST, message=lost.message)


@contextmanager
def _own_folder(out: Path) -> Iterator[Path]:
    """A folder for what is not complete, while nobody else works in `out`; all that was left there is removed."""
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / WORK / 'lock', os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"another run writes to '{out}'. Remedy: wait for it, or give another --out"
                                     ) from error
        for left in work.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        run = work / secrets.token_hex(4)
        run.mkdir()
        try:
            yield run
        finally:
            shutil.rmtree(run, ignore_errors=True)
    finally:
        os.close(handle)
