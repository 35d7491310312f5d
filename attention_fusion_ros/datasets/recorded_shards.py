# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Labelled sweeps of recordings on disk: written in shards as they are made, read at random.

A shard is a folder with `lidar.npy` (S, C, H, W) int8 features, `maps.npz` (each map image once, however many sweeps it
belongs to) and `sweeps.npz` (motion and label of each sweep), which is written last: a shard cut off is made again. All
of it is plain arrays: a shard from somebody else can be wrong, but it cannot run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from attention_fusion_ros.contracts import MapImage, MapPlacement, Motion
from attention_fusion_ros.datasets.checked_rows import CheckedRows, check_rows, open_rows, write_checksums
from attention_fusion_ros.datasets.driven_path import DrivenTruth
from attention_fusion_ros.datasets.shards import OPEN_SHARDS
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import read_arrays
from attention_fusion_ros.utils.damaged import Damaged

INDEX, MAPS = 'sweeps.npz', 'maps.npz'
VERSION = 1  # of the format; raised when older code would read newer shards wrongly
CACHED_MAPS = 16  # map images a process keeps at hand, 1 to 2 MB each


@dataclass(frozen=True)
class RecordedScene:
    """One labelled sweep."""

    features: np.ndarray  # (C, H, W) int8 in steps of `scenes.QUANTUM`
    map_image: MapImage | None
    motion: Motion
    truth: DrivenTruth


def write_shard(folder: Path, scenes: Sequence[RecordedScene], shape: tuple[int, int, int]) -> None:
    """Write labelled sweeps into a folder of their own; map images that are one object are stored once.

    shape: of the features of a sweep, (C, H, W). Raises OSError.
    """
    maps: dict[int, int] = {}  # id of a map image -> its number
    stored: dict[str, np.ndarray] = {}
    numbers = []
    for scene in scenes:
        image = scene.map_image
        if image is not None and id(image) not in maps:
            maps[id(image)] = len(maps)
            stored.update(_map_arrays(maps[id(image)], image))
        numbers.append(-1 if image is None else maps[id(image)])
    motions, truths = [scene.motion for scene in scenes], [scene.truth for scene in scenes]
    features = np.array([scene.features for scene in scenes], np.int8).reshape(-1, *shape)
    atomic.save_array(folder / 'lidar.npy', features)
    write_checksums(folder, {'lidar': features})
    atomic.save_arrays(folder / MAPS, stored)
    atomic.save_arrays(folder / INDEX, {
        'version': np.array(VERSION), 'map': np.array(numbers, np.int64),
        'T_base_sensor': _table([motion.T_base_sensor for motion in motions], (4, 4)),
        'T_odom_base': _table([motion.T_odom_base for motion in motions], (4, 4)),
        'T_odom_base_map': _table([motion.T_odom_base_map for motion in motions], (4, 4)),
        'T_map_base': _table([motion.T_map_base for motion in motions], (4, 4)),
        'ahead': _table([truth.ahead for truth in truths], (2,)),
        'behind': _table([truth.behind for truth in truths], (2,))})


def is_complete(folder: Path) -> bool:
    """Whether a shard was written to its end, and nothing in it has changed since."""
    if not (folder / INDEX).exists():
        return False
    try:
        _read_index(folder)
        read_arrays(folder / MAPS)
        check_rows(folder)
    except (OSError, Damaged, ConfigurationError):
        return False
    return True


