# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the exam on real drives: a row for every drive and method, and the targets drive by drive."""

from __future__ import annotations

from collections.abc import Sequence

from attention_fusion_ros.evaluation.drives import benchmark as drive_exam
from attention_fusion_ros.evaluation.drives.benchmark import Answers
from attention_fusion_ros.evaluation.methods.baselines import MAP
from attention_fusion_ros.evaluation.tables import Report, Row, Target, at_least, at_most, below, compare, target_table
from attention_fusion_ros.utils.provenance import Provenance

COLUMNS = ('heading_median', 'heading_p90', 'found', 'f1_15')
TITLES = {'standard': 'Real drives, standard map error (2.5 m, 4 deg)',
          'doubled': 'Real drives, doubled map error (5 m, 8 deg)',
          'no map': 'Real drives, no map'}
METHOD = ('Heading error of the road ahead and behind on the ring; vehicle turned by -60, -30, 0, 30 and 60 deg; '
          'three map errors each; a miss (no branch within 25 deg in bearing) counts as 25 deg.')
NEIGHBOURS = 'Neighbouring sweeps see the same street, so the intervals are too narrow; one sweep gives none.'


def build(answers: dict[str, dict[tuple[str, str], Answers]], network: str | None, provenance: Provenance,
          notes: Sequence[str] = ()) -> Report:
    """answers: drive -> (condition, method) -> Answers. network: the method that the others are compared with."""
    report = Report(provenance)
    conditions = list(dict.fromkeys(c for found in answers.values() for c, _ in found))
    report.data = {drive: {key: drive_exam.summarise(a) for key, a in found.items()}
                   for drive, found in answers.items()}
    for condition in conditions:
        rows = []
        for drive, found in answers.items():
            for (at, method), given in found.items():
                if at != condition or (condition == 'no map' and method == MAP):
                    continue
                ours = found.get((condition, network)) if network else None
                gaps = None
                if ours is not None and method != network:
                    gaps = {s: drive_exam.difference(s, given, ours) for s in COLUMNS
                            if s != 'f1_15' or given.has_branches}
                rows.append(Row((drive, method), report.data[drive][at, method], gaps))
        report.tables.append(compare(TITLES.get(condition, f'Real drives, {condition}'), ('drive', 'method'), rows,
                                     COLUMNS, (METHOD, NEIGHBOURS, *notes)))
    if network:
        targets = [t for drive, found in answers.items() for t in _targets(drive, found, network)]
        report.data['targets'] = targets
        report.tables.insert(0, target_table('Real drives: targets', targets))
    return report


def _targets(drive: str, found: dict[tuple[str, str], Answers], network: str) -> list[Target]:
    targets = []
    for condition in dict.fromkeys(c for c, _ in found):
        ours, theirs = found[condition, network], found.get((condition, MAP))
        figures, where = drive_exam.summarise(ours), f'{drive}, {condition}'
        if condition == 'standard':
            targets += [at_most(f'{where}: heading median [deg]', figures['heading_median'], 2.0),
                        at_most(f'{where}: heading p90 [deg]', figures['heading_p90'], 7.0),
                        at_least(f'{where}: found', figures['found'], 0.95)]
            if theirs is not None:
                targets.append(below(f'{where}: heading median minus that of {MAP} [deg]',
                                     drive_exam.difference('heading_median', ours, theirs)))
            if 'f1_15' in figures:
                targets.append(at_least(f'{where}: F1@15', figures['f1_15'], 0.85))
        elif condition == 'doubled' and theirs is not None:
            targets.append(at_most(f'{where}: heading median divided by that of {MAP}',
                                   drive_exam.ratio('heading_median', ours, theirs), 0.5))
        elif condition == 'no map':
            targets += [at_most(f'{where}: heading median [deg]', figures['heading_median'], 4.0),
                        at_least(f'{where}: found', figures['found'], 0.85)]
    return targets
