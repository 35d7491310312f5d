# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated training scenes on disk: made several at a time, kept in the cache, read at random.

A shard is a folder with `lidar.npy` (S, C, H, W) int8 features, `masks.npy` (S, 3, H/4, W/4) uint8 and `scenes.npz`
(what each scene is); where earlier sweeps are wanted, `past.npy` (S, P, C, H, W) int8 and `moves.npy` (S, P, 3) float32
as well. Profiles other than v1 also have `road.npy` (S, H/2, W/2) uint8, and of a share of the scenes the features
without vehicles: `bare.npy` (K, C, H, W) int8, `bare_of.npy` (K,) int32 the scenes they belong to. `checksums.npz`
holds those of every row.

All of it is plain arrays and JSON: a shard from somebody else can be wrong, but it cannot run code.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.datasets.checked_rows import CheckedRows, check_rows, open_rows, write_checksums
from attention_fusion_ros.datasets.scenes import (
    MASK_STRIDE,
    ROAD_STRIDE,
    MadeScene,
    SceneInfo,
    SceneOptions,
    make_scene,
)
from attention_fusion_ros.datasets.target import MASKS
from attention_fusion_ros.engines.engine import Engine, Lost
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.truth.branches import Truth
from attention_fusion_ros.simulation.truth.rings import ring_of
from attention_fusion_ros.simulation.world.world import Road
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import map_array, read_arrays
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.outside import parse_json
from attention_fusion_ros.utils.processes import process_pool

logger = logging.getLogger(__name__)

SHARD = 256  # scenes a shard
PART = 16  # seeds whose scenes are kept at a time while a shard is made: what an interruption costs
OPEN_SHARDS = 64  # of a store at a time: each takes up to seven file descriptors, of which there are 1024 by default
PAIRED = ('bare', 'bare_of')  # of some scenes
OPTIONAL = ('past', 'moves', 'road', *PAIRED)
INDEX = 'scenes.npz'  # written last, so that a shard cut off is made again
PICKLED_INDEX = 'scenes.pkl'  # of shards made before version 1
# What scenes are made by.
SOURCES = ('simulation', 'bev', 'kernels', 'config.py', 'geometry.py', 'datasets/scenes.py', 'datasets/shards.py',
           'datasets/target.py', 'maps/osm_apart.py', 'maps/osm_file.py')
VERSION = 1  # of the format; raised when older code would read newer shards wrongly


def cache_name(grid: Grid, lookahead: float, osm: Path | Sequence[Path] | None, past: int, profile: str = 'v1') -> str:
    """A folder for scenes made with these options by this code: other code makes other scenes of the same seeds."""
    code = digest(source_files(SOURCES, ('__init__.py',)))
    extracts = [osm] if isinstance(osm, Path) else osm or []
    extract = ''.join(f'-{path.name}-{path.stat().st_size}' for path in extracts)
    earlier = f'-past{past}' if past else ''
    kind = '' if profile == 'v1' else f'-{profile}'
    return f'{code}-{grid.extent:g}m-{grid.cells}-{lookahead:g}m{extract}{earlier}{kind}'


def make_shards(first_seed: int, count: int, folder: Path, options: SceneOptions, workers: int,
                shard_size: int = SHARD, engine: Engine | None = None) -> list[Path]:
    """Shards of the seeds first_seed .. first_seed + count, made where they are missing.

    Full ones are in `folder`, the rest beside it in a folder named by how many they are: a run that asks for more
    scenes must not be given a shard that was made for fewer.

    engine: makes them, in the place of `workers` processes here; the folder must be one that all its workers see.
    """
    rest = count % shard_size
    beside = folder.with_name(f'{folder.name}-{rest}')
    parts = (first_seed, count - rest, folder), (first_seed + count - rest, rest, beside)
    return [shard for first, number, where in parts if number
            for shard in write_shards(first, number, where, options, workers, shard_size, engine)]


