#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Malformed and odd inputs through everything that reads what others wrote; prints a table of what came out.

    python tools/fuzz_decoders.py --inputs 100000             every reader, in processes of their own
    python tools/fuzz_decoders.py --engine atheris            guided by coverage (python -m pip install atheris)
    python tools/fuzz_decoders.py --target GeoJSON --only 17  one input again
    python tools/fuzz_decoders.py --csv docs/reliability/fuzz_decoders.csv

An input must give a value that keeps its promises, or an error of a documented reason (docs/inputs.md); no warning, no
crash, no hang, no more memory than the reader's bound. Exit status 1 when one does not.
"""
from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')  # threads and forked processes do not go together
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

COLUMNS = ('reader', 'engine', 'inputs', 'read', 'refused', 'reasons', 'peak [MiB]', 'slowest [ms]',
           'memory after / before [MiB]', 'faults')
SILENT_S = 900.0  # a process that long at one input hangs
EVERY = 200  # inputs between two reports of a process
MAX_FAULTS = 20  # kinds that are told of one reader


def options_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--inputs', type=int, default=100_000, metavar='N',
                        help='of all readers together (%(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--engine', choices=('seeded', 'hypothesis', 'atheris'), default='seeded')
    parser.add_argument('--target', action='append', default=[], metavar='NAME', help='only this reader; repeatable')
    parser.add_argument('--only', type=int, metavar='I', help='with --target and the seeded engine: one input again')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write the table here')
    return parser


def readers(engine: str) -> dict[str, Any]:
    """{name: reader}; for atheris with this package instrumented, without what numba compiles."""
    instrumented: Any = nullcontext()
    if engine == 'atheris':
        import atheris
        loops = (Path(__file__).parents[1] / 'attention_fusion_ros/kernels/loops').glob('*.py')
        instrumented = atheris.instrument_imports(
            include=['attention_fusion_ros'], exclude=[f'attention_fusion_ros.kernels.loops.{p.stem}' for p in loops],
            enable_loader_override=False)
    with instrumented:
        from fuzz.targets import TARGETS, warm_up
        warm_up()
    return {target.name: target for target in TARGETS}


def work(target: Any, known: frozenset[str], options: argparse.Namespace, first: int, count: int, report: Path) -> None:
    """Run inputs `first` .. `count` - 1 of one reader; what came of it is in `report`, and the number of the input that
    is tried now in the file beside it. known: documented reasons.
    """
    from fuzz import judge
    from fuzz.engines import ENGINES
    outcomes = judge.Outcomes()
    faults: dict[str, tuple[int, str]] = {}
    memory: list[int] = []
    with open(report.with_suffix('.at'), 'r+b') as file:
        at = mmap.mmap(file.fileno(), 8)

    def save() -> None:
        report.write_text(json.dumps({
            'outcomes': outcomes.count, 'peak': outcomes.peak_bytes, 'slowest': outcomes.slowest_s, 'memory': memory,
            'faults': [[number, text] for number, text in faults.values()]}))

    def tried(number: int, choices: Any) -> None:
        at[:] = number.to_bytes(8, 'little')
        case = target.make(choices)
        try:
            judge.judged(target.run, case, known, target.memory_mib, outcomes)
        except judge.Fault as fault:
            faults.setdefault(_kind(str(fault)), (number, str(fault)))
            outcomes.count['fault'] += 1
        if outcomes.total % EVERY == 0 or outcomes.total >= count - first:
            memory.append(judge.resident())
            save()
    with judge.strict():
        ENGINES[options.engine](tried, options.seed, target.name, first, count)
    save()


def _kind(fault: str) -> str:
    """Faults of one kind have the same place, or the same words without the numbers."""
    lines = [line.strip() for line in fault.splitlines()]
    places = [line for line in lines if line.startswith('File ')]
    return lines[0].partition(':')[0] + places[-1] if places else ''.join(c for c in lines[0] if not c.isdigit())


def run(target: Any, known: frozenset[str], count: int, options: argparse.Namespace) -> dict[str, Any]:
    """All inputs of one reader, in a process of its own, and in a new one after each that dies."""
    total: dict[str, Any] = {'outcomes': Counter(), 'peak': 0, 'slowest': 0.0, 'memory': [], 'faults': []}
    first = 0
    with TemporaryDirectory() as folder:
        while first < count:
            report = Path(folder) / f'{first}.json'
            place = report.with_suffix('.at')
            place.write_bytes(first.to_bytes(8, 'little'))
            # Forked: what is read is imported once.
            process = multiprocessing.get_context('fork').Process(target=work,
                                                                  args=(target, known, options, first, count, report))
            process.start()
            hung = _wait(process, place)
            at = int.from_bytes(place.read_bytes(), 'little')
            _add(total, json.loads(report.read_text()) if report.exists() else {})
            if process.exitcode == 0 and not hung:
                break
            total['faults'].append([at, 'hangs' if hung else f'ends the process ({process.exitcode})'])
            total['outcomes']['fault'] += 1
            first = at + 1
    return total


def _wait(process: Any, place: Path) -> bool:
    """Whether it hung, and was killed."""
    last, since = b'', time.monotonic()
    while process.is_alive():
        process.join(0.1)
        now = place.read_bytes()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > SILENT_S:
            process.kill()
            process.join()
            return True
    return False


def _add(total: dict[str, Any], part: dict[str, Any]) -> None:
    total['outcomes'].update(part.get('outcomes', {}))
    for name in ('peak', 'slowest'):
        total[name] = max(total[name], part.get(name, 0))
    total['memory'] += part.get('memory', [])
    total['faults'] += part.get('faults', [])


def row(name: str, engine: str, found: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    outcomes, memory = found['outcomes'], found['memory'] or [0]
    refused = {reason: n for reason, n in outcomes.items() if reason not in ('good', 'fault')}
    return (name, engine, str(sum(outcomes.values())), str(outcomes['good']), str(sum(refused.values())),
            str(len(refused)), f"{found['peak'] / 2**20:.0f}", f"{1e3 * found['slowest']:.0f}",
            f'{memory[-1] / 2**20:.0f} / {memory[0] / 2**20:.0f}', str(outcomes['fault']))


def main(argv: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    options = options_parser().parse_args(argv)
    found = readers(options.engine)
    wanted = {name: target for name, target in found.items() if not options.target or name in options.target}
    if not wanted:
        raise SystemExit(f'no such reader; there are: {", ".join(found)}')
    if options.only is not None:
        from fuzz.engines import choices_of
        for name, target in wanted.items():
            case = target.make(choices_of(options.seed, name, options.only))
            print(case)
            target.run(case)
        return 0
    import reasons

    from attention_fusion_ros.utils import atomic
    from attention_fusion_ros.utils.tables import Table
    known = frozenset(reasons.reasons())
    shares = sum(target.share for target in wanted.values())
    rows, status = [], 0
    for name, target in wanted.items():
        found = run(target, known, max(1, round(options.inputs * target.share / shares)), options)
        rows.append(row(name, options.engine, found))
        print('  '.join(rows[-1]), file=sys.stderr, flush=True)
        for number, text in found['faults'][:MAX_FAULTS]:
            status = 1
            print(f'{name}, input {number}: {text}', file=sys.stderr)
    counted = [sum(int(r[i]) for r in rows) for i in (2, 3, 4)]
    rows.append(('all', options.engine, *map(str, counted), '', '', '', '', str(sum(int(r[-1]) for r in rows))))
    table = Table('', COLUMNS, rows)
    print(table.markdown_grid())
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_csv(options.csv, (COLUMNS, *rows))
    return status


if __name__ == '__main__':
    sys.exit(main())
