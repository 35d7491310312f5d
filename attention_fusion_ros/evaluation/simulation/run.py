# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks every method about every simulated scene, several processes at a time, networks in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from attention_fusion_ros.bev.map_image import empty_map_bev
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, Mode
from attention_fusion_ros.datasets.held_out import Scene, SceneInfo, folder_name, obtain
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation import result_cache as answer_store
from attention_fusion_ros.evaluation.methods.baselines import (
    LIDAR,
    MAP,
    STRAIGHT,
    lidar_alone,
    map_alone,
    straight_ahead,
)
from attention_fusion_ros.evaluation.result_cache import ResultCache
from attention_fusion_ros.metrics.branches import Estimate, TrueRoads, attention_shares
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.pipeline.batch import BatchedPipeline, MapFeatures, Sample
from attention_fusion_ros.visualization.panels import spatial_heatmap

PUBLISHED = 'heatmap as published'
NO_MAP, NO_LIDAR, BARE, BARE_NO_MAP = 'map withheld', 'LiDAR withheld', 'without vehicles', 'without vehicles or map'
CHUNK = 8  # scenes a job


@dataclass(frozen=True)
class Network:
    """A checkpoint and what it is given: 'both', 'lidar' (the map is withheld) or 'map' (the LiDAR is)."""

    name: str
    config: NodeConfig
    sees: str = 'both'


@dataclass(frozen=True)
class SimSetup:
    """What a worker needs. The first network is the one in question: it is asked in every state."""

    networks: tuple[Network, ...]
    cache: Path
    lookahead: float = 20.0
    batch: int = 16
    osm: Path | None = None  # an OpenStreetMap extract for some of the worlds


@dataclass(frozen=True)
class SceneAnswers:
    """Everything measured on one scene."""

    info: SceneInfo
    with_route: TrueRoads  # truth as the map tells it: the direction follows the route if one is drawn
    without_route: TrueRoads  # truth without a route: the direction is the continuation
    estimates: dict[str, Estimate]  # method -> answer, given the scene's map (or none, where it has none)
    states: dict[tuple[str, str], Estimate]  # (method, state) -> answer, states as named above
    curve: dict[tuple[str, str, float], Estimate]  # (method, 'shift' or 'yaw', m or deg) -> answer
    attention: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # weights -> mask -> shares
    lidar_share: dict[str, float] = field(default_factory=dict)  # state -> share of channel attention


_worker: dict[str, object] = {}


def _store_of(setup: SimSetup) -> ResultCache:
    """Where answers of this setup are kept, below the cache."""
    named = [n.config.checkpoint for n in setup.networks if n.config.checkpoint != 'untrained']
    files = [Path(name or checkpoints.SHIPPED) for name in named]
    settings = (folder_name(setup.lookahead, setup.osm), setup.networks)
    return ResultCache(setup.cache / f'answers-{answer_store.digest(settings, files)}')


def _start(setup: SimSetup, store: ResultCache) -> None:
    _worker['setup'], _worker['store'] = setup, store
    _worker['pipelines'] = [BatchedPipeline(n.config) for n in setup.networks]
    torch.set_num_threads(1)  # after the pipelines, which take several: here every core has a process


def _job(seeds: Sequence[int]) -> list[SceneAnswers]:
    setup: SimSetup = _worker['setup']
    kept = _worker['store'].read(seeds)
    if kept is not None:
        return kept
    scenes = [obtain(seed, setup.cache, setup.lookahead, setup.osm) for seed in seeds]
    answers = answer([s for s in scenes if s is not None], setup, _worker['pipelines'])
    _worker['store'].write(seeds, answers)
    return answers


def answer(scenes: Sequence[Scene], setup: SimSetup, pipelines: Sequence[BatchedPipeline]) -> list[SceneAnswers]:
    """All methods on these scenes; `pipelines` belong to `setup.networks`, in order."""
    found = [_baselines(scene, setup) for scene in scenes]
    for rank, (network, pipeline) in enumerate(zip(setup.networks, pipelines, strict=True)):
        _ask_network(scenes, found, network, pipeline, setup, main=rank == 0)
    return found


def _baselines(scene: Scene, setup: SimSetup) -> SceneAnswers:
    inputs, ring = scene.inputs(), setup.lookahead
    answers = SceneAnswers(scene.info, scene.with_route, scene.without_route, {}, {}, {})
    answers.estimates[STRAIGHT] = straight_ahead(inputs)
    answers.estimates[MAP] = map_alone(inputs, lookahead=ring)
    answers.estimates[LIDAR] = lidar_alone(inputs, lookahead=ring)
    for (kind, size), at in scene.curve_inputs().items():
        answers.curve[MAP, kind, size] = map_alone(at, lookahead=ring)
    bare = scene.bare_inputs()
    if bare is not None:
        answers.states[LIDAR, BARE] = lidar_alone(bare, lookahead=ring)
    return answers


