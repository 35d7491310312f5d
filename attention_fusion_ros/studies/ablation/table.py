# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms as tables: metrics with their spread, paired differences, papers' claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.errors import require
from attention_fusion_ros.metrics.registry import ABLATION, ABLATION_NO_MAP, METRICS, Metric, columns
from attention_fusion_ros.studies.ablation.cost import Cost
from attention_fusion_ros.utils.tables import Table

BETTER, WORSE, INCONCLUSIVE = 'better', 'worse', 'no significant difference'
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Column:
    """A column of the comparison: a metric, in one state of the map where the metric is measured in several."""

    key: str  # in the results, for example `map/f1_10`
    metric: Metric
    suffix: str = ''

    @property
    def heading(self) -> str:
        """Heading without the unit."""
        return f'{self.metric.heading}, {self.suffix}' if self.suffix else self.metric.heading

    @property
    def title(self) -> str:
        """Heading with the unit."""
        return f'{self.heading} [{self.metric.unit}]' if self.metric.unit else self.heading


def _columns() -> dict[str, Column]:
    found = []
    for name in columns(ABLATION):
        metric = METRICS[name]
        if metric.statistic is None:
            found.append(Column(name, metric))
            continue
        found.append(Column(f'map/{name}', metric, 'map'))
        if ABLATION_NO_MAP in metric.tables:
            found.append(Column(f'nomap/{name}', metric, 'no map'))
    return {column.key: column for column in found}


COLUMNS = _columns()
TASK = tuple(key for key, column in COLUMNS.items() if column.metric.statistic is not None)  # differences are stated


@dataclass(frozen=True)
class Compared:
    """One network of the comparison, trained several times."""

    key: str
    title: str
    where: str  # its slots in the network
    against: str | None  # key of the row from which it differs by one change
    results: tuple[dict[str, float | None], ...]  # one dictionary a seed, in the same order in all rows
    cost: Cost

    def values(self, name: str) -> np.ndarray:
        """(S,) the value of every seed; nan where there is none."""
        found = [result.get(name) for result in self.results]
        return np.array([math.nan if value is None else value for value in found], np.float64)


@dataclass(frozen=True)
class Hypothesis:
    """What a paper claims: the row `better` scores better than the row `worse`."""

    text: str
    paper: str
    better: str
    worse: str
    column: str = 'map/f1_10'


def mean_and_std(values: np.ndarray, decimals: int) -> str:
    """(S,) -> `mean ± standard deviation` over the seeds; a dash when none is known."""
    values = values[np.isfinite(values)]
    if not len(values):
        return '-'
    text = f'{values.mean():.{decimals}f}'
    return f'{text} ± {values.std(ddof=1):.{decimals}f}' if len(values) > 1 else text


def gains(row: Compared, other: Compared, name: str) -> np.ndarray:
    """(S,) differences of a column, seed by seed, positive where `row` is better."""
    difference = row.values(name) - other.values(name)
    return np.asarray(difference if COLUMNS[name].metric.higher_is_better else -difference)


def verdict(differences: np.ndarray) -> str:
    """Better or worse when the 95 % interval of the mean (Student's t over the (S,) seeds) excludes zero.

    Raises ConfigurationError without scipy.
    """
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return INCONCLUSIVE
    t = require('scipy.stats', 'the verdicts of the comparison').t
    half = float(t.ppf((1 + LEVEL) / 2, len(known) - 1)) * known.std(ddof=1) / math.sqrt(len(known))
    if abs(known.mean()) <= half:
        return INCONCLUSIVE
    return BETTER if known.mean() > 0 else WORSE


def decides(changes: np.ndarray) -> str:
    """Whether F1@10 falls when attention is replaced by its mean: (S,) its changes, one a seed."""
    if not np.isfinite(changes).any():
        return '-'
    return 'yes' if verdict(changes) == WORSE else 'no'


def main_table(rows: Sequence[Compared], notes: Sequence[str]) -> Table:
    """Every row with all columns."""
    header = ('attention', 'where', *(column.title for column in COLUMNS.values()), 'does it decide?', 'parameters',
              'GMACs', 'latency [ms]')
    cells = []
    for row in rows:
        values = [mean_and_std(row.values(key), column.metric.decimals) for key, column in COLUMNS.items()]
        cells.append((row.title, row.where, *values, decides(row.values('attention/by_mean')),
                      f'{row.cost.parameters:,}', f'{row.cost.gmacs:.3f}', f'{row.cost.latency_ms:.1f}'))
    return Table('Attention mechanisms compared', header, cells, tuple(notes))


