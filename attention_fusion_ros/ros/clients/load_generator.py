# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes synthetic sweeps, map images and odometry at fixed rates."""

from __future__ import annotations

import time

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from attention_fusion_ros.ros.messages.sensors import header, image, odometry, point_cloud
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.stream.inputs import SWEEPS, default_topics, input_named
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE, ODOMETRY

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
MAP_HZ, ODOMETRY_HZ = 1.0, 20.0
SPEED_M_PER_S = 8.0
SWEEP_DELAY_S = 0.3  # of the first sweep: the node shall have a map image by then


class LoadGenerator:
    """Publishers on the default topics of the inputs.

    sweeps: taken in turn, each (N,) of a structured dtype. frame: of the sweeps. picture: (H, W, 3) uint8 rgb. rate:
    sweeps per second.
    """

    def __init__(self, node: Node, sweeps: list[np.ndarray], frame: str, picture: np.ndarray, rate: float):
        self._clouds = [point_cloud(points, header(0, frame)) for points in sweeps]
        self._picture = picture
        self._periods_s = {ODOMETRY: 1 / ODOMETRY_HZ, MAP_IMAGE: 1 / MAP_HZ, SWEEPS: 1 / rate}
        topics = default_topics()
        self._publishers = {name: node.create_publisher(message_class(input_named(name).types[0]), topics[name],
                                                        RELIABLE) for name in self._periods_s}
        self._due_s: dict[str, float] = {}
        self._start_s = 0.0
        self.sent: dict[int, float] = {}  # stamp of a sweep in ns -> time.monotonic() just before it was published
        self.skipped = 0  # sweeps that this process was too late to send

    def has_subscribers(self) -> bool:
        """Whether every topic has a subscriber."""
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def tick(self) -> float:
        """Publish what is due; returns the seconds until something is due again.

        A driver does not make up for lost time: what is late by more than a period is left out, not sent in a burst.
        """
        now_s = time.monotonic()
        if not self._due_s:
            self._start_s = now_s
            self._due_s = {name: now_s + (SWEEP_DELAY_S if name == SWEEPS else 0.0) for name in self._periods_s}
        for name, period_s in self._periods_s.items():
            if now_s < self._due_s[name]:
                continue
            late = int((now_s - self._due_s[name]) / period_s)
            if name == SWEEPS:
                self.skipped += late
            self._due_s[name] += (late + 1) * period_s
            self._publish(name)
        return max(0.0, min(self._due_s.values()) - time.monotonic())

    def _publish(self, name: str) -> None:
        stamp_ns = time.time_ns()
        if name == SWEEPS:
            message = self._clouds[len(self.sent) % len(self._clouds)]
            message.header.stamp = header(stamp_ns, '').stamp
            self.sent[stamp_ns] = time.monotonic()
        elif name == MAP_IMAGE:
            message = image(self._picture, header(stamp_ns, 'base_link'))
        else:
            x = SPEED_M_PER_S * (time.monotonic() - self._start_s)
            message = odometry((x, 0.0, 0.0), header(stamp_ns, 'odom'), speed=SPEED_M_PER_S)
        self._publishers[name].publish(message)
