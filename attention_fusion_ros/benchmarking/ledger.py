# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ledger of measurements: one CSV, one row a figure, from which tables and plots are made.

    operation,provider,size,metric,median,p20,p80,device,commit,date

Rows are only ever added; the newest of an operation, provider, size, metric and device counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from attention_fusion_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Row:
    """One figure: median, and the 20th and 80th percentile."""

    operation: str  # a stage, or an operation of `kernels`
    provider: str  # what ran it: default, plain, user, compiled, triton, floor, ...
    size: str  # points of the sweep, or the shape of the features
    metric: str  # ms, processor_ms, ratio, p95_ms, p99_ms, peak_mb, mb, mops
    median: float
    p20: float
    p80: float
    device: str
    commit: str
    date: str  # ISO 8601, of the day

    @property
    def key(self) -> tuple[str, ...]:
        """What a later row of the same figure replaces."""
        return self.operation, self.provider, self.size, self.metric, self.device


COLUMNS = tuple(f.name for f in fields(Row))
NUMBERS = ('median', 'p20', 'p80')


def read(path: Path) -> list[Row]:
    """All rows, oldest first; none where there is no file. Raises ConfigurationError for a file that is no ledger."""
    if not path.exists():
        return []
    with path.open(newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigurationError(f'{path.name} is no ledger of measurements: its first line must be '
                                     f'{",".join(COLUMNS)}')
        rows = []
        for number, line in enumerate(reader, 2):
            try:
                rows.append(Row(**{name: float(line[name]) if name in NUMBERS else line[name] for name in COLUMNS}))
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f'{path.name}, line {number}: {error}') from error
        return rows


def newest(rows: Iterable[Row]) -> list[Row]:
    """The last row of every figure, in the order in which figures came first."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        found[row.key] = row
    return list(found.values())


def add(path: Path, rows: Iterable[Row]) -> None:
    """Append rows; the file is begun where it is not there. Raises as `read`, before anything is written."""
    begun = bool(read(path)) or path.exists()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    if not begun:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f'{value:.6g}' if isinstance(value, float) else value for value in astuple(row)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a', encoding='utf-8') as file:
        file.write(text.getvalue())
