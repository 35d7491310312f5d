# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of profile v2 -> training samples by name: maps with their pose error apart, the way driven, rings, pairs.

    scenes = RoadScenes(SceneStore(find_shards([folder], grid)), grid, seed=1)
    batch = on_grid(collate_scenes([scenes[i] for i in (0, 1, 2)]), grid)
    batch['lidar'], batch['map_image'], batch['track'], batch['map_correction'], batch['branches']
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_CHANNELS
from attention_fusion_ros.bev.track import track_bev
from attention_fusion_ros.datasets.augment import (
    MapState,
    random_map_state,
    sensor_faults,
    turn_angles,
    turn_grid,
    turn_poses,
    view_faults,
)
from attention_fusion_ros.datasets.map_canvas import LAYERS, canvas_grid, draw_canvas, moved_maps
from attention_fusion_ros.datasets.scenes import QUANTUM, SceneInfo
from attention_fusion_ros.datasets.shards import SceneStore
from attention_fusion_ros.datasets.simulated import (
    SimulatedDataset,
    block_mean,
    draw_error,
    map_correction,
    pad_branches,
)
from attention_fusion_ros.simulation.sensors.map_image import MapError, random_style

DENSITY = LIDAR_CHANNELS.index('density')
NO_WINDOW_M = 0.0
Item = dict[str, np.ndarray]


class RoadScenes(SimulatedDataset):
    """Item i -> a dictionary of arrays, see `__getitem__`. `epoch` changes what is drawn at random, nothing else does.

    state: draws how a scene's map is spoiled. pairs: give `lidar_bare` as well.
    """

    def __init__(self, store: SceneStore, grid: Grid, seed: int, augment: bool = True, time_steps: int | None = 1,
                 bins: int = 360, pairs: bool = True,
                 state: Callable[[np.random.Generator], MapState] = random_map_state):
        super().__init__(store, grid, bins, seed, augment, time_steps)
        self.pairs, self.state = pairs, state

    def __getitem__(self, i: int) -> Item:
        """One sample; R rings, M branches at most, K bins.

        lidar (C, H, W), lidar_bare (C, H, W) the same without vehicles (zeros unless has_bare), track (1, H, W),
        visible (1, H/4, W/4), masks (3, H/4, W/4) as `Target.masks`, road (1, H/2, W/2) share of road (NaN where the
        shard has none), map_canvas (2, S, S), map_window (4,), map_error (3,) see `map_canvas`, map_correction (3,)
        that undoes it (NaN without a map), with_map, route, rings (R,) m, branches (R, M, 2) bearing and heading in rad
        filled up with NaN, direction (R, 2) NaN where there is none. past, moves: as of `SimulatedDataset`.
        """
        rng = np.random.default_rng([self.seed, self.epoch, i])
        stored, masks, info = self.store[i]
        quarter = int(rng.integers(4)) if self.augment else 0
        mirror = bool(rng.integers(2)) if self.augment else False
        state = self.state(rng)
        route = state.present and state.route and info.route is not None
        item = self._map_canvas(info, quarter, mirror, state, route, rng)
        past = self._past(i, quarter, mirror, rng)
        item |= self._lidar(i, stored, quarter, mirror, rng)
        road = self.store.road(i)
        half = self.grid.cells // 2
        track = turn_poses(np.array(info.track, np.float32).reshape(-1, 3), quarter, mirror)
        item |= dict(
            track=track_bev(track, self.grid).numpy(), visible=block_mean(item['lidar'][DENSITY] > 0),
            masks=turn_grid(masks, quarter, mirror).astype(np.float32) / 255,
            road=(np.full((1, half, half), np.nan, np.float32) if road is None
                  else turn_grid(road, quarter, mirror)[None].astype(np.float32) / 255),
            route=np.array(route), **_rings(info, quarter, mirror, route))
        return item if past is None else item | past

    def _lidar(self, i: int, stored: np.ndarray, quarter: int, mirror: bool, rng: np.random.Generator) -> Item:
        bare = self.store.bare(i) if self.pairs else None
        again = copy.deepcopy(rng)  # the same faults in both

        def features(of: np.ndarray, luck: np.random.Generator) -> np.ndarray:
            turned = turn_grid(of, quarter, mirror).astype(np.float32) * np.float32(QUANTUM)
            return view_faults(sensor_faults(turned, luck), luck) if self.augment else turned
        found = dict(lidar=features(stored, rng))
        if self.pairs:
            found |= dict(lidar_bare=np.zeros_like(found['lidar']) if bare is None else features(bare, again),
                          has_bare=np.array(bare is not None))
        return found

    def _map_canvas(self, info: SceneInfo, quarter: int, mirror: bool, state: MapState, route: bool,
                    rng: np.random.Generator) -> Item:
        side = canvas_grid(self.grid).cells
        canvas: np.ndarray = np.zeros((len(LAYERS), side, side), np.float32)
        window: np.ndarray = np.full(4, NO_WINDOW_M, np.float32)
        error = MapError()
        if state.present:
            x, y, yaw = info.pose
            error = draw_error(rng, state)
            source = draw_canvas(info.world, (x, y, yaw - quarter * math.pi / 2), self.grid, error, random_style(rng),
                                 rng, route)
            canvas, window = turn_grid(source.canvas, 0, mirror), source.window
            window = window[[0, 1, 3, 2]] if mirror else window
        drawn = bool(canvas[0].any())
        given = turn_poses(np.array([error.x, error.y, error.yaw], np.float32), 0, mirror)
        undone = turn_poses(map_correction(error), 0, mirror)
        return dict(map_canvas=canvas, map_window=window, map_error=given, with_map=np.array(drawn),
                    map_correction=undone if drawn else np.full(3, np.nan, np.float32))


def _rings(info: SceneInfo, quarter: int, mirror: bool, route: bool) -> Item:
    branches, directions = [], []
    for ring in info.rings:
        pairs = turn_angles(ring.turned(quarter), mirror)
        chosen = ring.directions[quarter][int(route)]
        branches.append(pad_branches(pairs))
        directions.append(pairs[chosen] if chosen >= 0 else (np.nan, np.nan))
    return dict(rings=np.array([ring.radius for ring in info.rings], np.float32), branches=np.array(branches),
                direction=np.array(directions, np.float32))


def collate_scenes(items: Sequence[Item]) -> dict[str, Tensor]:
    """Items -> tensors with the batch as first dimension. Sweeps of the past must be as many in all of them."""
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def on_grid(batch: dict[str, Tensor], grid: Grid, error: Tensor | None = None) -> dict[str, Tensor]:
    """The batch with `map_image` (B, 3, H, W): its maps moved by `map_error`, or by another `error` (B, 3).

    Move the batch to its device first. An error that is given replaces `map_error` and `map_correction`.
    """
    if error is not None:
        c, s = torch.cos(error[:, 2]), torch.sin(error[:, 2])
        x, y = error[:, 0], error[:, 1]
        undone = torch.stack([-(c * x + s * y), s * x - c * y, -error[:, 2]], dim=1)
        undone = torch.where(batch['with_map'][:, None], undone, torch.nan)
        batch = batch | {'map_error': error, 'map_correction': undone}
    return batch | {'map_image': moved_maps(batch['map_canvas'], batch['map_error'], batch['map_window'], grid)}
