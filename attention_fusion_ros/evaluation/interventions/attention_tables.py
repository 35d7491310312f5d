# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables about attention: its weights replaced, its cells deleted or kept, and where its heat lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_fusion_ros.evaluation.interventions.heat_place import AREA, BORDER, EMPTY, RATIOS
from attention_fusion_ros.evaluation.interventions.record import (
    AS_IT_IS,
    DELETED,
    KEPT,
    REPLACED,
    WIDE_MAP,
    Key,
    SceneRecord,
    having,
    keys,
    numbers,
    scored,
)
from attention_fusion_ros.evaluation.interventions.replacement import MEAN_MAP
from attention_fusion_ros.evaluation.tables import cell
from attention_fusion_ros.metrics.attention_share import pooled_attention_ratio
from attention_fusion_ros.metrics.bootstrap import Estimate, mean_estimate
from attention_fusion_ros.metrics.registry import METRICS
from attention_fusion_ros.metrics.summary import estimates, paired_difference
from attention_fusion_ros.utils.tables import Table

MEASURED = ('f1_10', 'bearing_median', 'direction_within_5')
STATES = {AS_IT_IS: 'the maps of the scenes', WIDE_MAP: 'maps that are up to 8 m and 15 deg off'}
YES, NO = 'yes', 'no'


def replaced_tables(records: Sequence[SceneRecord]) -> tuple[list[Table], dict[str, Any]]:
    """What a network loses when constants or the weights of other scenes take the place of its attention."""
    tables, data = [], {}
    for state, maps in STATES.items():
        variants = keys(records, REPLACED, *state)
        if not variants:
            continue
        some = having(records, state, *variants)
        before = scored(some, state)
        rows = [('as it is', '-', *_values(estimates(before, MEASURED)), '-', '-', '-', '0.0000', '-')]
        found: dict[str, Any] = {'scenes': len(some), 'as it is': estimates(before, MEASURED)}
        for key in variants:
            *_, target, how = key
            after = scored(some, key)
            change = {name: paired_difference(name, after, before) for name in MEASURED}
            presence = mean_estimate(numbers(some, *key, 'change'))
            verdict = decides(change['f1_10']) if how == MEAN_MAP else '-'
            rows.append((target, how, *_values(estimates(after, MEASURED)),
                         *(_signed(change[name], METRICS[name].decimals) for name in MEASURED),
                         cell(Estimate(presence.value), 4), verdict))
            found[f'{target}, {how}'] = {'after': estimates(after, MEASURED), 'change': change,
                                         'change of presence': presence, 'decides': verdict}
        tables.append(Table(
            f'Attention replaced: {maps}',
            ('attention', 'replaced by', *(METRICS[m].title for m in MEASURED),
             *(f'change of {METRICS[m].title}' for m in MEASURED), 'mean |dp|', 'does it decide?'), rows,
            (f'{len(some)} held-out scenes with a map. Means are taken over the scenes as they are. Brackets: 95 % '
             'interval, scenes resampled, changes paired.',
             '|dp|: change of the probability of a branch, over all bearings. It decides where its mean in its place '
             'costs F1@10, outside the interval.')))
        data[' '.join(state)] = found
    return tables, {'replaced': data}


def decides(change: Estimate) -> str:
    """Whether a change of F1@10 is a loss outside of its interval."""
    upper = change.value if math.isnan(change.high) else change.high
    return YES if upper < 0 else NO


def deletion_tables(records: Sequence[SceneRecord]) -> tuple[list[Table], dict[str, Any]]:
    """What is lost with the cells that a heat names, and what remains when only they are left."""
    tables, data = [], {}
    for done, title in ((DELETED, 'Deletion'), (KEPT, 'Insertion')):
        variants = keys(records, done)
        if not variants:
            continue
        some = [r for r in having(records, AS_IT_IS, *_common(records, variants)) if r.truth_routed.branches]
        before = scored(some, AS_IT_IS)
        rows, found = [], {}
        for key in sorted(variants, key=lambda k: k[1]):
            _, layer, heat, share = key
            those = having(some, key)
            if not those:
                continue
            drop = mean_estimate(numbers(those, *AS_IT_IS, 'presence') - numbers(those, *key, 'presence'))
            values = estimates(scored(those, key), MEASURED)
            points = float(np.nanmean(numbers(those, *key, 'points')))
            rows.append((layer, heat, f'{float(share):.0%}', f'{points:.2f}', cell(drop, 3), *_values(values)))
            found[f'{layer}, {heat}, {share}'] = {'points': points, 'presence drop': drop, 'scenes': len(those),
                                                  **values}
        verb = 'deleted from' if done == DELETED else 'kept of'
        untouched = ', '.join(f'{METRICS[m].title} {cell(v, METRICS[m].decimals)}'
                              for m, v in estimates(before, MEASURED).items())
        tables.append(Table(
            f'{title} of cells', (verb, 'cells chosen by', 'share', 'share of its content', 'drop of presence',
                                  *(METRICS[m].title for m in MEASURED)), rows,
            (f'{len(some)} held-out scenes with a map; cells of 1.25 m; shares of the visible cells. Untouched: '
             f'{untouched}.',
             'Content: cells with points, or with a drawn road. Drop of presence: of the probability in the bins of '
             'the true branches, mean. Brackets: 95 % interval.')))
        data[done] = found | {'untouched': estimates(before, MEASURED), 'scenes': len(some)}
    return tables, data


def _common(records: Sequence[SceneRecord], variants: Sequence[Key]) -> list[Key]:
    """Those of the keys that most scenes have: a heat may be missing in a few of them."""
    most = max(sum(key in r.answers for r in records) for key in variants)
    return [key for key in variants if sum(key in r.answers for r in records) == most][:1]


def place_table(records: Sequence[SceneRecord]) -> tuple[list[Table], dict[str, Any]]:
    """Where the heats lie."""
    heats = list(dict.fromkeys(key[1] for r in records for key in r.numbers if key[0] == 'heat'))
    rows, data = [], {}
    for heat in sorted(heats, key=lambda name: name == AREA):
        shares = {where: mean_estimate(numbers(records, 'heat', heat, where)) for where in (EMPTY, BORDER)}
        ratios = {mask: pooled_attention_ratio(np.stack([numbers(records, 'heat', heat, mask, part)
                                                         for part in ('heat', AREA)], axis=1)) for mask in RATIOS}
        rows.append((heat, *(cell(shares[where], 3) for where in (EMPTY, BORDER)),
                     *(cell(ratios[mask], 2) for mask in RATIOS)))
        data[heat] = {**shares, **ratios}
    if not rows:
        return [], {}
    number = int(np.isfinite(numbers(records, 'heat', AREA, EMPTY)).sum())
    return [Table('Where the heat lies', ('heat', 'share on cells without points or map', 'share at the border',
                                          'roadside ratio', 'vehicles ratio'), rows,
                  (f'{number} held-out scenes with a map. Cells of 1.25 m; the border is three of them wide. Ratios: '
                   'share of the heat over share of the area, on visible ground, pooled over the scenes; 1 is no '
                   'preference.',))], {'heat': data}


def _values(found: dict[str, Estimate]) -> list[str]:
    return [cell(Estimate(found[name].value), METRICS[name].decimals) for name in MEASURED]


def _signed(change: Estimate, decimals: int) -> str:
    if math.isnan(change.value):
        return '-'
    return f'{change.value:+.{decimals}f} [{change.low:+.{decimals}f}, {change.high:+.{decimals}f}]'
