# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of a result, computed from published branches alone. Pure numpy; angles in radians in, degrees out.

A list of (estimate, truth) pairs, one per scene, becomes `Scores`: per-scene counts and per-branch errors. Every
statistic in `STATISTICS` maps scores and resampling weights (see bootstrap.py) to one value a resample, so that the
figure, its 95 % interval and paired differences all come from the same function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.matching import match, nearest

NARROW, WIDE = math.radians(10.0), math.radians(15.0)  # F1@10 and F1@15
MISS = math.radians(25.0)  # a true branch without an answer this near in bearing is missed and counts as this
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Estimate:
    """What a method answered for one scene; the network and every baseline return the same."""

    branches: tuple[Branch, ...]
    direction: Branch | None = None


@dataclass(frozen=True)
class TrueRoads:
    """The truth of one scene."""

    branches: tuple[tuple[float, float], ...]  # (bearing, heading) rad
    direction: tuple[float, float] | None = None  # (bearing, heading) rad; None when there is none to take


@dataclass(frozen=True)
class Scores:
    """Per-scene counts (n,) and per-branch errors (M,), in degrees; `*_scene` tells which scene an entry is from."""

    counts: dict[str, np.ndarray]  # 'f1_10', 'f1_15' -> (n, 3) true positives, false positives, false negatives
    bearing_error: np.ndarray  # (M,) deg, of branches matched within 10 deg
    heading_error: np.ndarray  # (M,) deg, of the same
    matched_scene: np.ndarray  # (M,) int
    nearest_error: np.ndarray  # (T,) deg, bearing error of each true branch to the nearest answer; a miss is 25
    nearest_scene: np.ndarray  # (T,) int
    probability: np.ndarray  # (P,) of every published branch
    correct: np.ndarray  # (P,) bool, matched within 10 deg
    probability_scene: np.ndarray  # (P,) int
    direction_error: np.ndarray  # (n,) deg; nan where truth or estimate has none
    direction_wanted: np.ndarray  # (n,) bool, the truth has a direction
    direction_given: np.ndarray  # (n,) bool, the estimate has one

    def __len__(self) -> int:
        return len(self.direction_error)


def score(estimates: Sequence[Estimate], truths: Sequence[TrueRoads]) -> Scores:
    """Score estimates against truths, one pair a scene. Raises ValueError when their numbers differ."""
    if len(estimates) != len(truths):
        raise ValueError(f'{len(estimates)} estimates for {len(truths)} truths')
    n = len(estimates)
    counts = {'f1_10': np.zeros((n, 3), np.int64), 'f1_15': np.zeros((n, 3), np.int64)}
    matched, near, published = [], [], []  # rows of (scene, ...)
    direction_error = np.full(n, np.nan)
    wanted, given = np.zeros(n, bool), np.zeros(n, bool)
    for i, (estimate, truth) in enumerate(zip(estimates, truths, strict=True)):
        bearings = np.array([b.bearing for b in estimate.branches])
        true = np.array([b for b, _ in truth.branches])
        for name, tolerance in (('f1_10', NARROW), ('f1_15', WIDE)):
            pairs = match(bearings, true, tolerance)
            counts[name][i] = len(pairs), len(bearings) - len(pairs), len(true) - len(pairs)
            if name == 'f1_10':
                for p, t in pairs:
                    matched.append((i, angle_between(bearings[p], true[t]),
                                    angle_between(estimate.branches[p].heading, truth.branches[t][1])))
                hits = {p for p, _ in pairs}
                published += [(i, b.probability, p in hits) for p, b in enumerate(estimate.branches)]
        for bearing in true:
            k = nearest(bearing, bearings, MISS)
            near.append((i, MISS if k is None else angle_between(bearings[k], bearing)))
        wanted[i], given[i] = truth.direction is not None, estimate.direction is not None
        if wanted[i] and given[i]:
            direction_error[i] = np.degrees(angle_between(estimate.direction.bearing, truth.direction[0]))
    matched = np.array(matched, dtype=np.float64).reshape(-1, 3)
    near = np.array(near, dtype=np.float64).reshape(-1, 2)
    published = np.array(published, dtype=np.float64).reshape(-1, 3)
    return Scores(counts, np.degrees(matched[:, 1]), np.degrees(matched[:, 2]), matched[:, 0].astype(int),
                  np.degrees(near[:, 1]), near[:, 0].astype(int), published[:, 1], published[:, 2] > 0,
                  published[:, 0].astype(int), direction_error, wanted, given)


