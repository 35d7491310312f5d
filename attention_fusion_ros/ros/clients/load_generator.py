# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes made-up sweeps, map images and odometry at fixed rates, and reads what the node says of itself."""

from __future__ import annotations

import array
import threading
import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2, PointField

from attention_fusion_ros.ros.clients.drive_publisher import map_image, odometry

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
MAP_HZ, ODOMETRY_HZ = 1.0, 20.0
SPEED = 8.0  # m/s
INPUTS = {'~/input/pointcloud': '/lidar/points', '~/input/map_image': '/map_image', '~/input/odometry': '/odom'}


class Load:
    """Publishers on the topics of INPUTS.

    sweeps: taken in turn, each (N,) of a packed dtype; fields: (name, offset, datatype) of it; picture: (H, W, 3) rgb.
    rate: sweeps a second.
    """

    def __init__(self, node: Node, sweeps: list[np.ndarray], fields, frame: str, picture: np.ndarray, rate: float):
        self._clouds = [self._message(points, fields, frame) for points in sweeps]
        self._picture = picture
        self._cloud_topic, self._map_topic, self._odometry_topic = INPUTS.values()
        self._publishers = {
            topic: node.create_publisher(kind, topic, RELIABLE) for topic, kind in (
                (self._cloud_topic, PointCloud2), (self._map_topic, Image), (self._odometry_topic, Odometry))}
        self._periods = {self._odometry_topic: 1 / ODOMETRY_HZ, self._map_topic: 1 / MAP_HZ,
                         self._cloud_topic: 1 / rate}
        self._due: dict[str, float] = {}
        self._start = 0.0
        self.sent: dict[int, float] = {}  # stamp of a sweep in ns -> time.monotonic() just before it was published
        self.skipped = 0  # sweeps that this process was too late to send

    @staticmethod
    def _message(points: np.ndarray, fields, frame: str) -> PointCloud2:
        message = PointCloud2(height=1, width=len(points), is_bigendian=False, is_dense=True,
                              point_step=points.itemsize, row_step=points.nbytes)
        message.header.frame_id = frame
        message.fields = [PointField(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in fields]
        message.data = array.array('B', points.tobytes())
        return message

    def listened_to(self) -> bool:
        """Whether somebody hears all three topics."""
        return all(p.get_subscription_count() for p in self._publishers.values())

    def tick(self) -> float:
        """Publish what is due; returns the seconds until something is due again.

        A driver does not make up for lost time: what is late by more than a period is left out, not sent in a burst.
        """
        now = time.monotonic()
        if not self._due:
            self._start = now
            # The map image first: the node shall have one when the first sweep comes.
            self._due = {topic: now + delay for topic, delay in zip(self._periods, (0.0, 0.0, 0.3))}
        for topic, period in self._periods.items():
            if now < self._due[topic]:
                continue
            late = int((now - self._due[topic]) / period)
            if topic == self._cloud_topic:
                self.skipped += late
            self._due[topic] += (late + 1) * period
            self._publish(topic)
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _publish(self, topic: str) -> None:
        stamp_ns = time.time_ns()
        if topic == self._cloud_topic:
            message = self._clouds[len(self.sent) % len(self._clouds)]
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            self.sent[stamp_ns] = time.monotonic()
        elif topic == self._map_topic:
            message = map_image(self._picture, stamp_ns)
        else:
            x = SPEED * (time.monotonic() - self._start)
            message = odometry((x, 0.0, 0.0), SPEED, stamp_ns)
        self._publishers[topic].publish(message)


class SelfReport:
    """The newest values in /diagnostics of the fusion node, by aspect."""

    def __init__(self, node: Node):
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, str]] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 20)

    def number(self, aspect: str, key: str) -> float:
        """0 when it has not been said."""
        with self._lock:
            return float(self._values.get(aspect, {}).get(key) or 0)

    def text(self, aspect: str, key: str) -> str:
        """'' when it has not been said."""
        with self._lock:
            return self._values.get(aspect, {}).get(key, '')

    def drops(self, aspect: str) -> dict[str, int]:
        """Reason -> count."""
        with self._lock:
            return {key.removeprefix('dropped.'): int(value) for key, value in self._values.get(aspect, {}).items()
                    if key.startswith('dropped.')}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._lock:
            for status in message.status:
                self._values[status.name.partition(': ')[2]] = {item.key: item.value for item in status.values}
