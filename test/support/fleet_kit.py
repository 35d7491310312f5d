# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Work on recordings that other processes can import: quick, and deadly where a test wants it to be."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.fleet.run import Many, run_recordings
from attention_fusion_ros.fleet.sources import find_sources
from attention_fusion_ros.fleet.work import BadSweep, Findings, Task

COLUMNS = ('bytes', 'name')
TABLES = ('recordings.csv', 'worst_sweeps.csv')


@dataclass(frozen=True)
class Wish:
    """What is to happen. marks: a folder that tells what has happened already."""

    marks: Path
    dies_at: str = ''  # the process that works on the recording of this name is killed half-way
    times: int = 1  # how often
    seconds: float = 0.0  # that each takes


def measure(recording: Path, folder: Path, wish: Wish) -> Findings:
    """Count bytes; a recording that holds the word `broken` cannot be used, one that holds `strange` is unexpected."""
    content = recording.read_bytes()
    print(f'reads {recording}')
    folder.mkdir(parents=True)
    (folder / 'half.txt').write_text(f'{len(content)}')
    (wish.marks / f'{recording.stem}-{time.monotonic_ns()}').touch()
    if recording.stem == wish.dies_at and len(list(wish.marks.glob(f'{recording.stem}-*'))) <= wish.times:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(wish.seconds)
    if b'broken' in content:
        raise InputError('made_up', 'It is broken.', 'mend it.')
    if b'strange' in content:
        raise KeyError('strange')
    (folder / 'whole.txt').write_text(f'{len(content)} bytes')
    sweeps = tuple(BadSweep(i, float((7 * i + len(content)) % 11), f'{recording.stem} {i}') for i in range(5))
    sweeps = tuple(sorted(sweeps, key=lambda sweep: (-sweep.badness, sweep.stamp_ns)))
    return Findings({'bytes': str(len(content)), 'name': recording.stem}, float(len(content)), sweeps)


def deadly_replay(recording: Path, folder: Path, settings: tuple[Any, Wish]) -> Findings:
    """`replay`, whose process is killed when the results of one recording are written, but not complete."""
    from attention_fusion_ros.commands.replay_many import replay_work  # imports torch, which others can do without
    options, wish = settings
    found = replay_work(recording, folder, options)
    mark = wish.marks / f'replayed-{recording.name}'
    if recording.name == wish.dies_at and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return found


def task(wish: Wish, depends: tuple[object, ...] = (1,), files: tuple[Path, ...] = ()) -> Task:
    """The task of `measure`."""
    return Task('measure', measure, wish, depends, files, COLUMNS, 'badness', 'Bytes')


def write_recordings(folder: Path, names: str = 'abcdef') -> list[Path]:
    """Files with the names of recordings, one for each letter."""
    folder.mkdir(parents=True)
    found = []
    for number, name in enumerate(names):
        found.append(folder / f'{name}.mcap')
        found[-1].write_bytes(bytes(10 + number) + name.encode())
    return found


class NoProvenance:
    """In the place of command, commit and machine."""

    def lines(self) -> list[str]:
        return ['made by a test']


class SilentBar:
    """In the place of a progress bar."""

    def __init__(self) -> None:
        self.done = 0

    def update(self, n: int) -> None:
        self.done += n

    def set_postfix_str(self, s: str) -> None:
        pass


@contextmanager
def new_bar(what: str, total: int):
    """A bar that must be full at the end."""
    bar = SilentBar()
    yield bar
    assert bar.done == total


def run(arguments: list[str], made: Task, out: Path, engine: Any, worst: int = 100) -> Many:
    """Do a task with recordings and write the tables."""
    from attention_fusion_ros.fleet.table import write_many
    many = run_recordings(find_sources(arguments), made, out, engine, new_bar, worst)
    write_many(out, made, many, NoProvenance())
    return many
