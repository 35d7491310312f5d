# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""decode -> bev -> network -> answer: the one path from points to directions, shared by node, replay and evaluation."""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.backends.device import choose_device, default_threads
from attention_fusion_ros.bev.accumulate import Points, SweepAccumulator, accumulated_bev
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import empty_map_bev, map_bev
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import (
    Attention,
    FusionResult,
    MapAlignment,
    MapImage,
    Mode,
    Motion,
    PointCloud,
    SyncedSweep,
)
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import is_rigid, transform_points
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.memory import Memory
from attention_fusion_ros.network.model import ROAD, NetworkOutput, Past
from attention_fusion_ros.pipeline.gradcam import explain
from attention_fusion_ros.pipeline.postprocess import decode_head
from attention_fusion_ros.utils.tensors import upload

logger = logging.getLogger(__name__)

WARM_UPS, WARM_UP_POINTS = 3, 120_000  # runs, points of a sweep


class FusionPipeline:
    """Holds the network and the last sweeps. Not thread-safe: one caller at a time."""

    def __init__(self, config: NodeConfig):
        """Raises ConfigurationError when the checkpoint or the device cannot be used."""
        self.config = config
        self._device, self.device_note, self.device_fell_back = choose_device(config.device)
        torch.set_num_threads(config.threads or default_threads())
        loaded = checkpoints.resolve(config.checkpoint, config.allow_untrained)
        network = loaded.network.config
        if not math.isclose(network.lookahead, config.lookahead):
            raise ConfigurationError(f"parameter 'lookahead' is {config.lookahead:g} m but checkpoint '{loaded.name}' "
                                     f'was trained for {network.lookahead:g} m: set lookahead to {network.lookahead:g} '
                                     'or use another checkpoint.')
        self.checkpoint_name, self.trained = loaded.name, loaded.trained
        self.grid = Grid(network.extent, network.cells)
        self._calibration = loaded.calibration
        self._network = loaded.network.to(self._device, memory_format=torch.channels_last)
        self.registers_map = network.map_registration['name'] != 'none'
        self._memory = Memory(network.time_steps - 1)
        self._labels = loaded.network.channel_labels()
        self._history = SweepAccumulator(config.cloud)
        self._epoch = 0  # of the latest sweep
        self._explicable: tuple[int, Past | None] = 0, None  # stamp of the latest sweep, what came before it

    @property
    def device(self) -> str:
        """Where the network runs, for example `cpu` or `cuda:0`."""
        return str(self._device)

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running (everything not read-only)."""
        self._history.update(config.cloud)
        self.config = config

    def reset(self) -> None:
        """Forget earlier sweeps: time has jumped back."""
        self._history.clear()
        self._memory.clear()

    def warm_up(self) -> None:
        """A few runs on a made-up sweep of full size with a map image: the first real one does not pay for them."""
        rng = np.random.default_rng(0)
        xyz = rng.uniform(-self.grid.extent, self.grid.extent, (WARM_UP_POINTS, 3)).astype(np.float32)
        xyz[:, 2] *= 0.01
        cloud = PointCloud(1, '', xyz, rng.uniform(0.0, 1.0, len(xyz)).astype(np.float32))
        road = MapImage(1, '', np.ones((320, 320), np.float32), np.zeros((320, 320), np.float32))
        for _ in range(WARM_UPS):
            self._run(SyncedSweep(cloud, Motion(np.eye(4), np.eye(4), np.eye(4)), road), remember=False)

    def close(self) -> None:
        """Give the memory back."""
        self.reset()
        self._network = None
        if self._device.type == 'cuda':
            torch.cuda.empty_cache()

    def run(self, sweep: SyncedSweep) -> FusionResult:
        """One sweep -> its result. Without a map image: `lidar_only`, with the sweep's `map_reason` saying why.

        Raises InputError when the cloud cannot be used: `bad_transform`, `no_points_in_range`.
        """
        if sweep.epoch != self._epoch:  # time has jumped: earlier sweeps have lost their meaning
            self.reset()
            self._epoch = sweep.epoch
        return self._run(sweep, remember=True)

    def explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM of the latest result of `run`, as `explain.explain` gives it: stage name -> (h, w) float32.

        Of an earlier result as well, where the network has no attention over past sweeps: only the latest are kept.
        """
        stamp_ns, past = self._explicable
        lidar, map_image = (self._upload(bev)[None].contiguous(memory_format=torch.channels_last)
                            for bev in (result.lidar_bev, result.map_bev))
        return explain(self._network, lidar, map_image, result, past if stamp_ns == result.stamp_ns else None)

    @torch.inference_mode()
    def _run(self, sweep: SyncedSweep, remember: bool) -> FusionResult:
        cloud, motion = sweep.cloud, sweep.motion
        stage_ms: dict[str, float] = {}
        with self._timed(stage_ms, 'bev'):
            lidar = self._lidar_bev(cloud, motion, remember)
            map_tensor, mode, reason = self._map_bev(sweep.map_image, motion, sweep.map_reason)
        with self._timed(stage_ms, 'network'):
            past = self._memory.past(motion.T_odom_base)
            output = self._network(lidar[None].contiguous(memory_format=torch.channels_last),
                                   map_tensor[None].contiguous(memory_format=torch.channels_last), past)
            self._explicable = cloud.stamp_ns, past
            if remember:
                self._memory.add(motion.T_odom_base, output.encoded)
            head = output.head[0].float().cpu().numpy()
            no_direction = float(output.no_direction[0])
        with self._timed(stage_ms, 'postprocess'):
            answer = decode_head(head, no_direction, mode is Mode.FUSED, self._calibration, self.config.branches)
            attention = self._attention(output)
        return FusionResult(
            stamp_ns=cloud.stamp_ns, mode=mode, reason=reason, lookahead=self.config.lookahead,
            branches=answer.branches, direction=answer.direction, direction_reason=answer.direction_reason,
            distribution=answer.distribution, attention=attention, lidar_bev=lidar.cpu().numpy(),
            map_bev=map_tensor.cpu().numpy(), extent=self.grid.extent, trained=self.trained, stage_ms=stage_ms,
            alignment=self._alignment(output, mode))

    def _lidar_bev(self, cloud: PointCloud, motion: Motion, remember: bool) -> Tensor:
        if not is_rigid(motion.T_base_sensor):
            raise InputError('bad_transform', 'the sensor -> base_link transform is not a rigid transform.',
                             'check T_base_sensor or the tf that gives it.')
        xyz = transform_points(self._upload(motion.T_base_sensor), self._upload(cloud.xyz))
        points = Points(xyz, None if cloud.intensity is None else self._upload(cloud.intensity))
        limits, T_odom_base = self.config.cloud, motion.T_odom_base
        earlier = () if T_odom_base is None else self._history.earlier(cloud.stamp_ns, T_odom_base)
        bev = accumulated_bev(points, earlier, self.grid, limits, limits.accumulate_points)
        if remember and T_odom_base is not None:
            self._history.add(cloud.stamp_ns, T_odom_base, points)
        return bev

    def _map_bev(self, image: MapImage | None, motion: Motion, map_reason: str) -> tuple[Tensor, Mode, str]:
        if image is None:
            return empty_map_bev(self.grid, self._device), Mode.LIDAR_ONLY, map_reason or 'no_map'
        try:
            tensor = map_bev(image, motion, self.config.map, self.grid, self._device)
        except InputError as error:
            return empty_map_bev(self.grid, self._device), Mode.LIDAR_ONLY, error.reason
        if not bool((tensor[0] > ROAD).any()):  # an all-black image tells as much as none
            return empty_map_bev(self.grid, self._device), Mode.LIDAR_ONLY, 'map_without_roads'
        return tensor, Mode.FUSED, ''

    def _attention(self, output: NetworkOutput) -> Attention:
        channel, told = (t[0].float().cpu().numpy() for t in (output.channel, output.contribution))
        width = self._network.config.lidar_width
        lidar, of_map = float(told[:width].mean()), float(told[width:].mean())  # means: the widths differ
        share = lidar / (lidar + of_map) if lidar + of_map > 0 else 0.5
        spatial = {name: weights[0, 0].float().cpu().numpy() for name, weights in output.spatial.items()}
        time = None if output.time is None else output.time[0].float().mean(dim=(1, 2)).cpu().numpy()
        return Attention(spatial=spatial, channel=channel, channel_labels=self._labels, lidar_share=share,
                         map_share=1.0 - share, time=time)

    def _alignment(self, output: NetworkOutput, mode: Mode) -> MapAlignment | None:
        """Only of a map that was used: without one the network's answer means nothing."""
        if output.alignment is None or mode is not Mode.FUSED:
            return None
        (dx, dy, dyaw), std = output.alignment[0].float().tolist(), output.alignment_std[0].float().tolist()
        return MapAlignment(dx, dy, dyaw, tuple(std))

    def _upload(self, array: np.ndarray) -> Tensor:
        return upload(array, self._device)

    @contextmanager
    def _timed(self, stage_ms: dict[str, float], stage: str):
        start = time.perf_counter()
        yield
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
        stage_ms[stage] = 1e3 * (time.perf_counter() - start)
