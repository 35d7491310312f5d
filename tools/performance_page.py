# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The measured part of docs/performance.md, tables and plot, from the ledger that `benchmark --ledger` writes.

Used by tools/update_docs.py, which writes the tables into the page; the plot is drawn where they have changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from attention_fusion_ros.benchmarking.ledger import Row, newest
from attention_fusion_ros.benchmarking.providers import STAGES
from attention_fusion_ros.report import style
from attention_fusion_ros.utils.tables import Table

NAMES = {'default': 'default', 'plain': 'plain torch', 'user': 'as a user would write it', 'compiled': 'torch.compile',
         'floor': 'floor'}
UNMEASURED = ('Nothing has been measured for this page yet: `python -m attention_fusion_ros benchmark --device cpu '
              '--ledger docs/results/performance.csv` on a machine that has nothing else to do, then '
              '`python tools/update_docs.py`.')
Figures = dict[tuple[str, str, str, str], Row]  # operation, provider, size, metric


def devices(rows: Sequence[Row]) -> list[str]:
    """Of the stages, in the order in which they came into the ledger."""
    return list(dict.fromkeys(row.device for row in rows if row.operation == 'total'))


def of_device(rows: Sequence[Row], device: str) -> Figures:
    """The newest figures of a device."""
    return {(r.operation, r.provider, r.size, r.metric): r for r in newest(rows) if r.device == device}


def _order(figures: Figures) -> tuple[list[str], list[str]]:
    """Providers and sizes of the pipeline."""
    named = {provider for operation, provider, _, metric in figures if operation == 'total' and metric == 'ms'}
    sizes = {size for operation, _, size, metric in figures if operation == 'total' and metric == 'ms'}
    return [name for name in NAMES if name in named], sorted(sizes, key=int)


def total_table(figures: Figures) -> str:
    """From the bytes of a sweep to the direction: a row a provider, a column a number of points."""
    providers, sizes = _order(figures)
    rows = []
    for name in providers:
        cells = []
        for size in sizes:
            row, p99 = figures.get(('total', name, size, 'ms')), figures.get(('total', name, size, 'p99_ms'))
            ratio = figures.get(('total', name, size, 'ratio'))
            if row is None:
                cells.append('-')
            elif p99 is None:
                cells.append(f'{row.median:.2f}')
            else:
                times = '' if ratio is None or name == 'default' else f', {ratio.median:.2f} times'
                cells.append(f'{row.median:.1f} ({p99.median:.1f}){times}')
        rows.append((NAMES[name], *cells))
    header = ('bytes to direction, ms: median (p99)', *(f'{int(size):,} points' for size in sizes))
    return Table('', header, rows, alignment='l' + 'r' * len(sizes)).markdown_grid()


def stage_table(figures: Figures, size: str) -> str:
    """Processor time of the stages at one number of points, and how many times that of the default."""
    providers, _ = _order(figures)
    rows = []
    for name in providers:
        cells = []
        for stage in STAGES:
            row = figures.get((stage, name, size, 'ms' if name == 'floor' else 'processor_ms'))
            ratio = figures.get((stage, name, size, 'processor_ratio'))
            times = '' if ratio is None or name == 'default' else f' ({ratio.median:.2f})'
            cells.append('-' if row is None else f'{row.median:.2f}{times}')
        rows.append((NAMES[name], *cells))
    header = (f'{int(size):,} points, processor ms (times default)', *STAGES)
    return Table('', header, rows, alignment='l' + 'r' * len(STAGES)).markdown_grid()


def performance(rows: Sequence[Row]) -> str:
    """The section of the page."""
    if not devices(rows):
        return UNMEASURED
    parts = ['![Stages of a sweep by provider](images/performance.png)', '']
    for device in devices(rows):
        figures = of_device(rows, device)
        one = next(row for key, row in figures.items() if key[0] == 'total')
        parts += [f'**{device}**, {one.date}, commit {one.commit}', '', total_table(figures), '']
        for size in _order(figures)[1]:
            parts += [stage_table(figures, size), '']
    return '\n'.join(parts).rstrip()


def draw(rows: Sequence[Row]) -> bytes:
    """PNG: the stages of every provider, stacked, by number of points; of the last device in the ledger."""
    figures = of_device(rows, devices(rows)[-1])
    providers, sizes = _order(figures)
    providers = [name for name in providers if name != 'floor']
    with style.styled():
        figure = style.new_figure(9.0, 0.9 + 0.3 * (len(providers) + 1) * len(sizes))
        axes = figure.add_subplot()
        ticks: list[tuple[float, str]] = []
        place = 0.0
        for size in sizes:
            for name in providers:
                left = 0.0
                for stage in STAGES[:-1]:
                    row = figures.get((stage, name, size, 'processor_ms'))
                    if row is not None:
                        axes.barh(place, row.median, left=left, height=0.75, color=style.STAGES[stage],
                                  label=stage if not ticks else None)
                        left += row.median
                total = figures.get(('total', name, size, 'processor_ms'))
                axes.annotate('' if total is None else f'{total.median:.1f} ms', (left, place), (4, 0),
                              textcoords='offset points', va='center', fontsize=style.SMALL_PT)
                ticks.append((place, f'{NAMES[name]}, {int(size):,}'))
                place += 1
            place += 0.7
        axes.set_yticks(*zip(*ticks))
        axes.invert_yaxis()
        axes.grid(axis='y', visible=False)
        axes.margins(x=0.12)
        axes.set(title='From the bytes of a sweep to the direction', xlabel='processor time of a sweep, ms (medians)')
        figure.legend(loc='outside lower center', ncols=len(STAGES) - 1)
        return style.png(figure)
