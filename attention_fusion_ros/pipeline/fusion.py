# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""preprocess -> backend -> postprocess: the one path from points to directions, shared by node, replay and evaluation.

    features = preprocess(sweep)                # points and map image on the BEV grid
    output = backend.infer(features, history)   # the network
    result = fusion_result(features, output)    # branches, direction, attention
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_fusion_ros.backends.base import Backend, takes_arrays
from attention_fusion_ros.backends.create import create_backend
from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, MapImage, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.kernels import chosen
from attention_fusion_ros.network.history import FeatureHistory
from attention_fusion_ros.network.map_tracker import MapTracker
from attention_fusion_ros.pipeline.contribution import contribution_heat
from attention_fusion_ros.pipeline.gradcam import ExplanationContext, explain, explains
from attention_fusion_ros.pipeline.map_motion import MapMotionCheck
from attention_fusion_ros.pipeline.postprocess import fusion_result
from attention_fusion_ros.pipeline.preprocess import Features, MapFeatures, Preprocessor, works_on_arrays
from attention_fusion_ros.pipeline.route_behind import RouteBehindCheck
from attention_fusion_ros.pipeline.sweep_motion import SweepMotionCheck
from attention_fusion_ros.utils.packages import is_installed
from attention_fusion_ros.utils.tensors import upload
from attention_fusion_ros.utils.torch_later import inference_mode, torch

WARM_UPS, WARM_UP_POINTS = 3, 120_000  # runs, points of a sweep


@dataclass(frozen=True)
class PipelineInfo:
    """What is reported about a pipeline."""

    backend: str
    device: str  # for example `cpu` or `cuda:0`
    device_note: str  # why the network does not run on a CUDA device although `device` is auto, '' where it does
    device_fell_back: bool  # there is a CUDA device that would be used if it worked
    checkpoint_name: str
    trained: bool  # False: random weights
    registers_map: bool  # the network corrects where the map image lies


