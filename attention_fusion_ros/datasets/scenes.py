# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated scenes for training: what costs time (ray casting, BEV features) is made once, see `shards`; maps are drawn
anew every epoch. The features come from the same code that the node runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from attention_fusion_ros.bev.accumulate import Points, SweepAccumulator, accumulated_bev
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.config import CloudConfig
from attention_fusion_ros.datasets.target import MASKS
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import transform_points, yaw_of
from attention_fusion_ros.simulation.sensors.lidar import SENSOR_SHARES, random_lidar, with_faults
from attention_fusion_ros.simulation.sensors.past import PastSweep, past_sweeps
from attention_fusion_ros.simulation.sensors.scan import scan, scan_pair
from attention_fusion_ros.simulation.sensors.track import driven_track
from attention_fusion_ros.simulation.truth.branches import Truth, truth, truths_of_turns
from attention_fusion_ros.simulation.truth.masks import masks
from attention_fusion_ros.simulation.truth.rings import TURNS_RAD, RingTruth, ring_truths
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.profile import profile_of
from attention_fusion_ros.simulation.world.world import Road, Terrain, World

QUANTUM = 1.5 / 127  # features are stored in steps of this; 5 mm of height near the ground
MASK_STRIDE = 4  # masks are stored at a quarter of the grid's resolution, as shares 0..255
ROAD_STRIDE = 2  # the road's mask is stored finer, too, where the profile is not v1
EMPTY_EVERY = 4  # of so many scenes one is stored without its vehicles, too
PAIR_EVERY = 3  # the same of the scenes of other profiles than v1, in which both are one scene
MAX_RAYS = 65536  # beams x azimuth steps of a simulated sensor: more cost time and add points to full cells only
ACCUMULATED_SHARE = 0.5  # of the scenes; the others are as in a vehicle without odometry
LIMITS = CloudConfig()  # of the accumulation: those of the node
MAX_ACCUMULATED = LIMITS.accumulate - 1  # earlier sweeps


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
    # What follows is empty in scenes of profile v1.
    profile: str = 'v1'
    city: str = ''  # name of the OpenStreetMap extract whose roads they are
    rings: tuple[RingTruth, ...] = ()
    track: tuple[tuple[float, float, float], ...] = ()  # x, y [m], yaw [rad] driven before, a metre apart, newest first

    @property
    def world(self) -> World:
        """The scene's roads as a world, for drawing maps."""
        return World(self.scene_class, self.roads, Terrain(), route=self.route, pose=self.pose, seed=self.seed)


def quantise(features: np.ndarray) -> np.ndarray:
    """Features (...) float -> int8 in steps of QUANTUM, clipped to -1.5 .. 1.5."""
    return np.clip(np.rint(features / QUANTUM), -127, 127).astype(np.int8)


@dataclass(frozen=True)
class SceneOptions:
    """What scenes are made of, besides their seed."""

    grid: Grid
    lookahead: float
    # OpenStreetMap extracts, of whose junctions a share of the scenes is; of several, each scene has one
    osm: str | tuple[str, ...] | None = None
    past: int = 0  # earlier sweeps stored with each scene
    profile: str = 'v1'  # see `simulation.world.profile`

    def extract(self, seed: int) -> str | None:
        """The extract for the scene of this seed."""
        if self.osm is None or isinstance(self.osm, str):
            return self.osm
        return self.osm[int(np.random.default_rng([seed, 79]).integers(len(self.osm)))] if self.osm else None


class MadeScene(NamedTuple):
    """One scene, ready to be stored."""

    lidar: np.ndarray  # (C, H, W) int8
    masks: np.ndarray  # (3, H/4, W/4) uint8
    info: SceneInfo
    past: np.ndarray  # (P, C, H, W) int8, the last sweep first
    moves: np.ndarray  # (P, 3) float32: x, y [m], yaw [rad] of base_link then in base_link now
    road: np.ndarray | None = None  # (H/2, W/2) uint8 share of road; None in profile v1
    bare: np.ndarray | None = None  # (C, H, W) int8 features without vehicles, where they are stored with the scene


