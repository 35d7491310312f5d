"""Scenes -> training samples: draw the map with errors, turn, mirror, spoil, and put truths into a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.simulation.map_images import draw_road_layers, random_error
from attention_fusion_ros.training.augment import (
    MapState,
    random_map_state,
    sensor_faults,
    turn_angles,
    turn_grid,
)
from attention_fusion_ros.training.loss import Target
from attention_fusion_ros.training.scenes import MASK_STRIDE, QUANTUM, SceneInfo, SceneStore

MAX_BRANCHES = 8


@dataclass(frozen=True)
class Batch:
    """B samples, ready for the network."""

    lidar: Tensor  # (B, 5, H, W)
    map_image: Tensor  # (B, 3, H, W)
    target: Target
    with_map: Tensor  # (B,) bool
    route: Tensor  # (B,) bool


class SimulatedDataset(Dataset):
    """Item i -> a dictionary of arrays. `epoch` changes what is drawn at random, nothing else does."""

    def __init__(self, store: SceneStore, grid: Grid, bins: int, seed: int, augment: bool = True):
        self.store, self.grid, self.bins, self.seed, self.augment = store, grid, bins, seed, augment
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
        map_layers = self._map(info, quarter, state, rng)
        features = turn_grid(stored, quarter, mirror).astype(np.float32) * QUANTUM
        if self.augment:
            features = sensor_faults(features, rng)
        map_layers = turn_grid(map_layers, 0, mirror)
        masks = turn_grid(masks, quarter, mirror).astype(np.float32) / 255
        truth = info.truths[quarter][int(state.route and state.present)]
        direction = turn_angles([truth.direction], mirror)[0] if truth.direction else (np.nan, np.nan)
        return dict(lidar=features, map_image=map_layers, masks=masks,
                    visible=_block_mean(features[3] > 0),
                    branches=pad_branches(turn_angles(truth.branches, mirror)),
                    direction=np.array(direction, np.float32),
                    direction_known=np.array(True), known=np.ones(self.bins, bool),
                    with_map=np.array(bool((map_layers[0] > 0.2).any())), route=np.array(state.route and state.present))

    def _map(self, info: SceneInfo, quarter: int, state: MapState, rng: np.random.Generator) -> np.ndarray:
        """(3, H, W) road, route, valid for the scene turned by `quarter`."""
        layers = np.zeros((3, self.grid.cells, self.grid.cells), np.float32)
        if not state.present:
            if rng.random() < 0.3:
                layers[2] = 1.0  # an image that shows no road
            return layers
        x, y, yaw = info.pose
        pose = (x, y, yaw - quarter * math.pi / 2)
        layers[0], layers[1] = draw_road_layers(info.world, pose, self.grid, draw_error(rng, state), rng,
                                                route=state.route)
        layers[2] = 1.0
        return layers


class Mixed(Dataset):
    """Several data sets one after the other; the epoch is passed on."""

    def __init__(self, parts: list):
        self.parts, self.epoch = parts, 0

    def __len__(self) -> int:
        return sum(len(p) for p in self.parts)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        for part in self.parts:
            if i < len(part):
                part.epoch = self.epoch
                return part[i]
            i -= len(part)
        raise IndexError(i)


def draw_error(rng: np.random.Generator, state: MapState):
    """The map error of a sample, see `augment.MapState`."""
    return random_error(rng, scale=state.scale, wide=state.wide)


def _block_mean(cells: np.ndarray) -> np.ndarray:
    """(H, W) -> (1, H/4, W/4) float32."""
    small = cells.shape[0] // MASK_STRIDE
    return cells.reshape(small, MASK_STRIDE, small, MASK_STRIDE).mean((1, 3), dtype=np.float32)[None]


def pad_branches(pairs) -> np.ndarray:
    """(bearing, heading) pairs -> (MAX_BRANCHES, 2) float32 filled up with NaN."""
    padded = np.full((MAX_BRANCHES, 2), np.nan, np.float32)
    for row, pair in enumerate(list(pairs)[:MAX_BRANCHES]):
        padded[row] = pair
    return padded


def collate(items: list[dict[str, np.ndarray]]) -> Batch:
    """Items of any dataset here -> Batch."""
    t = {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0]}
    target = Target(branches=t['branches'], direction=t['direction'], direction_known=t['direction_known'],
                    known=t['known'], masks=t['masks'], visible=t['visible'])
    return Batch(t['lidar'], t['map_image'], target, t['with_map'], t['route'])


