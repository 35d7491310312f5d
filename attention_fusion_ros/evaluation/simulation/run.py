# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs every method on every held-out simulated scene, several processes at a time, networks in batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.datasets.blind import PLACES, WIDTHS_DEG, blinded, middle
from attention_fusion_ros.datasets.held_out import HeldOutInfo, HeldOutScene, cache_key, obtain
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.engines.engine import Engine, Lost, own
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.evaluation import result_cache
from attention_fusion_ros.evaluation.checkpoints import BOTH, LIDAR_ONLY, MAP_ONLY
from attention_fusion_ros.evaluation.methods.baselines import (
    LIDAR,
    MAP,
    STRAIGHT,
    lidar_alone,
    map_alone,
    straight_ahead,
)
from attention_fusion_ros.evaluation.result_cache import ResultCache
from attention_fusion_ros.metrics.attention_share import attention_shares
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.pipeline.preprocess import Features, MapFeatures
from attention_fusion_ros.utils.processes import process_pool, with_own
from attention_fusion_ros.visualization.panels import spatial_heatmap

PUBLISHED = 'heatmap as published'
AS_GIVEN, NO_MAP, NO_LIDAR = 'as given', 'map withheld', 'LiDAR withheld'
NO_VEHICLES, NO_VEHICLES_NO_MAP = 'without vehicles', 'without vehicles or map'
SCENES_PER_JOB = 8
MAX_ROUNDS = 10  # of seeds in place of those whose world has no branch


# () as given, (state,), ('shift' or 'yaw', size of the map error in m or deg), or (place and width in deg of a sector
# that was removed, whether there is a map)
Key = tuple[()] | tuple[str] | tuple[str, float] | tuple[str, int, bool]


@dataclass(frozen=True)
class Network:
    """A checkpoint and what it is given: `BOTH`, `LIDAR_ONLY` (the map is withheld) or `MAP_ONLY` (the LiDAR is)."""

    name: str
    config: NodeConfig
    sees: str = BOTH


@dataclass(frozen=True)
class SimSetup:
    """What a worker needs. The first network is the one in question: it is run in every state."""

    networks: tuple[Network, ...]
    cache: Path
    lookahead: float = 20.0  # m
    batch: int = 16
    osm: Path | None = None  # an OpenStreetMap extract for some of the worlds
    profile: str = 'v1'  # kinds of places and sensors, see `simulation.world.profile`


@dataclass(frozen=True)
class ScenePredictions:
    """Everything measured on one scene."""

    info: HeldOutInfo
    truth_routed: TrueRoads  # truth as the map tells it: the direction follows the route if one is drawn
    truth_unrouted: TrueRoads  # truth without a route: the direction is the continuation
    predictions: dict[str, Prediction]  # method -> prediction, given the scene's map (or none, where it has none)
    states: dict[tuple[str, str], Prediction]  # (method, state) -> prediction, states as named above
    curve: dict[tuple[str, str, float], Prediction]  # (method, 'shift' or 'yaw', m or deg) -> prediction
    attention: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)  # weights -> mask -> shares
    lidar_share: dict[str, float] = field(default_factory=dict)  # state -> share of channel attention
    # (place, width in deg, whether there is a map) of a removed sector -> prediction of the network in question
    blanked: dict[tuple[str, int, bool], Prediction] = field(default_factory=dict)

    def store(self, method: str, key: Key, prediction: Prediction) -> None:
        """Put a prediction where its key says."""
        if len(key) == 0:
            self.predictions[method] = prediction
        elif len(key) == 1:
            self.states[method, key[0]] = prediction
        elif len(key) == 3:
            self.blanked[key] = prediction
        else:
            self.curve[method, key[0], key[1]] = prediction


@dataclass(frozen=True)
class Query:
    """One sweep to run a network on: which scene, in which state, and its features."""

    scene: int
    key: Key
    sample: Features


def predict_scenes(scenes: Sequence[HeldOutScene], setup: SimSetup,
                   pipelines: Sequence[BatchedPipeline]) -> list[ScenePredictions]:
    """All methods on these scenes; `pipelines` belong to `setup.networks`, in order."""
    found = [_baselines(scene, setup) for scene in scenes]
    for rank, (network, pipeline) in enumerate(zip(setup.networks, pipelines, strict=True)):
        _run_network(scenes, found, network, pipeline, setup, main=rank == 0)
    return found


def _baselines(scene: HeldOutScene, setup: SimSetup) -> ScenePredictions:
    inputs, ring = scene.inputs(), setup.lookahead
    found = ScenePredictions(scene.info, scene.truth_routed, scene.truth_unrouted, {}, {}, {})
    found.predictions[STRAIGHT] = straight_ahead(inputs)
    found.predictions[MAP] = map_alone(inputs, lookahead=ring)
    found.predictions[LIDAR] = lidar_alone(inputs, lookahead=ring)
    for (kind, size), spoiled in scene.curve_inputs().items():
        found.curve[MAP, kind, size] = map_alone(spoiled, lookahead=ring)
    without_vehicles = scene.inputs_without_vehicles()
    if without_vehicles is not None:
        found.states[LIDAR, NO_VEHICLES] = lidar_alone(without_vehicles, lookahead=ring)
    return found


