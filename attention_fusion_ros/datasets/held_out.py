# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Held-out simulated scenes: made once from their seeds, kept on disk as a sensor and a map server would send them.

A scene on disk is inputs and truth, no features: the code from points to features may change without making the scenes
anew. Where the simulator or this file changes, the folder's name does, and the scenes are made again.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import Motion, PointCloud
from attention_fusion_ros.datasets.drives import image_message
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.metrics.branches import TrueRoads
from attention_fusion_ros.simulation.sensors.lidar import SENSOR_SHARES, random_lidar, with_faults
from attention_fusion_ros.simulation.sensors.map_image import MapError, MapStyle, draw_map, random_error, random_style
from attention_fusion_ros.simulation.sensors.scan import scan, scan_pair
from attention_fusion_ros.simulation.sensors.track import driven_track
from attention_fusion_ros.simulation.truth.branches import Truth, truth
from attention_fusion_ros.simulation.truth.masks import masks
from attention_fusion_ros.simulation.truth.rings import RingTruth, ring_of, ring_truths
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.profile import profile_of
from attention_fusion_ros.simulation.world.world import World
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import read_arrays
from attention_fusion_ros.utils.damaged import Damaged
from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.outside import parse_json

FIRST_SEED = 20_000_000  # training uses seeds below 10,000,000, validation those below 11,000,000
JUNCTIONS = ('t', 'x', 'y', 'skewed', 'staggered', 'roundabout', 'fork')
NO_MAP_SHARE = 0.15
ROUTE_SHARE = 0.5
NO_VEHICLES_EVERY = 3  # scenes of every third seed exist without vehicles, too
CURVE_EVERY = 5  # every fifth is drawn with a range of map errors
CURVE_SHIFT_M = (0.0, 2.0, 4.0, 6.0, 8.0)  # m, in a random direction
CURVE_YAW_DEG = (0.0, 3.0, 6.0, 9.0, 12.0, 15.0)  # deg, of random sign
POINT_UNIT_M = 0.004  # m, points are stored in steps of this: far below the range noise
MASKS = ('road', 'roadside', 'vehicles', 'visible')


@dataclass(frozen=True)
class HeldOutInfo:
    """What a scene is."""

    seed: int
    scene_class: str
    sensor: str
    beams: int
    has_map: bool
    route_drawn: bool
    map_shift: tuple[float, float]  # m
    map_yaw: float  # rad


@dataclass(frozen=True)
class MapPicture:
    """A heading-up map image as it would be sent, and how it lies."""

    image: np.ndarray  # (H, W, C) or (H, W) in the datatype of the encoding
    encoding: str  # of sensor_msgs/Image
    resolution: float  # m/pixel
    anchor: tuple[float, float]  # where the vehicle is: column and row as fractions


