# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A synchronised sweep -> the BEV grids that the network is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.backends.base import Device
from attention_fusion_ros.bev.accumulate import EarlierSweep, SweepAccumulator, views, within_limit
from attention_fusion_ros.bev.coverage import View, coverage, drawn_bearings
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import empty_map_bev, map_bev, map_source, ring_share, with_wide_route
from attention_fusion_ros.bev.map_quality import map_problem
from attention_fusion_ros.bev.map_source import MapSource, sample_planes
from attention_fusion_ros.bev.place import Placed, outside_own_body
from attention_fusion_ros.bev.sweep import Look, SweepGrids, sensor_reach, sweep_grids
from attention_fusion_ros.bev.track import TrackBuffer, track_bev
from attention_fusion_ros.config import MapConfig, NodeConfig
from attention_fusion_ros.contracts import Finding, Mode, SyncedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import is_rigid
from attention_fusion_ros.kernels import chosen
from attention_fusion_ros.network.output import ROAD
from attention_fusion_ros.pipeline.familiarity import summary
from attention_fusion_ros.pipeline.plausibility import short_map
from attention_fusion_ros.utils.tensors import as_array, as_tensor, joined, upload
from attention_fusion_ros.utils.torch_later import torch, without_gradients


@dataclass(frozen=True)
class MapFeatures:
    """A map on the grid, or none."""

    grid: Any  # (3, H, W), channels as in bev.map_image.CHANNELS
    mode: Mode
    reason: str  # why there is no map, '' when there is one
    findings: tuple[Finding, ...] = ()  # what is doubtful about it although it is used
    route: bool = False  # whether one is drawn


@dataclass(frozen=True)
class Features:
    """What the network is given for one sweep: tensors, or arrays. Grids may be shared between sweeps."""

    stamp_ns: int
    lidar: Any  # (C, H, W), channels as in bev.lidar.CHANNELS; then the way driven where the network asks for it
    map: MapFeatures
    coverage: Any = None  # (2, K), see `bev.coverage.coverage`; None: not known, nothing is withheld for it
    own_reach: Any = None  # (K,) m, `Coverage.reach` of this sweep without earlier ones; None: not known
    findings: tuple[Finding, ...] = ()  # what is implausible about its inputs
    levels: Any = None  # see `bev.ground_level.ground_levels`; None: not asked
    sensor_height: float = 0.0  # m, z of the sensor in base_link