def _ask_network(scenes: Sequence[Scene], found: list[SceneAnswers], network: Network, pipeline: BatchedPipeline,
                 setup: SimSetup, main: bool) -> None:
    """Fill in what this network answers. A sweep that it refuses counts as no branch found."""
    wanted: list[tuple[int, tuple, Sample]] = []  # scene, key, features
    nothing = MapFeatures(empty_map_bev(pipeline.grid, pipeline.device), Mode.LIDAR_ONLY, 'no_map')

    def want(index: int, key: tuple, inputs: PlacedSweep, lidar: torch.Tensor | None,
             of_map: MapFeatures | None) -> None:
        """lidar, of_map: features already made; None makes them."""
        try:
            lidar = pipeline.lidar_features(inputs) if lidar is None else lidar
        except InputError:
            _store(found[index], network.name, key, Estimate(()))
            return
        of_map = pipeline.map_features(inputs, inputs.layout) if of_map is None else of_map
        if network.sees == 'map':
            lidar = torch.zeros_like(lidar)
        if network.sees == 'lidar':
            of_map = nothing
        wanted.append((index, key, Sample(inputs.cloud.stamp_ns, lidar, of_map)))

    for index, scene in enumerate(scenes):
        inputs = scene.inputs()
        try:
            lidar = pipeline.lidar_features(inputs)
        except InputError:
            lidar = None
        want(index, (), inputs, lidar, None)
        for key, at in scene.curve_inputs().items():
            want(index, key, at, lidar, None)
        bare = scene.bare_inputs()
        if bare is not None:
            want(index, (BARE,), bare, None, None)
        if main:
            want(index, (NO_MAP,), inputs, lidar, nothing)
            if lidar is not None:
                want(index, (NO_LIDAR,), inputs, torch.zeros_like(lidar), None)
            if bare is not None:
                want(index, (BARE_NO_MAP,), bare, None, nothing)
    results = pipeline.answer([sample for _, _, sample in wanted], setup.batch)
    for (index, key, _), result in zip(wanted, results, strict=True):
        _store(found[index], network.name, key, Estimate(result.branches, result.direction))
        if main and key in ((), (NO_MAP,)):
            found[index].lidar_share[key[0] if key else 'as given'] = result.attention.lidar_share
        if main and key == ():
            found[index].attention.update(_shares(result, scenes[index]))


def _store(answers: SceneAnswers, name: str, key: tuple, estimate: Estimate) -> None:
    if key == ():
        answers.estimates[name] = estimate
    elif len(key) == 1:
        answers.states[name, key[0]] = estimate
    else:
        answers.curve[name, key[0], key[1]] = estimate


def _shares(result: FusionResult, scene: Scene) -> dict[str, dict[str, tuple[float, float]]]:
    """Shares of attention and area, for the raw weights of every stage and for the heatmap as it is published."""
    masks, visible = scene.masks()
    weights = {**result.attention.spatial, PUBLISHED: spatial_heatmap(result)}
    return {name: {mask: attention_shares(w, cells, visible) for mask, cells in masks.items()}
            for name, w in weights.items() if np.ptp(w) > 0}


def run(first_seed: int, count: int, setup: SimSetup, workers: int = 1,
        progress: Callable[[int], None] = lambda scenes: None) -> list[SceneAnswers]:
    """`count` scenes of the seeds from `first_seed` on, made first where they are not in the cache, in order.

    Seeds whose world gives the vehicle no branch at all are passed over. progress: called with the number of scenes
    done. Answers are kept below the cache, chunk by chunk, and not asked for again. Raises ConfigurationError when a
    checkpoint cannot be used.
    """
    store = _store_of(setup)  # here, so that workers started later cannot see other code
    if workers <= 1:
        _start(setup, store)
        return _collect(first_seed, count, lambda jobs: map(_job, jobs), progress)
    for network in setup.networks:  # a bad checkpoint is reported here, not as a broken pool
        BatchedPipeline(network.config).close()
    with ProcessPoolExecutor(workers, get_context('spawn'), _start, (setup, store)) as pool:
        return _collect(first_seed, count, lambda jobs: pool.map(_job, jobs), progress)


def _collect(seed: int, count: int, work: Callable, progress: Callable[[int], None]) -> list[SceneAnswers]:
    found: list[SceneAnswers] = []
    for _ in range(10):
        missing = count - len(found)
        jobs = [tuple(range(s, min(s + CHUNK, seed + missing))) for s in range(seed, seed + missing, CHUNK)]
        seed += missing
        for answers in work(jobs):
            found += answers
            progress(len(answers))
        if len(found) == count:
            return found
    raise RuntimeError(f'the simulator gave only {len(found)} of {count} scenes with a branch')
