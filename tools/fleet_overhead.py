#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What work over many recordings costs besides the work: `replay` of N recordings by a bare loop, by the fleet loop in
one process, and on a Ray cluster of this machine, one at a time and one a core.

    python tools/fleet_overhead.py                            8 simulated recordings of 30 s (10 Hz, 16 beams)
    python tools/fleet_overhead.py --recordings 4 --sweeps 20 a quick look
    python tools/fleet_overhead.py --drive out/drive          copies of this recording instead
    python tools/fleet_overhead.py --empty 500                500 files with next to no work: the loops themselves

Prints seconds a recording, what each way adds to the bare loop, what share that is of a recording that takes a minute,
and recordings an hour. Times mean something on a machine that does nothing else.
"""
from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # all ways alike: a thread each
sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ['PYTHONPATH'] = os.pathsep.join([sys.path[0], os.environ.get('PYTHONPATH', '')])  # of Ray's workers

from attention_fusion_ros.commands import cli, many, replay  # noqa: E402
from attention_fusion_ros.engines.engine import LOCAL, Engine, Resources, engine_at  # noqa: E402
from attention_fusion_ros.fleet.run import run_recordings  # noqa: E402
from attention_fusion_ros.fleet.sources import find_sources  # noqa: E402
from attention_fusion_ros.fleet.work import BadSweep, Findings, Task  # noqa: E402
from attention_fusion_ros.utils import provenance  # noqa: E402
from attention_fusion_ros.utils.tables import Table  # noqa: E402

MINUTE_S, WAIT_S = 60.0, 2.0


def copies(drive: Path | None, sweeps: int, count: int, folder: Path) -> list[Path]:
    """As many recordings, alike but for their names."""
    if drive is None:
        from attention_fusion_ros.simulation.drive_options import DriveOptions
        from attention_fusion_ros.simulation.recording import write_recording
        from attention_fusion_ros.simulation.sweeps import SimulatedDrive
        drive = folder / 'drive'
        write_recording(SimulatedDrive(DriveOptions(lidar='vlp_16', rate=10.0, duration=sweeps / 10.0)), drive)
    return [Path(shutil.copytree(drive, folder / 'recordings' / f'r{number:03d}')) for number in range(count)]


def load(_: int) -> float:
    """On a worker: import what the work needs, and wait, so that every worker gets one."""
    import attention_fusion_ros.commands.replay_many
    time.sleep(WAIT_S)
    return float(attention_fusion_ros.commands.replay_many is not None)


def load_all(engine: Engine, workers: int) -> None:
    """Start the workers."""
    list(engine.run(load, range(workers)))


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes, without what it prints."""
    with open(os.devnull, 'w') as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        begun = time.monotonic()
        work()
        return time.monotonic() - begun


def bare(recordings: list[Path], words: list[str], out: Path) -> None:
    """The loop that one would write by hand."""
    for recording in recordings:
        options = replay.options_parser().parse_args([str(recording), '--out', str(out / recording.name), *words])
        options.bag, = options.bag
        with cli.without_progress():
            replay.replay_recording(options)


def fleet(recordings: list[Path], words: list[str], out: Path, engine: Engine) -> None:
    """`replay` of many on this engine."""
    original = many.engine_of
    many.engine_of = lambda options: nullcontext(engine)  # type: ignore[assignment]  # it runs already
    try:
        if replay.main([*map(str, recordings), '--out', str(out), *words]):
            raise SystemExit(f'not every recording was replayed whole, see {out}')
    finally:
        many.engine_of = original


def nothing(recording: Path, folder: Path, _: None) -> Findings:
    """As little as can be done with a recording, with as much to tell as of others."""
    folder.mkdir()
    (folder / 'size').write_text(str(recording.stat().st_size))
    return Findings({'size': '1'}, 0.0, tuple(BadSweep(i, 0.0, 'nothing is wrong with this sweep') for i in range(100)))


