# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The exam on real drives: the vehicle turned by known angles, the map spoiled by known amounts, once without a map.

Heading error of the road ahead and of the road behind, at the published branch nearest in bearing to where the driven
path leaves the ring; within 25 deg, else it is a miss and counts as 25 deg. Drives are never pooled.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.datasets.drives import (
    DOUBLED,
    STANDARD,
    Drive,
    MapError,
    RingTruth,
    cloud_message,
    draw_error,
    image_message,
    map_picture,
    motion_at,
    ring_truth,
)
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.evaluation.methods.estimators import Estimator, unique_names
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.branches import MISS, WIDE, Estimate, Figure, f1
from attention_fusion_ros.metrics.matching import match, nearest

TURNS = tuple(math.radians(d) for d in (-60.0, -30.0, 0.0, 30.0, 60.0))
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Condition:
    """How the map is given: spoiled with these sigmas (m, rad) and seeds, or not at all."""

    name: str
    sigmas: tuple[float, float] | None  # None: no map
    seeds: tuple[int, ...] = SEEDS


CONDITIONS = (Condition('standard', STANDARD), Condition('doubled', DOUBLED), Condition('no map', None, (0,)))


@dataclass(frozen=True)
class Answers:
    """What one method answered on one drive under one condition. One row a (sweep, turn, seed)."""

    sweep: np.ndarray  # (R,) int
    heading_error: np.ndarray  # (R, 2) deg, road ahead and road behind; nan where the drive does not tell; a miss is 25
    found: np.ndarray  # (R, 2) bool
    counts: np.ndarray  # (R, 3) true positives, false positives, false negatives at 15 deg; zeros without truth
    has_branches: bool  # this drive has `branches` truth


def grade(estimate: Estimate, truth: RingTruth) -> tuple[list[float], list[bool], list[int]]:
    """One answer against the truth: heading errors in deg (ahead, behind), found, and counts at 15 deg."""
    bearings = [b.bearing for b in estimate.branches]
    errors, found = [], []
    for target in (truth.path_ahead, truth.path_behind):
        index = None if target is None else nearest(target[0], bearings, MISS)
        found.append(index is not None)
        if target is None:
            errors.append(math.nan)
        elif index is None:
            errors.append(math.degrees(MISS))
        else:
            errors.append(float(np.degrees(angle_between(estimate.branches[index].heading, target[1]))))
    if truth.branches is None:
        return errors, found, [0, 0, 0]
    pairs = len(match(bearings, [b for b, _ in truth.branches], WIDE))
    return errors, found, [pairs, len(bearings) - pairs, len(truth.branches) - pairs]


def map_error(drive: Drive, condition: Condition, seed: int, turn: float, sweep: int) -> MapError:
    """The error of this sweep's map: drawn anew for every sweep and turn, the same for every method."""
    key = [zlib.crc32(drive.name.encode()), round(math.degrees(turn)) % 360, seed, sweep]
    return draw_error(np.random.default_rng(key), *condition.sigmas)


def run_drive(drive: Drive, estimators: Sequence[Estimator], conditions: Sequence[Condition] = CONDITIONS,
              turns: Sequence[float] = TURNS, every: int = 1, route: bool = False, lookahead: float = 20.0,
              progress: Callable[[int], None] = lambda done: None) -> dict[tuple[str, str], Answers]:
    """Ask every estimator about every sweep -> {(condition name, estimator name): Answers}.

    every: use each n-th sweep only. route: draw the driven route red. progress: called after each sweep, with 1.
    Sweeps of one (condition, turn, seed) come in order after a reset, as from a bag.
    """
    unique_names(estimators)
    messages = {}  # decoded clouds, read once: a drive fits into memory
    rows: dict[tuple[str, str], list] = {(c.name, e.name): [] for c in conditions for e in estimators}
    for condition in conditions:
        for turn in turns:
            for seed in condition.seeds:
                for estimator in estimators:
                    estimator.reset()
                for sweep in range(0, len(drive.sweeps), every):
                    if sweep not in messages:
                        messages[sweep] = decode_cloud(cloud_message(drive.sweeps[sweep]))
                    cloud = messages[sweep]
                    image = None
                    if condition.sigmas is not None:
                        error = map_error(drive, condition, seed, turn, sweep)
                        image = decode_map_image(image_message(cloud.stamp_ns, map_picture(
                            drive, cloud.stamp_ns, turn, error, route)))
                    inputs = PlacedSweep(cloud, motion_at(drive, cloud.stamp_ns, turn), image)
                    truth = ring_truth(drive, sweep, turn, lookahead)
                    for estimator in estimators:
                        rows[condition.name, estimator.name].append((sweep, *grade(estimator(inputs), truth)))
                    progress(1)
    has_branches = any('branches' in row for row in drive.truth)
    return {key: Answers(np.array([r[0] for r in found], dtype=int), np.array([r[1] for r in found], dtype=float),
                         np.array([r[2] for r in found], dtype=bool), np.array([r[3] for r in found], dtype=int),
                         has_branches) for key, found in rows.items()}


