# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where shards of simulated scenes are: those made before by `scenes.write_shards`, and those kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import attention_fusion_ros
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.scenes import write_shards
from attention_fusion_ros.errors import ConfigurationError

PACKAGE = Path(attention_fusion_ros.__file__).parent
SHARD = 256  # scenes


def cache_name(grid: Grid, lookahead: float, osm: Path | None, past: int) -> str:
    """A folder for scenes made with these options by this code: other code makes other scenes of the same seeds."""
    digest = hashlib.sha256()
    for path in sorted([*(PACKAGE / 'simulation').rglob('*.py'), *(PACKAGE / 'bev').glob('*.py'),
                        PACKAGE / 'datasets/scenes.py']):
        digest.update(path.read_bytes())
    extract = '' if osm is None else f'-{osm.name}-{osm.stat().st_size}'
    earlier = f'-past{past}' if past else ''
    return f'{digest.hexdigest()[:10]}-{grid.extent:g}m-{grid.cells}-{lookahead:g}m{extract}{earlier}'


def make_shards(first_seed: int, count: int, folder: Path, grid: Grid, lookahead: float, workers: int,
                osm: str | None = None, past: int = 0) -> list[Path]:
    """Shards of the seeds first_seed .. first_seed + count, made where they are missing.

    Full ones are in `folder`, the rest beside it in a folder named by how many they are: a run that asks for more
    scenes must not be given a shard that was made for fewer.
    """
    rest = count % SHARD
    beside = folder.with_name(f'{folder.name}-{rest}')
    parts = (first_seed, count - rest, folder), (first_seed + count - rest, rest, beside)
    return [shard for first, number, where in parts if number
            for shard in write_shards(first, number, where, grid, lookahead, workers, SHARD, osm, past)]


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