@dataclass(frozen=True)
class Lidar:
    """What the network is given of a sweep."""

    grid: Any  # (C, H, W), of numpy or of torch, as the backend takes it
    coverage: Any  # (2, K) or None, see `pipeline.preprocess.Features`


class QueryBuilder:
    """Makes the features of everything that one network is run on, over a batch of scenes."""

    def __init__(self, network: Network, pipeline: BatchedPipeline, found: Sequence[ScenePredictions]):
        self.queries: list[Query] = []
        self._network, self._pipeline, self._found = network, pipeline, found
        self._no_map = pipeline.preprocess.no_map()

    def add_scene(self, index: int, scene: HeldOutScene, all_states: bool) -> None:
        """The scene as it is, with its maps of known error, and without vehicles.

        all_states: also with the map, the LiDAR, or map and vehicles withheld, and with sectors removed.
        """
        inputs = scene.inputs()
        try:
            lidar = self._lidar(inputs)
        except InputError:
            lidar = None
        self._add(index, (), inputs, lidar)
        for key, spoiled in scene.curve_inputs().items():
            self._add(index, key, spoiled, lidar)
        without_vehicles = scene.inputs_without_vehicles()
        if without_vehicles is not None:
            self._add(index, (NO_VEHICLES,), without_vehicles)
        if not all_states:
            return
        self._add(index, (NO_MAP,), inputs, lidar, self._no_map)
        if lidar is not None:
            self._add(index, (NO_LIDAR,), inputs, _no_lidar(lidar))
        if without_vehicles is not None:
            self._add(index, (NO_VEHICLES_NO_MAP,), without_vehicles, None, self._no_map)
        self._add_blanked(index, scene.info.seed, inputs)

    def _add_blanked(self, index: int, seed: int, inputs: PlacedSweep) -> None:
        """The scene with sectors removed, ahead and anywhere, each without its map and, if it has one, with it."""
        drawn = self._pipeline.preprocess.map(inputs, inputs.layout) if inputs.map_image is not None else None
        for place, width in itertools.product(PLACES, [width for width in WIDTHS_DEG if width]):
            where = middle(place, np.random.default_rng([seed, width, 33]))
            rest = blinded(inputs, where, math.radians(width))
            try:
                lidar = self._lidar(rest)
            except InputError:
                lidar = None
            self._add(index, (place, width, False), rest, lidar, self._no_map)
            if drawn is not None:
                self._add(index, (place, width, True), rest, lidar, drawn)

    def _lidar(self, inputs: PlacedSweep) -> Lidar:
        """Raises InputError."""
        return Lidar(self._pipeline.preprocess.lidar(inputs), self._pipeline.preprocess.coverage(inputs))

    def _add(self, index: int, key: Key, inputs: PlacedSweep, lidar: Lidar | None = None,
             map_features: MapFeatures | None = None) -> None:
        """lidar, map_features: features already made; None makes them. A refused sweep counts as no branch found."""
        try:
            lidar = self._lidar(inputs) if lidar is None else lidar
        except InputError as error:
            self._found[index].store(self._network.name, key, Prediction((), reason=error.reason))
            return
        if map_features is None:
            map_features = self._pipeline.preprocess.map(inputs, inputs.layout)
        if self._network.sees == MAP_ONLY:
            lidar = _no_lidar(lidar)
        if self._network.sees == LIDAR_ONLY:
            map_features = self._no_map
        sample = Features(inputs.cloud.stamp_ns, lidar.grid, map_features, lidar.coverage)
        self.queries.append(Query(index, key, sample))


def _no_lidar(lidar: Lidar) -> Lidar:
    """In place of features, where a network is asked about the map alone: the node would refuse the sweep."""
    return Lidar(lidar.grid * 0, None)  # of numpy or of torch, as the backend takes it


def _run_network(scenes: Sequence[HeldOutScene], found: Sequence[ScenePredictions], network: Network,
                 pipeline: BatchedPipeline, setup: SimSetup, main: bool) -> None:
    """Fill in what this network predicts."""
    builder = QueryBuilder(network, pipeline, found)
    for index, scene in enumerate(scenes):
        builder.add_scene(index, scene, all_states=main)
    results = pipeline.results([query.sample for query in builder.queries], setup.batch)
    for query, result in zip(builder.queries, results, strict=True):
        predictions = found[query.scene]
        predictions.store(network.name, query.key, Prediction.of(result))
        if main and query.key in ((), (NO_MAP,)):
            predictions.lidar_share[query.key[0] if query.key else AS_GIVEN] = result.attention.lidar_share
        if main and query.key == ():
            predictions.attention.update(_shares(result, scenes[query.scene]))


def _shares(result: FusionResult, scene: HeldOutScene) -> dict[str, dict[str, tuple[float, float]]]:
    """Shares of attention and area, for the raw weights of every stage and for the heatmap as it is published."""
    masks, visible = scene.masks()
    shares = {}
    for name, weights in {**result.attention.spatial, PUBLISHED: spatial_heatmap(result)}.items():
        if np.ptp(weights) > 0:
            shares[name] = {mask: attention_shares(weights, cells, visible) for mask, cells in masks.items()}
    return shares