def write_shards(first_seed: int, count: int, folder: Path, options: SceneOptions, workers: int,
                 shard_size: int = SHARD, engine: Engine | None = None) -> list[Path]:
    """Make all shards for seeds first_seed .. first_seed + count in `folder`, several at a time.

    Shards that are there are left alone, and what was made of an unfinished one is used. Scenes made with other options
    belong into another folder.
    """
    jobs = {folder / f'{start:09d}': range(start, min(start + shard_size, first_seed + count))
            for start in range(first_seed, first_seed + count, shard_size)}
    missing = {path: seeds for path, seeds in jobs.items() if not is_whole(path)}
    for path in jobs.keys() - missing.keys():
        _remove_parts(path)
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc='scenes', unit='shard',
              disable=not missing) as bar:
        if engine is not None:
            jobs_left = [(seeds, path.absolute(), options) for path, seeds in missing.items()]
            for number, lost in engine.run(_write_job, jobs_left):
                if isinstance(lost, Lost):
                    raise ConfigurationError(f"shard '{jobs_left[number][1]}' cannot be made: {lost.message}. Remedy: "
                                             'give the same command again; what was made is kept')
                bar.update()
        elif workers <= 1 or len(missing) <= 1:
            for path, seeds in missing.items():
                write_shard(seeds, path, options)
                bar.update()
        else:
            with process_pool(min(workers, len(missing))) as pool:
                for done in as_completed([pool.submit(write_shard, seeds, path, options)
                                          for path, seeds in missing.items()]):
                    done.result()
                    bar.update()
    return list(jobs)


def _write_job(job: tuple[range, Path, SceneOptions]) -> None:
    seeds, folder, options = job
    write_shard(seeds, folder, options)


def write_shard(seeds: range, folder: Path, options: SceneOptions) -> None:
    """Make the scenes of `seeds` and write them into `folder`; an existing shard is left alone if it is whole.

    Every PART seeds are written as they are done; an interrupted shard goes on after the last of these parts.
    """
    if is_whole(folder):
        _remove_parts(folder)
        return
    (folder / INDEX).unlink(missing_ok=True)
    files, parts = [], []
    for start in range(seeds.start, seeds.stop, PART):
        files.append(folder / f'part-{start:09d}.npz')
        part = _part(files[-1])
        if part is None:
            some = range(start, min(start + PART, seeds.stop))
            scenes = [scene for seed in some for scene in make_scene(seed, options)]
            infos = [scene.info for scene in scenes]
            part = {**_packed(scenes, options), 'points': _points(infos),
                    'index': _bytes([_plain(info) for info in infos])}
            atomic.save_arrays(files[-1], part)
        parts.append(part)
    starts = np.cumsum([0] + [len(part['lidar']) for part in parts])
    whole = {}
    for name in _packed([], options):
        pieces = [part[name] + start if name == 'bare_of' else part[name] for part, start in zip(parts, starts)]
        whole[name] = np.concatenate(pieces)
        atomic.save_array(folder / f'{name}.npy', whole[name])
    write_checksums(folder, whole)
    index = [scene for part in parts for scene in parse_json(part['index'].tobytes())]
    atomic.save_arrays(folder / INDEX, {'meta': _bytes({'version': VERSION, 'scenes': index}),
                                        'points': np.concatenate([part['points'] for part in parts])})
    _remove_parts(folder)


def _remove_parts(folder: Path) -> None:
    """Remove what a shard was put together from; who was killed at its end has left some."""
    for file in folder.glob('part-*.npz'):
        file.unlink(missing_ok=True)


def is_whole(folder: Path) -> bool:
    """Whether a shard was written to its end, and nothing in it has changed since."""
    if not (folder / INDEX).exists():
        return False
    try:
        _check_arrays(folder, len(read_infos(folder)))
        check_rows(folder)
    except (ConfigurationError, OSError, Damaged) as error:
        logger.warning("the scenes in '%s' are made again: %s", folder, error)
        return False
    return True


def _part(file: Path) -> dict[str, np.ndarray] | None:
    """What was made of a shard before it was interrupted; None where it is missing or damaged."""
    try:
        return read_arrays(file)
    except (OSError, Damaged):
        return None


