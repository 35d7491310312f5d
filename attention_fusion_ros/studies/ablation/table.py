# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms as tables: figures with their spread, paired differences, papers' claims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.studies.ablation.cost import Cost
from attention_fusion_ros.utils.tables import Table

# figure -> (heading, decimals, is more better)
FIGURES: dict[str, tuple[str, int, bool]] = {
    'map/f1_10': ('F1@10, map', 3, True),
    'nomap/f1_10': ('F1@10, no map', 3, True),
    'map/bearing_median': ('bearing [deg]', 2, False),
    'map/heading_median': ('heading [deg]', 2, False),
    'vehicle_invariance': ('vehicle invariance [deg]', 2, False),
    'attention/roadside': ('attention, roadside', 2, True),
    'attention/vehicles': ('attention, vehicles', 2, False),
}
TASK = tuple(FIGURES)[:4]  # what a difference is worth stating for
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's t, two-sided, 1 .. 9 degrees
BETTER, WORSE, UNTOLD = 'better', 'worse', 'not told apart'


@dataclass(frozen=True)
class Compared:
    """One network of the comparison, trained several times."""

    key: str
    title: str
    where: str  # its slots in the network
    against: str | None  # key of the row from which it differs by one change
    figures: tuple[dict[str, float | None], ...]  # one dictionary a seed, in the same order in all rows
    cost: Cost

    def values(self, name: str) -> np.ndarray:
        """(S,) the figure of every seed; nan where there is none."""
        return np.array([math.nan if f.get(name) is None else f[name] for f in self.figures], np.float64)


@dataclass(frozen=True)
class Claim:
    """What a paper says: the row `better` answers better than the row `worse`."""

    text: str
    paper: str
    better: str
    worse: str
    figure: str = 'map/f1_10'


def spread(values: np.ndarray, decimals: int) -> str:
    """`mean ± standard deviation` over the seeds; a dash where there is nothing to say."""
    values = values[np.isfinite(values)]
    if not len(values):
        return '-'
    text = f'{values.mean():.{decimals}f}'
    return f'{text} ± {values.std(ddof=1):.{decimals}f}' if len(values) > 1 else text


def gaps(row: Compared, other: Compared, name: str) -> np.ndarray:
    """(S,) differences of a figure, seed by seed, positive where `row` is better."""
    difference = row.values(name) - other.values(name)
    return difference if FIGURES[name][2] else -difference


def verdict(differences: np.ndarray) -> str:
    """Better or worse when the 95 % interval of the mean (Student's t over the seeds) leaves zero out."""
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return UNTOLD
    half = T_95[min(len(known) - 2, len(T_95) - 1)] * known.std(ddof=1) / math.sqrt(len(known))
    return UNTOLD if abs(known.mean()) <= half else BETTER if known.mean() > 0 else WORSE


def main_table(rows: Sequence[Compared], notes: Sequence[str]) -> Table:
    """Every row with all columns."""
    header = ('attention', 'where', *(h for h, _, _ in FIGURES.values()), 'parameters', 'GMACs', 'latency [ms]')
    cells = [(row.title, row.where, *(spread(row.values(name), decimals) for name, (_, decimals, _) in FIGURES.items()),
              f'{row.cost.parameters:,}', f'{row.cost.gmacs:.3f}', f'{row.cost.latency_ms:.1f}') for row in rows]
    return Table('Attention mechanisms compared', header, cells, tuple(notes))


