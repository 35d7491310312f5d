# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate --bags`: recordings scored one by one, never pooled, and the sweeps that are farthest off."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.commands.replay_many import UNTRAINED
from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.evaluation.drives.benchmark import drive_estimates
from attention_fusion_ros.evaluation.recordings import describe, score_recording
from attention_fusion_ros.evaluation.tables import cell
from attention_fusion_ros.fleet.work import BadSweep, Findings, Task
from attention_fusion_ros.metrics.branches import MISS_RAD
from attention_fusion_ros.metrics.registry import DRIVES, METRICS, columns
from attention_fusion_ros.network import checkpoint as checkpoints

NAMES = columns(DRIVES)
MISS_DEG = math.degrees(MISS_RAD)
COLUMNS = ('duration [s]', 'sweeps', 'scored', 'truth', *(METRICS[name].title for name in NAMES))


def evaluate_many(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Score the recordings that the options name; returns the exit status. Raises as `many.run_many`."""
    config = _config(options)
    checkpoint = None if options.checkpoint == UNTRAINED else checkpoints.path_of(options.checkpoint)
    settings = options, config
    task = Task('evaluate', evaluate_work, settings, (config, cli.topic_options(options), options.every),
                many.given_files(checkpoint), COLUMNS, 'heading error [deg], a miss is 25',
                f'90th percentile of the heading error ({METRICS["heading_p90"].title})')
    return many.run_many(options, options.bags, task, arguments)


def _config(options: argparse.Namespace) -> NodeConfig:
    untrained = options.checkpoint == UNTRAINED
    ring = checkpoints.resolve(options.checkpoint, untrained).network.config.lookahead
    config: NodeConfig = from_flat({'checkpoint': options.checkpoint, 'allow_untrained': untrained,
                                    'device': options.device, 'threads': 1, 'lookahead': ring})
    return config


def evaluate_work(recording: Path, folder: Path, settings: tuple[argparse.Namespace, NodeConfig]) -> Findings:
    """Score one of them. Raises InputError, ConfigurationError."""
    options, config = settings
    scores = score_recording(recording, config, cli.topic_options(options), options.every)
    estimates = drive_estimates(scores.as_drive())
    cells = {METRICS[name].title: cell(estimates[name], METRICS[name].decimals) if name in estimates else '-'
             for name in NAMES}
    row = {'duration [s]': f'{scores.duration_s:.1f}', 'sweeps': str(scores.sweeps), 'scored': str(len(scores.scored)),
           'truth': scores.truth, **cells}
    for loss in scores.losses:
        print(f'WARNING: {loss}')
    sweeps = [BadSweep(s.stamp_ns, round(s.heading_error, 6), describe(s)) for s in scores.scored]
    sweeps.sort(key=lambda sweep: (-sweep.badness, sweep.stamp_ns))
    # Of a recording in which no branch was matched there is no heading error: none is worse.
    badness = float(np.nan_to_num(estimates['heading_p90'].value, nan=MISS_DEG))
    return Findings(row, badness, tuple(sweeps), not scores.losses)
