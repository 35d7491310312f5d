# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Listens to the outputs of the fusion node and puts together, by stamp, what belongs to one sweep."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from sensor_msgs_py.point_cloud2 import read_points_numpy
from std_msgs.msg import Float32MultiArray

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.ros.clients.diagnostics_listener import DiagnosticAlert, DiagnosticsListener
from attention_fusion_ros.ros.messages.encode import STAMP_LABEL

BRANCH_FIELDS = ('bearing', 'heading', 'probability', 'bearing_std')
QUEUE, PICTURE_QUEUE = 20, 5


@dataclass
class ReceivedResult:
    """What the node published about one sweep."""

    stamp_ns: int
    direction: tuple[float, float] | None = None  # bearing, heading; rad
    branches: tuple[Branch, ...] | None = None  # None until they came
    picture: np.ndarray | None = None  # (H, W, 3) uint8 bgr
    map_share: float | None = None
    distribution: np.ndarray | None = None  # (K,) float32
    mode: str = ''  # fused or lidar_only; '' unless /diagnostics told, which it does of one sweep a period
    mode_reason: str = ''  # why not fused
    direction_reason: str = ''  # why no direction
    direction_at_s: float | None = None  # time.monotonic() of arrival
    branches_at_s: float | None = None


class ResultListener:
    """Subscribes below the node `name`. Thread-safe.

    pictures: also take pictures and distributions (the node makes them only for subscribers). shares: also take channel
    attention. keep: the most results to remember, 0 for all.
    """

    def __init__(self, node: Node, name: str = '/attention_fusion', pictures: bool = False, shares: bool = True,
                 keep: int = 0):
        self._lock = threading.Lock()
        self._results: dict[int, ReceivedResult] = {}
        self._keep = keep
        self._extent_m: float | None = None
        self._node, self._topics = node, [f'{name}/direction', f'{name}/branches/scored']
        self._diagnostics = DiagnosticsListener(node, self._on_status)
        node.create_subscription(PoseWithCovarianceStamped, f'{name}/direction', self._on_direction, QUEUE)
        node.create_subscription(PointCloud2, f'{name}/branches/scored', self._on_branches, QUEUE)
        if shares:
            node.create_subscription(Float32MultiArray, f'{name}/heatmap/channels', self._on_channels, QUEUE)
        if pictures:
            node.create_subscription(OccupancyGrid, f'{name}/heatmap/spatial', self._on_heatmap, PICTURE_QUEUE)
            node.create_subscription(LaserScan, f'{name}/distribution', self._on_distribution, QUEUE)
            node.create_subscription(Image, f'{name}/heatmap/image', self._on_picture, PICTURE_QUEUE)

    @property
    def extent(self) -> float | None:
        """Half the edge of the pictures' BEV grid in m, None until a heatmap has come."""
        return self._extent_m

    def connected(self) -> bool:
        """Whether the node's results have been found on the graph."""
        return all(self._node.count_publishers(topic) for topic in self._topics)

    def results(self) -> list[ReceivedResult]:
        """All results by stamp."""
        with self._lock:
            return sorted(self._results.values(), key=lambda result: result.stamp_ns)

    def result(self, stamp_ns: int) -> ReceivedResult | None:
        """The result of one sweep, None while there is none."""
        with self._lock:
            return self._results.get(stamp_ns)

    def alerts(self) -> Counter[DiagnosticAlert]:
        """WARN and ERROR statuses of /diagnostics, and how often each came."""
        return self._diagnostics.alerts()

    def values(self) -> dict[str, str]:
        """The newest values of /diagnostics, '<component>.<key>' -> value."""
        return self._diagnostics.values()

    def _of(self, stamp_ns: int) -> ReceivedResult:
        if stamp_ns not in self._results:
            self._results[stamp_ns] = ReceivedResult(stamp_ns)
            if self._keep and len(self._results) > self._keep:
                del self._results[next(iter(self._results))]
        return self._results[stamp_ns]

    def _on_direction(self, message: PoseWithCovarianceStamped) -> None:
        now_s = time.monotonic()
        p, q = message.pose.pose.position, message.pose.pose.orientation
        with self._lock:
            result = self._of(_stamp_ns(message))
            result.direction = math.atan2(p.y, p.x), 2 * math.atan2(q.z, q.w)
            result.direction_at_s = now_s

    def _on_branches(self, message: PointCloud2) -> None:
        now_s = time.monotonic()
        rows = read_points_numpy(message, BRANCH_FIELDS) if message.width else ()
        with self._lock:
            result = self._of(_stamp_ns(message))
            result.branches = tuple(_branch(row) for row in rows)
            result.branches_at_s = now_s

    def _on_channels(self, message: Float32MultiArray) -> None:
        label = message.layout.dim[-1].label if message.layout.dim else ''
        if label.startswith(STAMP_LABEL) and len(message.data) > 1:
            with self._lock:
                self._of(int(label.removeprefix(STAMP_LABEL))).map_share = float(message.data[1])

    def _on_picture(self, message: Image) -> None:
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        image = rows[:, :3 * message.width].reshape(message.height, message.width, 3)
        with self._lock:
            self._of(_stamp_ns(message)).picture = image.copy()

    def _on_distribution(self, message: LaserScan) -> None:
        with self._lock:
            self._of(_stamp_ns(message)).distribution = np.asarray(message.intensities, np.float32)

    def _on_heatmap(self, message: OccupancyGrid) -> None:
        self._extent_m = message.info.width * message.info.resolution / 2

    def _on_status(self, component: str, values: dict[str, str]) -> None:
        """Mode and reasons of the sweep that the status is about."""
        if component != 'output':
            return
        with self._lock:
            result = self._results.get(int(values.get('stamp_ns') or 0))
            if result is not None:
                result.mode, result.mode_reason = values.get('mode', ''), values.get('reason', '')
                result.direction_reason = values.get('direction_reason', '')


def _branch(row: np.ndarray) -> Branch:
    """A row of BRANCH_FIELDS; the topic has no standard deviation of the heading."""
    bearing, heading, probability, bearing_std = (float(value) for value in row)
    return Branch(bearing, heading, probability, bearing_std, math.nan)


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
