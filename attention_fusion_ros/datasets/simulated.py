# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scenes -> training samples: draw the map with errors, turn, mirror, spoil, and put truths into a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from attention_fusion_ros.attention.warp import se2_matrix
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_CHANNELS
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_LAYERS
from attention_fusion_ros.datasets.augment import (
    MapState,
    random_map_state,
    sensor_faults,
    turn_angles,
    turn_grid,
    turn_poses,
    view_faults,
)
from attention_fusion_ros.datasets.scenes import MASK_STRIDE, QUANTUM, SceneInfo
from attention_fusion_ros.datasets.shards import SceneStore
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import ROAD
from attention_fusion_ros.simulation.sensors.map_image import MapError, draw_road_layers, random_error

MAX_BRANCHES = 8
DENSITY = LIDAR_CHANNELS.index('density')
MISLED = 0.12  # share of the maps that lie where no pose of a registration fits
MISLED_YAW_RAD, MISLED_M = (math.radians(35.0), math.radians(145.0)), 12.0


@dataclass(frozen=True)
class Batch:
    """B samples, ready for the network."""

    lidar: Tensor  # (B, C, H, W), channels as in bev.lidar.CHANNELS
    map_image: Tensor  # (B, M, H, W), channels as in bev.map_image.CHANNELS
    target: Target
    with_map: Tensor  # (B,) bool
    route: Tensor  # (B,) bool
    past: History | None = None  # earlier sweeps; None when the data have none
    prior: Tensor | None = None  # (B, 13) what is known of the map's place, see `attention.pose_volume.log_prior`
    bare: Tensor | None = None  # (B, C, H, W) the same sweeps without vehicles
    has_bare: Tensor | None = None  # (B,) bool

    def pin_memory(self) -> Batch:
        """The batch with its grids in page-locked memory, from where a GPU fetches them without the host."""
        bare = None if self.bare is None else self.bare.pin_memory()
        return replace(self, lidar=self.lidar.pin_memory(), map_image=self.map_image.pin_memory(), bare=bare)


