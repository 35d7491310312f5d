# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of metrics: what each is called, how it is printed, which way is better, and how it is computed.

Tables, targets, training logs and model cards take name, unit and decimals from here. A new metric is one entry of
`METRICS`, and one function where none of those below computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.branches import CALIBRATION_BINS, Scores

# Scores of n scenes and resampling weights (B, n) -> (B,): point estimate, interval and paired differences of a metric
# all come from this one function.
Statistic = Callable[[Scores, np.ndarray], np.ndarray]

# Tables that have a column for a metric.
BRANCHES, DIRECTION, GROUPS, CURVE = 'branches', 'direction', 'groups of scenes', 'map-error curve'
DRIVES, ABLATION, ABLATION_NO_MAP = 'drives', 'ablation', 'ablation without a map'
BLANKED = 'sectors removed'

WRONG_DEG = 15.0  # a direction farther off leads elsewhere


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str  # in JSON
    heading: str  # in tables, without the unit
    decimals: int
    higher_is_better: bool
    unit: str = ''
    statistic: Statistic | None = None  # None: measured by an experiment of its own, not from `Scores`
    tables: tuple[str, ...] = ()  # which of the above have a column for it
    log_name: str = ''  # in training logs, '' when it is not logged

    @property
    def title(self) -> str:
        """Heading with the unit, for example `bearing median [deg]`."""
        return f'{self.heading} [{self.unit}]' if self.unit else self.heading


def f1(name: str) -> Statistic:
    """F1 over a set of scenes, 2 TP / (2 TP + FP + FN), of one entry of `Scores.counts`."""
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        true_positive, false_positive, false_negative = scores.counts[name].T
        return bootstrap.weighted_ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative, weights)
    return statistic


def quantile(values: str, scene: str, level: float) -> Statistic:
    """Quantile of a per-branch field of `Scores`, whose scenes are in the field `scene`."""
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        return bootstrap.weighted_quantile(getattr(scores, values), getattr(scores, scene), level, weights)
    return statistic


def direction_quantile(level: float) -> Statistic:
    """Quantile of the direction error, over the scenes where both truth and prediction have a direction."""
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        scenes = np.flatnonzero(np.isfinite(scores.direction_error))
        return bootstrap.weighted_quantile(scores.direction_error[scenes], scenes, level, weights)
    return statistic


def direction_within(limit_deg: float) -> Statistic:
    """Of the scenes whose truth has a direction, the share predicted within `limit_deg`; no direction is not within."""
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore'):
            return bootstrap.weighted_ratio(scores.direction_error <= limit_deg, scores.direction_exists, weights)
    return statistic


