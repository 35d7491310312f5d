# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the exam over all drives, several processes at a time: one job a drive, condition and turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.drives import find_drives, load_drive
from attention_fusion_ros.evaluation.drives import benchmark as drive_exam
from attention_fusion_ros.evaluation.drives.benchmark import CONDITIONS, TURNS, Answers, Condition
from attention_fusion_ros.evaluation.methods.baselines import baselines
from attention_fusion_ros.evaluation.methods.estimators import Estimator, PipelineEstimator
from attention_fusion_ros.pipeline.fusion import FusionPipeline


@dataclass(frozen=True)
class Setup:
    """Everything a worker needs to build the estimators."""

    networks: tuple[tuple[str, NodeConfig], ...]  # name, configuration with its checkpoint
    lookahead: float = 20.0
    every: int = 1
    route: bool = False
    conditions: tuple[Condition, ...] = CONDITIONS


def estimators(setup: Setup) -> list[Estimator]:
    """The networks first, then the baselines. Raises ConfigurationError when a checkpoint cannot be used."""
    return [*(PipelineEstimator(FusionPipeline(config), config, name) for name, config in setup.networks),
            *baselines(setup.lookahead)]


_worker: dict[str, object] = {}


def _start(setup: Setup) -> None:
    _worker['setup'], _worker['estimators'] = setup, estimators(setup)
    torch.set_num_threads(1)  # after the pipelines, which take several: here every core has a process


Job = tuple[int, Condition, float]  # drive, condition, turn


def _job(folder: Path, condition: Condition, turn: float) -> dict[tuple[str, str], Answers]:
    setup = _worker['setup']
    return drive_exam.run_drive(load_drive(folder), _worker['estimators'], [condition], [turn], setup.every,
                                setup.route, setup.lookahead)


def run(folder: str | Path, setup: Setup, workers: int = 1, turns: Sequence[float] = TURNS,
        progress: Callable[[int], None] = lambda sweeps: None) -> dict[str, dict[tuple[str, str], Answers]]:
    """All drives in `folder` -> drive name -> (condition, method) -> Answers.

    progress: called with the number of runs (sweep x condition x seed) that have been finished since the last call.
    Raises ConfigurationError when a drive or a checkpoint cannot be used.
    """
    folders = find_drives(folder)
    drives = [load_drive(f) for f in folders]
    jobs = [(k, condition, turn) for k in range(len(drives)) for condition in setup.conditions for turn in turns]
    parts: dict[Job, dict] = {}

    def done(job: Job, part: dict) -> None:
        parts[job] = part
        k, condition, turn = job
        progress(drive_exam.steps(drives[k], [condition], [turn], setup.every))

    if workers <= 1:
        _start(setup)
        for job in jobs:
            done(job, _job(folders[job[0]], *job[1:]))
    else:
        estimators(setup)  # a bad checkpoint is reported here, not as a broken pool
        # Spawned, not forked: torch's thread pools do not survive a fork.
        with ProcessPoolExecutor(workers, get_context('spawn'), _start, (setup,)) as pool:
            waiting = {pool.submit(_job, folders[job[0]], *job[1:]): job for job in jobs}
            for future in as_completed(waiting):
                done(waiting[future], future.result())
    answers = {}
    for k, drive in enumerate(drives):
        answers[drive.name] = {}
        for condition in setup.conditions:
            answers[drive.name] |= drive_exam.join([parts[k, condition, turn] for turn in turns])
    return answers


def total_steps(folder: str | Path, setup: Setup, turns: Sequence[float] = TURNS) -> int:
    """What the numbers given to `progress` add up to."""
    return sum(drive_exam.steps(load_drive(f), setup.conditions, turns, setup.every) for f in find_drives(folder))
