# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A run of the node over hours, minute by minute: a CSV that is written as it goes, a verdict, and a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from attention_fusion_ros.report import style

SETTLED_MINUTES = 5  # buffers, caches and the allocator's pools have been filled by then
ENDS_MINUTES = 10  # at both ends, whose latencies are compared
MEMORY_LIMIT, LATENCY_LIMIT = 0.02, 0.10  # shares
SHARED = 'shared_mb'


@dataclass(frozen=True)
class Minute:
    """What was seen in one minute; latencies from the arrival of a sweep in the node to its published result."""

    minute: int  # from 1
    rss_mb: float  # median of the resident memory
    threads: int  # at its end
    handles: int  # open files and sockets, at its end
    results: int
    p50_ms: float  # nan without a result
    p99_ms: float
    reconfigured: str  # what was changed at its end: parameters, lifecycle; '' for nothing
    shared_mb: float = 0.0  # of rss_mb, what other processes map as well: segments of the middleware

    @property
    def own_mb(self) -> float:
        """Resident memory of the node alone."""
        return self.rss_mb - self.shared_mb

    @staticmethod
    def of(minute: int, rss_mb: Sequence[float], threads: int, handles: int, latencies_ms: Sequence[float],
           reconfigured: str = '', shared_mb: float = 0.0) -> Minute:
        """From samples."""
        p50, p99 = np.percentile(latencies_ms, (50, 99)) if len(latencies_ms) else (math.nan, math.nan)
        return Minute(minute, round(float(np.median(rss_mb)), 2), threads, handles, len(latencies_ms),
                      round(float(p50), 2), round(float(p99), 2), reconfigured, round(shared_mb, 2))


@dataclass(frozen=True)
class Check:
    """One requirement. met: None where the run was too short to tell."""

    name: str
    found: str
    limit: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return 'too short to tell' if self.met is None else 'yes' if self.met else 'NO'


def append(path: Path, minute: Minute) -> None:
    """Add a line to the file, which has its head from the first one on; it is on the disk afterwards."""
    new = not path.exists() or path.stat().st_size == 0
    with open(path, 'a', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        if new:
            writer.writerow([f.name for f in fields(Minute)])
        writer.writerow([getattr(minute, f.name) for f in fields(Minute)])


def read(path: Path) -> list[Minute]:
    """The minutes of a file, also of a run that goes on or broke off: a last line that is not whole is left out.

    Raises ValueError for a file of something else.
    """
    lines = path.read_text(encoding='utf-8').split('\n')[:-1]  # what follows the last line break is not whole
    rows = list(csv.DictReader(lines))
    names = {f.name for f in fields(Minute)}
    if not rows or set(rows[0]) | {SHARED} != names:  # earlier versions did not tell what is shared
        raise ValueError(f'{path.name} is not what a soak writes.')
    return [Minute(int(r['minute']), float(r['rss_mb']), int(r['threads']), int(r['handles']), int(r['results']),
                   float(r['p50_ms']), float(r['p99_ms']), r['reconfigured'], float(r.get(SHARED, 0.0))) for r in rows]


def checks(minutes: Sequence[Minute]) -> list[Check]:
    """Memory, threads, handles and latency against their limits.

    Memory: the largest median of a minute after the first SETTLED_MINUTES against that of the first one of them,
    without what is shared: a segment of the middleware belongs to the process that sends, has a fixed size, and is
    resident in all that read it, page by page as it is used for the first time. What it is with that is told as well.
    Threads and handles: how far they are apart after the same minutes. Latency: median of the p99 of the last
    ENDS_MINUTES against the first; a run of less than twice that is too short to tell.
    """
    settled = minutes[SETTLED_MINUTES:]
    growth = _growth([m.own_mb for m in settled])
    told = '-' if growth is None else f'{100 * growth:+.2f} %'
    if growth is not None and (whole := _growth([m.rss_mb for m in settled])) is not None and settled[-1].shared_mb:
        shared = [m.shared_mb for m in settled]
        told += f' ({100 * whole:+.2f} % with {min(shared):.0f} to {max(shared):.0f} MB that the middleware shares)'
    found = [Check('memory, growth after the first five minutes', told, f'{100 * MEMORY_LIMIT:g} %',
                   None if growth is None else growth <= MEMORY_LIMIT)]
    for name in ('threads', 'handles'):
        values = [getattr(m, name) for m in settled]
        told = ' .. '.join(str(v) for v in sorted({min(values), max(values)})) if values else '-'
        found.append(Check(f'{name} after the first five minutes', told, 'constant',
                           None if len(values) < 2 else min(values) == max(values)))
    ends = [[m.p99_ms for m in part if not math.isnan(m.p99_ms)]
            for part in (minutes[:ENDS_MINUTES], minutes[-ENDS_MINUTES:])]
    if len(minutes) < 2 * ENDS_MINUTES or not all(ends):
        return [*found, Check('p99 latency, last ten minutes against the first ten', '-', '10 %', None)]
    first, last = (float(np.median(part)) for part in ends)
    change = last / first - 1
    return [*found, Check('p99 latency, last ten minutes against the first ten',
                          f'{last:.1f} ms against {first:.1f} ms, {100 * change:+.1f} %', f'{100 * LATENCY_LIMIT:g} %',
                          change <= LATENCY_LIMIT)]


def _growth(values: Sequence[float]) -> float | None:
    """By what share the largest is above the first, None for less than two."""
    return max(values) / values[0] - 1 if len(values) > 1 else None


def draw(minutes: Sequence[Minute], title: str) -> bytes:
    """Memory, threads and handles, and latencies over the minutes, as a PNG."""
    at = [m.minute for m in minutes]
    panels = (('resident memory, MB', (('rss_mb', 'median of the minute', style.LIDAR),)),
              ('number', (('handles', 'open handles', style.LIDAR), ('threads', 'threads', style.MAP))),
              ('latency, ms', (('p99_ms', 'p99', style.LIDAR), ('p50_ms', 'median', style.MAP))))
    with style.styled():
        figure = style.new_figure(8.0, 7.0)
        for number, (label, lines) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, number + 1)
            largest = 1.0
            for name, told, colour in lines:
                values = [getattr(m, name) for m in minutes]
                axes.plot(at, values, color=colour, label=told, marker='.' if len(at) < 40 else None)
                largest = max([largest, *(v for v in values if not math.isnan(v))])
            axes.set_ylim(0, 1.2 * largest)
            axes.set(ylabel=label, xlabel='minute' if number == len(panels) - 1 else '')
            axes.legend(loc='lower right', ncols=2, frameon=False, fontsize=8)
            if number == 0:
                axes.set_title(title)
        return style.png(figure)