def _packed(scenes: Sequence[MadeScene], options: SceneOptions) -> dict[str, np.ndarray]:
    """Arrays of a shard by name, S scenes in the first dimension."""
    cells, small = options.grid.cells, options.grid.cells // MASK_STRIDE
    shapes: dict[str, tuple[tuple[int, ...], type]] = {'lidar': ((len(CHANNELS), cells, cells), np.int8),
                                                       'masks': ((len(MASKS), small, small), np.uint8)}
    if options.past:
        shapes |= {'past': ((options.past, len(CHANNELS), cells, cells), np.int8),
                   'moves': ((options.past, 3), np.float32)}
    if options.profile != 'v1':
        shapes['road'] = (options.grid.cells // ROAD_STRIDE,) * 2, np.uint8
    packed: dict[str, np.ndarray] = {}
    for name, (shape, dtype) in shapes.items():
        packed[name] = np.array([getattr(scene, name) for scene in scenes], dtype).reshape(-1, *shape)
    if options.profile != 'v1':
        bare = {i: scene.bare for i, scene in enumerate(scenes) if scene.bare is not None}
        packed |= {'bare': np.array(list(bare.values()), np.int8).reshape(-1, len(CHANNELS), cells, cells),
                   'bare_of': np.array(list(bare), np.int32)}
    return packed


def _bytes(values: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(values, default=_number).encode(), np.uint8)


def _number(value: np.generic) -> Any:
    return value.item()


def _plain(info: SceneInfo) -> dict[str, Any]:
    """A scene's info for JSON; of its lines only the lengths, their points are in `_points`."""
    roads = [{**dataclasses.asdict(dataclasses.replace(road, centre=np.zeros(0))), 'centre': len(road.centre)}
             for road in info.roads]
    truths = [[dataclasses.asdict(truth) for truth in pair] for pair in info.truths]
    return {**{name: getattr(info, name) for name in ('seed', 'scene_class', 'sensor', 'with_vehicles', 'pose')},
            'roads': roads, 'route': None if info.route is None else len(info.route), 'truths': truths,
            'profile': info.profile, 'city': info.city, 'track': info.track,
            'rings': [dataclasses.asdict(ring) for ring in info.rings]}


def _points(infos: Sequence[SceneInfo]) -> np.ndarray:
    """(N, 2) float64 points of all lines, in order: of each scene its roads, then its route."""
    lines = [line for info in infos for line in (*(r.centre for r in info.roads), info.route) if line is not None]
    return np.concatenate([np.zeros((0, 2)), *lines])


def read_infos(folder: Path) -> list[SceneInfo]:
    """What the scenes of a shard are, in order.

    A shard may have been made by code whose roads and truths had fewer fields (these get their defaults) or more (which
    are left out). Raises ConfigurationError for a file that cannot be read and a format that is newer or too old.
    """
    if not (folder / INDEX).exists() and (folder / PICKLED_INDEX).exists():
        raise ConfigurationError(f"shard '{folder}' has the old format ({PICKLED_INDEX}), which is not read any more "
                                 'because reading it could run code. Remedy: make its scenes again (`train '
                                 '--scenes-only`, the same seeds) and remove the folder.')
    try:
        stored = read_arrays(folder / INDEX)
        meta, points = parse_json(stored['meta'].tobytes()), stored['points']
        if meta['version'] > VERSION:
            raise ConfigurationError(f"shard '{folder}' has format {meta['version']}, this version reads {VERSION}. "
                                     'Remedy: update attention_fusion_ros, or make the scenes again.')
        lines = iter(_split(points, meta['scenes']))
        return [_info(scene, lines) for scene in meta['scenes']]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"shard '{folder}' cannot be read: {error!r}. Remedy: remove it; if it came from the "
                              'cache, it is made again.')


def _split(points: np.ndarray, scenes: list[dict[str, Any]]) -> list[np.ndarray]:
    lengths = [n for scene in scenes for n in (*(r['centre'] for r in scene['roads']), scene['route']) if n is not None]
    if sum(lengths) != len(points):
        raise ValueError(f'{len(points)} points for lines of {sum(lengths)}')
    return np.split(points, np.cumsum(lengths)[:-1]) if lengths else []


def _info(scene: dict[str, Any], lines: Any) -> SceneInfo:
    roads = tuple(Road(next(lines), **_known(Road, road, 'centre')) for road in scene['roads'])
    route = None if scene['route'] is None else next(lines)
    truths = tuple((_truth(without), _truth(with_route)) for without, with_route in scene['truths'])
    return SceneInfo(scene['seed'], scene['scene_class'], scene['sensor'], scene['with_vehicles'],
                     tuple(scene['pose']), roads, route, truths, scene.get('profile', 'v1'), scene.get('city', ''),
                     tuple(ring_of(ring) for ring in scene.get('rings', ())),
                     tuple((x, y, yaw) for x, y, yaw in scene.get('track', ())))


def _truth(stored: dict[str, Any]) -> Truth:
    values = _known(Truth, stored)
    values['branches'] = tuple((float(b), float(h)) for b, h in values['branches'])
    values['direction'] = None if values['direction'] is None else tuple(values['direction'])
    return Truth(**values)


