# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""95 % confidence intervals by resampling whole scenes (Efron and Tibshirani, 1993, chapter 13).

Branches of one scene are not independent, so scenes are drawn, not branches. A resample is a row of integer weights:
how often each scene was drawn. Statistics take these weights, which makes a thousand resamples one matrix product, and
a comparison of two methods is paired simply by using the same weights for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; nan where it, or the interval, cannot be given."""

    value: float
    low: float = math.nan
    high: float = math.nan


UNKNOWN = Estimate(math.nan)


@lru_cache(maxsize=8)
def resamples(scenes: int, count: int = 1000, seed: int = 0) -> np.ndarray:
    """(count, scenes) int32: how often each scene is drawn in each resample; every row sums to `scenes`.

    The array is cached and read-only: the same sample size gives the same resamples, hence paired comparisons. Raises
    ValueError without scenes.
    """
    if scenes < 1:
        raise ValueError('at least one scene is needed')
    rng = np.random.default_rng(seed)
    weights = np.zeros((count, scenes), dtype=np.int32)
    for row in weights:
        row += np.bincount(rng.integers(0, scenes, scenes), minlength=scenes).astype(np.int32)
    weights.flags.writeable = False
    return weights


def unit_weights(scenes: int) -> np.ndarray:
    """(1, scenes) int32 of ones: the sample itself, for the point estimate."""
    return np.ones((1, scenes), dtype=np.int32)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values (B,), not-a-number left out; (nan, nan) when nothing is left."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float('nan'), float('nan')
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_ratio(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of numerators / sum of denominators of every resample. (n,), (n,), (B, n) -> (B,); 0 / 0 is nan."""
    top, bottom = weights @ numerator.astype(np.float64), weights @ denominator.astype(np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(bottom > 0, top / bottom, np.nan)


def weighted_quantile(values: np.ndarray, scene: np.ndarray, quantile: float, weights: np.ndarray) -> np.ndarray:
    """The quantile of every resample, exactly as `numpy.quantile` of the repeated values would give it.

    values: (M,) finite; scene: (M,) int, which scene each value came from; weights: (B, n) int. Returns (B,), nan
    where a resample has no value.
    """
    result = np.full(len(weights), np.nan)
    if not len(values):
        return result
    order = np.argsort(values, kind='stable')
    ordered, scene = np.asarray(values, dtype=np.float64)[order], np.asarray(scene)[order]
    chunk = max(1, 250_000 // len(ordered))  # few enough to stay in the processor's cache
    for start in range(0, len(weights), chunk):
        up_to = np.cumsum(weights[start:start + chunk][:, scene], axis=1, dtype=np.int64)  # (b, M) values so far
        total = up_to[:, -1]
        last = np.maximum(total - 1, 0)
        position = last * quantile
        below = np.floor(position).astype(np.int64)
        above = np.minimum(below + 1, last)
        # Rows are made to follow each other in one ascending sequence, so that one search serves them all.
        offset = np.arange(len(up_to)) * (int(total.max()) + 1)
        sequence, row_start = (up_to + offset[:, None]).ravel(), np.arange(len(up_to)) * len(ordered)
        k0, k1 = (np.minimum(np.searchsorted(sequence, offset + k, side='right') - row_start, len(ordered) - 1)
                  for k in (below, above))
        found = ordered[k0] + (position - below) * (ordered[k1] - ordered[k0])
        result[start:start + chunk] = np.where(total > 0, found, np.nan)
    return result


def estimate(statistic: Callable[[np.ndarray], np.ndarray], scenes: int) -> Estimate:
    """A statistic of `scenes` scenes with its interval; a single scene gives no interval.

    statistic: resampling weights (B, scenes) -> (B,).
    """
    value = float(statistic(unit_weights(scenes))[0])
    return Estimate(value, *interval(statistic(resamples(scenes)))) if scenes > 1 else Estimate(value)


def mean_estimate(values: Sequence[float] | np.ndarray, count: int = 1000, seed: int = 0) -> Estimate:
    """Mean of independent values (N,) with its interval; nan values are left out."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return UNKNOWN
    weights = resamples(len(known), count, seed)
    return Estimate(float(known.mean()), *interval(weights @ known / len(known)))