def f1(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 over a set of scenes: 2 TP / (2 TP + FP + FN). counts (n, 3), weights (B, n) -> (B,)."""
    return bootstrap.weighted_ratio(2 * counts[:, 0], 2 * counts[:, 0] + counts[:, 1] + counts[:, 2], weights)


def calibration_bins(probability: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """(bins, 3): number of branches, mean probability, share that is correct, of each equal-width bin (nan if empty).

    The upper edge belongs to the bin above, except 1.0, which belongs to the last bin.
    """
    index = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    number = np.bincount(index, minlength=bins).astype(np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.stack([number, np.bincount(index, weights=probability, minlength=bins) / number,
                         np.bincount(index, weights=np.asarray(correct, dtype=np.float64), minlength=bins) / number], 1)


def calibration_error(scores: Scores, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017) of branch probability over 10 bins. weights (B, n) -> (B,)."""
    index = np.minimum((scores.probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    per_scene = np.zeros((len(scores), CALIBRATION_BINS))  # signed gap of each bin, summed over the scene's branches
    np.add.at(per_scene, (scores.probability_scene, index), scores.probability - scores.correct)
    number = np.bincount(scores.probability_scene, minlength=len(scores)).astype(np.float64)
    total = weights @ number
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(total > 0, np.abs(weights @ per_scene).sum(axis=1) / total, np.nan)


def _quantile(values: str, scene: str, quantile: float):
    return lambda s, w: bootstrap.weighted_quantile(getattr(s, values), getattr(s, scene), quantile, w)


def _direction_quantile(quantile: float):
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        scenes = np.flatnonzero(np.isfinite(scores.direction_error))
        return bootstrap.weighted_quantile(scores.direction_error[scenes], scenes, quantile, weights)
    return statistic


def _direction_within(degrees: float):
    """Of the scenes whose truth has a direction: the share answered within `degrees`; no answer is not within."""
    def statistic(scores: Scores, weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore'):
            return bootstrap.weighted_ratio(scores.direction_error <= degrees, scores.direction_wanted, weights)
    return statistic


STATISTICS = {
    'f1_10': lambda s, w: f1(s.counts['f1_10'], w),
    'f1_15': lambda s, w: f1(s.counts['f1_15'], w),
    'bearing_median': _quantile('bearing_error', 'matched_scene', 0.5),
    'bearing_p90': _quantile('bearing_error', 'matched_scene', 0.9),
    'heading_median': _quantile('heading_error', 'matched_scene', 0.5),
    'heading_p90': _quantile('heading_error', 'matched_scene', 0.9),
    'nearest_median': _quantile('nearest_error', 'nearest_scene', 0.5),
    'nearest_p90': _quantile('nearest_error', 'nearest_scene', 0.9),
    'direction_median': _direction_quantile(0.5),
    'direction_p90': _direction_quantile(0.9),
    'direction_within_5': _direction_within(5.0),
    'direction_given': lambda s, w: bootstrap.weighted_ratio(s.direction_given & s.direction_wanted,
                                                             s.direction_wanted, w),
    'calibration_error': calibration_error,
}


@dataclass(frozen=True)
class Figure:
    """A statistic with its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(scores: Scores, weights: np.ndarray | None = None,
              names: Sequence[str] = tuple(STATISTICS)) -> dict[str, Figure]:
    """These statistics with their intervals; `weights` (B, n) from `bootstrap.resamples`, made here when None."""
    if not len(scores):
        return {name: Figure(math.nan, math.nan, math.nan) for name in names}
    weights = bootstrap.resamples(len(scores)) if weights is None else weights
    point = bootstrap.once(len(scores))
    return {name: Figure(float(STATISTICS[name](scores, point)[0]),
                         *bootstrap.interval(STATISTICS[name](scores, weights))) for name in names}


def difference(name: str, a: Scores, b: Scores, weights: np.ndarray | None = None) -> Figure:
    """Statistic of a minus that of b, both on the same scenes, with the interval of the paired difference.

    Raises ValueError when the numbers of scenes differ.
    """
    return combination(name, a, b, np.subtract, weights)


def combination(name: str, a: Scores, b: Scores, of: Callable, weights: np.ndarray | None = None) -> Figure:
    """`of(statistic of a, statistic of b)`, for example their ratio, paired: both on the same scenes.

    Raises ValueError when the numbers of scenes differ.
    """
    if len(a) != len(b):
        raise ValueError(f'paired scores need the same scenes, got {len(a)} and {len(b)}')
    weights = bootstrap.resamples(len(a)) if weights is None else weights
    statistic, point = STATISTICS[name], bootstrap.once(len(a))
    with np.errstate(divide='ignore', invalid='ignore'):
        return Figure(float(of(statistic(a, point), statistic(b, point))[0]),
                      *bootstrap.interval(of(statistic(a, weights), statistic(b, weights))))


def mean_figure(values: Sequence[float] | np.ndarray, count: int = 1000, seed: int = 0) -> Figure:
    """Mean of independent values with its interval; nan values are left out."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Figure(math.nan, math.nan, math.nan)
    weights = bootstrap.resamples(len(values), count, seed)
    return Figure(float(values.mean()), *bootstrap.interval(weights @ values / len(values)))


def invariance(with_vehicles: Sequence[Estimate], without: Sequence[Estimate]) -> np.ndarray:
    """(n,) absolute change of the direction's bearing in degrees between the same scenes with and without vehicles.

    nan where only one, or neither, gives a direction; see `flips` for how often that happens.
    """
    return np.array([np.nan if a.direction is None or b.direction is None
                     else np.degrees(angle_between(a.direction.bearing, b.direction.bearing))
                     for a, b in zip(with_vehicles, without, strict=True)])


def flips(with_vehicles: Sequence[Estimate], without: Sequence[Estimate]) -> float:
    """Share of scenes where vehicles decide whether there is a direction at all."""
    return float(np.mean([(a.direction is None) != (b.direction is None)
                          for a, b in zip(with_vehicles, without, strict=True)]))


def attention_shares(weights: np.ndarray, mask: np.ndarray, visible: np.ndarray) -> tuple[float, float]:
    """(share of the attention that lies on `mask`, share of the area that does); both over visible cells only.

    weights: (h, w) >= 0, on the same ground as the masks; mask, visible: (H, W) bool, H and W multiples of h and w.
    nan when nothing is visible or nothing is attended to. Raises ValueError when the shapes do not fit.
    """
    (h, w), (H, W) = weights.shape, mask.shape
    if H % h or W % w or visible.shape != mask.shape:
        raise ValueError(f'attention {weights.shape} does not fit masks {mask.shape} and {visible.shape}')
    attention = np.where(visible, np.repeat(np.repeat(weights, H // h, axis=0), W // w, axis=1), 0.0)
    total, area = float(attention.sum()), np.count_nonzero(visible)
    if total == 0 or area == 0:
        return math.nan, math.nan
    return float(attention[mask].sum()) / total, np.count_nonzero(mask & visible) / area


def attention_ratios(shares: np.ndarray) -> np.ndarray:
    """(n, 2) shares of attention and area, scene by scene -> (n,) their ratio: 1 is no preference; nan without area."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(shares[:, 1] > 0, shares[:, 0] / shares[:, 1], np.nan)


def pooled_attention_ratio(shares: np.ndarray) -> Figure:
    """(n, 2) shares -> sum of the attention shares over sum of the area shares, with its interval.

    Unlike the mean of the scenes' ratios it is not ruled by the scenes where the mask is only a few cells.
    """
    shares = shares[np.isfinite(shares).all(axis=1)]
    if not len(shares):
        return Figure(math.nan, math.nan, math.nan)
    point, weights = bootstrap.once(len(shares)), bootstrap.resamples(len(shares))
    return Figure(float(bootstrap.weighted_ratio(*shares.T, point)[0]),
                  *bootstrap.interval(bootstrap.weighted_ratio(*shares.T, weights)))
