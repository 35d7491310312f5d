# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One simulated drive, and the recordings of it that sensors, robots and people make: see tools/situations.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from support import synthetic_bag as bag

from attention_fusion_ros.geometry import inverse, quaternion_from_yaw, se3_from_quaternion, transform_points
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep
from attention_fusion_ros.simulation.truth.branches import Truth, truth
from attention_fusion_ros.utils import outside

SEED, FIRST, SWEEPS = 3, 84, 30  # town, and the sweeps of its left turn at a T junction
LOOKAHEAD_M = 20.0
HALF_TURN_X = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
QUARTER_TURN_X = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
T = bag.STORE.types
Event = tuple[int, str, Any]  # recorded at [ns], topic, message


@dataclass(frozen=True)
class Cloud:
    """Points seen in one message."""

    stamp_ns: int
    xyz: np.ndarray  # (N, 3) float64, base_link at the stamp
    intensity: np.ndarray  # (N,)


class Drive:
    """The sweeps of a left turn at a junction, its odometry and its truth at every time."""

    def __init__(self, sweeps: int = SWEEPS):
        self._drive = SimulatedDrive(DriveOptions(seed=SEED, rate=5.0), LOOKAHEAD_M)
        self.sweeps: list[SimulatedSweep] = [self._drive.sweep(FIRST + k) for k in range(sweeps)]
        path = [p for k in range(-2, sweeps + 1) for p in self._drive.odometry(FIRST + k)]
        self.times = np.array([t for t, _ in path])
        self.poses = np.array([p for _, p in path])
        self.poses[:, 2] = np.unwrap(self.poses[:, 2])
        self.T_base_sensor: np.ndarray = self._drive.T_base_sensor

    def pose(self, time_ns: int) -> tuple[float, float, float]:
        """(x, y, yaw) of base_link, m and rad."""
        x, y, yaw = (float(np.interp(time_ns, self.times, values)) for values in self.poses.T)
        return x, y, yaw

    def T_odom_base(self, time_ns: int) -> np.ndarray:
        """(4, 4)."""
        x, y, yaw = self.pose(time_ns)
        return se3_from_quaternion((x, y, 0.0), quaternion_from_yaw(yaw))

    def truth(self, stamp_ns: int, route: bool) -> Truth:
        """At the stamp of a message. route: the route is drawn in the map image of the recording."""
        return truth(self._drive.world, self.pose(stamp_ns - bag.T0), LOOKAHEAD_M, route)

    def cloud(self, sweep: SimulatedSweep, late_ns: int = 0) -> Cloud:
        """The sweep as it is seen from where the vehicle is `late_ns` after it."""
        to_base = np.linalg.inv(self.T_odom_base(sweep.time_ns + late_ns)) @ self.T_odom_base(sweep.time_ns)
        xyz = transform_points(to_base @ self.T_base_sensor, sweep.cloud.xyz.astype(np.float64))
        intensity = np.zeros(len(xyz)) if sweep.cloud.intensity is None else sweep.cloud.intensity
        return Cloud(bag.T0 + sweep.time_ns + late_ns, xyz, intensity)


@dataclass
class Recipe:
    """How a recording differs from a plain one; the functions make other messages of the plain ones."""

    sensor: np.ndarray | None = None  # (4, 4) T_base_sensor; None: the simulated one
    clouds: Callable[[Drive, SimulatedSweep], list[tuple[str, str, Cloud]]] | None = None  # topic, frame_id, points
    message: Callable[[Any], Any] = lambda message: message  # what becomes of a cloud message
    picture: Callable[[np.ndarray], tuple[np.ndarray, str]] | None = lambda rgb: (rgb, 'rgb8')  # None: no map
    map_topic: str = '/map_image'
    map_frame: str = 'base_link'
    every_map: int = 1
    lidar_odometry: bool = False  # of the sensor's frame, in the frame that it had at the start
    cloud_ahead_ns: int = 0  # of the clock of the LiDAR
    tf_period_ns: int = 0  # on /tf; 0: once on /tf_static
    metadata: Callable[[dict], None] | None = None  # changes rosbag2_bagfile_information
    route: bool = True  # the map image shows the route, so the truth is one direction at every junction