class FusionPipeline:
    """The three parts and the memory of earlier sweeps. Not thread-safe: one caller at a time."""

    def __init__(self, config: NodeConfig, backend: Backend | None = None):
        """backend: default the one that `config` asks for.

        Raises ConfigurationError when the backend, the checkpoint or the device cannot be used.
        """
        self.config = config
        self.backend = backend or create_backend(config)
        _check_lookahead(config, self.backend)
        network = self.backend.model.network
        self.grid = Grid(network.extent, network.cells)
        arrays = takes_arrays(self.backend) and works_on_arrays(config.kernels)
        if not arrays and not is_installed('torch'):
            raise ConfigurationError("without torch, the loops over points that numba compiles are needed: pip install "
                                     "numba and set the parameter 'kernels' to auto, or install torch.")
        self.preprocess = Preprocessor(self.grid, self.backend.device, config, network.bins, network.track, arrays)
        self._history = FeatureHistory(network.time_steps - 1)
        self._map_tracker = MapTracker()
        self._map_checks = (MapMotionCheck(), RouteBehindCheck())
        self._sweep_check = SweepMotionCheck()
        self._epoch = 0  # of the latest sweep

    def run(self, sweep: SyncedSweep) -> FusionResult:
        """One sweep -> its result. Without a map image: `lidar_only`, with the sweep's `map_reason` saying why.

        Raises InputError when the cloud cannot be used: `bad_transform`, `no_points_in_range`; `not_finite` when the
        network answers with NaN.
        """
        if sweep.epoch != self._epoch:  # time has jumped: earlier sweeps have lost their meaning
            self.reset()
            self._epoch = sweep.epoch
        return self._run(sweep, remember=True)

    def _run(self, sweep: SyncedSweep, remember: bool) -> FusionResult:
        stage_ms: dict[str, float] = {}
        T_odom_base = sweep.motion.T_odom_base
        with chosen(self.config.kernels), torch_threads(self.backend.threads), inference_mode():
            with self._timed(stage_ms, 'bev'):
                features = self.preprocess(sweep, remember)
                if remember:
                    features = self._with_map_doubts(self._with_sweep_doubt(features, sweep), sweep)
            with self._timed(stage_ms, 'network'):
                history, prior = self._history.before(T_odom_base), self._prior(sweep, features.map)
                output = self.backend.infer(features.lidar[None], features.map.grid[None], history, prior)
            with self._timed(stage_ms, 'postprocess'):
                context = ExplanationContext(features.lidar, features.map.grid, history, prior)
                result = fusion_result(features, output, self.backend.model, self.config, stage_ms, context,
                                       contribution_heat(self.backend, context))
                if remember:  # once it is known to be finite
                    self._history.add(T_odom_base, output.encoded)
                return self._carried(result, sweep) if remember and self.backend.model.carries_map else result

    def _with_sweep_doubt(self, features: Features, sweep: SyncedSweep) -> Features:
        """The features with what the motion of the vehicle says about the sweep."""
        found = self._sweep_check.finding(sweep.cloud, sweep.motion)
        return features if found is None else replace(features, findings=(*features.findings, found))

    def _with_map_doubts(self, features: Features, sweep: SyncedSweep) -> Features:
        """The features with what the motion of the vehicle says about the map image."""
        if sweep.map_image is None or features.map.mode is not Mode.FUSED:
            return features
        found = [check.finding(sweep.map_image, sweep.motion, self.config.map) for check in self._map_checks]
        doubts = tuple(finding for finding in found if finding is not None)
        return replace(features, map=replace(features.map, findings=features.map.findings + doubts))

    def _prior(self, sweep: SyncedSweep, map_features: MapFeatures) -> Any:
        """(1, 13) where earlier sweeps put the map; None where nothing is known, or nobody asks."""
        if not self.backend.model.carries_map or map_features.mode is not Mode.FUSED:
            return None
        known = self._map_tracker.prior(sweep.cloud.stamp_ns, sweep.motion.T_odom_base)
        if known is None:
            return None
        return known[None] if takes_arrays(self.backend) else upload(known, str(self.backend.device))[None]

    def _carried(self, result: FusionResult, sweep: SyncedSweep) -> FusionResult:
        """The result with the state of what is known about the map's place; that is remembered."""
        tracker, found = self._map_tracker, result.alignment
        tracker.update(sweep.cloud.stamp_ns, sweep.motion.T_odom_base, found, 0.0 if found is None else found.fits)
        return result if found is None else replace(result, alignment=replace(found, state=tracker.state.value))

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM of a result of `run`: stage name -> (h, w) float32, see `gradcam.explain`.

        Raises InputError `no_gradients` where `explains` is False, or the checkpoint was removed meanwhile.
        """
        with chosen(self.config.kernels):
            return explain(self.backend, result)

    @property
    def explains(self) -> bool:
        """Whether the backend has the gradients that `explain` needs."""
        return explains(self.backend)

    @property
    def info(self) -> PipelineInfo:
        """What is reported about this pipeline."""
        backend, model = self.backend, self.backend.model
        return PipelineInfo(backend.name, str(backend.device), backend.device_note, backend.device_fell_back,
                            model.name, model.trained, model.registers_map)

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running (everything not read-only)."""
        self.preprocess.update(config)
        self.config = config

    def reset(self) -> None:
        """Forget earlier sweeps: time has jumped back."""
        self.preprocess.reset()
        self._history.clear()
        self._map_tracker.clear()
        for check in (*self._map_checks, self._sweep_check):
            check.clear()

    def warm_up(self) -> None:
        """A few runs on a made-up sweep of full size with a map image: the first real one does not pay for them."""
        rng = np.random.default_rng(0)
        xyz = rng.uniform(-self.grid.extent, self.grid.extent, (WARM_UP_POINTS, 3)).astype(np.float32)
        xyz[:, 2] *= 0.01
        cloud = PointCloud(1, '', xyz, rng.uniform(0.0, 1.0, len(xyz)).astype(np.float32))
        road = np.zeros((320, 320), np.float32)
        road[:, 150:170] = 1.0
        image = MapImage(1, '', road, road)
        for _ in range(WARM_UPS):
            self._run(SyncedSweep(cloud, Motion(np.eye(4), np.eye(4), np.eye(4)), image), remember=False)

    def close(self) -> None:
        """Give the memory back."""
        self.reset()
        self.backend.close()

    @contextmanager
    def _timed(self, stage_ms: dict[str, float], stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.backend.device.type == 'cuda':
            torch.cuda.synchronize(self.backend.device)
        stage_ms[stage] = 1e3 * (time.perf_counter() - start)


def _check_lookahead(config: NodeConfig, backend: Backend) -> None:
    """Raises ConfigurationError when the parameter `lookahead` is none of those of the checkpoint."""
    rings, name = backend.model.network.rings, backend.model.name
    if not any(math.isclose(ring, config.lookahead) for ring in rings):
        trained_for = ' or '.join(f'{ring:g}' for ring in rings)
        raise ConfigurationError(f"parameter 'lookahead' is {config.lookahead:g} m but checkpoint '{name}' was trained "
                                 f'for {trained_for} m: set lookahead to {trained_for} or use another checkpoint.')
