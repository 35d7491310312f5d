# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a simulated drive as the drivers, the map server and the localisation of a vehicle would."""

from __future__ import annotations

import array
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2, PointField
from tf2_msgs.msg import TFMessage

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.geometry import quaternion_from_yaw, yaw_of
from attention_fusion_ros.ros.messages.encode import header
from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep

BASE, ODOM = 'base_link', 'odom'
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# The layout of the Velodyne driver: packed, 22 bytes a point.
POINT = np.dtype({'names': ['x', 'y', 'z', 'intensity', 'ring', 'time'],
                  'formats': ['<f4', '<f4', '<f4', '<f4', '<u2', '<f4'],
                  'offsets': [0, 4, 8, 12, 16, 18], 'itemsize': 22})
FIELDS = [PointField(name=name, offset=POINT.fields[name][1], count=1,
                     datatype=PointField.UINT16 if name == 'ring' else PointField.FLOAT32) for name in POINT.names]
AHEAD = 3  # sweeps computed before they are due


def point_cloud(cloud: PointCloud, rings: np.ndarray, period: float, stamp_ns: int) -> PointCloud2:
    """A sweep as a driver sends it. rings: (N,) uint16. period: s of one turn, for the field `time`."""
    points = np.zeros(len(cloud.xyz), POINT)
    for i, axis in enumerate('xyz'):
        points[axis] = cloud.xyz[:, i]
    points['intensity'] = cloud.intensity if cloud.intensity is not None else 0.0
    points['ring'] = rings
    points['time'] = (np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0]) + math.pi) * (period / (2 * math.pi)) - period
    message = PointCloud2(header=header(stamp_ns, cloud.frame_id), height=1, width=len(points), fields=FIELDS,
                          is_bigendian=False, point_step=POINT.itemsize, row_step=points.nbytes, is_dense=True)
    message.data = array.array('B', points.tobytes())
    return message


def map_image(image: np.ndarray, stamp_ns: int) -> Image:
    """(H, W, 3) uint8 rgb -> rgb8."""
    message = Image(header=header(stamp_ns, BASE), height=image.shape[0], width=image.shape[1], encoding='rgb8',
                    step=3 * image.shape[1])
    message.data = array.array('B', image.tobytes())
    return message


def odometry(pose: tuple[float, float, float], speed: float, stamp_ns: int) -> Odometry:
    """pose: x, y, yaw of base_link in odom."""
    message = Odometry(header=header(stamp_ns, ODOM), child_frame_id=BASE)
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    at.x, at.y = pose[:2]
    turn.x, turn.y, turn.z, turn.w = quaternion_from_yaw(pose[2])
    message.twist.twist.linear.x = speed
    return message


def transform(parent: str, child: str, translation, yaw: float, stamp_ns: int) -> TFMessage:
    """A transform by a translation (x, y, z) and a yaw."""
    message = TransformStamped(header=header(stamp_ns, parent), child_frame_id=child)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, translation)
    q.x, q.y, q.z, q.w = quaternion_from_yaw(yaw)
    return TFMessage(transforms=[message])


class DrivePublisher:
    """Topics /lidar/points, /map_image, /odom, /tf, /tf_static and, with clock, /clock."""

    def __init__(self, node: Node, drive: SimulatedDrive, clock: bool = False):
        self._drive = drive
        self._period = 1.0 / drive.options.rate
        self._cloud = node.create_publisher(PointCloud2, '/lidar/points', RELIABLE)
        self._map = node.create_publisher(Image, '/map_image', RELIABLE) if drive.options.with_map else None
        self._odometry = node.create_publisher(Odometry, '/odom', RELIABLE)
        self._tf = node.create_publisher(TFMessage, '/tf', RELIABLE)
        self._static = node.create_publisher(TFMessage, '/tf_static', LATCHED)
        self._clock = node.create_publisher(Clock, '/clock', 1) if clock else None

    def listened_to(self) -> bool:
        """Whether somebody hears cloud, map image and odometry."""
        return all(p.get_subscription_count() for p in (self._cloud, self._map, self._odometry) if p is not None)

    def run(self, sweeps: Iterable[SimulatedSweep], start_ns: int, alive: Callable[[], bool] = lambda: True,
            on_sweep: Callable[[SimulatedSweep, int], None] = lambda sweep, stamp_ns: None) -> int:
        """Publish sweeps at their pace, stamped start_ns + their time; returns how many.

        A sweep that is not ready in time is late, and so is everything after it: stamps stay those of the publishing,
        unless /clock is published, which then stands still meanwhile.
        on_sweep is called with each sweep's stamp, right before it goes out.
        """
        T = self._drive.T_base_sensor
        self._static.publish(transform(BASE, self._frame(), T[:3, 3], yaw_of(T), start_ns))
        begin, count = time.monotonic(), 0
        for sweep in sweeps:
            late = time.monotonic() - begin - sweep.time_ns / 1e9
            if late > self._period:
                begin += late
                start_ns += 0 if self._clock is not None else int(late * 1e9)
            stamp_ns = start_ns + sweep.time_ns
            cloud = point_cloud(sweep.cloud, self._drive.rings(sweep.cloud), self._period, stamp_ns)
            _sleep_until(begin + sweep.time_ns / 1e9, alive)
            if not alive():
                break
            self._tick(stamp_ns)
            on_sweep(sweep, stamp_ns)
            path = self._drive.odometry(sweep.index)
            self._pose(path, 0, start_ns)
            if self._map is not None:
                self._map.publish(map_image(sweep.map_image, stamp_ns))
            self._cloud.publish(cloud)
            count += 1
            for i in range(1, len(path)):
                _sleep_until(begin + path[i][0] / 1e9, alive)
                self._tick(start_ns + path[i][0])
                self._pose(path, i, start_ns)
        return count

    def _pose(self, path, i: int, start_ns: int) -> None:
        (time_ns, pose), speed = path[i], 0.0
        if len(path) > 1:
            (t0, p0), (t1, p1) = path[max(i - 1, 0)], path[max(i, 1)]
            speed = math.dist(p0[:2], p1[:2]) / ((t1 - t0) / 1e9)
        self._odometry.publish(odometry(pose, speed, start_ns + time_ns))
        self._tf.publish(transform(ODOM, BASE, (*pose[:2], 0.0), pose[2], start_ns + time_ns))

    def _tick(self, stamp_ns: int) -> None:
        if self._clock is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 10**9)
            self._clock.publish(message)

    def _frame(self) -> str:
        from attention_fusion_ros.simulation.sensors.scan import FRAME_ID
        return FRAME_ID


def computed_ahead(drive: SimulatedDrive, alive: Callable[[], bool] = lambda: True) -> Iterator[SimulatedSweep]:
    """The sweeps of a drive, computed in another thread a few ahead of their use."""
    ready: queue.Queue = queue.Queue(AHEAD)
    stop = threading.Event()

    def compute() -> None:
        try:
            for i in range(len(drive)):
                item = drive.sweep(i)
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            ready.put(None)
        except Exception as error:  # to be raised where the sweeps are used
            ready.put(error)
    threading.Thread(target=compute, name='simulation', daemon=True).start()
    try:
        while alive():
            try:
                item = ready.get(timeout=0.2)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()


def _sleep_until(due: float, alive: Callable[[], bool]) -> None:
    while alive() and (left := due - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
