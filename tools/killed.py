#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Kill commands (SIGKILL, the whole process group) and start them again: nothing may be lost, nothing half written.

    python tools/killed.py                                   50 random moments of each command; the table (Markdown)
    python tools/killed.py --commands train replay --kills 6 --at-names 4
    python tools/killed.py --csv docs/reliability/killed.csv as well

Every command runs once undisturbed. Then it is killed at random moments of the time that took, several times in a row
in one place, and at last let come to its end: what it has made must be what the undisturbed run made. In addition it is
killed right before a file or folder gets its final name or is removed, which random moments rarely hit. After every
kill each file under its final name is opened: one that the undisturbed run has as well must already be equal to it.
"""
from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / 'test')]

from killed_commands import COMMANDS, Command, prepare  # noqa: E402
from killed_files import Half, content, differences, half_written, leftovers  # noqa: E402

from attention_fusion_ros.utils import atomic  # noqa: E402
from attention_fusion_ros.utils.tables import LEFT, RIGHT, Table  # noqa: E402

IN_A_ROW = 5  # kills in one place before the command may come to its end
LATEST = 1.02  # of the time that the undisturbed run took: it is killed while it ends, too
PATIENCE_S = 600.0
# Runs before anything else in every Python process of a command: counts what takes or gives names, in all of them
# together, and kills the whole group right before the event of the number asked for.
HOOK = """
import os, signal, sys
def _hook(event, arguments, place=os.path.realpath(os.environ['KILLED_PLACE']), wanted=int(os.environ['KILLED_AT'])):
    if event in ('os.rename', 'os.remove', 'os.rmdir') and os.path.abspath(os.fsdecode(arguments[0])).startswith(place):
        handle = os.open(place + '.events', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(handle, b'.')
        number = os.fstat(handle).st_size
        os.close(handle)
        if number == wanted:
            os.killpg(0, signal.SIGKILL)
sys.addaudithook(_hook)
"""


@dataclass
class Outcome:
    """What became of one command."""

    command: str
    seconds: float = 0.0  # of the undisturbed run
    kills: int = 0
    files: int = 0  # opened after kills, under their final names
    half_written: int = 0
    ends: int = 0  # runs that were let come to their end after kills
    equal: int = 0  # of them with the result of the undisturbed run
    left: int = 0  # of them that left temporary files
    compared: str = ''  # what equal means
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return not self.half_written and self.equal == self.ends and not self.left and self.kills > 0


class Trial:
    """One command in a place of its own, with everything it writes below it.

    preloaded: it is forked from this process, with the modules of the command imported, instead of started anew.
    """

    def __init__(self, command: Command, inputs: Path, place: Path, preloaded: bool = False):
        self.command, self.place, self._preloaded = command, place, preloaded
        place.mkdir(parents=True)
        self._words = command.words(inputs)
        command.begin(inputs, place)
        self.environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'XDG_CACHE_HOME': str(place / 'cache'),
                            'OMP_NUM_THREADS': '1'}

    def run(self, seconds: float | None = None, event: int = 0) -> int | None:
        """The exit status, None when it was killed: after so many seconds, or before an event of that number."""
        environment = dict(self.environment)
        with tempfile.TemporaryDirectory() as hook, open(self.place.with_suffix('.log'), 'ab') as log:
            if event:
                Path(hook, 'sitecustomize.py').write_text(HOOK)
                environment |= {'PYTHONPATH': f'{hook}:{ROOT}', 'KILLED_PLACE': str(self.place),
                                'KILLED_AT': str(event)}
                self.place.with_suffix('.events').unlink(missing_ok=True)
            begin = forked if self._preloaded else started
            pid = begin(self._words, self.place, environment, log.fileno())
            status = wait(pid, PATIENCE_S if seconds is None else seconds)
            end_group(pid)
        if status is None and seconds is None and not event:
            raise RuntimeError(f'{self.command.name} does not come to its end')
        return None if status == -signal.SIGKILL else status


def started(words: Sequence[str], place: Path, environment: dict[str, str], log: int) -> int:
    """The number of a new process, the first of a group of its own."""
    return subprocess.Popen(words, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True).pid


def forked(words: Sequence[str], place: Path, environment: dict[str, str], log: int) -> int:
    """The same, without what it takes to start Python and to import."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 70
    try:
        os.setsid()
        os.chdir(place)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(environment)
        if 'KILLED_AT' in environment:
            exec(HOOK, {})
        status = _run(words[1:])
        Path(f'{place}.modules').write_text(json.dumps([*sys.modules]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(words: Sequence[str]) -> int:
    """Run what follows `python` on a command line in this process; its exit status."""
    try:
        if words[0] == '-m':
            sys.argv = [words[1], *words[2:]]
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv = [*words]
            runpy.run_path(words[0], run_name='__main__')
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def preload(place: Path) -> None:
    """Import here what a run in `place` has imported."""
    for name in json.loads(Path(f'{place}.modules').read_text()):
        with suppress(Exception):
            importlib.import_module(name)


def wait(pid: int, seconds: float) -> int | None:
    """The exit status of a process, negative for a signal; None when it is still there after so long."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def end_group(pid: int) -> None:
    """Kill a process and all of its group, and wait until none of them is left."""
    with suppress(ProcessLookupError, PermissionError):
        while True:
            os.killpg(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.005)


def examine(command: Command, inputs: Path, work: Path, kills: int, at_names: int,
            rng: random.Random, preloaded: bool, on_end: Callable[[Outcome], object]) -> Outcome:
    """Kill a command `kills` times at random moments and before `at_names` changes of names.

    on_end: called whenever it has come to its end, with what is known until then.
    """
    outcome = Outcome(command.name, compared=command.compared)
    if preloaded:
        first = Trial(command, inputs, work / 'first', preloaded)
        first.run()
        preload(first.place)
        shutil.rmtree(first.place)
    whole = Trial(command, inputs, work / 'undisturbed', preloaded)
    begun = time.monotonic()
    status = whole.run()
    outcome.seconds = round(time.monotonic() - begun, 1)
    if status != 0:
        raise RuntimeError(f'{command.name}, undisturbed: exit status {status}\n'
                           + whole.place.with_suffix('.log').read_text()[-2000:])
    expected = content(whole.place)
    events = _number_of_events(Trial(command, inputs, work / 'counted', preloaded)) if at_names else 0
    chosen = sorted(rng.sample(range(1, events + 1), min(at_names, events)))
    number = 0
    while outcome.kills < kills:
        number += 1
        trial = Trial(command, inputs, work / f'moments-{number}', preloaded)
        for _ in range(min(IN_A_ROW, kills - outcome.kills)):
            moment = rng.uniform(0.0, LATEST * outcome.seconds)
            status = trial.run(moment)
            _look(outcome, trial, status, expected, f'after {moment:.1f} s')
            if status is not None:
                break  # it was faster
        _end(outcome, trial, expected)
        on_end(outcome)
    for event in chosen:
        trial = Trial(command, inputs, work / f'names-{event}', preloaded)
        _look(outcome, trial, trial.run(event=event), expected, f'before event {event}')
        _end(outcome, trial, expected)
        on_end(outcome)
    return outcome


def _number_of_events(trial: Trial) -> int:
    trial.run(event=10**9)
    shutil.rmtree(trial.place)
    events = trial.place.with_suffix('.events')
    return events.stat().st_size if events.exists() else 0


def _look(outcome: Outcome, trial: Trial, status: int | None, expected: dict[str, object], when: str) -> None:
    """Check the files of a run that was killed."""
    if status not in (None, 0):
        outcome.notes.append(f'{when}: exit status {status}')
    outcome.kills += status is None
    count, halves = half_written(trial.place, expected, trial.command.grows)
    outcome.files += count
    outcome.half_written += len(halves)
    outcome.notes += [f'{when}: {_text(half)}' for half in halves]


def _end(outcome: Outcome, trial: Trial, expected: dict[str, object]) -> None:
    """Let a command come to its end, and compare."""
    status = trial.run()
    outcome.ends += 1
    found = ([f'exit status {status}'] if status else []) + differences(content(trial.place), expected)
    outcome.equal += not found
    left = leftovers(trial.place)
    outcome.left += bool(left)
    outcome.notes += [f'{trial.place.name}: {text}' for text in (*found[:4], *(f'left: {name}' for name in left))]
    if not found and not left:
        shutil.rmtree(trial.place)


def _text(half: Half) -> str:
    return f'{half.path}: {half.why}'


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row a command."""
    rows = [(f'`{o.command}`', f'{o.seconds:.0f}', str(o.kills), str(o.files), str(o.half_written),
             f'{o.equal} of {o.ends}', o.compared) for o in outcomes]
    return Table('Killed and started again', ('command', 'seconds undisturbed', 'kills', 'files opened after kills',
                                              'half written', 'ended with the same result', 'compared'), rows,
                 alignment=LEFT + 5 * RIGHT + LEFT)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, print the table; returns 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--commands', nargs='+', choices=[*COMMANDS], default=[*COMMANDS], metavar='COMMAND',
                        help='default: all, ' + ' '.join(COMMANDS))
    parser.add_argument('--kills', type=int, default=50, metavar='N', help='random moments (default: %(default)s)')
    parser.add_argument('--at-names', type=int, default=12, metavar='N', help='before so many changes of names '
                        '(default: %(default)s)')
    parser.add_argument('--seed', type=int, default=1, help='of the moments (default: %(default)s)')
    parser.add_argument('--preloaded', action='store_true', help='fork every run from a process that has imported '
                        'everything: less to wait for, and no kill while modules are imported')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='write the figures as well; rows of commands that '
                        'were not run stay')
    parser.add_argument('--keep', type=Path, metavar='DIR', help='work there, and keep it')
    options = parser.parse_args(argv)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix='killed_') as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        for name in options.commands:
            command = COMMANDS[name]
            inputs = prepare(command, folder / 'inputs')
            outcome = examine(command, inputs, folder / name.replace(' ', '_'), options.kills, options.at_names,
                              random.Random(f'{options.seed} {name}'), options.preloaded,
                              lambda known: write_csv(options.csv, [known]) if options.csv else None)
            outcomes.append(outcome)
            print('\n'.join([f'{name}: {"good" if outcome.good else "NOT GOOD"}', *outcome.notes[:20]]),
                  file=sys.stderr, flush=True)
    print(table(outcomes).markdown())
    return 0 if all(outcome.good for outcome in outcomes) else 1


def write_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    """The figures, beside those of other commands that the file has."""
    rows = {}
    if path.exists():
        with open(path, newline='') as file:
            rows = {row['command']: row for row in csv.DictReader(file)}
    for outcome in outcomes:
        values = asdict(outcome)
        values['notes'] = len(outcome.notes)
        rows[outcome.command] = {name: str(value) for name, value in values.items()}
    columns = list(next(iter(rows.values())))
    order = {name: k for k, name in enumerate(COMMANDS)}
    atomic.write_csv(path, [columns, *([row[name] for name in columns] for row in sorted(
        rows.values(), key=lambda row: order.get(row['command'], len(order))))])


if __name__ == '__main__':
    sys.exit(main())