@dataclass(frozen=True)
class HeldOutScene:
    """One scene, ready for every method."""

    info: HeldOutInfo
    truth_routed: TrueRoads  # the direction follows the route where one is drawn
    truth_unrouted: TrueRoads  # the direction is the continuation of the road
    T_base_sensor: np.ndarray  # (4, 4)
    cloud: PointCloud
    cloud_without_vehicles: PointCloud | None  # the same without vehicles
    picture: MapPicture | None
    curve: dict[tuple[str, float], MapPicture]  # ('shift', m) and ('yaw', deg) -> map with this error, no route
    cells: dict[str, np.ndarray]  # name of MASKS -> (H, W) bool on the default grid
    rings: tuple[RingTruth, ...] = ()  # the branches on each of `truth.rings.RINGS_M`
    track: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))  # see `sensors.track.driven_track`

    def _inputs(self, cloud: PointCloud, picture: MapPicture | None) -> PlacedSweep:
        motion = Motion(self.T_base_sensor)
        if picture is None:
            return PlacedSweep(cloud, motion, track=self.track)
        image = decode_map_image(image_message(cloud.stamp_ns, picture.image, picture.encoding))
        layout = MapConfig(resolution=picture.resolution, anchor=list(picture.anchor))
        return PlacedSweep(cloud, motion, image, track=self.track, layout=layout)

    def inputs(self) -> PlacedSweep:
        """The scene as it is."""
        return self._inputs(self.cloud, self.picture)

    def inputs_without_vehicles(self) -> PlacedSweep | None:
        """The scene without vehicles, with the same map; None where it was not made."""
        return None if self.cloud_without_vehicles is None else self._inputs(self.cloud_without_vehicles, self.picture)

    def curve_inputs(self) -> dict[tuple[str, float], PlacedSweep]:
        """The scene with maps of known error; empty for most scenes."""
        return {key: self._inputs(self.cloud, picture) for key, picture in self.curve.items()}

    def masks(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Masks by name (road, roadside, vehicles), and what the LiDAR sees."""
        return {name: self.cells[name] for name in MASKS[:-1]}, self.cells['visible']


def make_scene(seed: int, lookahead: float = 20.0, osm: Path | None = None,
               profile: str = 'v1') -> HeldOutScene | None:
    """The scene of this seed; None when the vehicle's road crosses the ring nowhere.

    osm: an OpenStreetMap extract, from which a share of the worlds takes its roads.
    profile: kinds of places and sensors, see `simulation.world.profile`.
    """
    rng = np.random.default_rng([seed, 20])
    kinds = profile_of(profile)
    world = generate_world(seed, osm=osm, profile=kinds)
    lidar = random_lidar(rng, shares=SENSOR_SHARES[kinds.sensors])
    if kinds.faults:
        lidar = with_faults(np.random.default_rng([seed, 80]), lidar)
    routed, unrouted = (truth(world, world.pose, lookahead, route=drawn) for drawn in (True, False))
    if not unrouted.branches:
        return None
    scan_seed, without_vehicles = int(rng.integers(1 << 31)), None
    if world.vehicles and seed % NO_VEHICLES_EVERY == 0:
        full, without_vehicles, T_base_sensor = scan_pair(world, world.pose, lidar, scan_seed, stamp_ns=seed)
    else:
        full, T_base_sensor = scan(world, world.pose, lidar, scan_seed, stamp_ns=seed)
    has_map = bool(rng.random() >= NO_MAP_SHARE)
    style, error = random_style(rng), random_error(rng)
    in_colour = style.encoding not in ('mono8', 'mono16', '32FC1')
    drawn = bool(rng.random() < ROUTE_SHARE) and has_map and in_colour and world.route is not None
    picture = draw(world, style, error, rng, drawn) if has_map else None
    curve = _curve(world, rng) if seed % CURVE_EVERY == 0 else {}
    found = masks(world, world.pose, Grid(), transform_points(T_base_sensor, full.xyz))
    assert found.visible is not None  # points were given
    info = HeldOutInfo(seed, world.scene_class, lidar.name, len(lidar.elevations), has_map, drawn,
                     (error.x, error.y), error.yaw)
    return HeldOutScene(info, _roads(routed if drawn else unrouted), _roads(unrouted), T_base_sensor, full,
                        without_vehicles, picture, curve,
                        dict(zip(MASKS, (found.road, found.roadside, found.vehicle, found.visible), strict=True)),
                        ring_truths(world), driven_track(world, np.random.default_rng([seed, 81])))


def _roads(found: Truth) -> TrueRoads:
    pairs = tuple((float(b), float(h)) for b, h in found.branches)
    return TrueRoads(pairs, None if found.direction is None else (float(found.direction[0]), float(found.direction[1])))


def draw(world: World, style: MapStyle, error: MapError, rng: np.random.Generator, route: bool) -> MapPicture:
    """The world's roads as somebody's map image, spoiled by `error`."""
    image, layout = draw_map(world, world.pose, style, error, rng, route)
    return MapPicture(image, style.encoding, layout.resolution, (layout.anchor[0], layout.anchor[1]))


def _curve(world: World, rng: np.random.Generator) -> dict[tuple[str, float], MapPicture]:
    """Maps of all roads with known error, otherwise alike: same style, nothing missing, added or warped."""
    style = replace(random_style(rng), driven_path=False)
    way, sign = rng.uniform(0, 2 * math.pi), rng.choice([-1.0, 1.0])
    errors = {('shift', s): MapError(s * math.cos(way), s * math.sin(way)) for s in CURVE_SHIFT_M}
    errors |= {('yaw', y): MapError(yaw=float(sign * math.radians(y))) for y in CURVE_YAW_DEG}
    return {key: draw(world, style, error, rng, False) for key, error in errors.items()}


def save_scene(scene: HeldOutScene, path: Path) -> None:
    """Write a scene; whole or not at all."""
    arrays: dict[str, np.ndarray] = {'T_base_sensor': scene.T_base_sensor}
    for name, cloud in (('full', scene.cloud), ('without_vehicles', scene.cloud_without_vehicles)):
        if cloud is not None and cloud.intensity is not None:
            arrays[f'{name}_xyz'] = np.rint(cloud.xyz / POINT_UNIT_M).astype(np.int16)
            arrays[f'{name}_intensity'] = cloud.intensity.astype(np.float16)
    pictures = {('given', 0.0): scene.picture} if scene.picture else {}
    keys = []
    for key, picture in (pictures | scene.curve).items():
        keys.append([*key, picture.encoding, picture.resolution, picture.anchor])
        arrays[f'map_{len(keys) - 1}'] = picture.image
    arrays |= {f'mask_{name}': np.packbits(cells) for name, cells in scene.cells.items()}
    meta = {'info': asdict(scene.info), 'maps': keys, 'frame_id': scene.cloud.frame_id,
            'truth_routed': asdict(scene.truth_routed),
            'truth_unrouted': asdict(scene.truth_unrouted), 'rings': [asdict(ring) for ring in scene.rings]}
    arrays['track'] = scene.track
    atomic.save_arrays(path, {'meta': np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})


def load_scene(path: Path) -> HeldOutScene:
    """Read what `save_scene` wrote. Raises OSError, and Damaged for a file that is not whole."""
    z = read_arrays(path)
    try:
        return _scene(z, parse_json(z['meta'].tobytes()))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise Damaged(f'it is no scene ({type(error).__name__}: {error})') from error


def _scene(z: dict[str, np.ndarray], meta: Any) -> HeldOutScene:
    seed, cells = meta['info']['seed'], Grid().cells

    def cloud(name: str) -> PointCloud:
        return PointCloud(seed, meta['frame_id'], z[f'{name}_xyz'].astype(np.float32) * np.float32(POINT_UNIT_M),
                          z[f'{name}_intensity'].astype(np.float32))
    maps = {(kind, size): MapPicture(z[f'map_{k}'], encoding, resolution, tuple(anchor))
            for k, (kind, size, encoding, resolution, anchor) in enumerate(meta['maps'])}
    found = {name: np.unpackbits(z[f'mask_{name}'], count=cells * cells).reshape(cells, cells).astype(bool)
             for name in MASKS}
    info = HeldOutInfo(**{**meta['info'], 'map_shift': tuple(meta['info']['map_shift'])})
    return HeldOutScene(info, _true_roads(meta['truth_routed']), _true_roads(meta['truth_unrouted']),
                        z['T_base_sensor'], cloud('full'),
                        cloud('without_vehicles') if 'without_vehicles_xyz' in z else None,
                        maps.pop(('given', 0.0), None), maps, found,
                        tuple(ring_of(ring) for ring in meta['rings']), z['track'])


def _true_roads(stored: dict) -> TrueRoads:
    direction = stored['direction']
    return TrueRoads(tuple(tuple(b) for b in stored['branches']), None if direction is None else tuple(direction))


@lru_cache
def generator_hash() -> str:
    """A name for the code that makes scenes: changes when the simulator or this file does."""
    return digest(source_files(('simulation', 'datasets/held_out.py'), ('__init__.py',)))


def cache_key(lookahead: float, osm: Path | None, profile: str = 'v1') -> str:
    """Name of the folder in the cache for scenes of this generator, ring, extract and profile."""
    extract = f'-{osm.name}-{osm.stat().st_size}' if osm is not None else ''
    kind = '' if profile == 'v1' else f'-{profile}'
    return f'evaluation-{generator_hash()}-{lookahead:g}m{extract}{kind}'


def obtain(seed: int, cache: Path, lookahead: float = 20.0, osm: Path | None = None,
           profile: str = 'v1') -> HeldOutScene | None:
    """The scene of this seed from the cache, or made and kept there. None as in `make_scene`."""
    folder = cache / cache_key(lookahead, osm, profile)
    path = folder / f'{seed}.npz'
    if path.exists():
        try:
            return load_scene(path)
        except Damaged:
            pass  # made again
    scene = make_scene(seed, lookahead, osm, profile)
    if scene is None:
        return None
    save_scene(scene, path)
    return load_scene(path)  # also when just made, so that a first run sees the same rounded points as the next
