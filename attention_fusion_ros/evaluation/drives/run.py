# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmark over all drives, several processes at a time: one job for each drive, condition and turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.drives import find_drives, load_drive
from attention_fusion_ros.engines.engine import Engine, Lost, own
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.drives import benchmark
from attention_fusion_ros.evaluation.drives.benchmark import CONDITIONS, TURNS_RAD, Condition, DriveScores
from attention_fusion_ros.evaluation.methods.baselines import baselines
from attention_fusion_ros.evaluation.methods.method import Method, PipelineMethod
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.utils.processes import process_pool, with_own


@dataclass(frozen=True)
class DriveSetup:
    """Everything a worker needs to build the methods."""

    networks: tuple[tuple[str, NodeConfig], ...]  # name, configuration with its checkpoint
    lookahead: float = 20.0  # m
    every: int = 1
    route: bool = False
    conditions: tuple[Condition, ...] = CONDITIONS


@dataclass(frozen=True)
class Job:
    """A part of the run: one drive under one condition, turned by one angle."""

    folder: Path
    condition: Condition
    turn: float  # rad


class DriveWorker:
    """The methods of a setup, ready to run jobs. Raises ConfigurationError when a checkpoint cannot be used."""

    def __init__(self, setup: DriveSetup):
        self._setup = setup
        self._pipelines = [FusionPipeline(config) for _, config in setup.networks]
        networks = [PipelineMethod(pipeline, config, name)
                    for pipeline, (name, config) in zip(self._pipelines, setup.networks)]
        self._methods: list[Method] = [*networks, *baselines(setup.lookahead)]

    def run(self, job: Job) -> dict[tuple[str, str], DriveScores]:
        """Scores by condition and method. Raises ConfigurationError when the drive cannot be used."""
        setup = self._setup
        return benchmark.run_drive(load_drive(job.folder), self._methods, [job.condition], [job.turn], setup.every,
                                   setup.route, setup.lookahead)

    def close(self) -> None:
        """Free the networks."""
        for pipeline in self._pipelines:
            pipeline.close()


def evaluate_drives(folder: str | Path, setup: DriveSetup, workers: int = 1, turns: Sequence[float] = TURNS_RAD,
                    progress: Callable[[int], object] = lambda sweeps: None, engine: Engine | None = None,
                    ) -> dict[str, dict[tuple[str, str], DriveScores]]:
    """All drives in `folder` -> drive name -> (condition, method) -> scores.

    progress: called with the number of runs (sweep x condition x seed) that have been finished since the last call.
    engine: works in the place of `workers` processes.
    Raises ConfigurationError when a drive or a checkpoint cannot be used.
    """
    drives = {found: load_drive(found) for found in find_drives(folder)}
    jobs = [Job(found, condition, turn) for found in drives for condition in setup.conditions for turn in turns]
    parts: dict[Job, dict[tuple[str, str], DriveScores]] = {}

    def done(job: Job, part: dict[tuple[str, str], DriveScores]) -> None:
        parts[job] = part
        progress(benchmark.steps(drives[job.folder], [job.condition], [job.turn], setup.every))

    # Also with several processes: a bad checkpoint is reported here, not as a broken pool.
    with closing(DriveWorker(setup)) as worker:
        if workers <= 1 and engine is None:
            for job in jobs:
                done(job, worker.run(job))
    networks = tuple((name, replace(config, threads=1)) for name, config in setup.networks)  # a process each core
    of_one = replace(setup, networks=networks)
    if engine is not None:
        for number, found in engine.run(_run_own, [(of_one, replace(j, folder=j.folder.absolute())) for j in jobs]):
            if isinstance(found, Lost):
                raise ConfigurationError(f'{jobs[number].folder.name}: {found.message}')
            done(jobs[number], found)
    elif workers > 1:
        with process_pool(workers, DriveWorker, (of_one,)) as pool:
            waiting = {pool.submit(with_own, DriveWorker.run, job): job for job in jobs}
            for future in as_completed(waiting):
                done(waiting[future], future.result())
    scores: dict[str, dict[tuple[str, str], DriveScores]] = {}
    for folder_of, drive in drives.items():
        scores[drive.name] = {}
        for condition in setup.conditions:
            scores[drive.name] |= benchmark.join([parts[Job(folder_of, condition, turn)] for turn in turns])
    return scores


def _run_own(work: tuple[DriveSetup, Job]) -> dict[tuple[str, str], DriveScores]:
    """A job, by the worker of this process."""
    setup, job = work
    return own(DriveWorker, setup).run(job)


def total_steps(folder: str | Path, setup: DriveSetup, turns: Sequence[float] = TURNS_RAD) -> int:
    """What the numbers given to `progress` add up to."""
    return sum(benchmark.steps(load_drive(f), setup.conditions, turns, setup.every) for f in find_drives(folder))
