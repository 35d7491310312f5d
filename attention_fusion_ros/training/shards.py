"""Finds shards of simulated scenes that were made before, by `scenes.write_shards`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.contracts import ConfigurationError


def find_shards(folders: Sequence[Path], grid: Grid) -> list[Path]:
    """Every complete shard below `folders` (a folder may be a shard itself), in order; unfinished ones are left out.

    Raises ConfigurationError when a folder has none, or one whose features are for another grid.
    """
    found: list[Path] = []
    for folder in folders:
        shards = sorted(file.parent for file in folder.expanduser().rglob('scenes.pkl'))
        if not shards:
            raise ConfigurationError(f"no simulated scenes below '{folder}': a shard is a folder with lidar.npy, "
                                     'masks.npy and scenes.pkl')
        for shard in shards:
            cells = np.load(shard / 'lidar.npy', mmap_mode='r').shape[-2:]
            if cells != (grid.cells, grid.cells):
                raise ConfigurationError(f"shard '{shard}' has {cells[0]} x {cells[1]} cells, the network "
                                         f'{grid.cells} x {grid.cells}')
        found += shards
    return list(dict.fromkeys(found))