def direction_given(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Of the scenes whose truth has a direction, the share for which one is published."""
    return bootstrap.weighted_ratio(scores.direction_given & scores.direction_exists, scores.direction_exists, weights)


def wrong(scores: Scores) -> np.ndarray:
    """(n,) bool: the direction given is more than WRONG_DEG off."""
    with np.errstate(invalid='ignore'):
        farther: np.ndarray = scores.direction_error > WRONG_DEG
    return farther


def direction_wrong(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Of the directions given where the truth has one, the share that is more than WRONG_DEG off."""
    return bootstrap.weighted_ratio(wrong(scores), np.isfinite(scores.direction_error), weights)


def direction_wrong_of_all(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Of all scenes, the share whose direction is more than WRONG_DEG off."""
    return bootstrap.weighted_ratio(wrong(scores), np.ones(len(scores)), weights)


def direction_withheld(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Of all scenes, the share without a direction because it may lie where nobody looked."""
    return bootstrap.weighted_ratio(scores.direction_withheld, np.ones(len(scores)), weights)


def found(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Share of the true branches with a prediction within 25 deg in bearing."""
    scenes = len(scores)
    return bootstrap.weighted_ratio(np.bincount(scores.nearest_scene, scores.found, scenes),
                                    np.bincount(scores.nearest_scene, minlength=scenes), weights)


def calibration_error(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017) of branch probability over 10 bins."""
    index = np.minimum((scores.probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    per_scene = np.zeros((len(scores), CALIBRATION_BINS))  # signed gap of each bin, summed over the scene's branches
    np.add.at(per_scene, (scores.probability_scene, index), scores.probability - scores.correct)
    number = np.bincount(scores.probability_scene, minlength=len(scores)).astype(np.float64)
    total = weights @ number
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(total > 0, np.abs(weights @ per_scene).sum(axis=1) / total, np.nan)


_METRICS = (
    Metric('f1_10', 'F1@10', 3, True, '', f1('f1_10'), (BRANCHES, GROUPS, CURVE, ABLATION, ABLATION_NO_MAP), 'f1'),
    Metric('bearing_median', 'bearing median', 2, False, 'deg', quantile('bearing_error', 'matched_scene', 0.5),
           (BRANCHES, GROUPS, ABLATION), 'bearing'),
    Metric('bearing_p90', 'bearing p90', 2, False, 'deg', quantile('bearing_error', 'matched_scene', 0.9),
           (BRANCHES, GROUPS), 'bearing90'),
    Metric('nearest_median', 'bearing, miss = 25, median', 2, False, 'deg',
           quantile('nearest_error', 'nearest_scene', 0.5), (BRANCHES, CURVE)),
    Metric('nearest_p90', 'bearing, miss = 25, p90', 2, False, 'deg', quantile('nearest_error', 'nearest_scene', 0.9)),
    Metric('heading_median', 'heading median', 2, False, 'deg', quantile('heading_error', 'matched_scene', 0.5),
           (BRANCHES, GROUPS, DRIVES, ABLATION), 'heading'),
    Metric('heading_p90', 'heading p90', 2, False, 'deg', quantile('heading_error', 'matched_scene', 0.9),
           (BRANCHES, DRIVES)),
    Metric('found', 'found', 3, True, '', found, (DRIVES,)),
    Metric('f1_15', 'F1@15', 3, True, '', f1('f1_15'), (DRIVES,)),
    Metric('direction_median', 'direction median', 2, False, 'deg', direction_quantile(0.5), (DIRECTION, CURVE)),
    Metric('direction_p90', 'direction p90', 2, False, 'deg', direction_quantile(0.9), (DIRECTION,)),
    Metric('direction_within_5', 'direction within 5 deg', 3, True, '', direction_within(5.0), (DIRECTION, GROUPS),
           'direction5'),
    Metric('direction_given', 'direction given', 3, True, '', direction_given, (DIRECTION, BLANKED)),
    Metric('direction_wrong', 'wrong by > 15 deg, of those given', 3, False, '', direction_wrong, (BLANKED,)),
    Metric('direction_wrong_of_all', 'of all sweeps', 3, False, '', direction_wrong_of_all, (BLANKED,)),
    Metric('direction_withheld', 'withheld: not_seen', 3, False, '', direction_withheld, (BLANKED,)),
    Metric('calibration_error', 'calibration error', 3, False, '', calibration_error, (BRANCHES, GROUPS, BLANKED)),
    # From the same scenes with and without vehicles, see branches.invariance.
    Metric('vehicle_invariance', 'vehicle invariance', 2, False, 'deg', tables=(ABLATION,)),
    # Shares of attention over shares of area, see attention_share.py.
    Metric('attention/roadside', 'attention, roadside', 2, True, tables=(ABLATION,)),
    Metric('attention/vehicles', 'attention, vehicles', 2, False, tables=(ABLATION,)),
    # Of F1@10, when the mean over all scenes takes the place of every weight.
    Metric('attention/by_mean', 'attention by its mean, change of F1@10', 3, False, tables=(ABLATION,)),
)
METRICS = {metric.name: metric for metric in _METRICS}


def columns(table: str) -> tuple[str, ...]:
    """Names of the metrics that have a column in this table, in the order of `METRICS`."""
    return tuple(metric.name for metric in _METRICS if table in metric.tables)


def statistics() -> tuple[str, ...]:
    """Names of the metrics that are computed from `Scores`."""
    return tuple(metric.name for metric in _METRICS if metric.statistic is not None)


def logged() -> tuple[Metric, ...]:
    """The metrics of training logs and model cards."""
    return tuple(metric for metric in _METRICS if metric.log_name)
