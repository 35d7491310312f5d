# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The sweeps of a simulated drive as its sensors would send them: cloud, map image with a known error, pose, truth."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.simulation.drive import demo_world, drive_poses
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.gnss import GnssFix
from attention_fusion_ros.simulation.sensors.imu import ImuReading
from attention_fusion_ros.simulation.sensors.lidar import PRESETS, LidarModel
from attention_fusion_ros.simulation.sensors.map_image import MapError, MapLayout, MapServer, MapStyle
from attention_fusion_ros.simulation.sensors.scan import LidarSensor
from attention_fusion_ros.simulation.sensors.sensor import Measurement_co, Sensor
from attention_fusion_ros.simulation.truth.branches import Truth, truth
from attention_fusion_ros.simulation.world.world import Pose, World

ODOMETRY_HZ = 20.0  # at least


@dataclass(frozen=True)
class SimulatedSweep:
    """One sweep and what goes with it. Times count from the start of the drive."""

    index: int
    time_ns: int
    cloud: PointCloud  # stamped time_ns
    map_image: np.ndarray | None  # (H, W, 3) uint8 rgb
    pose: Pose  # of base_link in the world
    truth: Truth


class SimulatedDrive:
    """A drive through a town. Raises ValueError for a sensor or numbers that make no drive."""

    def __init__(self, options: DriveOptions, lookahead: float = 20.0):
        if options.lidar not in PRESETS:
            raise ValueError(f"no sensor '{options.lidar}'; known are {', '.join(PRESETS)}")
        if not (0 < options.rate < math.inf and options.speed > 0 and options.duration >= 0):
            raise ValueError(f'rate {options.rate:g} Hz, speed {options.speed:g} m/s, duration {options.duration:g} s: '
                             'rate and speed must be positive, duration must not be negative')
        self.options, self._lookahead = options, lookahead
        self.lidar: LidarModel = PRESETS[options.lidar]()
        self._between = max(1, math.ceil(ODOMETRY_HZ / options.rate))  # poses a sweep
        stamps, poses = self._driven(options.speed, options.rate * self._between)
        times = stamps - stamps[0]
        if options.duration:
            kept = times < options.duration * 1e9
            times, poses = times[kept], poses[kept]
        self._times, self._poses = times, poses
        self._lidar_sensor = LidarSensor(self.lidar)
        self._map_server = MapServer(MapStyle(), MapError(*options.map_shift, options.map_yaw), options.route)

    def _driven(self, speed: float, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (N,) and poses (N, 3) of the drive, through a world that is made here."""
        self.world = demo_world(self.options.seed)
        return drive_poses(self.world, speed, rate_hz)

    def world_at(self, index: int) -> World:
        """The world around a sweep."""
        return self.world

    @property
    def T_base_sensor(self) -> np.ndarray:
        """(4, 4) nominal sensor -> base_link."""
        return self.lidar.T_base_sensor

    @property
    def map_layout(self) -> MapLayout:
        """How the map images lie, in the words of the parameters `map.*`."""
        return self._map_server.layout

    def __len__(self) -> int:
        """How many sweeps."""
        return -(-len(self._times) // self._between)

    def odometry(self, index: int) -> list[tuple[int, Pose]]:
        """(time in ns, pose) from the sweep of this index to the next one, at least 20 a second, as odometry has it.

        Raises IndexError when the drive has no such sweep.
        """
        return self.poses(index)

    def poses(self, index: int) -> list[tuple[int, Pose]]:
        """(time in ns, true pose in the world) from the sweep of this index to the next one, at least 20 a second.

        Raises IndexError when the drive has no such sweep.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'sweep {index} of a drive with {len(self)} sweeps')
        some = slice(index * self._between, (index + 1) * self._between)
        return [(int(t), (float(p[0]), float(p[1]), float(p[2]))) for t, p in zip(self._times[some], self._poses[some])]

    def sweep(self, index: int) -> SimulatedSweep:
        """The sweep of this index; the same every time."""
        (time_ns, pose), world = self.poses(index)[0], self.world_at(index)
        rng = np.random.default_rng([self.options.seed, 7, index])
        cloud = self._lidar_sensor.measure(world, pose, rng, time_ns)
        image = None
        if self.options.with_map:
            # One seed for the whole drive: what the map lacks, it lacks all the time.
            image = self._map_server.measure(world, pose, np.random.default_rng(self.options.seed), time_ns)
        return SimulatedSweep(index, time_ns, cloud, image, pose, self.truth(index, self._lookahead))

    def truth(self, index: int, ring: float) -> Truth:
        """Where the roads go at a sweep, on a ring of any radius [m]."""
        _, pose = self.poses(index)[0]
        return truth(self.world_at(index), pose, ring, self._follows_route())

    @property
    def datum(self) -> tuple[float, float, float] | None:
        """Latitude and longitude [deg] and height [m] of the origin of the world; None where it is nowhere on earth."""
        return None

    @property
    def route_geojson(self) -> str:
        """The route as a GeoJSON feature, '' where the world is nowhere on earth."""
        return ''

    def degrees(self, pose: Pose) -> tuple[float, float] | None:
        """Latitude and longitude of a pose, None where the world is nowhere on earth."""
        return None

    def fixes(self, index: int) -> list[GnssFix]:
        """What a satellite receiver sends from the sweep of this index to the next one."""
        return []

    def imu(self, index: int) -> list[ImuReading]:
        """What an IMU with absolute yaw sends from the sweep of this index to the next one."""
        return []

    @property
    def antenna(self) -> tuple[float, float, float] | None:
        """Of the satellite receiver in base_link, m; None without one."""
        return None

    @property
    def has_imu(self) -> bool:
        """Whether there is one."""
        return False

    def _follows_route(self) -> bool:
        """Whether the map that belongs to the drive shows the way to take."""
        return self.options.with_map and self.options.route

    def measure(self, sensor: Sensor[Measurement_co], index: int) -> Measurement_co:
        """What a further sensor sends at the time of a sweep; the same every time if the sensor keeps no state."""
        time_ns, pose = self.poses(index)[0]
        name = zlib.crc32(type(sensor).__name__.encode())
        return sensor.measure(self.world_at(index), pose, np.random.default_rng([self.options.seed, 8, index, name]),
                              time_ns)

    def rings(self, cloud: PointCloud) -> np.ndarray:
        """(N,) uint16: which beam each point came from, lowest first, as drivers number them."""
        lift = 0.0 if self.lidar.frame_height is None else self.lidar.height - self.lidar.frame_height
        elevation = np.arctan2(cloud.xyz[:, 2] - lift, np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1]))
        beams = np.sort(self.lidar.elevations)
        return np.asarray(np.searchsorted((beams[1:] + beams[:-1]) / 2, elevation), dtype=np.uint16)
