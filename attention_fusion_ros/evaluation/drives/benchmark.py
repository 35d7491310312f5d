# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark on real drives: the vehicle turned and the map spoiled by known amounts, and once without a map.

Heading error of the road ahead and of the road behind, at the published branch nearest in bearing to where the driven
path leaves the ring; within 25 deg, else it is a miss and counts as 25 deg. Drives are never pooled.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.datasets.drives import (
    DOUBLED,
    STANDARD,
    Drive,
    MapOffset,
    RingTruth,
    cloud_message,
    image_message,
    map_picture,
    motion_at,
    random_offset,
    ring_truth,
)
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.evaluation.methods.method import Method, unique_names
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics import summary
from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.branches import MISS_RAD, WIDE_RAD, Prediction, Scores
from attention_fusion_ros.metrics.matching import match, nearest
from attention_fusion_ros.metrics.registry import DRIVES, columns

TURNS_RAD = tuple(math.radians(d) for d in (-60.0, -30.0, 0.0, 30.0, 60.0))
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Condition:
    """How the map is given: spoiled with these sigmas (m, rad) and seeds, or not at all."""

    name: str
    sigmas: tuple[float, float] | None  # None: no map
    seeds: tuple[int, ...] = SEEDS


CONDITIONS = (Condition('standard', STANDARD), Condition('doubled', DOUBLED), Condition('no map', None, (0,)))


@dataclass(frozen=True)
class DriveScores:
    """What one method scored on one drive under one condition. One row for each sweep, turn and seed.

    The two columns are the road ahead and the road behind; nan where the drive does not tell.
    """

    sweep: np.ndarray  # (R,) int
    bearing_error: np.ndarray  # (R, 2) deg; a miss is 25
    heading_error: np.ndarray  # (R, 2) deg; a miss is 25
    found: np.ndarray  # (R, 2) bool, a branch is published within 25 deg of the bearing
    counts: np.ndarray  # (R, 3) true positives, false positives, false negatives at 15 deg; zeros without truth
    has_branches: bool  # this drive has `branches` truth

    def as_scores(self) -> Scores:
        """The same as the scores that metrics are computed from, one scene a sweep; there are no directions."""
        known = np.isfinite(self.heading_error)
        sweeps, cluster = np.unique(self.sweep, return_inverse=True)
        scene = np.broadcast_to(cluster[:, None], known.shape)[known]
        counts = np.zeros((len(sweeps), 3))
        np.add.at(counts, cluster, self.counts)
        none, nobody = np.zeros(0), np.zeros(0, dtype=int)
        return Scores(
            counts={'f1_15': counts},
            bearing_error=self.bearing_error[known], heading_error=self.heading_error[known], matched_scene=scene,
            nearest_error=self.bearing_error[known], found=self.found[known], nearest_scene=scene,
            probability=none, correct=none > 0, probability_scene=nobody,
            direction_error=np.full(len(sweeps), np.nan), direction_exists=np.zeros(len(sweeps), bool),
            direction_given=np.zeros(len(sweeps), bool), direction_withheld=np.zeros(len(sweeps), bool))


@dataclass(frozen=True)
class SweepScore:
    """One prediction against the truth of one sweep: a row of `DriveScores`."""

    bearing_error: tuple[float, float]
    heading_error: tuple[float, float]
    found: tuple[bool, bool]
    counts: tuple[int, int, int]


def score_sweep(prediction: Prediction, truth: RingTruth) -> SweepScore:
    """Errors in deg of the road ahead and the road behind, whether they were found, and counts at 15 deg."""
    bearings = [b.bearing for b in prediction.branches]
    ahead, behind = (_score_road(prediction, bearings, road) for road in (truth.path_ahead, truth.path_behind))
    counts = (0, 0, 0)
    if truth.branches is not None:
        pairs = len(match(bearings, [b for b, _ in truth.branches], WIDE_RAD))
        counts = pairs, len(bearings) - pairs, len(truth.branches) - pairs
    return SweepScore((ahead[0], behind[0]), (ahead[1], behind[1]), (ahead[2], behind[2]), counts)


def _score_road(prediction: Prediction, bearings: Sequence[float],
                road: tuple[float, float] | None) -> tuple[float, float, bool]:
    """Bearing error, heading error (deg), found."""
    if road is None:
        return math.nan, math.nan, False
    index = nearest(road[0], bearings, MISS_RAD)
    if index is None:
        return math.degrees(MISS_RAD), math.degrees(MISS_RAD), False
    branch = prediction.branches[index]
    return (float(np.degrees(angle_between(branch.bearing, road[0]))),
            float(np.degrees(angle_between(branch.heading, road[1]))), True)


def map_error(drive: Drive, condition: Condition, seed: int, turn: float, sweep: int) -> MapOffset:
    """The error of this sweep's map: drawn anew for every sweep and turn, the same for every method.

    Raises ValueError for a condition without a map.
    """
    if condition.sigmas is None:
        raise ValueError(f"'{condition.name}' has no map")
    key = [zlib.crc32(drive.name.encode()), round(math.degrees(turn)) % 360, seed, sweep]
    return random_offset(np.random.default_rng(key), *condition.sigmas)