def empty(count: int, folder: Path) -> int:
    """Print what the loops take where there is nothing to do, and where it has been done."""
    (folder / 'recordings').mkdir()
    for number in range(count):
        (folder / 'recordings' / f'r{number:06d}.mcap').write_text(f'{number}')
    sources = find_sources([str(folder / 'recordings')])
    task, rows = Task('nothing', nothing, None, (), (), ('size',), '', ''), []
    for title, address in (('fleet, one process', None), ('Ray', LOCAL)):
        with engine_at(address) as engine:
            if address:
                load_all(engine, len(os.sched_getaffinity(0)))
            for what in ('first', 'kept from before'):
                seconds = timed(lambda title=title, engine=engine: run_recordings(
                    sources, task, folder / title, engine, many.new_bar))
                rows.append((title, what, f'{1e3 * seconds / count:.2f}'))
    print(Table('', ('way', 'run', 'ms a recording'), rows).markdown_grid())
    print('\n'.join(provenance.collect(['(python tools/fleet_overhead.py)', *sys.argv[1:]]).lines()[1:]))
    return 0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--recordings', type=int, default=8, metavar='N', help='how many (default 8)')
    parser.add_argument('--sweeps', type=int, default=300, metavar='N', help='of each (default 300)')
    parser.add_argument('--drive', type=Path, metavar='DIR', help='copies of this recording')
    parser.add_argument('--empty', type=int, default=0, metavar='N', help='so many recordings without work')
    options = parser.parse_args()
    if options.empty:
        with tempfile.TemporaryDirectory() as name:
            return empty(options.empty, Path(name))
    cores = len(os.sched_getaffinity(0))
    words = ['--pictures', '0', '-p', 'threads:=1', '--device', 'cpu']
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = copies(options.drive, options.sweeps, options.recordings, folder)
        timed(lambda: bare(recordings[:1], words, folder / 'warm'))
        times = {'bare loop': timed(lambda: bare(recordings, words, folder / 'bare'))}
        with engine_at(None) as engine:
            times['fleet, one process'] = timed(lambda: fleet(recordings, words, folder / 'plain', engine))
        starts = {}
        for title, cpus in (('Ray, one at a time', cores), (f'Ray, {cores} at a time', 1)):
            with engine_at(LOCAL, Resources(cpus)) as engine:
                starts[title] = timed(partial(load_all, engine, cores // cpus)) - WAIT_S
                times[title] = timed(partial(fleet, recordings, words, folder / f'ray{cpus}', engine))
        tables = {(folder / place / 'recordings.csv').read_bytes() for place in ('plain', f'ray{cores}', 'ray1')}
        with open(folder / 'plain' / 'recordings.csv', newline='') as file:
            sweeps = sum(int(row['sweeps']) for row in csv.DictReader(file))
    each = {title: seconds / len(recordings) for title, seconds in times.items()}
    rows = []
    for title, seconds in each.items():
        at_a_time = cores if title == f'Ray, {cores} at a time' else 1
        added = seconds * at_a_time - each['bare loop']
        rows.append((title, f'{starts.get(title, 0.0):.1f}', f'{seconds:.2f}', f'{added:+.2f}',
                     f'{100 * added / each["bare loop"]:+.1f}', f'{100 * added / MINUTE_S:+.2f}',
                     f'{3600 / seconds:.0f}'))
    header = ('way', 'start, once [s]', 's a recording', 'added, a recording and process [s]', '% of it',
              '% of a minute', 'recordings an hour')
    print(Table('', header, rows).markdown_grid())
    print(f'{len(recordings)} recordings, {sweeps} sweeps in all; the tables of all ways are '
          + ('the same.' if len(tables) == 1 else 'NOT the same.'))
    print('\n'.join(provenance.collect(['(python tools/fleet_overhead.py)', *sys.argv[1:]]).lines()[1:]))
    return 0 if len(tables) == 1 else 1


if __name__ == '__main__':
    sys.exit(main())