def _known(cls: type, stored: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    return {f.name: stored[f.name] for f in dataclasses.fields(cls) if f.name in stored and f.name not in leave_out}


def find_shards(folders: Sequence[Path], grid: Grid) -> list[Path]:
    """Every complete shard below `folders` (a folder may be a shard itself), in order; unfinished ones are left out.

    Raises ConfigurationError when a folder has none, one of the old format, or one whose features are for another grid
    or have other channels.
    """
    found: list[Path] = []
    for folder in folders:
        below = folder.expanduser()
        shards = sorted({file.parent for name in (INDEX, PICKLED_INDEX) for file in below.rglob(name)})
        if not shards:
            raise ConfigurationError(f"no simulated scenes below '{folder}': a shard is a folder with lidar.npy, "
                                     f'masks.npy and {INDEX}')
        for shard in shards:
            if not (shard / INDEX).exists():
                read_infos(shard)  # of the old format: says so
            channels, *cells = _shape(shard)
            if tuple(cells) != (grid.cells, grid.cells):
                raise ConfigurationError(f"shard '{shard}' has {cells[0]} x {cells[1]} cells, the network "
                                         f'{grid.cells} x {grid.cells}')
            if channels != len(CHANNELS):
                raise ConfigurationError(f"shard '{shard}' has {channels} LiDAR channels, the network {len(CHANNELS)}. "
                                         'Remedy: make its scenes again.')
        found += shards
    return list(dict.fromkeys(found))


def _shape(shard: Path) -> tuple[int, ...]:
    """Of the features of one scene."""
    try:
        shape: tuple[int, ...] = map_array(shard / 'lidar.npy').shape[1:]
        if len(shape) != 3:
            raise Damaged(f'its features have the shape {shape}')
    except (OSError, Damaged) as error:
        raise _unreadable(shard, error) from error
    return shape


class SceneStore:
    """Shards opened for reading: random access to scenes, features mapped from disk.

    Raises ConfigurationError when a shard cannot be read, see `read_infos`, or its arrays do not fit.
    """

    def __init__(self, folders: Sequence[Path]):
        self._infos: list[list[SceneInfo]] = []
        self._open = lru_cache(OPEN_SHARDS)(_open_arrays)
        self.index: list[tuple[int, int]] = []  # of each scene: its shard and its row there
        self._folders = list(folders)
        for folder in folders:
            infos = read_infos(folder)
            _check_arrays(folder, len(infos))
            self.index += [(len(self._infos), i) for i in range(len(infos))]
            self._infos.append(infos)

    def __reduce__(self) -> tuple[type[SceneStore], tuple[list[Path]]]:
        return type(self), (self._folders,)  # other processes open the files, they are not sent their content

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray, SceneInfo]:
        """-> features (C, H, W) int8, masks (3, H/4, W/4) uint8, info."""
        shard, row = self.index[i]
        return self._row(i, 'lidar'), self._row(i, 'masks'), self._infos[shard][row]

    def _row(self, i: int, name: str, row: int | None = None) -> np.ndarray:
        shard, own = self.index[i]
        try:
            return self._open(self._folders[shard])[name][own if row is None else row]
        except (OSError, Damaged) as error:
            raise _unreadable(self._folders[shard], error) from error

    def _has(self, i: int, name: str) -> bool:
        return name in self._open(self._folders[self.index[i][0]])

    def infos(self) -> list[SceneInfo]:
        """What every scene is, in order."""
        return [self._infos[shard][row] for shard, row in self.index]

    def past(self, i: int) -> tuple[np.ndarray, np.ndarray] | None:
        """-> features (P, C, H, W) int8 of earlier sweeps, the last one first, and their moves (P, 3): x, y [m],
        yaw [rad] of base_link then in base_link now. None where the shard has none.
        """
        if not self._has(i, 'past'):
            return None
        return self._row(i, 'past'), self._row(i, 'moves')

    def road(self, i: int) -> np.ndarray | None:
        """(H/2, W/2) uint8 share of each cell covered by road; None where the shard has none."""
        return self._row(i, 'road') if self._has(i, 'road') else None

    def bare(self, i: int) -> np.ndarray | None:
        """(C, H, W) int8 features of the scene without vehicles; None where they were not stored with it."""
        if not self._has(i, 'bare_of'):
            return None
        shard, row = self.index[i]
        found = np.flatnonzero(self._open(self._folders[shard])['bare_of'].array == row)
        return self._row(i, 'bare', int(found[0])) if len(found) else None


def _check_arrays(folder: Path, scenes: int) -> None:
    try:
        arrays = _open_arrays(folder)
        lengths = {name: len(array) for name, array in arrays.items() if name not in PAIRED}
        if set(lengths.values()) != {scenes}:
            raise ValueError(f'{scenes} scenes, but {lengths}')
        if 'bare_of' in arrays and not set(arrays['bare_of'].whole()) <= set(range(scenes)):
            raise ValueError('it holds scenes without vehicles of others than its own')
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def _open_arrays(folder: Path) -> dict[str, CheckedRows]:
    return open_rows(folder, ['lidar', 'masks', *(name for name in OPTIONAL if (folder / f'{name}.npy').exists())])
