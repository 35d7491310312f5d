# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the benchmark on real drives: a row for every drive and method, and the targets drive by drive."""

from __future__ import annotations

from collections.abc import Sequence

from attention_fusion_ros.evaluation.drives import benchmark
from attention_fusion_ros.evaluation.drives.benchmark import DriveScores
from attention_fusion_ros.evaluation.methods.baselines import MAP
from attention_fusion_ros.evaluation.tables import (
    Goal,
    MethodRow,
    Report,
    at_least,
    at_most,
    below,
    compare,
    goal_table,
)
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.registry import DRIVES, columns
from attention_fusion_ros.utils.provenance import Provenance

TITLES = {'standard': 'Real drives, standard map error (2.5 m, 4 deg)',
          'doubled': 'Real drives, doubled map error (5 m, 8 deg)',
          'no map': 'Real drives, no map'}
METHOD = ('Heading error of the road ahead and behind on the ring; vehicle turned by -60, -30, 0, 30 and 60 deg; '
          'three map errors each; a miss (no branch within 25 deg in bearing) counts as 25 deg.')
NEIGHBOURS = 'Neighbouring sweeps see the same street, so the intervals are too narrow; one sweep gives none.'


def drive_report(scores: dict[str, dict[tuple[str, str], DriveScores]], network: str | None, provenance: Provenance,
                 notes: Sequence[str] = ()) -> Report:
    """The report of a run over drives.

    scores: drive -> (condition, method) -> scores. network: the method that the others are compared with.
    """
    report = Report(provenance)
    for drive, found in scores.items():
        report.data[drive] = {key: benchmark.drive_estimates(s) for key, s in found.items()}
    for condition in dict.fromkeys(c for found in scores.values() for c, _ in found):
        rows = []
        for drive, found in scores.items():
            rows += _rows(drive, condition, found, network, report.data[drive])
        report.tables.append(compare(TITLES.get(condition, f'Real drives, {condition}'), ('drive', 'method'), rows,
                                     columns(DRIVES), (METHOD, NEIGHBOURS, *notes)))
    if network:
        goals = [goal for drive, found in scores.items() for goal in _goals(drive, found, network)]
        report.data['targets'] = goals
        report.tables.insert(0, goal_table('Real drives: targets', goals))
    return report


def _rows(drive: str, condition: str, found: dict[tuple[str, str], DriveScores], network: str | None,
          estimates: dict[tuple[str, str], dict[str, Estimate]]) -> list[MethodRow]:
    """A row for each method under this condition, except the map alone where there is none."""
    rows = []
    ours = found.get((condition, network)) if network else None
    for (at, method), scores in found.items():
        if at != condition or (condition == 'no map' and method == MAP):
            continue
        differences = None
        if ours is not None and method != network:
            differences = {name: benchmark.difference(name, scores, ours) for name in benchmark.metrics_of(scores)}
        rows.append(MethodRow((drive, method), estimates[at, method], differences))
    return rows


def _goals(drive: str, found: dict[tuple[str, str], DriveScores], network: str) -> list[Goal]:
    goals = []
    for condition in dict.fromkeys(c for c, _ in found):
        ours, theirs = found[condition, network], found.get((condition, MAP))
        estimates, where = benchmark.drive_estimates(ours), f'{drive}, {condition}'
        if condition == 'standard':
            goals += [at_most(f'{where}: heading median [deg]', estimates['heading_median'], 2.0),
                      at_most(f'{where}: heading p90 [deg]', estimates['heading_p90'], 7.0),
                      at_least(f'{where}: found', estimates['found'], 0.95)]
            if theirs is not None:
                goals.append(below(f'{where}: heading median minus that of {MAP} [deg]',
                                   benchmark.difference('heading_median', ours, theirs)))
            if 'f1_15' in estimates:
                goals.append(at_least(f'{where}: F1@15', estimates['f1_15'], 0.85))
        elif condition == 'doubled' and theirs is not None:
            goals.append(at_most(f'{where}: heading median divided by that of {MAP}',
                                 benchmark.ratio('heading_median', ours, theirs), 0.5))
        elif condition == 'no map':
            goals += [at_most(f'{where}: heading median [deg]', estimates['heading_median'], 4.0),
                      at_least(f'{where}: found', estimates['found'], 0.85)]
    return goals
