# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures -> markdown tables and JSON. Every table carries its provenance and says in which rows the network loses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attention_fusion_ros.metrics.branches import Figure
from attention_fusion_ros.utils.provenance import Provenance
from attention_fusion_ros.utils.tables import Table

# statistic -> (heading, decimals, is more better)
COLUMNS: dict[str, tuple[str, int, bool]] = {
    'f1_10': ('F1@10', 3, True),
    'f1_15': ('F1@15', 3, True),
    'bearing_median': ('bearing median [deg]', 2, False),
    'bearing_p90': ('bearing p90 [deg]', 2, False),
    'heading_median': ('heading median [deg]', 2, False),
    'heading_p90': ('heading p90 [deg]', 2, False),
    'nearest_median': ('bearing, miss = 25, median [deg]', 2, False),
    'nearest_p90': ('bearing, miss = 25, p90 [deg]', 2, False),
    'direction_median': ('direction median [deg]', 2, False),
    'direction_p90': ('direction p90 [deg]', 2, False),
    'direction_within_5': ('direction within 5 deg', 3, True),
    'direction_given': ('direction given', 3, True),
    'calibration_error': ('calibration error', 3, False),
    'found': ('found', 3, True),
}


def cell(figure: Figure, decimals: int) -> str:
    """`1.23 [1.10, 1.40]`; a dash where there is nothing to say; no brackets where there is no interval."""
    if math.isnan(figure.value):
        return '-'
    text = f'{figure.value:.{decimals}f}'
    if math.isnan(figure.low):
        return text
    return f'{text} [{figure.low:.{decimals}f}, {figure.high:.{decimals}f}]'


@dataclass(frozen=True)
class Row:
    """One method under one condition. `gaps`: statistic -> its value minus the network's, paired."""

    labels: tuple[str, ...]
    figures: dict[str, Figure]
    gaps: dict[str, Figure] | None = None  # None for the network itself


def losses(row: Row, statistics: Sequence[str]) -> str:
    """In what this method beats the network: names of statistics, a tilde where the paired interval includes zero.

    A dash when it wins nowhere, empty for the network's own row.
    """
    if row.gaps is None:
        return ''
    won = []
    for name in statistics:
        gap = row.gaps.get(name)
        if gap is None or math.isnan(gap.value):
            continue
        heading, _, more_is_better = COLUMNS[name]
        if (gap.value > 0) == more_is_better and gap.value != 0:
            sure = not math.isnan(gap.low) and (gap.low > 0 or gap.high < 0)
            won.append(heading.removesuffix(' [deg]') + ('' if sure else ' ~'))
    return ', '.join(won) or '-'


def compare(title: str, labels: Sequence[str], rows: Sequence[Row], statistics: Sequence[str],
            notes: Sequence[str] = ()) -> Table:
    """A table of methods: one column a statistic, and last in what each method beats the network."""
    header = (*labels, *(COLUMNS[s][0] for s in statistics), 'beats the network in')
    cells = [(*row.labels, *(cell(row.figures[s], COLUMNS[s][1]) if s in row.figures else '-' for s in statistics),
              losses(row, statistics)) for row in rows]
    legend = 'Brackets: 95 % interval, whole scenes or sweeps resampled. ~: the paired interval includes zero.'
    return Table(title, header, cells, (*notes, legend))


@dataclass(frozen=True)
class Target:
    """A goal that was set beforehand, and whether it is met."""

    what: str
    goal: str  # for example `>= 0.92`
    value: Figure
    met: bool | None  # None: cannot be told
    decimals: int = 2


def at_least(what: str, figure: Figure, bound: float, decimals: int = 3) -> Target:
    """Met when the figure itself (not its interval) reaches the bound."""
    return Target(what, f'>= {bound:g}', figure, None if math.isnan(figure.value) else figure.value >= bound, decimals)


def at_most(what: str, figure: Figure, bound: float, decimals: int = 2) -> Target:
    """Met when the figure itself does not exceed the bound."""
    return Target(what, f'<= {bound:g}', figure, None if math.isnan(figure.value) else figure.value <= bound, decimals)


def below(what: str, gap: Figure) -> Target:
    """A paired difference (ours minus theirs) that must be negative; met only outside the interval, if there is one."""
    known = not math.isnan(gap.value)
    upper = gap.value if math.isnan(gap.high) else gap.high
    return Target(what, '< 0, outside the interval', gap, upper < 0 if known else None)


def target_table(title: str, targets: Sequence[Target]) -> Table:
    """Goal, figure, verdict."""
    verdict = {True: 'met', False: '**missed**', None: 'not measured'}
    return Table(title, ('target', 'goal', 'measured', 'verdict'),
                 [(t.what, t.goal, cell(t.value, t.decimals), verdict[t.met]) for t in targets])


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
        text.write_text(self.markdown())
        content = {'provenance': dataclasses.asdict(self.provenance), **self.data, 'tables': self.tables}
        data.write_text(json.dumps(plain(content), indent=1, allow_nan=False) + '\n')
        return [text, data]


def plain(value: Any) -> Any:
    """Anything -> what JSON holds; not-a-number becomes null."""
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