class RecordedStore(Sequence[RecordedScene]):
    """Shards opened for reading: random access to labelled sweeps, features mapped from disk.

    Raises ConfigurationError when a shard cannot be read.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = tuple(folders)
        self._indices: list[dict[str, np.ndarray]] = []
        self._features = lru_cache(OPEN_SHARDS)(_open_features)
        self._rows: list[tuple[int, int]] = []  # of each sweep: its shard and its row there
        for folder in folders:
            index = _read_index(folder)
            self._rows += [(len(self._indices), row) for row in range(len(index['map']))]
            self._indices.append(index)

    def __reduce__(self) -> tuple[type[RecordedStore], tuple[tuple[Path, ...]]]:
        return type(self), (self.folders,)  # other processes open the files, they are not sent their content

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> RecordedScene:  # type: ignore[override]  # no slices
        shard, row = self._rows[i]
        index = self._indices[shard]
        number = int(index['map'][row])
        try:
            features = self._features(self.folders[shard])[row]
        except (OSError, Damaged) as error:
            raise _unreadable(self.folders[shard], error) from error
        return RecordedScene(
            features=features,
            map_image=None if number < 0 else _read_map(self.folders[shard], number),
            motion=Motion(index['T_base_sensor'][row], _or_none(index['T_odom_base'][row]),
                          _or_none(index['T_odom_base_map'][row]), _or_none(index['T_map_base'][row])),
            truth=DrivenTruth(_pair(index['ahead'][row]), _pair(index['behind'][row])))


def _open_features(folder: Path) -> CheckedRows:
    return open_rows(folder, ['lidar'])['lidar']


def _unreadable(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"shard '{folder}' cannot be read: {error!r}. Remedy: remove it; it is made again from "
                              'its recording.')


def _read_index(folder: Path) -> dict[str, np.ndarray]:
    try:
        index = read_arrays(folder / INDEX)
        count = len(_open_features(folder))
        if int(index['version']) > VERSION:
            raise ConfigurationError(f"shard '{folder}' has format {index['version']}, this version reads {VERSION}. "
                                     'Remedy: update attention_fusion_ros, or remove the shard.')
        if {len(array) for name, array in index.items() if name != 'version'} != {count}:
            raise ValueError('its arrays differ in length')
    except ConfigurationError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error
    return index


def _map_arrays(number: int, image: MapImage) -> dict[str, np.ndarray]:
    arrays = {f'{number}.stamp_ns': np.array(image.stamp_ns, np.int64), f'{number}.frame_id': np.array(image.frame_id),
              **_packed(f'{number}.road', image.road)}
    if image.placement is not None:
        arrays[f'{number}.placement'] = np.append(image.placement.T_frame_image.ravel(), image.placement.resolution)
    return arrays if image.route is None else {**arrays, **_packed(f'{number}.route', image.route)}


def _packed(name: str, layer: np.ndarray) -> dict[str, np.ndarray]:
    """A layer (H, W) float32 without loss: as bytes and what they stand for, where it has no more than 256 values."""
    values, indices = np.unique(layer, return_inverse=True)
    if len(values) > 256:
        return {name: layer}
    return {name: indices.reshape(layer.shape).astype(np.uint8), f'{name}.values': values}


def _unpacked(maps: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    if name not in maps:
        return None
    layer = maps[name]
    return maps[f'{name}.values'][layer] if layer.dtype == np.uint8 else layer


@lru_cache(maxsize=CACHED_MAPS)
def _read_map(folder: Path, number: int) -> MapImage:
    try:
        maps = read_arrays(folder / MAPS, prefix=f'{number}.')
        road, route = (_unpacked(maps, f'{number}.{layer}') for layer in ('road', 'route'))
        if road is None:
            raise Damaged(f'it lacks map image {number}')
        placed = maps[f'{number}.placement'] if f'{number}.placement' in maps else None
        placement = None if placed is None else MapPlacement(float(placed[16]), placed[:16].reshape(4, 4))
        return MapImage(int(maps[f'{number}.stamp_ns']), str(maps[f'{number}.frame_id']), road, route, placement)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unreadable(folder, error) from error


def _table(rows: Sequence[np.ndarray | tuple[float, float] | None], shape: tuple[int, ...]) -> np.ndarray:
    """(S, *shape) float64; NaN where there is none."""
    table = np.full((len(rows), *shape), np.nan)
    for i, values in enumerate(rows):
        if values is not None:
            table[i] = values
    return table


def _or_none(matrix: np.ndarray) -> np.ndarray | None:
    return None if np.isnan(matrix).any() else matrix


def _pair(values: np.ndarray) -> tuple[float, float] | None:
    return None if np.isnan(values).any() else (float(values[0]), float(values[1]))
