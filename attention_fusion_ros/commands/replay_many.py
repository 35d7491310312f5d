# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay` of many recordings: each as if it were alone, and where the directions are most in doubt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.commands.replay import replay_recording
from attention_fusion_ros.contracts import Mode
from attention_fusion_ros.fleet.work import BadSweep, Findings, Task
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.report.records import SweepRecord, counted, summarise

UNTRAINED = 'untrained'
COLUMNS = ('duration [s]', 'sweeps', 'results', 'directions', 'fused', 'dropped', 'median probability',
           'why no direction', 'why dropped')


def replay_many(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Replay the recordings that the options name; returns the exit status. Raises as `many.run_many`."""
    config = cli.node_config(options)  # a wrong option is said before any recording is opened
    checkpoint = None if config.checkpoint == UNTRAINED else checkpoints.path_of(config.checkpoint)
    files = many.given_files(options.params, checkpoint)
    task = Task('replay', replay_work, options, many.dependencies(options), files, COLUMNS, 'doubt',
                'Share of sweeps without a direction')
    return many.run_many(options, options.bag, task, arguments)


def replay_work(recording: Path, folder: Path, options: argparse.Namespace) -> Findings:
    """Replay one of them into a folder. Raises InputError, ConfigurationError."""
    own = argparse.Namespace(**{**vars(options), 'bag': str(recording), 'out': folder,
                                'results': None if options.results is None else folder / options.results})
    with cli.without_progress():
        done = replay_recording(own)
    summary = summarise(done.records)
    probabilities = [record.direction.probability for record in done.records if record.direction is not None]
    row = (f'{done.duration_s:.1f}', summary.sweeps, summary.results, summary.directions,
           summary.modes.get(Mode.FUSED.value, 0), sum(summary.drops.values()),
           f'{np.median(probabilities):.4f}' if probabilities else '', counted(summary.no_direction),
           counted(summary.drops))
    return Findings(dict(zip(COLUMNS, map(str, row), strict=True)), 1.0 - summary.directions / summary.sweeps,
                    doubtful(done.records), done.complete)


def doubtful(records: Sequence[SweepRecord]) -> tuple[BadSweep, ...]:
    """The sweeps, the most doubtful first. Doubt is 1 less the probability of the direction, 1 where there is none."""
    found = [BadSweep(r.stamp_ns, 1.0, f'dropped: {r.drop_reason}') if r.drop_reason else
             BadSweep(r.stamp_ns, 1.0, f'no direction: {r.direction_reason}') if r.direction is None else
             BadSweep(r.stamp_ns, round(1.0 - r.direction.probability, 6),
                      f'direction of probability {r.direction.probability:.2f}, {r.mode}') for r in records]
    return tuple(sorted(found, key=lambda sweep: (-sweep.badness, sweep.stamp_ns)))
