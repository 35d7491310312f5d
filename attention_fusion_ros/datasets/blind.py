# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps with whole sectors removed: lost packets, dirt, a sensor that looks one way only, a part of a turn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.contracts import SyncedSweep
from attention_fusion_ros.datasets.augment import sector
from attention_fusion_ros.geometry import angle_between

WIDTHS_DEG = (0, 60, 90, 120, 180, 270)  # of the removed sector
AHEAD, ANYWHERE = 'ahead', 'anywhere'
PLACES = (AHEAD, ANYWHERE)  # where its middle is

Sweep = TypeVar('Sweep', bound=SyncedSweep)


def middle(place: str, rng: np.random.Generator) -> float:
    """Bearing in rad of the middle of a removed sector."""
    return 0.0 if place == AHEAD else float(rng.uniform(-math.pi, math.pi))


def without_sector(xyz: np.ndarray, middle_rad: float, width_rad: float) -> np.ndarray:
    """(N,) bool: the points (N, 3), in the sensor frame, that are left when a sector about the sensor is removed."""
    kept: np.ndarray = angle_between(np.arctan2(xyz[:, 1], xyz[:, 0]), middle_rad) > width_rad / 2
    return kept


def blinded(sweep: Sweep, middle_rad: float, width_rad: float) -> Sweep:
    """A sweep of one message with a sector about its sensor removed; middle_rad: bearing in base_link."""
    cloud = sweep.cloud
    kept = without_sector(cloud.xyz @ sweep.motion.T_base_sensor[:3, :3].T, middle_rad, width_rad)
    intensity = None if cloud.intensity is None else cloud.intensity[kept]
    return replace(sweep, cloud=replace(cloud, xyz=cloud.xyz[kept], intensity=intensity, times=None))


class BlindSectors(Dataset):
    """Every item of a data set of `datasets.simulated` once for every width, in turn with and without its map.

    The truth stays what it is. The same items in the same order for the same seed.
    """

    def __init__(self, dataset: Any, seed: int = 11):
        self._dataset, self._seed = dataset, seed

    def __len__(self) -> int:
        return len(self._dataset) * len(WIDTHS_DEG)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        index, variant = divmod(i, len(WIDTHS_DEG))
        rng = np.random.default_rng([self._seed, i])
        item = {key: value for key, value in self._dataset[index].items() if key not in ('past', 'moves')}
        place = PLACES[int(rng.integers(len(PLACES)))]
        width = math.radians(WIDTHS_DEG[variant])
        if width:
            lidar = item['lidar']
            kept = ~sector(lidar.shape[-1], middle(place, rng), width)
            seen = len(CHANNELS)  # the way driven is known all the same
            item['lidar'] = np.concatenate([lidar[:seen] * kept, lidar[seen:]])
        if (index + variant) % 2:
            item |= {'map_image': np.zeros_like(item['map_image']), 'with_map': np.array(False)}
        return item
