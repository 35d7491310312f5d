# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Published branches against true roads, scene by scene. Pure numpy; angles in radians in, degrees out.

A list of (prediction, truth) pairs, one per scene, becomes `Scores`: per-scene counts and per-branch errors. What is
computed from them is in registry.py, the table of metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.contracts import NOT_SEEN, Branch, FusionResult
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics.matching import match, nearest

NARROW_RAD, WIDE_RAD = math.radians(10.0), math.radians(15.0)  # F1@10 and F1@15
MISS_RAD = math.radians(25.0)  # a true branch without a prediction this near in bearing is missed and counts as this
TOLERANCES_RAD = {'f1_10': NARROW_RAD, 'f1_15': WIDE_RAD}
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Prediction:
    """What a method published for one scene; the network and every baseline return the same."""

    branches: tuple[Branch, ...]
    direction: Branch | None = None
    reason: str = ''  # name of the reason for which there is no direction, where it is known

    @classmethod
    def of(cls, result: FusionResult) -> Prediction:
        """What the pipeline published."""
        return cls(result.branches, result.direction, result.direction_reason.partition(':')[0])


@dataclass(frozen=True)
class TrueRoads:
    """The truth of one scene."""

    branches: tuple[tuple[float, float], ...]  # (bearing, heading) rad
    direction: tuple[float, float] | None = None  # (bearing, heading) rad; None when there is none to take


@dataclass(frozen=True)
class Scores:
    """Per-scene counts and per-branch errors of n scenes; `*_scene` is the index of the scene an entry is from.

    For a drive a scene is a sweep, and the true branches are the road ahead and the road behind.
    """

    counts: dict[str, np.ndarray]  # 'f1_10', 'f1_15' -> (n, 3) true positives, false positives, false negatives
    bearing_error: np.ndarray  # (M,) deg, of branches matched within 10 deg
    heading_error: np.ndarray  # (M,) deg, of the same
    matched_scene: np.ndarray  # (M,) int
    nearest_error: np.ndarray  # (T,) deg, bearing error of the nearest prediction to each true branch; a miss is 25
    found: np.ndarray  # (T,) bool, there is a prediction within 25 deg
    nearest_scene: np.ndarray  # (T,) int
    probability: np.ndarray  # (P,) of every published branch
    correct: np.ndarray  # (P,) bool, matched within 10 deg
    probability_scene: np.ndarray  # (P,) int
    direction_error: np.ndarray  # (n,) deg; nan where truth or prediction has none
    direction_exists: np.ndarray  # (n,) bool, the truth has a direction
    direction_given: np.ndarray  # (n,) bool, the prediction has one
    direction_withheld: np.ndarray  # (n,) bool, it has none because it may lie where nobody looked

    def __len__(self) -> int:
        return len(self.direction_error)


def score(predictions: Sequence[Prediction], truths: Sequence[TrueRoads]) -> Scores:
    """Score predictions against truths, one pair a scene. Raises ValueError when their numbers differ."""
    if len(predictions) != len(truths):
        raise ValueError(f'{len(predictions)} predictions for {len(truths)} truths')
    n = len(predictions)
    counts = {name: np.zeros((n, 3), np.int64) for name in TOLERANCES_RAD}
    matched, near, published = [], [], []  # rows of (scene, ...)
    direction_error = np.full(n, np.nan)
    exists, given = np.zeros(n, bool), np.zeros(n, bool)
    for i, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        bearings = np.array([b.bearing for b in prediction.branches])
        true = np.array([b for b, _ in truth.branches])
        pairs = {name: match(bearings, true, tolerance) for name, tolerance in TOLERANCES_RAD.items()}
        for name, found in pairs.items():
            counts[name][i] = len(found), len(bearings) - len(found), len(true) - len(found)
        for p, t in pairs['f1_10']:
            matched.append((i, angle_between(bearings[p], true[t]),
                            angle_between(prediction.branches[p].heading, truth.branches[t][1])))
        hits = {p for p, _ in pairs['f1_10']}
        published += [(i, b.probability, p in hits) for p, b in enumerate(prediction.branches)]
        for bearing in true:
            k = nearest(bearing, bearings, MISS_RAD)
            near.append((i, MISS_RAD if k is None else angle_between(bearings[k], bearing), k is not None))
        exists[i], given[i] = truth.direction is not None, prediction.direction is not None
        if truth.direction is not None and prediction.direction is not None:
            direction_error[i] = np.degrees(angle_between(prediction.direction.bearing, truth.direction[0]))
    matched_rows, near_rows, published_rows = _rows(matched), _rows(near), _rows(published)
    return Scores(
        counts=counts,
        bearing_error=np.degrees(matched_rows[:, 1]), heading_error=np.degrees(matched_rows[:, 2]),
        matched_scene=matched_rows[:, 0].astype(int),
        nearest_error=np.degrees(near_rows[:, 1]), found=near_rows[:, 2] > 0, nearest_scene=near_rows[:, 0].astype(int),
        probability=published_rows[:, 1], correct=published_rows[:, 2] > 0,
        probability_scene=published_rows[:, 0].astype(int),
        direction_error=direction_error, direction_exists=exists, direction_given=given,
        direction_withheld=np.array([p.reason == NOT_SEEN for p in predictions], dtype=bool))


def _rows(values: list[tuple]) -> np.ndarray:
    """Rows of three numbers as (N, 3) float64, also when there are none."""
    return np.array(values, dtype=np.float64).reshape(-1, 3)


def calibration_bins(probability: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """(bins, 3): number of branches, mean probability, share that is correct, of each equal-width bin (nan if empty).

    The upper edge belongs to the bin above, except 1.0, which belongs to the last bin.
    """
    index = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    number = np.bincount(index, minlength=bins).astype(np.float64)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.stack([number, np.bincount(index, weights=probability, minlength=bins) / number,
                         np.bincount(index, weights=np.asarray(correct, dtype=np.float64), minlength=bins) / number], 1)


def chance_calibration_error(probability: np.ndarray, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that perfectly calibrated probabilities (P,) are expected to show by chance; nan for none.

    Means of few branches are off by chance, and the error adds up their absolute values: it is 0 for none but very many
    branches (Kumar et al., "Verified uncertainty calibration", NeurIPS 2019).
    """
    if not len(probability):
        return math.nan
    index = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    correct = np.random.default_rng(seed).random((draws, len(probability))) < probability
    members = np.eye(CALIBRATION_BINS)[index]  # (P, bins)
    return float(np.abs((probability - correct) @ members).sum(axis=1).mean() / len(probability))


def invariance(with_vehicles: Sequence[Prediction], without: Sequence[Prediction]) -> np.ndarray:
    """(n,) absolute change of the direction's bearing in degrees between the same scenes with and without vehicles.

    nan where only one, or neither, gives a direction; see `flips` for how often that happens.
    """
    return np.array([np.nan if a.direction is None or b.direction is None
                     else np.degrees(angle_between(a.direction.bearing, b.direction.bearing))
                     for a, b in zip(with_vehicles, without, strict=True)])


def flips(with_vehicles: Sequence[Prediction], without: Sequence[Prediction]) -> float:
    """Share of scenes where vehicles decide whether there is a direction at all."""
    return float(np.mean([(a.direction is None) != (b.direction is None)
                          for a, b in zip(with_vehicles, without, strict=True)]))