def change_table(rows: Sequence[Compared]) -> Table:
    """What each single change brings, paired by seed; rows whose reference is not there are left out."""
    known = {row.key: row for row in rows}
    cells = []
    for row in rows:
        other = known.get(row.against or '')
        if other is None:
            continue
        # The sign is that of the metric, so that it can be checked against the main table.
        signed = [mean_and_std(row.values(key) - other.values(key), COLUMNS[key].metric.decimals) for key in TASK]
        verdicts = {key: verdict(gains(row, other, key)) for key in TASK}
        stated = [f'{COLUMNS[key].heading}: {found}' for key, found in verdicts.items() if found != INCONCLUSIVE]
        cells.append((row.title, other.title, *signed, f'{row.cost.parameters - other.cost.parameters:+,}',
                      f'{row.cost.latency_ms - other.cost.latency_ms:+.1f}', ', '.join(stated) or INCONCLUSIVE))
    header = ('attention', 'minus', *(COLUMNS[key].title for key in TASK), 'parameters', 'latency [ms]', 'verdict')
    return Table('One change at a time', header, cells,
                 ('Differences of runs with the same seed, mean ± standard deviation. A verdict is given where the '
                  "95 % interval of the mean (Student's t over the seeds) excludes zero; one comparison in twenty does "
                  'so by chance.',))


def hypothesis_table(rows: Sequence[Compared], hypotheses: Sequence[Hypothesis]) -> Table:
    """Which of the papers' claims hold here; claims about rows that are not there are left out."""
    known = {row.key: row for row in rows}
    outcome = {BETTER: 'holds', WORSE: '**the opposite**', INCONCLUSIVE: INCONCLUSIVE}
    cells = []
    for hypothesis in hypotheses:
        if hypothesis.better not in known or hypothesis.worse not in known:
            continue
        found = gains(known[hypothesis.better], known[hypothesis.worse], hypothesis.column)
        column = COLUMNS[hypothesis.column]
        seeds = int(np.isfinite(found).sum())
        cells.append((hypothesis.text, hypothesis.paper, column.heading, mean_and_std(found, column.metric.decimals),
                      f'{int((found > 0).sum())} of {seeds}', outcome[verdict(found)]))
    return Table("The papers' claims", ('claim', 'paper', 'metric', 'gain', 'seeds in favour', 'here'), cells,
                 ('Gain: positive where the claim holds, paired by seed. The claims were made for images and other '
                  'tasks, with much longer training.',))


def summary_sentences(rows: Sequence[Compared], key: str = 'map/f1_10') -> list[str]:
    """The best row, and the cheapest one that is not significantly worse."""
    scored = [row for row in rows if np.isfinite(row.values(key)).any()]
    if not scored:
        return []
    column = COLUMNS[key]
    sign = 1 if column.metric.higher_is_better else -1
    decimals = column.metric.decimals
    best = max(scored, key=lambda row: sign * np.nanmean(row.values(key)))
    alike = [row for row in scored if row is best or verdict(gains(best, row, key)) == INCONCLUSIVE]
    cheapest = min(alike, key=lambda row: row.cost.gmacs)
    others = ', '.join(row.title for row in alike if row is not best)
    return [f'Best {column.heading}: {best.title} ({mean_and_std(best.values(key), decimals)}).',
            f'Fewest operations among those not significantly worse: {cheapest.title} '
            f'({mean_and_std(cheapest.values(key), decimals)}, {cheapest.cost.gmacs:.3f} GMACs).',
            f'Not significantly different from the best: {others}.' if others else 'All others are worse.']


def notes(rows: Sequence[Compared], schedule: str, seeds: int) -> list[str]:
    """What a reader of the main table must know, and what it says. schedule: a sentence about the training."""
    remarks = [*summary_sentences(rows),
               f'Mean ± standard deviation over {seeds} trainings each (initial weights and order of the samples), all '
               f'alike: {schedule}',
               'Bearing and heading: median error of the branches found within 10 degrees, with the map. Vehicle '
               'invariance: mean change of the direction when the vehicles are taken away. Attention: share on '
               "roadside structure and on vehicles over their share of the area, of the finest stage's weights; 1 is "
               'no preference. The loss asks all networks with such weights to prefer the roadside, not vehicles.',
               'By its mean: every weight of every attention is replaced by its mean over the scenes. It decides where '
               "that costs F1@10, outside of the 95 % interval over the seeds (Student's t).",
               'Parameters, operations and latency (median, one sweep) are those of the same mechanism in a network of '
               'the default size, with one thread.']
    for row in rows:
        if np.isfinite(row.values('map_shift/after')).any():
            before, after = _map_errors(row, 'before'), _map_errors(row, 'after')
            remarks.append(f'{row.title}: median error of the map {before} as drawn, {after} after the correction.')
    return remarks


def _map_errors(row: Compared, when: str) -> str:
    shift, yaw = (mean_and_std(row.values(f'map_{what}/{when}'), 2) for what in ('shift', 'yaw'))
    return f'{shift} m and {yaw} deg'
