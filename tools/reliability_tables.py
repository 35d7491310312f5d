# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/reliability.md, each from the CSV file of its name in docs/reliability/, which a script wrote."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from pathlib import Path

from fault_kit import fault, table

from attention_fusion_ros.benchmarking import soak
from attention_fusion_ros.utils.tables import Table


def plain(path: Path) -> str:
    """The file as it is."""
    with open(path, newline='', encoding='utf-8') as file:
        head, *rows = csv.reader(file)
    return Table('', tuple(head), [tuple(map(table.cell, row)) for row in rows]).markdown_grid()


def faults(path: Path) -> str:
    """What tools/faults.py found: a table a group."""
    outcomes = fault.read(path)
    return f'{table.counted(outcomes)}\n\n{table.table(outcomes)}'


def soaked(path: Path) -> str:
    """The requirements on a soak, and what was found."""
    minutes = soak.read(path)
    rows = [(check.name, check.found, check.limit, check.verdict) for check in soak.checks(minutes)]
    told = Table('', ('requirement', 'found', 'limit', 'met'), rows).markdown_grid()
    return (f'{len(minutes)} minutes, {sum(m.results for m in minutes):,} results.\n\n{told}\n\n'
            '![Memory, threads, handles and latencies over the minutes](images/soak.png)')


def killed(path: Path) -> str:
    """What tools/killed.py found."""
    with open(path, newline='', encoding='utf-8') as file:
        rows = [(f"`{row['command']}`", row['kills'], row['files'], row['half_written'],
                 f"{row['equal']} of {row['ends']}", row['compared']) for row in csv.DictReader(file)]
    return Table('', ('command', 'kills', 'files opened after them', 'half written', 'ended with the same result',
                      'compared'), rows, alignment='lrrrrl').markdown_grid()


SPECIAL: dict[str, Callable[[Path], str]] = {'faults': faults, 'killed': killed, 'soak': soaked}


def sections(folder: Path) -> dict[str, Callable[[], str]]:
    """Name of the section -> what makes it, for every CSV file in the folder."""
    return {path.stem: functools.partial(SPECIAL.get(path.stem, plain), path) for path in sorted(folder.glob('*.csv'))}