class Preprocessor:
    """Makes BEV grids of sweeps, and remembers sweeps to accumulate. Not thread-safe."""

    def __init__(self, grid: Grid, device: torch.device | Device, config: NodeConfig, bins: int = 120,
                 with_track: bool = False, arrays: bool = False):
        """bins: of the circular distribution, for which `Features.coverage` is told. with_track: the way driven is one
        layer more of the LiDAR grid, the last. arrays: make arrays and no tensors, see `works_on_arrays`.
        """
        self.grid, self.device, self._bins, self._with_track = grid, device, bins, with_track
        self._arrays = arrays
        self._on: torch.device | str | None = None if arrays else str(device)
        self._config = config
        self._accumulator = SweepAccumulator(config.cloud)
        self._map_source: MapSource | None = None  # of the newest map image, for the sweeps that share it
        self._track = TrackBuffer()

    def update(self, config: NodeConfig) -> None:
        """Take over parameters that may change while running."""
        self._config = config
        self._accumulator.update(config.cloud)

    def reset(self) -> None:
        """Forget earlier sweeps and the map image."""
        self._accumulator.clear()
        self._map_source = None
        self._track.clear()

    @without_gradients
    def __call__(self, sweep: SyncedSweep, remember: bool = True) -> Features:
        """The sweep, with earlier ones under it where odometry tells the motion, and its map image, on the grid.

        remember: keep the sweep for later ones. Raises InputError `bad_transform`, `no_points_in_range`.
        """
        grids, looked_at, earlier = self._accumulated(sweep, remember)
        lidar = self._tracked(grids.bev, sweep)
        return Features(sweep.cloud.stamp_ns, lidar, self.map(sweep), *self._coverage(looked_at, earlier),
                        sweep.findings, grids.levels, float(sweep.motion.T_base_sensor[2, 3]))

    @without_gradients
    def accumulated(self, sweep: SyncedSweep, remember: bool = True) -> Any:
        """(C, H, W) of the sweep with earlier ones under it; otherwise as calling the whole."""
        return self._tracked(self._accumulated(sweep, remember)[0].bev, sweep)

    @without_gradients
    def remember(self, sweep: SyncedSweep) -> None:
        """Keep a sweep for later ones without making its grids. Raises InputError `bad_transform`."""
        if sweep.motion.T_odom_base is not None:
            placed = self._placed(sweep)
            self._remember(sweep, placed, self._views(sweep, placed))

    def _remember(self, sweep: SyncedSweep, placed: Placed, looked_at: Sequence[View]) -> None:
        assert sweep.motion.T_odom_base is not None
        with chosen(self._config.kernels):
            self._accumulator.add(sweep.cloud.stamp_ns, sweep.motion.T_odom_base, placed, looked_at)
        self._track.add(sweep.cloud.stamp_ns, sweep.motion.T_odom_base)

    @without_gradients
    def track(self, sweep: SyncedSweep) -> Any:
        """(1, H, W) the way driven before the sweep, see `bev.track`; zeros without odometry.

        Sweeps that were remembered make it up, at most the last `bev.track.LENGTH_M` metres; a sweep that brings its
        own way is believed.
        """
        T = sweep.motion.T_odom_base
        if sweep.track is not None:
            return track_bev(sweep.track, self.grid, self._on)
        return track_bev(np.zeros((0, 2)) if T is None else self._track.poses(T), self.grid, self._on)

    def alone(self, sweep: SyncedSweep, layout: MapConfig | None = None) -> Features:
        """The sweep without earlier ones, and its map image; see `lidar` and `map`."""
        grids, looked_at = self._grids(sweep, self._placed(sweep))
        return Features(sweep.cloud.stamp_ns, self._tracked(grids.bev, sweep), self.map(sweep, layout),
                        *self._coverage(looked_at))

    @without_gradients
    def lidar(self, sweep: SyncedSweep) -> Any:
        """(C, H, W) of this sweep alone. Raises InputError `bad_transform`, `no_points_in_range`."""
        return self._tracked(self._grids(sweep, self._placed(sweep))[0].bev, sweep)

    def _tracked(self, lidar: Any, sweep: SyncedSweep) -> Any:
        """(C, H, W) with the layer that the network asks for besides."""
        return joined([lidar, self.track(sweep)]) if self._with_track else lidar

    @without_gradients
    def coverage(self, sweep: SyncedSweep) -> Any:
        """(2, K) of this sweep alone, see `bev.coverage.coverage`. Raises InputError `bad_transform`."""
        return self._coverage(self._views(sweep, self._placed(sweep)))[0]

    @without_gradients
    def map(self, sweep: SyncedSweep, layout: MapConfig | None = None) -> MapFeatures:
        """The sweep's map image. layout: how it lies on the ground, default as configured."""
        if sweep.map_image is None:
            return self.no_map(sweep.map_reason or 'no_map')
        if 'camera_image' in sweep.map_image.warnings:
            return self.no_map('camera_image')
        layout = layout or self._config.map
        self._map_source = map_source(sweep.map_image, layout, self.grid, self._on, self._map_source)
        try:
            with chosen(self._config.kernels):
                grid = map_bev(sweep.map_image, sweep.motion, layout, self.grid, self._on, self._map_source)
        except InputError as error:
            return self.no_map(error.reason)
        if problem := map_problem(grid, ROAD):
            dim = problem == 'map_without_roads' and 'map_dim' in sweep.map_image.warnings
            return self.no_map('map_dim' if dim else problem)
        share = ring_share(sweep.map_image, sweep.motion, layout, self._config.lookahead)
        doubt = short_map(share, self._config.lookahead)
        return MapFeatures(grid, Mode.FUSED, '', () if doubt is None else (doubt,), sweep.map_image.route is not None)

    def no_map(self, reason: str = 'no_map') -> MapFeatures:
        """The grid of a map that is not there."""
        return MapFeatures(empty_map_bev(self.grid, self._on), Mode.LIDAR_ONLY, reason)

    def _placed(self, sweep: SyncedSweep) -> Placed:
        """The sweep's points, and where their sensor is; on the CPU the arrays themselves."""
        if not is_rigid(sweep.motion.T_base_sensor):
            raise InputError('bad_transform', 'the sensor -> base_link transform is not a rigid transform.',
                             'check T_base_sensor or the tf that gives it.')
        cloud, T = sweep.cloud, sweep.motion.T_base_sensor
        if self.device.type == 'cpu':
            return Placed(cloud.xyz, cloud.intensity, T)
        xyz, intensity = (None if values is None else upload(values, str(self.device))
                          for values in (cloud.xyz, cloud.intensity))
        assert xyz is not None
        return Placed(xyz, intensity, T)

    def _grids(self, sweep: SyncedSweep, placed: Placed, earlier: Sequence[EarlierSweep] = ()
               ) -> tuple[SweepGrids, list[View]]:
        """What the points put on the grid, with earlier sweeps under them, and what each sensor looked at."""
        looks, limits = sensors_of(sweep), self._config.cloud
        with chosen(self._config.kernels):
            grids = sweep_grids(placed, [one.placed() for one in earlier], looks, self.grid, limits.min_range,
                                limits.max_height)
        if self._arrays != isinstance(grids.bev, np.ndarray):  # of arrays a compiled version makes arrays
            grids = SweepGrids(*map(as_array if self._arrays else as_tensor, grids))
        return grids, [View(reach, look.x, look.y) for reach, look in zip(grids.reach, looks, strict=True)]

    def _views(self, sweep: SyncedSweep, placed: Placed) -> list[View]:
        """What each sensor looked at, where nothing else is asked of the points."""
        looks, limits = sensors_of(sweep), self._config.cloud
        with chosen(self._config.kernels):
            reach = sensor_reach(placed, looks, limits.min_range, limits.max_height)
        if self._arrays != isinstance(reach, np.ndarray):
            reach = as_array(reach) if self._arrays else as_tensor(reach)
        return [View(of_sensor, look.x, look.y) for of_sensor, look in zip(reach, looks, strict=True)]

    def _accumulated(self, sweep: SyncedSweep, remember: bool) -> tuple[SweepGrids, list[View], list[EarlierSweep]]:
        """The sweep with earlier ones under it, what its sensors looked at, and the earlier sweeps."""
        placed, T_odom_base = self._placed(sweep), sweep.motion.T_odom_base
        if T_odom_base is None:
            return *self._grids(sweep, placed), []
        earlier = within_limit(placed, self._accumulator.earlier(sweep.cloud.stamp_ns, T_odom_base),
                               self._config.cloud.accumulate_points)
        grids, looked_at = self._grids(sweep, placed, earlier)
        if remember:
            self._remember(sweep, placed, looked_at)
        return grids, looked_at, earlier

    def _coverage(self, own: Sequence[View], earlier: Sequence[EarlierSweep] = ()) -> tuple[Any, Any]:
        """`Features.coverage` and `Features.own_reach`."""
        def of(looked_at: Sequence[View]) -> Any:
            return coverage(looked_at, self._bins, self._config.lookahead, self.grid.extent)
        before = views(earlier)
        alone = of(own)
        return of([*own, *before]) if before else alone, alone[1]


def sensors_of(sweep: SyncedSweep) -> list[Look]:
    """The sensors of a sweep. The parts of a turn that one of them sent count as one look, from where it was last."""
    parts = defaultdict(list)
    for part in sweep.sources:
        parts[part.frame_id].append(part)
    return [Look(tuple((part.first, part.last) for part in of_sensor), *of_sensor[-1].T_base_sensor[:2, 3].tolist())
            for of_sensor in parts.values()]


# What a sweep goes through between decoding and the network, and what is made of it afterwards.
OPERATIONS = (sweep_grids, sensor_reach, outside_own_body, coverage, drawn_bearings, sample_planes, with_wide_route,
              summary)


def works_on_arrays(kernels: str) -> bool:
    """Whether a sweep can go all the way in arrays, without torch: every operation has a version for them.

    kernels: the parameter of that name. Compiles or loads the loops.
    """
    sample = np.zeros((1, 3), np.float32)
    with chosen(kernels):
        return all(operation.choose(sample) is not operation.plain for operation in OPERATIONS)
