# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of a set of scenes with their intervals, and paired comparisons of two methods on the same scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.branches import Scores
from attention_fusion_ros.metrics.registry import METRICS, Statistic, statistics


def estimates(scores: Scores, names: Sequence[str] | None = None) -> dict[str, Estimate]:
    """These metrics with their intervals, all that are computed from scores when `names` is None."""
    names = statistics() if names is None else names
    return {name: _estimate(name, scores) for name in names}


def point_values(scores: Scores, names: Sequence[str] | None = None) -> dict[str, float]:
    """The same without intervals; nan where a metric is not defined."""
    names = statistics() if names is None else names
    if not len(scores):
        return dict.fromkeys(names, float('nan'))
    weights = bootstrap.unit_weights(len(scores))
    return {name: float(_statistic(name)(scores, weights)[0]) for name in names}


def paired_difference(name: str, a: Scores, b: Scores) -> Estimate:
    """Metric of a minus that of b, both on the same scenes, with the interval of the paired difference.

    Raises ValueError when the numbers of scenes differ.
    """
    return paired(name, a, b, np.subtract)


def paired_ratio(name: str, a: Scores, b: Scores) -> Estimate:
    """Metric of a divided by that of b, as in `paired_difference`."""
    return paired(name, a, b, np.divide)


def paired(name: str, a: Scores, b: Scores, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Estimate:
    """`of(metric of a, metric of b)` with its interval, both on the same scenes.

    Raises ValueError when the numbers of scenes differ.
    """
    if len(a) != len(b):
        raise ValueError(f'paired scores need the same scenes, got {len(a)} and {len(b)}')
    statistic = _statistic(name)

    def compared(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide='ignore', invalid='ignore'):
            return of(statistic(a, weights), statistic(b, weights))
    return bootstrap.estimate(compared, len(a)) if len(a) else bootstrap.UNKNOWN


def _estimate(name: str, scores: Scores) -> Estimate:
    statistic = _statistic(name)
    return bootstrap.estimate(lambda w: statistic(scores, w), len(scores)) if len(scores) else bootstrap.UNKNOWN


def _statistic(name: str) -> Statistic:
    statistic = METRICS[name].statistic
    if statistic is None:
        raise ValueError(f"'{name}' is not computed from scores")
    return statistic