def write(drive: Drive, recipe: Recipe, folder: Path) -> None:
    """Write the recording (mcap)."""
    sensor = drive.T_base_sensor if recipe.sensor is None else recipe.sensor
    events: list[Event] = []
    frames: set[str] = set()
    types = {recipe.map_topic: 'sensor_msgs/msg/Image', '/tf': 'tf2_msgs/msg/TFMessage'}
    for k, sweep in enumerate(drive.sweeps):
        sent = recipe.clouds(drive, sweep) if recipe.clouds else [('/lidar/points', 'lidar', drive.cloud(sweep))]
        for topic, frame, cloud in sent:
            frames.add(frame)
            types[topic] = 'sensor_msgs/msg/PointCloud2'
            xyz = transform_points(inverse(sensor), cloud.xyz)
            points = np.column_stack([xyz, cloud.intensity]).astype(np.float32)
            events.append((cloud.stamp_ns + 1000, topic,
                           recipe.message(bag.cloud(cloud.stamp_ns + recipe.cloud_ahead_ns, points, frame))))
        if recipe.picture is not None and sweep.map_image is not None and k % recipe.every_map == 0:
            stamp = bag.T0 + sweep.time_ns
            events.append((stamp, recipe.map_topic, image(stamp, *recipe.picture(sweep.map_image), recipe.map_frame)))
    begin, end = bag.T0 + int(drive.times[0]), bag.T0 + int(drive.times[-1])
    tf_topic = '/tf' if recipe.tf_period_ns else '/tf_static'
    for stamp in range(begin, end, recipe.tf_period_ns or end):
        events += [(stamp, tf_topic, bag.transform_message(stamp, 'base_link', f, sensor)) for f in sorted(frames)]
    start = drive.T_odom_base(int(drive.times[0])) @ sensor
    for t in map(int, drive.times):
        pose = drive.T_odom_base(t)
        child = 'lidar' if recipe.lidar_odometry else 'base_link'
        events.append((bag.T0 + t, '/odom', bag.odometry_of(
            bag.T0 + t, inverse(start) @ pose @ sensor if recipe.lidar_odometry else pose, child)))
    bag.write(folder, sorted(events, key=lambda e: e[0]), types=types)
    if recipe.metadata is not None:
        file = folder / 'metadata.yaml'
        content = outside.read_yaml(file)
        recipe.metadata(content['rosbag2_bagfile_information'])
        file.write_text(yaml.safe_dump(content))


def image(stamp: int, pixels: np.ndarray, encoding: str, frame: str) -> Any:
    """sensor_msgs/Image of (H, W) or (H, W, 3) pixels."""
    pixels = np.ascontiguousarray(pixels)
    return T['sensor_msgs/msg/Image'](bag.header(stamp, frame), *pixels.shape[:2], encoding, 0,
                                      pixels.nbytes // len(pixels), np.frombuffer(pixels.tobytes(), np.uint8))


def some(cloud: Cloud, kept: np.ndarray) -> Cloud:
    """The points of a mask."""
    return Cloud(cloud.stamp_ns, cloud.xyz[kept], cloud.intensity[kept])


def bearing(cloud: Cloud) -> np.ndarray:
    """(N,) rad in (-pi, pi], from base_link."""
    return np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0])


def blind(half_deg: float) -> Callable:
    """Nothing is returned within so many degrees of ahead."""
    def clouds(drive: Drive, sweep: SimulatedSweep) -> list[tuple[str, str, Cloud]]:
        cloud = drive.cloud(sweep)
        return [('/lidar/points', 'lidar', some(cloud, np.abs(bearing(cloud)) > math.radians(half_deg)))]
    return clouds


def two_lidars(rear_topic: str) -> Callable:
    """One looks ahead and is stamped 40 ms earlier, one behind."""
    def clouds(drive: Drive, sweep: SimulatedSweep) -> list[tuple[str, str, Cloud]]:
        front, rear = drive.cloud(sweep, -40_000_000), drive.cloud(sweep)
        return [('/lidar/points', 'front', some(front, front.xyz[:, 0] > 0)),
                (rear_topic, 'rear', some(rear, rear.xyz[:, 0] <= 0))]
    return clouds


def tenths(drive: Drive, sweep: SimulatedSweep) -> list[tuple[str, str, Cloud]]:
    """A turn in ten messages, 20 ms apart."""
    out = []
    for part in range(10):
        cloud = drive.cloud(sweep, -(9 - part) * 20_000_000)
        share = (bearing(cloud) + math.pi) / (2 * math.pi) * 10
        out.append(('/lidar/points', 'lidar', some(cloud, share.astype(int).clip(0, 9) == part)))
    return out


def zero_returns(drive: Drive, sweep: SimulatedSweep, sensor: np.ndarray) -> list[tuple[str, str, Cloud]]:
    """As many beams without a return, all at the origin of the sensor, in between."""
    cloud = drive.cloud(sweep)
    n = len(cloud.xyz)
    order = np.random.default_rng(sweep.index).permutation(2 * n)
    xyz = np.vstack([cloud.xyz, np.tile(sensor[:3, 3], (n, 1))])[order]
    return [('/lidar/points', 'lidar', Cloud(cloud.stamp_ns, xyz, np.append(cloud.intensity, np.zeros(n))[order]))]