def change_table(rows: Sequence[Compared]) -> Table:
    """What each single change brings, paired by seed; rows whose reference is not there are left out."""
    known = {row.key: row for row in rows}
    cells = []
    for row in rows:
        other = known.get(row.against or '')
        if other is None:
            continue
        # The sign is that of the figure, so that it can be checked against the main table.
        signed = [spread(row.values(name) - other.values(name), FIGURES[name][1]) for name in TASK]
        told = [f'{FIGURES[name][0]}: {v}' for name in TASK if (v := verdict(gaps(row, other, name))) != UNTOLD]
        cells.append((row.title, other.title, *signed, f'{row.cost.parameters - other.cost.parameters:+,}',
                      f'{row.cost.latency_ms - other.cost.latency_ms:+.1f}', ', '.join(told) or UNTOLD))
    header = ('attention', 'minus', *(FIGURES[name][0] for name in TASK), 'parameters', 'latency [ms]', 'verdict')
    return Table('One change at a time', header, cells,
                 ('Differences of runs with the same seed, mean ± standard deviation. A verdict is given where the '
                  "95 % interval of the mean (Student's t over the seeds) leaves zero out; one comparison in twenty "
                  'does so by chance.',))


def claim_table(rows: Sequence[Compared], claims: Sequence[Claim]) -> Table:
    """Which of the papers' claims hold here; claims about rows that are not there are left out."""
    known = {row.key: row for row in rows}
    words = {BETTER: 'holds', WORSE: '**the opposite**', UNTOLD: 'not told apart'}
    cells = []
    for claim in claims:
        if claim.better not in known or claim.worse not in known:
            continue
        found = gaps(known[claim.better], known[claim.worse], claim.figure)
        heading, decimals, _ = FIGURES[claim.figure]
        seeds = int(np.isfinite(found).sum())
        cells.append((claim.text, claim.paper, heading, spread(found, decimals), f'{int((found > 0).sum())} of {seeds}',
                      words[verdict(found)]))
    return Table("The papers' claims", ('claim', 'paper', 'figure', 'gain', 'seeds in favour', 'here'), cells,
                 ('Gain: positive where the claim holds, paired by seed. The claims were made for images and other '
                  'tasks, with much longer training.',))


def in_words(rows: Sequence[Compared], figure: str = 'map/f1_10') -> list[str]:
    """The best row, and the cheapest that cannot be told from it."""
    scored = [row for row in rows if np.isfinite(row.values(figure)).any()]
    if not scored:
        return []
    sign = 1 if FIGURES[figure][2] else -1
    best = max(scored, key=lambda row: sign * np.nanmean(row.values(figure)))
    alike = [row for row in scored if row is best or verdict(gaps(best, row, figure)) == UNTOLD]
    cheapest = min(alike, key=lambda row: row.cost.gmacs)
    heading, decimals, _ = FIGURES[figure]
    return [f'Best {heading}: {best.title} ({spread(best.values(figure), decimals)}).',
            f'Fewest operations among those not told apart from it: {cheapest.title} '
            f'({spread(cheapest.values(figure), decimals)}, {cheapest.cost.gmacs:.3f} GMACs).',
            'Not told apart from the best: ' + ', '.join(row.title for row in alike if row is not best) + '.'
            if len(alike) > 1 else 'All others are worse.']


def notes(rows: Sequence[Compared], schedule: str, seeds: int) -> list[str]:
    """What a reader of the main table must know, and what it says. schedule: a sentence about the training."""
    remarks = [*in_words(rows),
               f'Mean ± standard deviation over {seeds} trainings each (initial weights and order of the samples), all '
               f'alike: {schedule}',
               'Bearing and heading: median error of the branches found within 10 degrees, with the map. Vehicle '
               'invariance: mean change of the direction when the vehicles are taken away. Attention: share on '
               "roadside structure and on vehicles over their share of the area, of the finest stage's weights; 1 is "
               'no preference. The loss asks all networks with such weights to prefer the roadside, not vehicles.',
               'Parameters, operations and latency (median, one sweep) are those of the same mechanism in a network of '
               'the default size, with one thread.']
    for row in rows:
        if np.isfinite(row.values('map_shift/after')).any():
            before, after = (' and '.join(f"{spread(row.values(f'map_{what}/{when}'), 2)} {unit}"
                                          for what, unit in (('shift', 'm'), ('yaw', 'deg')))
                             for when in ('before', 'after'))
            remarks.append(f'{row.title}: median error of the map {before} as drawn, {after} after the correction.')
    return remarks
