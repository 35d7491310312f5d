# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Training samples drawn once and kept: networks that are compared then see the same ones, and no time goes into
drawing maps. A pool is a folder with one array for each entry of a sample, features in the steps of `scenes.QUANTUM`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.checked_rows import check_rows, open_rows, write_checksums
from attention_fusion_ros.datasets.scenes import QUANTUM, quantise
from attention_fusion_ros.datasets.shards import SceneStore
from attention_fusion_ros.datasets.simulated import SimulatedDataset
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.arrays import map_array
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.new_folder import NewFolder
from attention_fusion_ros.utils.processes import process_pool
from attention_fusion_ros.utils.stored_json import read_checked_json, write_checked_json

CHUNK = 64  # samples a job
FEATURES = ('lidar', 'past')  # stored as int8 in steps of QUANTUM
SHARES = ('map_image', 'masks', 'visible')  # 0..1, stored as uint8
OF_THE_CLOUD = (*FEATURES, 'masks', 'visible', 'moves')  # what differs between a scene with and without vehicles
INDEX = 'index.json'


def write_pool(folder: Path, shards: Sequence[Path], grid: Grid, bins: int, variants: int, augment: bool, seed: int,
               workers: int, progress: Callable[[int], object] = lambda n: None) -> None:
    """Draw every scene `variants` times; a finished pool is left alone. progress(n): n more samples are drawn.

    augment: see SimulatedDataset. Without it a scene stored without its vehicles gets the map of the one with them.
    """
    if _is_whole(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)  # damaged, or left unfinished by an earlier version
    with NewFolder(folder) as new:
        _write_pool(new.work, shards, grid, bins, variants, augment, seed, workers, progress)


def _write_pool(folder: Path, shards: Sequence[Path], grid: Grid, bins: int, variants: int, augment: bool, seed: int,
                workers: int, progress: Callable[[int], object]) -> None:
    folder.mkdir()
    store = SceneStore(list(shards))
    arguments = list(shards), grid, bins, seed, augment
    dataset = SimulatedDataset(store, grid, bins, seed, augment)
    for name, value in _packed(dataset[0]).items():
        shape = (variants * len(store), *value.shape)
        np.lib.format.open_memmap(folder / f'{name}.npy', 'w+', value.dtype, shape)  # type: ignore[no-untyped-call]
    jobs = [(epoch, range(start, min(start + CHUNK, len(store))))
            for epoch in range(variants) for start in range(0, len(store), CHUNK)]
    with process_pool(workers) as pool:
        for done in as_completed([pool.submit(_draw, folder, arguments, *job) for job in jobs]):
            progress(done.result())
    infos = store.infos()
    if not augment:
        _same_maps(folder, [info.seed for info in infos], [info.with_vehicles for info in infos])
    names = sorted(file.stem for file in folder.glob('*.npy'))
    write_checksums(folder, {name: map_array(folder / f'{name}.npy') for name in names})
    write_checked_json(folder / INDEX, {'scenes': len(store), 'variants': variants, 'seed': [i.seed for i in infos],
                                        'with_vehicles': [i.with_vehicles for i in infos]})


def _is_whole(folder: Path) -> bool:
    try:
        read_checked_json(folder / INDEX)
        check_rows(folder)
    except (OSError, Damaged):
        return False
    return True


def _draw(folder: Path, arguments: tuple, epoch: int, scenes: range) -> int:
    shards, *rest = arguments
    store = SceneStore(shards)
    dataset = SimulatedDataset(store, *rest)
    dataset.epoch = epoch
    rows = slice(epoch * len(store) + scenes.start, epoch * len(store) + scenes.stop)
    drawn = [_packed(dataset[i]) for i in scenes]
    for name in drawn[0]:
        map_array(folder / f'{name}.npy', 'r+')[rows] = np.stack([d[name] for d in drawn])
    return len(scenes)


def _packed(item: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    packed = dict(item)
    for name in packed:
        if name in FEATURES:
            packed[name] = quantise(packed[name])
        elif name in SHARES:
            packed[name] = np.rint(255 * packed[name]).astype(np.uint8)
    return packed


def _same_maps(folder: Path, seeds: list[int], with_vehicles: list[bool]) -> None:
    full = {seed: i for i, (seed, there) in enumerate(zip(seeds, with_vehicles)) if there}
    pairs = np.array([(i, full[seed]) for i, (seed, there) in enumerate(zip(seeds, with_vehicles))
                      if not there and seed in full]).reshape(-1, 2)
    for file in folder.glob('*.npy'):
        if file.stem not in OF_THE_CLOUD:
            array = map_array(file, 'r+')
            array[pairs[:, 0]] = array[pairs[:, 1]]


class Pool(Dataset):
    """Item i -> the arrays of one sample, as SimulatedDataset gives them. `epoch` chooses the variant.

    leave_out: entries that are not wanted, for example 'past' for a network that looks at one sweep.
    seed (S,), with_vehicles (S,): of each scene. Raises ConfigurationError when the folder holds none, or is damaged.
    """

    def __init__(self, folder: Path, leave_out: Sequence[str] = ()):
        self.folder = folder
        try:
            index = read_checked_json(folder / INDEX)
            self._arrays = open_rows(folder, [file.stem for file in sorted(folder.glob('*.npy'))
                                              if file.stem not in leave_out])
        except (OSError, Damaged) as error:
            raise _unreadable(folder, error) from error
        self.scenes, self.variants, self.epoch = int(index['scenes']), int(index['variants']), 0
        self.seed, self.with_vehicles = np.array(index['seed']), np.array(index['with_vehicles'])

    def __len__(self) -> int:
        return self.scenes

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        row = (self.epoch % self.variants) * self.scenes + i
        try:
            return {name: _unpacked(name, array[row]) for name, array in self._arrays.items()}
        except (OSError, Damaged) as error:
            raise _unreadable(self.folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the samples in '{folder}' cannot be read: {error}. Remedy: give the same command "
                              'again; they are drawn again.')


def _unpacked(name: str, value: np.ndarray) -> np.ndarray:
    if name in FEATURES:
        return value.astype(np.float32) * np.float32(QUANTUM)
    if name in SHARES:
        return value.astype(np.float32) / np.float32(255)
    return np.array(value)
