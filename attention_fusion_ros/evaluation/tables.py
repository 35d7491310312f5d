# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics -> markdown tables and JSON. Every table carries its provenance and says in which rows the network loses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.registry import METRICS
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.provenance import Provenance
from attention_fusion_ros.utils.tables import Table


def cell(estimate: Estimate, decimals: int) -> str:
    """`1.23 [1.10, 1.40]`; a dash where the value is not known; no brackets where the interval is not."""
    if math.isnan(estimate.value):
        return '-'
    text = f'{estimate.value:.{decimals}f}'
    if math.isnan(estimate.low):
        return text
    return f'{text} [{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}]'


@dataclass(frozen=True)
class MethodRow:
    """One method under one condition. `differences`: metric -> its value minus the network's, paired."""

    labels: tuple[str, ...]
    estimates: dict[str, Estimate]
    differences: dict[str, Estimate] | None = None  # None for the network itself


def beats_network_in(row: MethodRow, metrics: Sequence[str]) -> str:
    """Headings of the metrics in which this method beats the network; `~` where the paired interval includes zero.

    A dash when it wins nowhere, empty for the network's own row.
    """
    if row.differences is None:
        return ''
    won = []
    for name in metrics:
        difference = row.differences.get(name)
        if difference is None or math.isnan(difference.value) or difference.value == 0:
            continue
        metric = METRICS[name]
        if (difference.value > 0) == metric.higher_is_better:
            significant = not math.isnan(difference.low) and (difference.low > 0 or difference.high < 0)
            won.append(metric.heading + ('' if significant else ' ~'))
    return ', '.join(won) or '-'


def compare(title: str, labels: Sequence[str], rows: Sequence[MethodRow], metrics: Sequence[str],
            notes: Sequence[str] = ()) -> Table:
    """A table of methods: one column a metric, and last in what each method beats the network."""
    header = (*labels, *(METRICS[name].title for name in metrics), 'beats the network in')
    cells = []
    for row in rows:
        values = [cell(row.estimates[name], METRICS[name].decimals) if name in row.estimates else '-'
                  for name in metrics]
        cells.append((*row.labels, *values, beats_network_in(row, metrics)))
    legend = 'Brackets: 95 % interval, whole scenes or sweeps resampled. ~: the paired interval includes zero.'
    return Table(title, header, cells, (*notes, legend))


@dataclass(frozen=True)
class Goal:
    """A goal that was set beforehand, and whether it is met."""

    what: str
    goal: str  # for example `>= 0.92`
    value: Estimate
    met: bool | None  # None: not measured
    decimals: int = 2


def at_least(what: str, estimate: Estimate, bound: float, decimals: int = 3) -> Goal:
    """Met when the value itself (not its interval) reaches the bound."""
    met = None if math.isnan(estimate.value) else estimate.value >= bound
    return Goal(what, f'>= {bound:g}', estimate, met, decimals)


def at_most(what: str, estimate: Estimate, bound: float, decimals: int = 2) -> Goal:
    """Met when the value itself does not exceed the bound."""
    met = None if math.isnan(estimate.value) else estimate.value <= bound
    return Goal(what, f'<= {bound:g}', estimate, met, decimals)


def below(what: str, difference: Estimate) -> Goal:
    """A paired difference (ours minus theirs) that must be negative; met only outside the interval, if there is one."""
    known = not math.isnan(difference.value)
    upper = difference.value if math.isnan(difference.high) else difference.high
    return Goal(what, '< 0, outside the interval', difference, upper < 0 if known else None)


def goal_table(title: str, goals: Sequence[Goal]) -> Table:
    """Goal, value, verdict."""
    verdict = {True: 'met', False: '**missed**', None: 'not measured'}
    return Table(title, ('target', 'goal', 'measured', 'verdict'),
                 [(g.what, g.goal, cell(g.value, g.decimals), verdict[g.met]) for g in goals])


@dataclass
class Report:
    """What an evaluation hands out: tables in order, and everything again as data."""

    provenance: Provenance
    tables: list[Table] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """All tables."""
        return '\n'.join(t.markdown(self.provenance.lines()) for t in self.tables)

    def write(self, folder: Path, name: str) -> list[Path]:
        """`name.md` and `name.json` in `folder`, which is made when missing. Returns the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        text, data = folder / f'{name}.md', folder / f'{name}.json'
        atomic.write_text(text, self.markdown())
        content = {'provenance': dataclasses.asdict(self.provenance), **self.data, 'tables': self.tables}
        atomic.write_text(data, json.dumps(plain(content), indent=1, allow_nan=False) + '\n')
        return [text, data]


def plain(value: Any) -> Any:
    """Any value as JSON can hold it: dataclasses as objects, arrays as lists, nan and infinities as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {' / '.join(map(str, k)) if isinstance(k, tuple) else str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