def join(parts: Sequence[dict[tuple[str, str], Answers]]) -> dict[tuple[str, str], Answers]:
    """Answers of several calls of `run_drive` on the same drive, for example one a turn, as one."""
    return {key: Answers(*(np.concatenate([getattr(p[key], name) for p in parts]) for name in
                           ('sweep', 'heading_error', 'found', 'counts')), parts[0][key].has_branches)
            for key in parts[0]}


def steps(drive: Drive, conditions: Sequence[Condition] = CONDITIONS, turns: Sequence[float] = TURNS,
          every: int = 1) -> int:
    """How often `run_drive` will call its progress function."""
    return len(range(0, len(drive.sweeps), every)) * len(turns) * sum(len(c.seeds) for c in conditions)


def _flat(answers: Answers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors, found and cluster (position of the sweep) of every target that the drive tells about."""
    known = np.isfinite(answers.heading_error)
    _, cluster = np.unique(answers.sweep, return_inverse=True)
    return (answers.heading_error[known], answers.found[known],
            np.broadcast_to(cluster[:, None], known.shape)[known])


def _f1_15(answers: Answers, weights: np.ndarray) -> np.ndarray:
    _, cluster = np.unique(answers.sweep, return_inverse=True)
    counts = np.zeros((cluster.max() + 1, 3))
    np.add.at(counts, cluster, answers.counts)
    return f1(counts, weights)


def _heading(quantile: float):
    def statistic(answers: Answers, weights: np.ndarray) -> np.ndarray:
        error, _, cluster = _flat(answers)
        return bootstrap.weighted_quantile(error, cluster, quantile, weights)
    return statistic


def _found(answers: Answers, weights: np.ndarray) -> np.ndarray:
    _, found, cluster = _flat(answers)
    n = weights.shape[1]
    return bootstrap.weighted_ratio(np.bincount(cluster, found, n), np.bincount(cluster, minlength=n), weights)


STATISTICS = {'heading_median': _heading(0.5), 'heading_p90': _heading(0.9), 'found': _found, 'f1_15': _f1_15}


def _figure(values: Callable[[np.ndarray], np.ndarray], sweeps: int) -> Figure:
    """A figure with its interval over resampled sweeps; a single sweep gives no interval."""
    point = float(values(bootstrap.once(sweeps))[0])
    if sweeps < 2:
        return Figure(point, math.nan, math.nan)
    return Figure(point, *bootstrap.interval(values(bootstrap.resamples(sweeps))))


def summarise(answers: Answers) -> dict[str, Figure]:
    """Heading median and 90th percentile [deg], found share, and F1@15 where the drive has branch truth.

    Whole sweeps are resampled; neighbouring sweeps see the same street, so the true uncertainty is larger.
    """
    sweeps = len(np.unique(answers.sweep))
    return {name: _figure(lambda w, s=statistic: s(answers, w), sweeps) for name, statistic in STATISTICS.items()
            if name != 'f1_15' or answers.has_branches}


def difference(name: str, a: Answers, b: Answers) -> Figure:
    """Statistic of a minus that of b on the same rows, paired. Raises ValueError when the rows differ."""
    if not np.array_equal(a.sweep, b.sweep):
        raise ValueError('paired answers need the same sweeps')
    return _figure(lambda w: STATISTICS[name](a, w) - STATISTICS[name](b, w), len(np.unique(a.sweep)))


def ratio(name: str, a: Answers, b: Answers) -> Figure:
    """Statistic of a divided by that of b on the same rows, paired. Raises ValueError when the rows differ."""
    if not np.array_equal(a.sweep, b.sweep):
        raise ValueError('paired answers need the same sweeps')
    with np.errstate(divide='ignore', invalid='ignore'):
        return _figure(lambda w: STATISTICS[name](a, w) / STATISTICS[name](b, w), len(np.unique(a.sweep)))
