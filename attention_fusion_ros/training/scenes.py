"""Simulated scenes on disk: what costs time (ray casting, BEV features) is made once, maps are drawn anew every epoch.

A shard is a folder with `lidar.npy` (S, 5, H, W) int8 features, `masks.npy` (S, 3, H/4, W/4) uint8 and `scenes.pkl`.
The features come from the same `bev.lidar.lidar_bev` that the node runs.
"""

from __future__ import annotations

import math
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.contracts import InputError
from attention_fusion_ros.simulation.generate import generate_world
from attention_fusion_ros.simulation.lidar import random_lidar
from attention_fusion_ros.simulation.masks import masks
from attention_fusion_ros.simulation.scan import scan, scan_pair
from attention_fusion_ros.simulation.truth import Truth, truth
from attention_fusion_ros.simulation.world import Road, World

QUANTUM = 1.5 / 127  # features are stored in steps of this; 5 mm of height near the ground
MASKS = ('road', 'roadside', 'vehicle')
MASK_STRIDE = 4  # masks are stored at a quarter of the grid's resolution, as shares 0..255
EMPTY_EVERY = 4  # of so many scenes one is stored without its vehicles, too
MAX_RAYS = 65536  # beams x azimuth steps of a simulated sensor: more cost time and add points to full cells only
FULL_TURN = 4  # quarter turns, the rotations a grid allows without interpolation


@dataclass(frozen=True)
class SceneInfo:
    """Everything of a scene but its features: enough to draw its map and to know its truth."""

    seed: int
    scene_class: str
    sensor: str
    with_vehicles: bool
    pose: tuple[float, float, float]
    roads: tuple[Road, ...]  # in the world frame
    route: np.ndarray | None
    truths: tuple[tuple[Truth, Truth], ...]  # [quarter turns of the scene][route drawn]

    @property
    def world(self) -> World:
        """The scene's roads as a world, for drawing maps."""
        from attention_fusion_ros.simulation.world import Terrain
        return World(self.scene_class, self.roads, Terrain(), route=self.route, pose=self.pose, seed=self.seed)


def quantise(features: np.ndarray) -> np.ndarray:
    """Float features -> int8."""
    return np.clip(np.rint(features / QUANTUM), -127, 127).astype(np.int8)


def make_scene(seed: int, grid: Grid, lookahead: float, scene_class: str | None = None,
               ) -> list[tuple[np.ndarray, np.ndarray, SceneInfo]]:
    """One seed -> [(features, masks, info)]: the scene with vehicles and, now and then, without them too.

    The empty list when the vehicle's road gives no branch (nothing to learn) or the sweep no point.
    """
    rng = np.random.default_rng([seed, 77])
    world = generate_world(seed, scene_class)
    lidar = random_lidar(rng, MAX_RAYS)
    x, y, yaw = world.pose
    # Turning the scene by a quarter to the left is the vehicle turning to the right.
    truths = tuple(tuple(truth(world, (x, y, yaw - k * math.pi / 2), lookahead, route=drawn) for drawn in (False, True))
                   for k in range(FULL_TURN))
    if not truths[0][0].branches:
        return []
    luck = int(rng.integers(2 ** 31))
    if world.vehicles and seed % EMPTY_EVERY == 0:
        with_cloud, without_cloud, T_base_sensor = scan_pair(world, world.pose, lidar, luck)
        kinds = [(with_cloud, True), (without_cloud, False)]
    else:
        cloud, T_base_sensor = scan(world, world.pose, lidar, luck)
        kinds = [(cloud, True)]
    info = SceneInfo(seed, world.scene_class, lidar.name, True, world.pose, _near_roads(world), world.route, truths)
    scenes = []
    for cloud, with_vehicles in kinds:
        T = torch.as_tensor(T_base_sensor, dtype=torch.float32)
        xyz = torch.from_numpy(cloud.xyz) @ T[:3, :3].T + T[:3, 3]
        try:
            features = lidar_bev(xyz, torch.from_numpy(cloud.intensity), grid).numpy()
        except InputError:
            continue
        scenes.append((quantise(features), _small_masks(world, grid, with_vehicles),
                       replace(info, with_vehicles=with_vehicles)))
    return scenes


def _near_roads(world: World, reach: float = 90.0) -> tuple[Road, ...]:
    centre = np.array(world.pose[:2])
    return tuple(r for r in world.roads if np.linalg.norm(r.centre - centre, axis=1).min() < reach)


def _small_masks(world: World, grid: Grid, with_vehicles: bool) -> np.ndarray:
    """(3, H/4, W/4) uint8: share of each coarse cell covered by road, roadside structure, vehicles."""
    found = masks(world if with_vehicles else world.without_vehicles(), world.pose, grid)
    full = np.stack([found.road, found.roadside, found.vehicle]).astype(np.float32)
    small = grid.cells // MASK_STRIDE
    return (255 * full.reshape(3, small, MASK_STRIDE, small, MASK_STRIDE).mean((2, 4))).astype(np.uint8)


def write_shard(seeds: range, folder: Path, grid: Grid, lookahead: float) -> int:
    """Scenes of `seeds` into `folder`; an existing shard is left alone. Returns the number of scenes."""
    if (folder / 'scenes.pkl').exists():
        return len(pickle.loads((folder / 'scenes.pkl').read_bytes()))
    made = [scene for seed in seeds for scene in make_scene(seed, grid, lookahead)]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / 'lidar.npy', np.stack([m[0] for m in made]))
    np.save(folder / 'masks.npy', np.stack([m[1] for m in made]))
    partial_file = folder / 'scenes.partial'
    partial_file.write_bytes(pickle.dumps([m[2] for m in made]))
    os.replace(partial_file, folder / 'scenes.pkl')  # last, so that a shard cut off is made again
    return len(made)


def write_shards(first_seed: int, count: int, folder: Path, grid: Grid, lookahead: float, workers: int,
                 shard_size: int = 256) -> list[Path]:
    """Make all shards for seeds first_seed .. first_seed + count, several at a time. Resumable."""
    starts = range(first_seed, first_seed + count, shard_size)
    folders = [folder / f'{start:09d}' for start in starts]
    jobs = [range(start, min(start + shard_size, first_seed + count)) for start in starts]
    if workers <= 1:
        for seeds, path in tqdm(list(zip(jobs, folders)), desc='scenes', unit='shard'):
            write_shard(seeds, path, grid, lookahead)
    else:
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            work = pool.map(partial(write_shard, grid=grid, lookahead=lookahead), jobs, folders)
            list(tqdm(work, total=len(jobs), desc='scenes', unit='shard'))
    return folders


class SceneStore:
    """Shards opened for reading: random access to scenes, features mapped from disk."""

    def __init__(self, folders: list[Path]):
        self._shards = []
        self.index: list[tuple[int, int]] = []
        for folder in folders:
            infos = pickle.loads((folder / 'scenes.pkl').read_bytes())
            self.index += [(len(self._shards), i) for i in range(len(infos))]
            self._shards.append((np.load(folder / 'lidar.npy', mmap_mode='r'),
                                 np.load(folder / 'masks.npy', mmap_mode='r'), infos))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray, SceneInfo]:
        """-> features (5, H, W) int8, masks (3, H/4, W/4) uint8, info."""
        shard, row = self.index[i]
        lidar, mask, infos = self._shards[shard]
        return np.asarray(lidar[row]), np.asarray(mask[row]), infos[row]

