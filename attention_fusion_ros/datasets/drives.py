# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Real drives with poses and truth: loading them, turning the vehicle on the spot, drawing and spoiling their maps.

The folder format and the map drawing are those of the data's own README and rosbag2 converter, so that an evaluation
here and a replay of a converted bag see the same inputs.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from attention_fusion_ros.contracts import Motion
from attention_fusion_ros.decode import plain_messages
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import is_rigid, rotation_2d, se3_from_quaternion, wrap, yaw_of
from attention_fusion_ros.utils import arrays, outside

IMAGE_METRES = 120.0  # edge of the map image
PIXEL = 0.25  # m
LINE_WIDTH = 5.0  # m
POINT = np.dtype([(name, np.float32) for name in ('x', 'y', 'z', 'intensity')])


@dataclass(frozen=True)
class MapOffset:
    """How far off the map image is, as a bad position fix would put it (in base_link)."""

    x: float = 0.0  # m
    y: float = 0.0  # m
    yaw: float = 0.0  # rad


@dataclass(frozen=True)
class Drive:
    """One recorded drive. Truth rows and sweeps are in the same order."""

    name: str
    sensor: str
    T_base_sensor: np.ndarray  # (4, 4)
    stamps_ns: np.ndarray  # (F,) int64 of the poses
    T_odom_base: np.ndarray  # (F, 4, 4)
    roads: tuple[np.ndarray, ...]  # (P, 2) m in odom; empty where there is no map
    sweeps: tuple[Path, ...]
    truth: tuple[dict, ...]

    def pose_index(self, stamp_ns: int) -> int:
        """Index of the pose nearest in time."""
        return int(np.argmin(np.abs(self.stamps_ns - stamp_ns)))


@dataclass(frozen=True)
class RingTruth:
    """Truth of one sweep on one ring, [bearing, heading] in rad from the (turned) base_link."""

    path_ahead: tuple[float, float] | None  # None: the drive ends before it leaves the ring
    path_behind: tuple[float, float] | None
    branches: tuple[tuple[float, float], ...] | None  # None: this drive has no map to tell


def find_drives(folder: str | Path) -> list[Path]:
    """Folders below `folder` (or itself) that hold a drive. Raises ConfigurationError when there is none."""
    folder = Path(folder)
    found = sorted(p.parent for p in [folder / 'drive.json', *folder.glob('*/drive.json')] if p.is_file())
    if not found:
        raise ConfigurationError(f"no drive in '{folder}': expected drive.json, poses.csv, truth.json and sweeps/ "
                                 'there or one folder below. Remedy: name the folder that holds the drives.')
    return found


def load_drive(folder: str | Path) -> Drive:
    """Read everything but the sweeps. Raises ConfigurationError when the folder does not hold a consistent drive."""
    folder = Path(folder)
    try:
        meta = outside.read_json(folder / 'drive.json')
        truth = _truth_rows(outside.read_json(folder / 'truth.json'))
        with open(folder / 'poses.csv', newline='') as file:
            rows = list(csv.reader(file))[1:]
        roads: dict[str, list] = {}
        if (folder / 'roads.csv').exists():
            with open(folder / 'roads.csv', newline='') as file:
                for name, x, y in list(csv.reader(file))[1:]:
                    roads.setdefault(name, []).append((float(x), float(y)))
        stamps = np.array([int(row[0]) for row in rows], dtype=np.int64)
        poses = np.stack([se3_from_quaternion([float(v) for v in row[1:4]], [float(v) for v in row[4:8]])
                          for row in rows])
        T_base_sensor = np.array(meta['T_base_sensor'], dtype=np.float64)
        name, sensor = str(meta['name']), str(meta['sensor'])
        if not all(math.isfinite(value) for road in roads.values() for place in road for value in place):
            raise ValueError('a road is not finite')
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise ConfigurationError(f"'{folder}' is not a drive: {error}") from error
    sweeps = tuple(sorted((folder / 'sweeps').glob('*.npz')))
    if not sweeps or len(sweeps) != len(truth):
        raise ConfigurationError(f"'{folder}' has {len(sweeps)} sweeps and {len(truth)} rows of truth")
    if not is_rigid(T_base_sensor, 0.01):
        raise ConfigurationError(f"'{folder}': T_base_sensor is not a rigid transform")
    return Drive(name, sensor, T_base_sensor, stamps, poses, tuple(np.array(r) for r in roads.values()), sweeps,
                 tuple(truth))


def _truth_rows(rows: Any) -> list[dict]:
    """The rows of truth.json. Raises ValueError, KeyError or TypeError for what is none."""
    def pair(values: Any) -> None:
        if len(values) != 2 or not all(math.isfinite(value) for value in values):
            raise ValueError(f'{values} in truth.json is no bearing and heading')
    for row in rows:
        for ring in (*row['path_ahead'].values(), *row['path_behind'].values()):
            if ring:
                pair(ring)
        for branches in row.get('branches', {}).values():
            for branch in branches:
                pair(branch)
    return list(rows)


def cloud_message(path: Path) -> SimpleNamespace:
    """One sweep as the PointCloud2 message a driver would send: x y z intensity float32 in frame `lidar`.

    Raises ConfigurationError, see `read_sweep`.
    """
    sweep = read_sweep(path)
    points = np.empty(len(sweep.xyz), POINT)
    with np.errstate(over='ignore', invalid='ignore'):
        points['x'], points['y'], points['z'] = sweep.xyz.T
        points['intensity'] = sweep.intensity
    return plain_messages.point_cloud(points, sweep.stamp_ns, 'lidar')


