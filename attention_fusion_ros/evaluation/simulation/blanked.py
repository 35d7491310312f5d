# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of sweeps with sectors removed: probabilities, directions that are wrong, and those that are withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.datasets.blind import PLACES, WIDTHS_DEG
from attention_fusion_ros.evaluation.simulation.run import NO_MAP, ScenePredictions
from attention_fusion_ros.evaluation.tables import Goal, at_most, cell
from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.branches import Prediction, Scores, chance_calibration_error, score
from attention_fusion_ros.metrics.registry import BLANKED, METRICS, columns, wrong
from attention_fusion_ros.metrics.summary import estimates
from attention_fusion_ros.utils.tables import Table

TITLE = 'Held-out simulation: sectors removed'
MAX_CALIBRATION_ERROR, MAX_WRONG = 0.03, 0.01  # goals
THROUGH = 'direction_wrong_through'
THROUGH_HEADING = 'wrong through the gap'
NOTES = ("Of every sweep the points in a sector about the sensor are removed: 'ahead', its middle is straight ahead, "
         "'anywhere', at a random bearing.",
         'Calibration error of the branches published, over 10 bins. By chance: what perfectly calibrated '
         'probabilities would show, given as few branches.',
         'Wrong through the gap: of the directions given, those that are more than 15 deg off and are not in the whole '
         'sweep. Withheld: of all sweeps, those without a direction because it may lie where nobody looked.')


@dataclass(frozen=True)
class BlankedRow:
    """One width and place of the removed sector, with or without a map."""

    with_map: bool
    place: str  # of `datasets.blind.PLACES`, '' for the whole sweep
    width_deg: int
    sweeps: int
    values: dict[str, Estimate]  # those of the table's metrics, and THROUGH
    chance: float  # calibration error by chance


def blanked_rows(scenes: Sequence[ScenePredictions], network: str) -> list[BlankedRow]:
    """A row for every width and place, without a map and with one. Empty where nothing was removed."""
    scenes = [scene for scene in scenes if scene.blanked]
    return [row for with_map in (False, True) for row in _rows(scenes, network, with_map)]


def _rows(scenes: Sequence[ScenePredictions], network: str, with_map: bool) -> list[BlankedRow]:
    chosen = [scene for scene in scenes if scene.info.has_map or not with_map]
    if not chosen:
        return []
    truths = [scene.truth_routed if with_map else scene.truth_unrouted for scene in chosen]
    whole = [scene.predictions[network] if with_map else scene.states[network, NO_MAP] for scene in chosen]
    all_seen = score(whole, truths)

    def row(place: str, width: int, predictions: Sequence[Prediction]) -> BlankedRow:
        scores = score(predictions, truths)
        values = estimates(scores, columns(BLANKED)) | {THROUGH: _through(scores, all_seen)}
        return BlankedRow(with_map, place, width, len(scores), values, chance_calibration_error(scores.probability))
    return [row('', 0, whole)] + [row(place, width, [scene.blanked[place, width, with_map] for scene in chosen])
                                  for place in PLACES for width in WIDTHS_DEG if width]


def _through(scores: Scores, all_seen: Scores) -> Estimate:
    """Share of the directions given that is wrong, and is not where everything is seen."""
    through, known = wrong(scores) & ~wrong(all_seen), np.isfinite(scores.direction_error)
    return bootstrap.estimate(lambda weights: bootstrap.weighted_ratio(through, known, weights), len(scores))


def blanked_table(rows: Sequence[BlankedRow], notes: Sequence[str] = ()) -> Table:
    """The rows as a table."""
    metrics = [METRICS[name] for name in columns(BLANKED)]
    header = ('map', 'sector removed', 'sweeps', *(m.title for m in metrics), THROUGH_HEADING, 'calibration by chance')
    cells = [('yes' if row.with_map else 'no', f'{row.width_deg} deg {row.place}' if row.place else 'none',
              str(row.sweeps), *(cell(row.values[m.name], m.decimals) for m in metrics), cell(row.values[THROUGH], 3),
              f'{row.chance:.3f}') for row in rows]
    return Table(TITLE, header, cells, (*NOTES, *notes, 'Brackets: 95 % interval, whole scenes resampled.'))


def blanked_goals(rows: Sequence[BlankedRow]) -> list[Goal]:
    """The worst row with a sector removed, without and with a map."""
    goals = []
    for with_map in (False, True):
        removed = [row for row in rows if row.with_map == with_map and row.width_deg]
        for name, what, bound in (('calibration_error', 'expected calibration error', MAX_CALIBRATION_ERROR),
                                  ('direction_wrong', 'directions wrong by > 15 deg', MAX_WRONG),
                                  (THROUGH, 'directions wrong through the gap', MAX_WRONG)):
            known = [row.values[name] for row in removed if np.isfinite(row.values[name].value)]
            if known:
                goals.append(at_most(f'sectors removed, {"with" if with_map else "without"} a map, worst row: {what}',
                                     max(known, key=lambda estimate: estimate.value), bound, 3))
    return goals


def blanked_data(rows: Sequence[BlankedRow]) -> list[dict[str, Any]]:
    """The rows as data."""
    return [{'map': row.with_map, 'place': row.place, 'width_deg': row.width_deg, 'sweeps': row.sweeps, **row.values,
             'calibration by chance': row.chance} for row in rows]
