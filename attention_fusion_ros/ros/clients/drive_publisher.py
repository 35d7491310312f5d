# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a simulated drive as the drivers, the map server and the localisation of a vehicle would."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, Imu, NavSatFix, PointCloud2
from tf2_msgs.msg import TFMessage

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode.plain_messages import VELODYNE_POINT
from attention_fusion_ros.geometry import inverse, quaternion_from_yaw, se3_from_quaternion, yaw_of
from attention_fusion_ros.ros.clients.session import flush
from attention_fusion_ros.ros.messages.sensors import (
    clock,
    fix,
    header,
    image,
    imu,
    odometry,
    point_cloud,
    transform,
)
from attention_fusion_ros.simulation.recording import CITY_TOPICS, mountings
from attention_fusion_ros.simulation.sensors.gnss import FRAME_ID as GNSS
from attention_fusion_ros.simulation.sensors.gnss import GnssFix
from attention_fusion_ros.simulation.sensors.imu import FRAME_ID as IMU
from attention_fusion_ros.simulation.sensors.imu import ImuReading
from attention_fusion_ros.simulation.sensors.scan import FRAME_ID
from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep
from attention_fusion_ros.simulation.world.world import Pose
from attention_fusion_ros.stream.deskew import move_points
from attention_fusion_ros.stream.inputs import SWEEPS, default_topics
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE, ODOMETRY

BASE, ODOM = 'base_link', 'odom'
FIX, HEADING = CITY_TOPICS
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PREFETCH_SWEEPS = 3  # computed before they are due
OnSweep = Callable[[SimulatedSweep, int], None]


def driver_points(cloud: PointCloud, rings: np.ndarray, period_s: float) -> np.ndarray:
    """A sweep in the layout of a driver: (N,) of VELODYNE_POINT.

    rings: (N,) uint16. period_s: of one turn, for the field `time`.
    """
    points = np.zeros(len(cloud.xyz), VELODYNE_POINT)
    points['x'], points['y'], points['z'] = cloud.xyz.T
    points['intensity'] = cloud.intensity if cloud.intensity is not None else 0.0
    points['ring'] = rings
    turn = (np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0]) + math.pi) / (2 * math.pi)
    points['time'] = (turn - 1.0) * period_s
    return points


def _pose(pose: Pose) -> np.ndarray:
    return se3_from_quaternion((pose[0], pose[1], 0.0), quaternion_from_yaw(pose[2]))


def always() -> bool:
    """Publish to the end."""
    return True


