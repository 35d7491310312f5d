#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of processes, network, clocks, disks and messages, done to the real node, and what each one costs.

    python tools/faults.py                                     all of them, about half an hour
    python tools/faults.py --quick                             a choice that takes less than a minute
    python tools/faults.py --only 'node killed' 'empty clouds'
    python tools/faults.py --out out/faults                    also faults.csv and the logs; goes on where it was

The node runs in a process of its own and gets its messages over DDS from another one. For each fault: what was done,
how many good sweeps were answered while it lasted, how long after it answers as before came, what was lost, and what
was said about it. Exit status 1 when one is not as it should be. As root on Linux everything happens in namespaces of
its own; without, faults that need them are not run, and told so.
"""
from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from fault_kit import isolation  # noqa: E402


def options_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--only', nargs='+', metavar='FAULT', default=[], help='these, by name or by group')
    parser.add_argument('--quick', action='store_true', help='those that take a second or two')
    parser.add_argument('--list', action='store_true', help='print their names and end')
    parser.add_argument('--again', action='store_true', help='with --out: also those that have been done')
    parser.add_argument('--patience', type=float, default=1.0, metavar='TIMES',
                        help='bounds are so many times longer: for a machine with much else to do (default 1)')
    parser.add_argument('--out', type=Path, metavar='DIR', help='where faults.csv and the logs go')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for; returns the exit status."""
    options = options_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the processes that it has started end with it
    if not options.list:
        inside = isolation.enter()
        if inside is not None:
            return inside
        isolation.prepare()
    from fault_kit import matrix, table

    chosen = matrix.chosen(options.only, options.quick)
    if options.list:
        print('\n'.join(f'{f.group:12} {f.name}{" (quick)" if f.quick else ""}' for f in chosen))
        return 0
    started = time.monotonic()
    with ExitStack() as stack:
        folder = options.out.resolve() if options.out else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = matrix.run(chosen, folder, options.patience, options.again)
    print(f'{table.table(outcomes)}\n\n{table.counted(outcomes)} {time.monotonic() - started:.0f} s')
    return 1 if any(o.ok.startswith('NO') for o in outcomes) else 0


if __name__ == '__main__':
    sys.exit(main())
