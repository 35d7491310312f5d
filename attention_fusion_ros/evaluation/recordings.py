# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings scored sweep by sweep: against truth.json where one lies beside it, else against the way that was driven.

Nobody has to label anything: where the vehicle drove, there is a road (`datasets.driven_path`). A drive tells of two
branches at most, so branches that are not there cannot be counted, except with truth.json of a simulation.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.driven_path import driven_truth, with_pose_at
from attention_fusion_ros.datasets.drives import RingTruth
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.drives.benchmark import DriveScores, SweepScore, score_sweep
from attention_fusion_ros.evaluation.replay import Replay
from attention_fusion_ros.metrics.branches import Prediction
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.simulation.truth_file import NAME as TRUTH
from attention_fusion_ros.stream.recorded_sweeps import base_poses
from attention_fusion_ros.stream.recording import InputTopics, Recording
from attention_fusion_ros.sync.synchronizer import ODOMETRY

DRIVEN = 'driven path'


@dataclass(frozen=True)
class ScoredSweep:
    """One sweep that something is true of."""

    stamp_ns: int
    score: SweepScore
    dropped: str = ''  # why there is no result

    @property
    def heading_error(self) -> float:
        """Degrees, the larger one of the roads ahead and behind; a miss is 25; 0 where neither is to be found."""
        return max((error for error in self.score.heading_error if not math.isnan(error)), default=0.0)


@dataclass(frozen=True)
class RecordingScores:
    """What a recording came to."""

    duration_s: float
    truth: str  # what it was compared with: TRUTH or DRIVEN
    sweeps: int  # that were read
    scored: tuple[ScoredSweep, ...]
    losses: tuple[str, ...]  # what could not be read

    def as_drive(self) -> DriveScores:
        """The same as the scores of a drive, for its metrics."""
        scores = [sweep.score for sweep in self.scored]
        return DriveScores(np.arange(len(scores)), np.array([s.bearing_error for s in scores], float).reshape(-1, 2),
                           np.array([s.heading_error for s in scores], float).reshape(-1, 2),
                           np.array([s.found for s in scores], bool).reshape(-1, 2),
                           np.array([s.counts for s in scores], int).reshape(-1, 3), self.truth == TRUTH)


def score_recording(path: Path, config: NodeConfig, topics: dict[str, str], every: int = 1) -> RecordingScores:
    """Run the pipeline over a recording and compare.

    topics: by input, see `Recording.input_topics`. every: score each n-th sweep only; all of them are run, for those
    after them. A sweep that is dropped counts as one without branches.

    Raises InputError where the recording cannot be used, ConfigurationError where nothing is true of it.
    """
    with Recording(path) as recording:
        chosen = recording.input_topics(**topics)
        config = recording.configured(config, chosen)
        truth = _Truth(recording, chosen, config)
        scored, sweeps = [], 0
        with closing(FusionPipeline(config)) as pipeline:
            for record, result in Replay(recording, chosen, config, pipeline).run():
                wanted, sweeps = sweeps % every == 0, sweeps + 1
                true = truth.at(record.stamp_ns) if wanted else None
                if true is None:
                    continue
                prediction = Prediction(()) if result is None else Prediction.of(result)
                scored.append(ScoredSweep(record.stamp_ns, score_sweep(prediction, true), record.drop_reason))
        if not scored:
            raise ConfigurationError(f"nothing is true of any sweep of '{path}'. Remedy: it needs {TRUTH}, or odometry "
                                     f'over more than {config.lookahead:g} m')
        return RecordingScores(recording.duration, truth.name, sweeps, tuple(scored), tuple(recording.losses))


class _Truth:
    """What is true of the sweeps of a recording. Raises ConfigurationError where nothing can be."""

    def __init__(self, recording: Recording, topics: InputTopics, config: NodeConfig):
        self._lookahead = config.lookahead
        self._known = _read(recording.path, f'{config.lookahead:g}')
        self.name = DRIVEN if self._known is None else TRUTH
        if self._known is None:
            if topics[ODOMETRY] is None:
                raise ConfigurationError(f"recording '{recording.path}' has no odometry, and no {TRUTH}: nothing is "
                                         'true of it. Remedy: leave it out, or name its odometry with --odometry')
            self._stamps, self._poses = base_poses(recording, topics, config)

    def at(self, stamp_ns: int) -> RingTruth | None:
        """Of one sweep; None where nothing is known."""
        if self._known is not None:
            return self._known.get(stamp_ns)
        path = with_pose_at(self._stamps, self._poses, stamp_ns)
        if path is None:
            return None
        driven = driven_truth(*path, self._lookahead)
        return RingTruth(driven.ahead, driven.behind, None) if driven.branches else None


def _read(recording: Path, ring: str) -> dict[int, RingTruth] | None:
    """truth.json beside a recording -> truth by stamp; None where there is none for this ring."""
    file = (recording if recording.is_dir() else recording.parent) / TRUTH
    try:
        rows = json.loads(file.read_text(encoding='utf-8'))['sweeps']
        return {int(row['stamp_ns']): RingTruth(_pair(row['direction'][ring]), None, tuple(
            pair for found in row['branches'][ring] if (pair := _pair(found)) is not None)) for row in rows}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"'{file}' is no truth of a ring of {ring} m ({error!r}). Remedy: remove it, then the "
                                 'driven path is the truth') from error


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def describe(sweep: ScoredSweep) -> str:
    """What is wrong with a sweep, in words."""
    if sweep.dropped:
        return f'dropped: {sweep.dropped}'
    told = []
    for place, error, found in zip(('ahead', 'behind'), sweep.score.heading_error, sweep.score.found):
        if not math.isnan(error):
            told.append(f'heading of the road {place} off by {error:.1f} deg' if found else f'road {place} not found')
    return ', '.join(told)