class SimulatedDataset(Dataset):
    """Item i -> a dictionary of arrays. `epoch` changes what is drawn at random, nothing else does.

    time_steps: sweeps of each sample, the one of now among them; None: as many as the store has.
    """

    def __init__(self, store: SceneStore, grid: Grid, bins: int, seed: int, augment: bool = True,
                 time_steps: int | None = None):
        self.store, self.grid, self.bins, self.seed, self.augment = store, grid, bins, seed, augment
        self.time_steps = time_steps
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch, i])
        stored, masks, info = self.store[i]
        quarter = int(rng.integers(4)) if self.augment else 0
        mirror = bool(rng.integers(2)) if self.augment else False
        state = random_map_state(rng)
        state = MapState(state.present, state.scale, state.wide, state.route and info.route is not None)
        misled = self._misleading(i) if state.present else None
        map_layers, correction = self._map(info, quarter, state, rng, misled)
        features = turn_grid(stored, quarter, mirror).astype(np.float32) * QUANTUM
        past = self._past(i, quarter, mirror, rng)
        bare = self._bare(i, quarter, mirror, rng) if past is None else {}  # of the past none are kept
        if self.augment:
            features = view_faults(sensor_faults(features, rng), rng)
        map_layers = turn_grid(map_layers, 0, mirror)
        with_map = bool((map_layers[MAP_LAYERS.index('road')] > ROAD).any())
        masks = turn_grid(masks, quarter, mirror).astype(np.float32) / 255
        truth = info.truths[quarter][int(state.route and state.present)]
        direction = turn_angles([truth.direction], mirror)[0] if truth.direction else (np.nan, np.nan)
        item = dict(lidar=features, map_image=map_layers, masks=masks,
                    visible=block_mean(features[DENSITY] > 0),
                    branches=pad_branches(turn_angles(truth.branches, mirror)),
                    direction=np.array(direction, np.float32),
                    direction_known=np.array(misled is None or not state.route), known=np.ones(self.bins, bool),
                    with_map=np.array(with_map), route=np.array(state.route and state.present),
                    map_error=turn_poses(correction, 0, mirror) if with_map else np.full(3, np.nan, np.float32))
        return item | bare | (past or {})

    def _misleading(self, i: int) -> MapError | None:
        """Now and then, in training, the error of a map that lies where it helps nobody."""
        rng = np.random.default_rng([self.seed, self.epoch, i, 2])
        return misleading_error(rng) if self.augment and rng.random() < MISLED else None

    def _bare(self, i: int, quarter: int, mirror: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """bare (C, H, W): the sweep without its vehicles, with the faults that `rng` draws next for the sweep itself.

        Empty where the samples are not for training, or none was kept of the scene.
        """
        stored = self.store.bare(i) if self.augment else None
        if stored is None:
            return {}
        luck = copy.deepcopy(rng)  # the same sensor, hence the same faults
        features = turn_grid(stored, quarter, mirror).astype(np.float32) * QUANTUM
        return dict(bare=view_faults(sensor_faults(features, luck), luck), has_bare=np.array(True))

    def _past(self, i: int, quarter: int, mirror: bool, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        """Earlier sweeps, oldest first: past (P, C, H, W) with the faults of the present one, moves (P, 3)."""
        stored = None if self.time_steps == 1 else self.store.past(i)
        if stored is None:
            return None
        count = len(stored[0]) if self.time_steps is None else self.time_steps - 1
        sweeps, moves = stored[0][:count][::-1], stored[1][:count][::-1]
        features = turn_grid(sweeps, quarter, mirror).astype(np.float32) * QUANTUM
        if self.augment:  # the same sensor, hence the same faults: a copy of the generator draws them again
            again = [copy.deepcopy(rng) for _ in features]
            features = np.stack([view_faults(sensor_faults(sweep, luck), luck)
                                 for sweep, luck in zip(features, again, strict=True)])
        return dict(past=features, moves=turn_poses(moves, quarter, mirror))

    def _map(self, info: SceneInfo, quarter: int, state: MapState, rng: np.random.Generator,
             misled: MapError | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(M, H, W) map layers for the scene turned by `quarter`, and the map's correction (3,).

        misled: the error in place of the one drawn for the state.
        """
        layers = np.zeros((len(MAP_LAYERS), self.grid.cells, self.grid.cells), np.float32)
        layer = dict(zip(MAP_LAYERS, layers, strict=True))  # views
        if not state.present:
            if rng.random() < 0.3:
                layer['valid'][:] = 1.0  # an image that shows no road
            return layers, np.full(3, np.nan, np.float32)
        x, y, yaw = info.pose
        pose = (x, y, yaw - quarter * math.pi / 2)
        error = draw_error(rng, state) if misled is None else misled
        layer['road'][:], layer['route'][:] = draw_road_layers(info.world, pose, self.grid, error, rng,
                                                               route=state.route)
        layer['valid'][:] = 1.0
        return layers, map_correction(error)


class Mixed(Dataset):
    """Several data sets one after the other; the epoch is passed on."""

    def __init__(self, parts: Sequence[Any]):
        self.parts, self.epoch = parts, 0

    def __len__(self) -> int:
        return sum(len(p) for p in self.parts)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        for part in self.parts:
            if i < len(part):
                part.epoch = self.epoch
                item: dict[str, np.ndarray] = part[i]
                return item
            i -= len(part)
        raise IndexError(i)


def draw_error(rng: np.random.Generator, state: MapState) -> MapError:
    """The map error of a sample, see `augment.MapState`."""
    return random_error(rng, scale=state.scale, wide=state.wide)


def misleading_error(rng: np.random.Generator) -> MapError:
    """The error of a map that lies beyond every pose that a registration looks at."""
    yaw = rng.choice((-1.0, 1.0)) * rng.uniform(*MISLED_YAW_RAD)
    bearing, far = rng.uniform(-math.pi, math.pi), rng.uniform(0.0, MISLED_M)
    return MapError(far * math.cos(bearing), far * math.sin(bearing), yaw)


def map_correction(error: MapError) -> np.ndarray:
    """(3,) float32 dx, dy [m], dyaw [rad]: undoes a map error, p_true = R(dyaw) p_map + (dx, dy)."""
    dx, dy = -(rotation_2d(-error.yaw) @ (error.x, error.y))
    return np.array([dx, dy, -error.yaw], np.float32)


def block_mean(cells: np.ndarray) -> np.ndarray:
    """(H, W) -> (1, H/4, W/4) float32."""
    small = cells.shape[0] // MASK_STRIDE
    shares: np.ndarray = cells.reshape(small, MASK_STRIDE, small, MASK_STRIDE).mean((1, 3), dtype=np.float32)
    return shares[None]


def pad_branches(pairs: Iterable[tuple[float, float]]) -> np.ndarray:
    """(bearing, heading) pairs -> (MAX_BRANCHES, 2) float32 filled up with NaN."""
    padded = np.full((MAX_BRANCHES, 2), np.nan, np.float32)
    for row, pair in enumerate(list(pairs)[:MAX_BRANCHES]):
        padded[row] = pair
    return padded


def collate(items: list[dict[str, np.ndarray]]) -> Batch:
    """Items of any dataset here -> Batch. Earlier sweeps, and those without vehicles, may be lacking in some."""
    sometimes = 'past', 'moves', 'bare', 'has_bare'
    t = {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0] if k not in sometimes}
    target = Target(branches=t['branches'], direction=t['direction'], direction_known=t['direction_known'],
                    known=t['known'], masks=t['masks'], visible=t['visible'], map_error=t['map_error'],
                    rings=t.get('rings'), ring_directions=t.get('ring_directions'))
    return Batch(t['lidar'], t['map_image'], target, t['with_map'], t['route'], _collate_past(items), t.get('prior'),
                 *_collate_bare(items))


def _collate_bare(items: list[dict[str, np.ndarray]]) -> tuple[Tensor | None, Tensor | None]:
    """Sweeps without vehicles (B, C, H, W), zeros where there is none, and which there are (B,)."""
    has = np.array([bool(item.get('has_bare', False)) for item in items])
    if not has.any():
        return None, None
    bare = np.zeros((len(items), *items[0]['lidar'].shape), np.float32)
    for row in np.flatnonzero(has):
        bare[row] = items[row]['bare']
    return torch.from_numpy(bare), torch.from_numpy(has)


def _collate_past(items: list[dict[str, np.ndarray]]) -> History | None:
    """Sweeps that an item lacks are absent ones before its oldest."""
    count = max(len(item['past']) if 'past' in item else 0 for item in items)
    if count == 0:
        return None
    lidar = np.zeros((len(items), count, *items[0]['lidar'].shape), np.float32)
    moves, present = np.zeros((len(items), count, 3), np.float32), np.zeros((len(items), count), bool)
    for row, item in enumerate(items):
        if 'past' in item and len(item['past']):
            first = count - len(item['past'])
            lidar[row, first:], moves[row, first:], present[row, first:] = item['past'], item['moves'], True
    T_now_then = se2_matrix(torch.from_numpy(moves).flatten(0, 1)).view(*present.shape, 3, 3)
    return History(torch.from_numpy(lidar), T_now_then, torch.from_numpy(present))