class DrivePublisher:
    """Publishes what a drive's sensors send on the default topics, /tf, /tf_static and, with use_clock, /clock."""

    def __init__(self, node: Node, drive: SimulatedDrive, use_clock: bool = False):
        topics = default_topics()
        self._drive = drive
        self._period_s = 1.0 / drive.options.rate
        self._cloud = node.create_publisher(PointCloud2, topics[SWEEPS], RELIABLE)
        self._map = node.create_publisher(Image, topics[MAP_IMAGE], RELIABLE) if drive.options.with_map else None
        self._odometry = node.create_publisher(Odometry, topics[ODOMETRY], RELIABLE)
        self._fix = node.create_publisher(NavSatFix, FIX, RELIABLE) if drive.antenna is not None else None
        self._imu = node.create_publisher(Imu, HEADING, RELIABLE) if drive.has_imu else None
        self._tf = node.create_publisher(TFMessage, '/tf', RELIABLE)
        self._static = node.create_publisher(TFMessage, '/tf_static', LATCHED)
        self._clock = node.create_publisher(Clock, '/clock', 1) if use_clock else None

    def has_subscribers(self) -> bool:
        """Whether cloud, map image and odometry have a subscriber each, and fixes where there are some."""
        wanted = (self._cloud, self._map, self._odometry, self._fix)
        return all(p.get_subscription_count() for p in wanted if p is not None)

    def _as_measured(self, sweep: SimulatedSweep) -> np.ndarray:
        """The points where a sensor that turns sees them: each from where the vehicle was at the point's time."""
        points = driver_points(sweep.cloud, self._drive.rings(sweep.cloud), self._period_s)
        if sweep.index == 0:  # it has not moved yet
            return points
        path = [*self._drive.poses(sweep.index - 1), *self._drive.poses(sweep.index)[:1]]
        T_base_sensor, now = self._drive.T_base_sensor, _pose(path[-1][1])
        motions = np.array([inverse(_pose(pose) @ T_base_sensor) @ now @ T_base_sensor for _, pose in path])
        knots = np.array([(time_ns - sweep.time_ns) / 1e9 for time_ns, _ in path])
        points['x'], points['y'], points['z'] = move_points(sweep.cloud.xyz, points['time'], knots, motions).T
        return points

    def run(self, sweeps: Iterable[SimulatedSweep], start_ns: int, alive: Callable[[], bool] = always,
            on_sweep: OnSweep | None = None) -> int:
        """Publish sweeps at their pace, stamped start_ns + their time; returns how many.

        A sweep that is not ready in time is late, and so is everything after it: stamps stay those of the publishing,
        unless /clock is published, which then stands still meanwhile.
        on_sweep is called with each sweep and its stamp in ns, right before it is published.
        """
        self._static.publish(TFMessage(transforms=[
            transform(T[:3, 3].tolist(), yaw_of(T), header(start_ns, BASE), frame)
            for frame, T in mountings(self._drive, FRAME_ID)]))
        begin_s, count = time.monotonic(), 0
        for sweep in sweeps:
            late_s = time.monotonic() - begin_s - sweep.time_ns / 1e9
            if late_s > self._period_s:
                begin_s += late_s
                start_ns += 0 if self._clock is not None else int(late_s * 1e9)
            stamp_ns = start_ns + sweep.time_ns
            points = self._as_measured(sweep)
            cloud = point_cloud(points, header(stamp_ns, sweep.cloud.frame_id))
            _sleep_until(begin_s + sweep.time_ns / 1e9, alive)
            if not alive():
                break
            self._tick(stamp_ns)
            if on_sweep is not None:
                on_sweep(sweep, stamp_ns)
            path = self._drive.odometry(sweep.index)
            self._publish_pose(path, 0, start_ns)
            readings: list[GnssFix | ImuReading] = [*self._drive.fixes(sweep.index), *self._drive.imu(sweep.index)]
            further = deque(sorted(readings, key=lambda reading: reading.stamp_ns))
            self._publish_further(further, path[0][0], start_ns)
            if self._map is not None and sweep.map_image is not None:
                self._map.publish(image(sweep.map_image, header(stamp_ns, BASE)))
            self._cloud.publish(cloud)
            count += 1
            for i in range(1, len(path)):
                _sleep_until(begin_s + path[i][0] / 1e9, alive)
                self._tick(start_ns + path[i][0])
                self._publish_pose(path, i, start_ns)
                self._publish_further(further, path[i][0], start_ns)
            self._publish_further(further, math.inf, start_ns)
        return count

    def flush(self) -> None:
        """Wait until reliable subscribers have the last messages, see `session.flush`."""
        flush(p for p in (self._static, self._map, self._odometry, self._fix, self._imu, self._tf,
                        self._cloud) if p is not None)

    def _publish_pose(self, path: Sequence[tuple[int, Sequence[float]]], i: int, start_ns: int) -> None:
        (time_ns, pose), speed = path[i], 0.0
        if len(path) > 1:
            (t0, p0), (t1, p1) = path[max(i - 1, 0)], path[max(i, 1)]
            speed = math.dist(p0[:2], p1[:2]) / ((t1 - t0) / 1e9)
        head = header(start_ns + time_ns, ODOM)
        self._odometry.publish(odometry(pose, head, BASE, speed))
        self._tf.publish(TFMessage(transforms=[transform((pose[0], pose[1], 0.0), pose[2], head, BASE)]))

    def _publish_further(self, readings: deque[GnssFix | ImuReading], until_ns: float, start_ns: int) -> None:
        """What other sensors have sent until a time of the drive."""
        while readings and readings[0].stamp_ns <= until_ns:
            one = readings.popleft()
            if isinstance(one, GnssFix) and self._fix is not None:
                self._fix.publish(fix(one.latitude, one.longitude, one.altitude, one.covariance,
                                      header(start_ns + one.stamp_ns, GNSS), one.status, one.covariance_type))
            elif isinstance(one, ImuReading) and self._imu is not None:
                self._imu.publish(imu(one.yaw, one.std, one.rate, header(start_ns + one.stamp_ns, IMU)))

    def _tick(self, stamp_ns: int) -> None:
        if self._clock is not None:
            self._clock.publish(clock(stamp_ns))


def prefetched(drive: SimulatedDrive, alive: Callable[[], bool] = always) -> Generator[SimulatedSweep, None, None]:
    """The sweeps of a drive, computed in another thread up to PREFETCH_SWEEPS ahead of their use.

    Close it when it is not used to the end: a thread that still computes when the process ends aborts it.
    """
    indices, ready = iter(range(len(drive))), deque[Future[SimulatedSweep]]()
    with ThreadPoolExecutor(1, 'simulation') as pool:
        try:
            while alive():
                ready.extend(pool.submit(drive.sweep, i) for i in islice(indices, PREFETCH_SWEEPS - len(ready)))
                if not ready:
                    return
                if wait(list(ready)[:1], timeout=0.2).done:
                    yield ready.popleft().result()
        finally:
            for future in ready:
                future.cancel()


def _sleep_until(due_s: float, alive: Callable[[], bool]) -> None:
    while alive() and (left_s := due_s - time.monotonic()) > 0:
        time.sleep(min(left_s, 0.1))