def make_scene(seed: int, options: SceneOptions, scene_class: str | None = None) -> list[MadeScene]:
    """One seed -> the scene with vehicles and, now and then, without them too.

    The empty list when the vehicle's road gives no branch (nothing to learn) or the sweep no point.
    """
    rng = np.random.default_rng([seed, 77])
    grid, profile, extract = options.grid, profile_of(options.profile), options.extract(seed)
    plain = profile.name == 'v1'
    world = generate_world(seed, scene_class, extract, profile)
    lidar = random_lidar(rng, MAX_RAYS, SENSOR_SHARES[profile.sensors])
    if profile.faults:
        lidar = with_faults(np.random.default_rng([seed, 80]), lidar)
    truths = _truths(world, options.lookahead) if plain else truths_of_turns(world, options.lookahead, TURNS_RAD)
    if not truths[0][0].branches:
        return []
    luck = int(rng.integers(2 ** 31))
    if world.vehicles and seed % (EMPTY_EVERY if plain else PAIR_EVERY) == 0:
        with_cloud, without_cloud, T_base_sensor = scan_pair(world, world.pose, lidar, luck)
        kinds = [(with_cloud, True), (without_cloud, False)]
    else:
        cloud, T_base_sensor = scan(world, world.pose, lidar, luck)
        kinds = [(cloud, True)]
    # At the start of a drive there are fewer earlier sweeps than the node takes later.
    accumulated = int(rng.integers(1, MAX_ACCUMULATED + 1)) if rng.random() < ACCUMULATED_SHARE else 0
    if not can_gain(len(kinds[0][0].xyz)):
        accumulated = 0
    info = SceneInfo(seed, world.scene_class, lidar.name, True, world.pose, _near_roads(world), world.route, truths)
    if not plain:
        info = replace(info, profile=profile.name, rings=ring_truths(world), city=_city(world, extract),
                       track=_rounded(driven_track(world, np.random.default_rng([seed, 81]))))
    scenes: list[MadeScene] = []
    for cloud, with_vehicles in kinds:
        seen = world if with_vehicles else world.without_vehicles()
        earlier = past_sweeps(seen, lidar, np.random.default_rng([seed, 78]), max(accumulated, options.past))
        now = Points(transform_points(torch.as_tensor(T_base_sensor, dtype=torch.float32), torch.from_numpy(cloud.xyz)),
                     torch.from_numpy(cloud.intensity))
        try:
            features = accumulated_features(now, earlier[:accumulated], grid)
            past = [quantise(lidar_bev(*_points(sweep), grid, LIMITS.min_range, LIMITS.max_height).numpy())
                    for sweep in earlier[:options.past]]
        except InputError:
            continue
        if scenes and not plain:
            scenes[0] = scenes[0]._replace(bare=quantise(features))
            continue
        shares, road = _shares(world, grid, with_vehicles)
        scenes.append(MadeScene(
            quantise(features), shares, replace(info, with_vehicles=with_vehicles),
            np.array(past, np.int8).reshape(-1, *features.shape),
            np.array([(*p.T_now_then[:2, 3], yaw_of(p.T_now_then)) for p in earlier[:options.past]],
                     np.float32).reshape(-1, 3), None if plain else road))
    return scenes


def _truths(world: World, lookahead: float) -> tuple[tuple[Truth, Truth], ...]:
    x, y, yaw = world.pose
    # Turning the scene by a quarter to the left is the vehicle turning to the right.
    turned = [(x, y, yaw - turn) for turn in TURNS_RAD]
    return tuple((truth(world, pose, lookahead), truth(world, pose, lookahead, route=True)) for pose in turned)


def _city(world: World, extract: str | None) -> str:
    return '' if world.scene_class != 'osm' or extract is None else Path(extract).name.split('.')[0]


def _rounded(poses: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """(N, 3) -> the same in millimetres and tenths of milliradians, for short files."""
    return tuple((round(x, 3), round(y, 3), round(yaw, 4)) for x, y, yaw in poses.astype(float).tolist())


def can_gain(points: int) -> bool:
    """Whether a sweep of so many points leaves room for another one beside it, see CloudConfig.accumulate_points."""
    return 0 < 2 * points <= LIMITS.accumulate_points


def accumulated_features(now: Points, earlier: list[PastSweep], grid: Grid) -> np.ndarray:
    """(C, H, W) float32 features of the sweep and of earlier ones, newest first, by the code and limits of the node.

    Raises InputError `no_points_in_range`.
    """
    accumulator = SweepAccumulator(LIMITS)
    for sweep in reversed(earlier):
        accumulator.add(-round(1e9 * sweep.age_s), sweep.T_now_then, _points(sweep))
    features = accumulated_bev(now, accumulator.earlier(0, np.eye(4)), grid, LIMITS, LIMITS.accumulate_points)
    array: np.ndarray = features.numpy()
    return array


def _points(sweep: PastSweep) -> Points:
    return Points(torch.from_numpy(sweep.xyz), torch.from_numpy(sweep.intensity))


def _near_roads(world: World, reach: float = 90.0) -> tuple[Road, ...]:
    centre = np.array(world.pose[:2])
    return tuple(r for r in world.roads if np.linalg.norm(r.centre - centre, axis=1).min() < reach)


def _shares(world: World, grid: Grid, with_vehicles: bool) -> tuple[np.ndarray, np.ndarray]:
    """Shares 0..255, uint8: (3, H/4, W/4) covered by road, roadside structure, vehicles; (H/2, W/2) by road."""
    found = masks(world if with_vehicles else world.without_vehicles(), world.pose, grid)
    full = np.stack([getattr(found, name) for name in MASKS]).astype(np.float32)
    return _block_shares(full, MASK_STRIDE), _block_shares(full[MASKS.index('road')], ROAD_STRIDE)


def _block_shares(cells: np.ndarray, stride: int) -> np.ndarray:
    """(..., H, W) 0/1 -> (..., H/stride, W/stride) uint8 share of each block."""
    small = cells.shape[-1] // stride
    shares: np.ndarray = cells.reshape(*cells.shape[:-2], small, stride, small, stride).mean((-3, -1))
    return (255 * shares).astype(np.uint8)
