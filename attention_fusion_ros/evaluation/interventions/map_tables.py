# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables about the map, its registration, vehicles, and how near the published roads are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attention_fusion_ros.datasets.held_out import JUNCTIONS
from attention_fusion_ros.evaluation.interventions.displacement import (
    follow_pairs,
    followed_share,
    lateral_errors,
    switched,
)
from attention_fusion_ros.evaluation.interventions.maps import STANDARD, WIDE
from attention_fusion_ros.evaluation.interventions.record import (
    AS_IT_IS,
    EXACT,
    MOVED,
    NO_MAP,
    NO_VEHICLES,
    REGISTERED,
    TURNED,
    WIDE_MAP,
    SceneRecord,
    having,
    keys,
    number,
    numbers,
    scored,
)
from attention_fusion_ros.evaluation.tables import cell
from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.bootstrap import Estimate, mean_estimate
from attention_fusion_ros.metrics.branches import NARROW_RAD, invariance
from attention_fusion_ros.metrics.registry import METRICS
from attention_fusion_ros.metrics.summary import estimates
from attention_fusion_ros.simulation.sensors.map_image import MapError
from attention_fusion_ros.utils.tables import Table

SHOWN = ('f1_10', 'bearing_median', 'nearest_median', 'direction_within_5')
QUANTITIES = {  # before and after in the numbers, and the unit
    'lateral': ('lateral before', 'lateral', 'm'), 'longitudinal': ('longitudinal before', 'longitudinal', 'm'),
    'yaw': ('yaw before', 'yaw left', 'deg')}
GROUPS: dict[str, Callable[[SceneRecord], bool]] = {
    'all': lambda r: True,
    'junctions': lambda r: r.info.scene_class in JUNCTIONS,
    'straight roads': lambda r: r.info.scene_class == 'straight',
    'others': lambda r: r.info.scene_class not in (*JUNCTIONS, 'straight')}


def quantile_estimate(values: Sequence[Sequence[float]], level: float) -> Estimate:
    """Quantile of the values of all scenes together, with its interval; values: of every scene."""
    flat = np.array([v for of_scene in values for v in of_scene if math.isfinite(v)])
    scene = np.array([k for k, of_scene in enumerate(values) for v in of_scene if math.isfinite(v)], dtype=int)
    if not len(flat):
        return bootstrap.UNKNOWN
    return bootstrap.estimate(lambda w: bootstrap.weighted_quantile(flat, scene, level, w), len(values))


def map_tables(records: Sequence[SceneRecord], ring: float) -> tuple[list[Table], dict[str, Any]]:
    """How far the answer follows the map, what the map is worth, and whether its share tells a wrong one."""
    data: dict[str, Any] = {}
    rows = []
    for key in keys(records, MOVED):
        if key == EXACT:
            continue
        _, way, size = key
        some = having(records, EXACT, key)
        errors = [MapError(*(r.numbers[number(key, part)] for part in ('x', 'y', 'yaw'))) for r in some]
        pairs = [follow_pairs(r.answers[EXACT], r.answers[key], r.truth(key), error, ring)
                 for r, error in zip(some, errors, strict=True)]
        share = quantile_estimate([list(followed_share(p)) for p in pairs], 0.5)
        answer = quantile_estimate([[abs(math.degrees(moved)) for _, moved in p] for p in pairs], 0.5)
        drawn = quantile_estimate([[abs(math.degrees(d)) for d, _ in p] for p in pairs], 0.5)
        values = estimates(scored(some, key), SHOWN)
        weight = mean_estimate(numbers(some, *key, 'map share'))
        rows.append((way, f'{float(size):g} {"deg" if way == "yaw" else "m"}', str(len(some)), cell(share, 3),
                     cell(Estimate(answer.value), 2), cell(Estimate(drawn.value), 2),
                     *(cell(Estimate(values[m].value), METRICS[m].decimals) for m in SHOWN),
                     cell(Estimate(weight.value), 3)))
        data[f'{way}, {size}'] = {'share followed': share, 'answer moves': answer, 'map moves': drawn,
                                  'map share': weight, **values}
    tables = []
    if rows:
        tables.append(Table('Does the answer follow the map?', (
            'map moved', 'by', 'scenes', 'share followed, median', 'answer moves [deg]', 'map moves [deg]',
            *(METRICS[m].title for m in SHOWN), "map's share"), rows,
            ('Maps without any other error. Share followed: displacement of a published branch over that of the drawn '
             'one, where that is over 2 deg. Moves: medians. Brackets: 95 % interval.',)))
    return [*tables, *_worth(records, data), *_gate(records, data)], {'map': data}


def _worth(records: Sequence[SceneRecord], data: dict[str, Any]) -> list[Table]:
    some = having([r for r in records if r.info.has_map], AS_IT_IS, WIDE_MAP, NO_MAP)
    rows = []
    for key, name in ((AS_IT_IS, 'standard error'), (WIDE_MAP, 'up to 8 m, 15 deg'), (NO_MAP, 'none')):
        values = estimates(scored(some, key), SHOWN)
        data[name] = values
        rows.append((name, *(cell(values[m], METRICS[m].decimals) for m in SHOWN)))
    return [Table('What the map is worth', ('map', *(METRICS[m].title for m in SHOWN)), rows,
                  (f'{len(some)} held-out scenes with a map. Brackets: 95 % interval. Without a map the route is not '
                   'known either.',))]


