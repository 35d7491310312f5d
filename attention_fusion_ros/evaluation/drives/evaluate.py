# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Real drives from checkpoints to tables, JSON and a plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attention_fusion_ros.evaluation import plots
from attention_fusion_ros.evaluation.checkpoints import Networks
from attention_fusion_ros.evaluation.drives.benchmark import DriveScores
from attention_fusion_ros.evaluation.drives.report import drive_report
from attention_fusion_ros.evaluation.drives.run import DriveSetup, evaluate_drives, total_steps
from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings


def write_drives(networks: Networks, folder: Path, settings: RunSettings, every: int = 1,
                 route: bool = False) -> RunOutput:
    """Evaluate on the drives in `folder`; writes `drives.md`, `.json` and a plot of the heading errors.

    every: use each n-th sweep only. route: draw the driven route into the maps. Raises ConfigurationError.
    """
    notes = list(networks.notes)
    if every > 1:
        notes.append(f'Only every {every}. sweep was used.')
    if route:
        notes.append('The driven route is drawn into the map.')
    setup = DriveSetup(tuple((checkpoint.name, config) for checkpoint, config in networks.configs), networks.lookahead,
                       every, route)
    with settings.new_bar('drives', total_steps(folder, setup), 'run') as bar:
        scores = evaluate_drives(folder, setup, settings.workers, progress=bar.update, engine=settings.engine)
    report = drive_report(scores, networks.main, settings.provenance(networks.files), notes)
    written = report.write(settings.out, 'drives')
    plot = plots.error_distribution(_heading_errors(scores), settings.out / 'drives_heading_error.png', networks.main,
                                    'heading error [deg], standard map error')
    return RunOutput(report.markdown(), [*written, plot])


def _heading_errors(scores: dict[str, dict[tuple[str, str], DriveScores]]) -> dict[str, dict[str, np.ndarray]]:
    """Drive -> method -> errors in degrees at the standard map error."""
    return {drive: {method: found.heading_error.ravel() for (condition, method), found in by_method.items()
                    if condition == 'standard'} for drive, by_method in scores.items()}