class SceneWorker:
    """The pipelines of a setup and its cache of results, ready to run jobs.

    Raises ConfigurationError when a checkpoint cannot be used.
    """

    def __init__(self, setup: SimSetup, cache: ResultCache[ScenePredictions]):
        self._setup, self._cache = setup, cache
        self._pipelines = [BatchedPipeline(replace(network.config, threads=1)) for network in setup.networks]

    def run(self, seeds: Sequence[int]) -> list[ScenePredictions]:
        """Predictions for those of these seeds that make a scene, from the cache where they are."""
        kept = self._cache.read(seeds)
        if kept is not None:
            return kept
        scenes = [obtain(seed, self._setup.cache, self._setup.lookahead, self._setup.osm, self._setup.profile)
                  for seed in seeds]
        found = predict_scenes([s for s in scenes if s is not None], self._setup, self._pipelines)
        self._cache.write(seeds, found)
        return found

    def close(self) -> None:
        """Free the networks."""
        for pipeline in self._pipelines:
            pipeline.close()


def cache_of(setup: SimSetup) -> ResultCache[ScenePredictions]:
    """Where predictions of this setup are kept, below `setup.cache`."""
    named = [n.config.checkpoint for n in setup.networks if n.config.checkpoint != 'untrained']
    files = [checkpoints.path_of(name) for name in named]
    settings = (cache_key(setup.lookahead, setup.osm, setup.profile), setup.networks)
    return ResultCache(setup.cache / f'results-{result_cache.results_digest(settings, files)}', ScenePredictions)


def evaluate_scenes(first_seed: int, count: int, setup: SimSetup, workers: int = 1,
                    progress: Callable[[int], object] = lambda scenes: None, engine: Engine | None = None,
                    ) -> list[ScenePredictions]:
    """`count` scenes of the seeds from `first_seed` on, made first where they are not in the cache, in order.

    Seeds whose world gives the vehicle no branch at all are passed over. progress: called with the number of scenes
    done. Predictions are kept below the cache, job by job, and not made again. engine: works in the place of
    `workers` processes; its workers must see the cache. Raises ConfigurationError when a
    checkpoint cannot be used, RuntimeError when too few seeds make a scene.
    """
    cache = cache_of(setup)  # here, so that workers started later cannot see other code
    # Also with several processes: a bad checkpoint is reported here, not as a broken pool.
    with closing(SceneWorker(setup, cache)) as worker:
        if engine is not None:
            here = replace(setup, cache=setup.cache.absolute())
            return _collect(first_seed, count, lambda jobs: _on_engine(engine, here, cache, jobs), progress)
        if workers <= 1:
            return _collect(first_seed, count, lambda jobs: map(worker.run, jobs), progress)
    with process_pool(workers, SceneWorker, (setup, cache)) as pool:
        return _collect(first_seed, count, lambda jobs: pool.map(partial(with_own, SceneWorker.run), jobs), progress)


Jobs = list[tuple[int, ...]]


def _on_engine(engine: Engine, setup: SimSetup, cache: ResultCache[ScenePredictions],
               jobs: Jobs) -> Iterator[list[ScenePredictions]]:
    """The results of jobs in their order. Raises ConfigurationError where a worker dies time and again."""
    there = ResultCache(cache.folder.absolute(), ScenePredictions)
    early: dict[int, list[ScenePredictions]] = {}
    following = 0
    for number, found in engine.run(_run_own, [(setup, there.folder, job) for job in jobs]):
        if isinstance(found, Lost):
            raise ConfigurationError(f'scenes {jobs[number][0]} to {jobs[number][-1]}: {found.message}. Remedy: give '
                                     'the same command again; what was made is kept')
        early[number] = found
        while following in early:
            yield early.pop(following)
            following += 1


def _own_worker(setup: tuple[SimSetup, Path]) -> SceneWorker:
    return SceneWorker(setup[0], ResultCache(setup[1], ScenePredictions))


def _run_own(work: tuple[SimSetup, Path, tuple[int, ...]]) -> list[ScenePredictions]:
    """A job, by the worker of this process."""
    setup, folder, seeds = work
    return own(_own_worker, (setup, folder)).run(seeds)


def _collect(seed: int, count: int, work: Callable[[Jobs], Iterable[list[ScenePredictions]]],
             progress: Callable[[int], object]) -> list[ScenePredictions]:
    found: list[ScenePredictions] = []
    for _ in range(MAX_ROUNDS):
        missing = count - len(found)
        jobs = [tuple(range(s, min(s + SCENES_PER_JOB, seed + missing)))
                for s in range(seed, seed + missing, SCENES_PER_JOB)]
        seed += missing
        for predictions in work(jobs):
            found += predictions
            progress(len(predictions))
        if len(found) == count:
            return found
    raise RuntimeError(f'the simulator gave only {len(found)} of {count} scenes with a branch')