def _gate(records: Sequence[SceneRecord], data: dict[str, Any]) -> list[Table]:
    some = having(records, AS_IT_IS, TURNED)
    if not some:
        return []
    before, after = (numbers(some, *key, 'map share') for key in (AS_IT_IS, TURNED))
    falls, halves = mean_estimate(after < before), mean_estimate(after < before / 2)
    data['turned'] = {'share as it is': mean_estimate(before), 'share turned': mean_estimate(after), 'falls': falls,
                      'falls to less than half': halves}
    return [Table("The map's share when the map is turned by 90 deg",
                  ("map's share", 'turned', 'falls in', 'to less than half in'),
                  [(cell(mean_estimate(before), 3), cell(mean_estimate(after), 3), cell(falls, 3), cell(halves, 3))],
                  (f'{len(some)} held-out scenes with a map. Brackets: 95 % interval.',))]


def registration_table(records: Sequence[SceneRecord]) -> tuple[list[Table], dict[str, Any]]:
    """What registration leaves of a map's error. Without registration: the error itself."""
    rows, data = [], {}
    for error in (STANDARD, WIDE):
        for group, belongs in GROUPS.items():
            some = [r for r in records if belongs(r) and (REGISTERED, error, 'lateral before') in r.numbers]
            if not some:
                continue
            found: dict[str, Any] = {'scenes': len(some)}
            cells = []
            for name, (before, after, _) in QUANTITIES.items():
                for state, key in (('before', before), ('left', after)):
                    values = [[v] for v in numbers(some, REGISTERED, error, key)]
                    found[f'{name} {state}'] = {'median': quantile_estimate(values, 0.5),
                                                'p90': quantile_estimate(values, 0.9)}
                    cells.append(_median_and_p90(found[f'{name} {state}']))
            found['95 % ellipsoid holds'] = mean_estimate(numbers(some, REGISTERED, error, 'holds'))
            rows.append((error, group, str(len(some)), *cells, cell(found['95 % ellipsoid holds'], 3)))
            data[f'{error}, {group}'] = found
    if not rows:
        return [], {}
    header = [f'{name} {state} [{unit}]' for name, (_, _, unit) in QUANTITIES.items() for state in ('before', 'left')]
    table = Table('Registration of the map', ('map error', 'scenes', 'number', *header, '95 % ellipsoid holds'), rows,
                  ('Median with its 95 % interval, then the 90th percentile; relative to the axis of the road at the '
                   'vehicle, one sweep; no maps of driven paths. A dash: nothing is registered.',))
    return [table], {'registration': data}


def _median_and_p90(found: dict[str, Estimate]) -> str:
    if math.isnan(found['median'].value):
        return '-'
    return f'{cell(found["median"], 2)}, {found["p90"].value:.2f}'


def vehicles_table(records: Sequence[SceneRecord]) -> tuple[list[Table], dict[str, Any]]:
    """The same scenes with and without vehicles."""
    some = having(records, AS_IT_IS, NO_VEHICLES)
    if not some:
        return [], {}
    pairs = [(r.answers[AS_IT_IS], r.answers[NO_VEHICLES]) for r in some]
    change = invariance(*zip(*pairs))
    found = {'mean': mean_estimate(change), 'median': quantile_estimate([[c] for c in change], 0.5),
             'appears or vanishes': mean_estimate([(a.direction is None) != (b.direction is None) for a, b in pairs]),
             'switches': mean_estimate([switched(a, b) for a, b in pairs])}
    row = (cell(found['mean'], 2), cell(found['median'], 2), cell(found['appears or vanishes'], 3),
           cell(found['switches'], 3))
    return [Table('Vehicles taken away', ('mean change of the direction [deg]', 'median [deg]', 'appears or vanishes',
                                          'switches to another branch'), [row],
                  (f'{len(some)} held-out scenes. Another branch: more than 15 deg away. Brackets: 95 % '
                   'interval.',))], {'vehicles': found | {'scenes': len(some)}}


def lateral_table(records: Sequence[SceneRecord], ring: float) -> tuple[list[Table], dict[str, Any]]:
    """How far beside the true centre line the roads are published."""
    rows, data = [], {}
    for key, name in ((AS_IT_IS, 'standard error'), (EXACT, 'exact map'), (NO_MAP, 'no map')):
        some = having(records, key)
        errors = [lateral_errors(r.answers[key], r.truth(key), ring, NARROW_RAD) for r in some]
        found = {'median': quantile_estimate(errors, 0.5), 'p90': quantile_estimate(errors, 0.9)}
        rows.append((name, str(len(some)), cell(found['median'], 3), cell(found['p90'], 3)))
        data[name] = found
    return [Table(f"Lateral error of the road's centre at {ring:g} m", ('map', 'scenes', 'median [m]', 'p90 [m]'), rows,
                  ('Across the road, of branches matched within 10 deg. Brackets: 95 % interval. Scenes without a map '
                   'count in the first row, too.',))], {'lateral error': data}
