# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How far walls lie from where they are, before and after points are moved by their own time.

    python -m attention_fusion_ros.studies.deskew

A spinning LiDAR drives through a bend between four walls; each ray is cast from where the sensor is at that moment.
What it sends goes through the same decoder and stream as the messages of a driver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import SyncedSweep
from attention_fusion_ros.decode.plain_messages import header, point_cloud
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion, transform_points
from attention_fusion_ros.stream.inputs import input_named
from attention_fusion_ros.stream.sweeps import SweepStream
from attention_fusion_ros.utils.tables import Table

WALLS_M = 30.0  # from the middle of the yard to each wall
HEIGHT_M = 1.8  # of the sensor
COLUMNS = 1800
ELEVATIONS = np.radians(np.linspace(-3.0, 15.0, 16))
STAMP_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Bend:
    """A steady bend, and how the sensor and odometry are sampled on it."""

    speed: float = 20.0  # m/s
    radius: float = 40.0  # m, to the left
    period_s: float = 0.1  # of a turn of the sensor
    odometry_hz: float = 50.0

    def pose(self, seconds: float) -> np.ndarray:
        """(4, 4) T_odom_base; the vehicle is in the middle of the yard at 0."""
        yaw = self.speed / self.radius * seconds
        return se3_from_quaternion((self.radius * math.sin(yaw), self.radius * (1 - math.cos(yaw)), 0.0),
                                   quaternion_from_yaw(yaw))


@dataclass(frozen=True)
class WallErrors:
    """Distances of points from the walls, in metres."""

    median: float
    p95: float
    largest: float


T_BASE_SENSOR = se3_from_quaternion((0.8, 0.0, HEIGHT_M), (0.0, 0.0, 0.0, 1.0))


def turn(bend: Bend, stamped: str = 'start') -> tuple[np.ndarray, np.ndarray]:
    """One turn of the sensor: (N, 3) float32 points in its frame, and (N,) seconds after the stamp.

    stamped: whether the stamp, at time 0, is that of the `start` or of the `end` of the turn.
    """
    offsets = np.arange(COLUMNS) / COLUMNS * bend.period_s - (bend.period_s if stamped == 'end' else 0.0)
    azimuths = np.arange(COLUMNS) / COLUMNS * 2 * math.pi
    columns = []
    for offset, azimuth in zip(offsets, azimuths):
        T = bend.pose(offset) @ T_BASE_SENSOR
        rays = np.stack([np.cos(ELEVATIONS) * math.cos(azimuth), np.cos(ELEVATIONS) * math.sin(azimuth),
                         np.sin(ELEVATIONS)], 1)
        directions = rays @ T[:3, :3].T
        sideways = directions[:, :2]
        sideways = np.where(np.abs(sideways) < 1e-12, 1e-12, sideways)  # meets that wall beyond all others
        distances = ((np.sign(sideways) * WALLS_M - T[:2, 3]) / sideways).min(1)
        columns.append(rays * distances[:, None])
    return np.concatenate(columns).astype(np.float32), np.repeat(offsets, len(ELEVATIONS))


def sweep_of(bend: Bend, stamped: str = 'start', deskew: str = 'auto') -> SyncedSweep:
    """The turn, sent as Ouster (`start`) or Velodyne drivers (`end`) do, through the stream."""
    xyz, offsets = turn(bend, stamped)
    kind, values = ('u4', np.round(offsets * 1e9)) if stamped == 'start' else ('f4', offsets)
    points = np.zeros(len(xyz), [*((axis, '<f4') for axis in 'xyz'), ('t' if stamped == 'start' else 'time', kind)])
    points['x'], points['y'], points['z'] = xyz.T
    points[points.dtype.names[-1] if points.dtype.names else ''] = values
    stream = SweepStream(from_flat({'use_tf': False, 'T_base_sensor': T_BASE_SENSOR.ravel().tolist(),
                                    'cloud.deskew': deskew}), max_wait_s=0.0)
    spec = input_named('odometry')
    for tick in range(-20, math.floor(bend.period_s * bend.odometry_hz) + 1):
        seconds = tick / bend.odometry_hz
        stream.take(spec, spec.transports[0], _odometry(bend.pose(seconds), seconds))
    return stream.sweep(point_cloud(points, STAMP_NS, 'lidar'))


def _odometry(T: np.ndarray, seconds: float) -> SimpleNamespace:
    x, y, z, w = quaternion_from_yaw(math.atan2(T[1, 0], T[0, 0]))
    pose = SimpleNamespace(position=SimpleNamespace(x=T[0, 3], y=T[1, 3], z=0.0),
                           orientation=SimpleNamespace(x=x, y=y, z=z, w=w))
    return SimpleNamespace(header=header(STAMP_NS + round(seconds * 1e9), 'odom'), child_frame_id='base_link',
                           pose=SimpleNamespace(pose=pose))


def wall_errors(sweep: SyncedSweep, bend: Bend) -> WallErrors:
    """How far the points of a sweep stamped at time 0 lie from the nearest wall."""
    xyz = transform_points(bend.pose(0.0) @ sweep.motion.T_base_sensor, sweep.cloud.xyz.astype(np.float64))
    off = np.abs(np.abs(xyz[:, :2]) - WALLS_M).min(1)
    return WallErrors(float(np.median(off)), float(np.quantile(off, 0.95)), float(off.max()))


def main() -> int:
    """Print the table."""
    bend = Bend()
    rows = []
    for stamped in ('start', 'end'):
        for deskew in ('off', 'auto'):
            sweep = sweep_of(bend, stamped, deskew)
            errors = wall_errors(sweep, bend)
            rows.append((stamped, deskew, *(f'{100 * e:.1f}' for e in (errors.median, errors.p95, errors.largest)),
                         sweep.deskew or '-'))
    print(Table(f'Distance of points from the walls, in cm, at {bend.speed:g} m/s in a bend of {bend.radius:g} m',
                ('stamped at its', 'cloud.deskew', 'median', '95 %', 'largest', 'time of the points'),
                rows).markdown_grid())
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