@dataclass(frozen=True)
class StoredSweep:
    """One sweep of a drive as it lies in its folder."""

    stamp_ns: int
    xyz: np.ndarray  # (N, 3) float64, m, in the frame of the sensor
    intensity: np.ndarray  # (N,) float64


def read_sweep(path: Path) -> StoredSweep:
    """One sweep of a drive. Raises ConfigurationError for a file that is none, or damaged."""
    try:
        z = arrays.read_arrays(path, ('xyz_mm', 'intensity', 'intensity_scale', 'stamp_ns'))
        with np.errstate(over='ignore', invalid='ignore'):
            xyz, intensity = z['xyz_mm'] / 1000.0, z['intensity'] * float(z['intensity_scale'])
        if xyz.shape != (3, len(intensity)):
            raise ValueError(f'its points have the shape {xyz.shape}, and there are {len(intensity)} intensities')
        return StoredSweep(int(z['stamp_ns']), xyz.T, intensity)
    except (OSError, ValueError, IndexError, TypeError, OverflowError) as error:
        raise ConfigurationError(f"'{path}' is no sweep of a drive: {error}. Remedy: get the drive again.") from error


def image_message(stamp_ns: int, image: np.ndarray, encoding: str = 'rgb8') -> SimpleNamespace:
    """(H, W) or (H, W, C) in the datatype of `encoding` as a sensor_msgs/Image in base_link."""
    return plain_messages.image(image, stamp_ns, encoding=encoding)


def motion_at(drive: Drive, stamp_ns: int, turn: float) -> Motion:
    """Sensor and vehicle poses at the sweep, with the vehicle turned on the spot by `turn` rad, left positive."""
    spin = np.eye(4)
    spin[:2, :2] = rotation_2d(turn)
    pose = drive.T_odom_base[drive.pose_index(stamp_ns)] @ spin
    return Motion(T_base_sensor=spin.T @ drive.T_base_sensor, T_odom_base=pose, T_odom_base_map=pose)


def map_picture(drive: Drive, stamp_ns: int, turn: float, error: MapOffset, route: bool = False) -> np.ndarray:
    """(480, 480, 3) uint8 RGB, heading up, vehicle at the centre: roads (or the driven path where the drive has no
    roads) white, the driven route red when asked for; spoiled by `error`, for a vehicle turned by `turn` rad.
    """
    index = drive.pose_index(stamp_ns)
    pose = motion_at(drive, stamp_ns, turn).T_odom_base
    if pose is None:
        raise ValueError(f'{drive.name} has no odometry at {stamp_ns}')
    origin, R = pose[:2, 3], rotation_2d(yaw_of(pose))

    def seen(points: np.ndarray) -> np.ndarray:
        placed: np.ndarray = (points - origin) @ R @ rotation_2d(error.yaw).T + (error.x, error.y)
        return placed

    path = seen(drive.T_odom_base[:, :2, 3])
    return draw_lines([seen(r) for r in drive.roads] or [path], path[index:] if route else None)


def draw_lines(lines: list[np.ndarray], route: np.ndarray | None) -> np.ndarray:
    """Polylines (P, 2) m in base_link -> (480, 480, 3) uint8 RGB, 5 m wide antialiased lines; the route red on top."""
    pixels = int(IMAGE_METRES / PIXEL)
    image = np.zeros((pixels, pixels, 3), np.uint8)
    width = int(LINE_WIDTH / PIXEL)

    def draw(line: np.ndarray, colour: tuple[int, int, int]) -> None:
        columns_rows = pixels / 2 - line[:, ::-1] / PIXEL
        # 4 fractional bits: cv2 draws at a sixteenth of a pixel.
        points = np.round(columns_rows * 16).astype(np.int32)
        cv2.polylines(image, [points], False, colour, width, cv2.LINE_AA, 4)

    for line in lines:
        draw(line, (255, 255, 255))
    if route is not None and len(route) > 1:
        draw(route, (255, 0, 0))
    return image


def ring_truth(drive: Drive, index: int, turn: float, lookahead: float = 20.0) -> RingTruth:
    """Truth of sweep `index` as seen by a vehicle turned by `turn` rad.

    Raises ConfigurationError when the truth file has no ring of this radius.
    """
    row, ring = drive.truth[index], f'{lookahead:g}'
    if ring not in row['path_ahead']:
        raise ConfigurationError(f"{drive.name}: truth is for rings of {', '.join(row['path_ahead'])} m, not {ring} m")

    def turned(pair: Sequence[float]) -> tuple[float, float]:
        return wrap(pair[0] - turn), wrap(pair[1] - turn)

    ahead, behind = row['path_ahead'][ring], row['path_behind'][ring]
    branches = tuple(turned(b) for b in row['branches'][ring]) if 'branches' in row else None
    return RingTruth(turned(ahead) if ahead else None, turned(behind) if behind else None, branches)


def random_offset(rng: np.random.Generator, shift_sigma: float, yaw_sigma: float) -> MapOffset:
    """A random map error: shift per axis (sigma in m) and yaw (sigma in rad), all normal."""
    x, y = rng.normal(0.0, shift_sigma, 2)
    return MapOffset(float(x), float(y), float(rng.normal(0.0, yaw_sigma)))


STANDARD = (2.5, math.radians(4.0))  # shift sigma [m] per axis, yaw sigma [rad]
DOUBLED = (5.0, math.radians(8.0))