def run_drive(drive: Drive, methods: Sequence[Method], conditions: Sequence[Condition] = CONDITIONS,
              turns: Sequence[float] = TURNS_RAD, every: int = 1, route: bool = False, lookahead: float = 20.0,
              progress: Callable[[int], object] = lambda done: None) -> dict[tuple[str, str], DriveScores]:
    """Run every method on every sweep -> {(condition name, method name): DriveScores}.

    every: use each n-th sweep only. route: draw the driven route red. progress: called after each sweep, with 1.
    Sweeps of one (condition, turn, seed) come in order after a reset, as from a bag. Raises ValueError when two methods
    share a name, ConfigurationError when the drive has no truth for this ring [m].
    """
    unique_names(methods)
    clouds: dict[int, PointCloud] = {}  # decoded once: a drive fits into memory
    rows: dict[tuple[str, str], list[SweepScore]] = {(c.name, m.name): [] for c in conditions for m in methods}
    sweeps = range(0, len(drive.sweeps), every)
    passes = [(condition, turn, seed) for condition in conditions for turn in turns for seed in condition.seeds]
    for condition, turn, seed in passes:
        for method in methods:
            method.reset()
        for sweep in sweeps:
            if sweep not in clouds:
                clouds[sweep] = decode_cloud(cloud_message(drive.sweeps[sweep]))
            inputs = _inputs(drive, condition, seed, turn, sweep, clouds[sweep], route)
            truth = ring_truth(drive, sweep, turn, lookahead)
            for method in methods:
                rows[condition.name, method.name].append(score_sweep(method(inputs), truth))
            progress(1)
    has_branches = any('branches' in row for row in drive.truth)
    return {key: _drive_scores(np.array([s for c, _, _ in passes if c.name == key[0] for s in sweeps], dtype=int),
                               scored, has_branches) for key, scored in rows.items()}


def _inputs(drive: Drive, condition: Condition, seed: int, turn: float, sweep: int, cloud: PointCloud,
            route: bool) -> PlacedSweep:
    """The sweep as the condition gives it, with the vehicle turned."""
    image = None
    if condition.sigmas is not None:
        error = map_error(drive, condition, seed, turn, sweep)
        picture = map_picture(drive, cloud.stamp_ns, turn, error, route)
        image = decode_map_image(image_message(cloud.stamp_ns, picture))
    return PlacedSweep(cloud, motion_at(drive, cloud.stamp_ns, turn), image, '' if image is not None else 'no_map')


def _drive_scores(sweep: np.ndarray, rows: Sequence[SweepScore], has_branches: bool) -> DriveScores:
    return DriveScores(sweep, np.array([r.bearing_error for r in rows], dtype=float),
                       np.array([r.heading_error for r in rows], dtype=float),
                       np.array([r.found for r in rows], dtype=bool), np.array([r.counts for r in rows], dtype=int),
                       has_branches)


def join(parts: Sequence[dict[tuple[str, str], DriveScores]]) -> dict[tuple[str, str], DriveScores]:
    """Scores of several calls of `run_drive` on the same drive, for example one a turn, as one."""
    fields = ('sweep', 'bearing_error', 'heading_error', 'found', 'counts')
    joined = {}
    for key, first in parts[0].items():
        arrays = {name: np.concatenate([getattr(part[key], name) for part in parts]) for name in fields}
        joined[key] = DriveScores(**arrays, has_branches=first.has_branches)
    return joined


def steps(drive: Drive, conditions: Sequence[Condition] = CONDITIONS, turns: Sequence[float] = TURNS_RAD,
          every: int = 1) -> int:
    """How often `run_drive` will call its progress function."""
    return len(range(0, len(drive.sweeps), every)) * len(turns) * sum(len(c.seeds) for c in conditions)


def drive_estimates(scores: DriveScores) -> dict[str, Estimate]:
    """The metrics of the table of drives with their intervals; F1@15 only where the drive has branch truth.

    Whole sweeps are resampled; neighbouring sweeps see the same street, so the true uncertainty is larger.
    """
    return summary.estimates(scores.as_scores(), metrics_of(scores))


def metrics_of(scores: DriveScores) -> tuple[str, ...]:
    """Names of the metrics that this drive has truth for."""
    return tuple(name for name in columns(DRIVES) if name != 'f1_15' or scores.has_branches)


def difference(name: str, a: DriveScores, b: DriveScores) -> Estimate:
    """Metric of a minus that of b on the same rows, paired. Raises ValueError when the rows differ."""
    _check_paired(a, b)
    return summary.paired_difference(name, a.as_scores(), b.as_scores())


def ratio(name: str, a: DriveScores, b: DriveScores) -> Estimate:
    """Metric of a divided by that of b on the same rows, paired. Raises ValueError when the rows differ."""
    _check_paired(a, b)
    return summary.paired_ratio(name, a.as_scores(), b.as_scores())


def _check_paired(a: DriveScores, b: DriveScores) -> None:
    if not np.array_equal(a.sweep, b.sweep):
        raise ValueError('paired scores need the same sweeps')
