# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of profile v2 as samples for the trainer: the map moved by an error of every kind, what earlier sweeps may
have known of it, the way driven as a layer of the LiDAR grid, and all rings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_LAYERS
from attention_fusion_ros.bev.track import CHANNEL as TRACK
from attention_fusion_ros.datasets.augment import MapState
from attention_fusion_ros.datasets.road_scenes import RoadScenes, collate_scenes, on_grid
from attention_fusion_ros.datasets.shards import SceneStore
from attention_fusion_ros.datasets.simulated import MISLED, SimulatedDataset, map_correction, misleading_error
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.output import ROAD

LAYERS = (*CHANNELS, TRACK)  # of the LiDAR grid
KNOWN = 0.4  # share of the maps of whose place something is known from before
DECEIVED = 0.05  # share of that knowledge which is wrong
KNOWN_STD = ((0.1, 1.5), (0.004, 0.05))  # m and rad, least and most
NO_TRACK = 0.25  # share of the vehicles that have just been started


class RingScenes(RoadScenes):
    """Item i -> the arrays that `simulated.collate` takes, see there; lidar has the layers LAYERS.

    radii: of the network's rings, m; lookahead: the one whose truth is that of the sample. lost: maps may also lie
    where no pose fits. known: something may be known of the map's place.
    """

    def __init__(self, store: SceneStore, grid: Grid, bins: int, seed: int, radii: Sequence[float], lookahead: float,
                 augment: bool = True, pairs: bool = False, lost: bool = True, known: bool = True, **options: object):
        super().__init__(store, grid, seed, augment, bins=bins, pairs=pairs, **options)  # type: ignore[arg-type]
        self.radii, self.lookahead, self.lost, self.known = tuple(radii), lookahead, lost, known

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """One sample."""
        scene = super().__getitem__(i)
        rng = np.random.default_rng([self.seed, self.epoch, i, 1])
        rings = [int(np.flatnonzero(np.isclose(scene['rings'], radius))[0]) for radius in self.radii]
        scene, fits = self._misled(scene, rng)
        batch = on_grid(collate_scenes([{k: scene[k] for k in ('map_canvas', 'map_error', 'map_window')}]), self.grid)
        map_image = batch['map_image'][0].numpy()
        with_map = bool((map_image[MAP_LAYERS.index('road')] > ROAD).any())
        correction = scene['map_correction'] if with_map else np.full(3, np.nan, np.float32)
        track = scene['track'] * np.float32(0.0 if self.augment and rng.random() < NO_TRACK else 1.0)
        branches, direction = scene['branches'][rings], scene['direction'][rings].astype(np.float32)
        main = self.radii.index(self.lookahead)
        item = dict(lidar=np.concatenate([scene['lidar'], track]), map_image=map_image, masks=scene['masks'],
                    visible=scene['visible'], branches=branches[main], direction=direction[main],
                    direction_known=np.array(fits or not bool(scene['route'])), known=np.ones(self.bins, bool),
                    with_map=np.array(with_map), route=scene['route'], map_error=correction,
                    rings=branches, ring_directions=direction,
                    prior=self._prior(correction, with_map and fits, rng))
        if self.pairs:
            item |= dict(bare=np.concatenate([scene['lidar_bare'], track]), has_bare=scene['has_bare'])
        return item

    def _misled(self, scene: dict[str, np.ndarray],
                rng: np.random.Generator) -> tuple[dict[str, np.ndarray], bool]:
        """The scene, now and then with a map that lies far away, and whether the map is meant to fit."""
        if not self.lost or not scene['with_map'] or rng.random() >= MISLED:
            return scene, True
        error = misleading_error(rng)
        as_array = np.array([error.x, error.y, error.yaw], np.float32)
        return scene | {'map_error': as_array, 'map_correction': map_correction(error)}, False

    def _prior(self, correction: np.ndarray, fits: bool, rng: np.random.Generator) -> np.ndarray:
        """(PRIOR_SIZE,) see `pose_volume.log_prior`; weight 0 where nothing is known."""
        prior = np.zeros(PRIOR_SIZE, np.float32)
        prior[3:12] = np.eye(3, dtype=np.float32).reshape(-1)
        if not self.known or not fits or rng.random() >= KNOWN:
            return prior
        std = np.exp([rng.uniform(*np.log(KNOWN_STD[0])) for _ in range(2)] + [rng.uniform(*np.log(KNOWN_STD[1]))])
        mean = correction + std * rng.normal(size=3)
        if rng.random() < DECEIVED:
            mean = mean + rng.normal(size=3) * (4.0, 4.0, 0.1)
        turn = rng.uniform(-math.pi, math.pi)  # the axes of what is known are those of a road
        R = np.eye(3)
        R[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        offset = R @ (mean - correction)
        prior[:3] = correction + offset
        prior[3:12] = (R @ np.diag(std ** 2) @ R.T).reshape(-1)
        prior[12] = 0.95
        return prior


def simulated_samples(network: NetworkConfig, store: SceneStore, grid: Grid, seed: int,
                      augment: bool = True) -> SimulatedDataset:
    """The samples that a network of these settings is trained on, or, with augment=False, judged by."""
    if network.architecture != 'two_readings':
        return SimulatedDataset(store, grid, network.bins, seed, augment, network.time_steps)
    if augment:
        return RingScenes(store, grid, network.bins, seed, network.rings, network.lookahead, pairs=True)
    return RingScenes(store, grid, network.bins, seed, network.rings, network.lookahead, augment=False, lost=False,
                      known=False, state=validation_state)


def validation_state(rng: np.random.Generator) -> MapState:
    """As held-out scenes have it: 15 % without a map, else the standard error; half with a route."""
    return MapState(rng.random() >= 0.15, 1.0, False, bool(rng.random() < 0.5))
