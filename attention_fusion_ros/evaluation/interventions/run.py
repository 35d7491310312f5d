# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Examines one network on held-out scenes, several processes at a time; what is done is kept and not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.held_out import HeldOutScene, cache_key, obtain
from attention_fusion_ros.evaluation import result_cache
from attention_fusion_ros.evaluation.interventions.examine import Examination
from attention_fusion_ros.evaluation.interventions.maps import draw_maps
from attention_fusion_ros.evaluation.interventions.record import SceneRecord
from attention_fusion_ros.evaluation.interventions.replacement import MeanWeights, Reference
from attention_fusion_ros.evaluation.interventions.subject import Subject
from attention_fusion_ros.evaluation.result_cache import ResultCache
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.utils.processes import process_pool, with_own

SCENES_PER_JOB = 8
Job = tuple[int, ...]  # seeds
Done = TypeVar('Done')


@dataclass(frozen=True)
class Setup:
    """What a worker needs."""

    config: NodeConfig  # of the network in question
    cache: Path
    lookahead: float = 20.0  # m
    osm: Path | None = None
    profile: str = 'v1'


class Worker:
    """The network of a setup, ready for jobs. Raises ConfigurationError when it cannot be used."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self.subject = Subject(replace(setup.config, threads=1))

    def weights(self, job: Job) -> MeanWeights:
        """The attention on the scenes of these seeds."""
        return Examination(self.subject, self._scenes(job)).weights()

    def records(self, job: Job, reference: Reference, cache: ResultCache[SceneRecord]) -> list[SceneRecord]:
        """Everything about those of these seeds that make a scene."""
        kept = cache.read(job)
        if kept is None:
            draw = partial(draw_maps, osm=self._setup.osm, profile=self._setup.profile)
            kept = Examination(self.subject, self._scenes(job), draw).run(reference)
            cache.write(job, kept)
        return kept

    def _scenes(self, job: Job) -> list[HeldOutScene]:
        s = self._setup
        found = [obtain(seed, s.cache, s.lookahead, s.osm, s.profile) for seed in job]
        return [scene for scene in found if scene is not None]

    def close(self) -> None:
        """Free the network."""
        self.subject.close()


def examine(first_seed: int, count: int, setup: Setup, workers: int = 1,
            progress: Callable[[int], object] = lambda scenes: None) -> list[SceneRecord]:
    """The records of `count` seeds from `first_seed` on, without those whose world gives the vehicle no branch.

    The mean of the weights is taken over the same scenes. progress: called with the number of seeds done, each twice.
    Raises ConfigurationError when the checkpoint cannot be used, ValueError when no scene has a map.
    """
    jobs = [tuple(range(s, min(s + SCENES_PER_JOB, first_seed + count)))
            for s in range(first_seed, first_seed + count, SCENES_PER_JOB)]
    cache = _cache(first_seed, count, setup)
    with closing(Worker(setup)) as worker:  # a bad checkpoint is reported here, not as a broken pool
        if workers <= 1:
            reference = _reference(map(worker.weights, jobs), jobs, progress)
            return _collected((worker.records(job, reference, cache) for job in jobs), jobs, progress)
    with process_pool(workers, Worker, (setup,)) as pool:
        reference = _reference(pool.map(partial(with_own, Worker.weights), jobs), jobs, progress)
        run = partial(with_own, partial(_records, reference=reference, cache=cache))
        return _collected(pool.map(run, jobs), jobs, progress)


def _records(worker: Worker, job: Job, reference: Reference, cache: ResultCache[SceneRecord]) -> list[SceneRecord]:
    return worker.records(job, reference, cache)


def _reference(found: Iterable[MeanWeights], jobs: Sequence[Job], progress: Callable[[int], object]) -> Reference:
    together = MeanWeights()
    for job, weights in zip(jobs, found, strict=True):
        together.merge(weights)
        progress(len(job))
    return together.reference()


def _collected(found: Iterable[list[SceneRecord]], jobs: Sequence[Job],
               progress: Callable[[int], object]) -> list[SceneRecord]:
    records: list[SceneRecord] = []
    for job, some in zip(jobs, found, strict=True):
        records += some
        progress(len(job))
    return records


def _cache(first_seed: int, count: int, setup: Setup) -> ResultCache[SceneRecord]:
    """The mean is that of all scenes, so the records of another number of scenes are others."""
    name = setup.config.checkpoint
    files = [] if name == 'untrained' else [checkpoints.path_of(name)]
    settings = (cache_key(setup.lookahead, setup.osm, setup.profile), setup.config, first_seed, count)
    key = result_cache.results_digest(settings, files, result_cache.WITH_INTERVENTIONS)
    return ResultCache(setup.cache / f'interventions-{key}', SceneRecord)
