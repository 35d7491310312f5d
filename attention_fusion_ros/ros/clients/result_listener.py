# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Listens to the outputs of the fusion node and puts together what belongs to one sweep, by stamp."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from sensor_msgs_py.point_cloud2 import read_points_numpy
from std_msgs.msg import Float32MultiArray

from attention_fusion_ros.contracts import Branch

SCORED = ('bearing', 'heading', 'probability', 'bearing_std')


@dataclass
class Answer:
    """What the node said about one sweep."""

    stamp_ns: int
    direction: tuple[float, float] | None = None  # bearing, heading; rad
    branches: tuple[Branch, ...] | None = None  # None until they came
    picture: np.ndarray | None = None  # (H, W, 3) uint8 bgr
    map_share: float | None = None
    distribution: np.ndarray | None = None  # (K,) float32
    mode: str = ''  # fused or lidar_only; '' until /diagnostics told, which is of the latest sweep of each period
    mode_reason: str = ''  # why not fused
    no_direction: str = ''  # why no direction
    direction_at: float | None = None  # time.monotonic() of arrival
    branches_at: float | None = None


@dataclass(frozen=True)
class DiagnosticAlert:
    """A diagnostic status at WARN or ERROR."""

    level: int
    name: str
    message: str


@dataclass
class Collected:
    """Everything heard so far."""

    answers: dict[int, Answer] = field(default_factory=dict)
    complaints: dict[DiagnosticAlert, int] = field(default_factory=dict)  # -> how often
    values: dict[str, str] = field(default_factory=dict)  # '<aspect>.<key>' of /diagnostics -> last value


class Collector:
    """Subscribes below `name`. pictures: also take pictures and distributions (the node makes them only for listeners).

    keep: the most answers to remember, 0 for all.
    """

    def __init__(self, node: Node, name: str = '/attention_fusion', pictures: bool = False, shares: bool = True,
                 keep: int = 0):
        self._lock = threading.Lock()
        self._collected = Collected()
        self._keep = keep
        self._newest: Answer | None = None
        self._node, self._topics = node, [f'{name}/direction', f'{name}/branches/scored']
        node.create_subscription(PoseWithCovarianceStamped, f'{name}/direction', self._on_direction, 20)
        node.create_subscription(PointCloud2, f'{name}/branches/scored', self._on_branches, 20)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 20)
        if shares:
            node.create_subscription(Float32MultiArray, f'{name}/heatmap/channels', self._on_channels, 20)
        self.extent: float | None = None  # m, of the pictures; known once one came
        if pictures:
            node.create_subscription(OccupancyGrid, f'{name}/heatmap/spatial', self._on_heatmap, 5)
            node.create_subscription(LaserScan, f'{name}/distribution', self._on_distribution, 20)
            node.create_subscription(Image, f'{name}/heatmap/image', self._on_picture, 5)

    def connected(self) -> bool:
        """Whether the node's answers have been found on the graph."""
        return all(self._node.count_publishers(topic) for topic in self._topics)

    def answers(self) -> list[Answer]:
        """All answers by stamp."""
        with self._lock:
            return sorted(self._collected.answers.values(), key=lambda a: a.stamp_ns)

    def answer(self, stamp_ns: int) -> Answer | None:
        """The answer to one sweep, None while there is none."""
        with self._lock:
            return self._collected.answers.get(stamp_ns)

    def complaints(self) -> dict[DiagnosticAlert, int]:
        """WARN and ERROR statuses of /diagnostics, and how often each came."""
        with self._lock:
            return dict(self._collected.complaints)

    def values(self) -> dict[str, str]:
        """The latest numbers of /diagnostics, '<aspect>.<key>' -> value."""
        with self._lock:
            return dict(self._collected.values)

    def _of(self, header) -> Answer:
        stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
        answers = self._collected.answers
        if stamp_ns not in answers:
            answers[stamp_ns] = Answer(stamp_ns)
            if self._keep and len(answers) > self._keep:
                del answers[next(iter(answers))]
        return answers[stamp_ns]

    def _on_direction(self, message: PoseWithCovarianceStamped) -> None:
        now = time.monotonic()
        p, q = message.pose.pose.position, message.pose.pose.orientation
        with self._lock:
            answer = self._of(message.header)
            answer.direction = math.atan2(p.y, p.x), 2 * math.atan2(q.z, q.w)
            answer.direction_at = now

    def _on_branches(self, message: PointCloud2) -> None:
        now = time.monotonic()
        rows = read_points_numpy(message, SCORED) if message.width else ()
        with self._lock:
            answer = self._of(message.header)
            answer.branches = tuple(Branch(*map(float, row), math.nan) for row in rows)
            answer.branches_at = now
            self._newest = answer

    def _on_channels(self, message: Float32MultiArray) -> None:
        # The type has no header; it is sent right after the branches of the same sweep.
        with self._lock:
            if self._newest is not None and len(message.data) > 1:
                self._newest.map_share = float(message.data[1])

    def _on_picture(self, message: Image) -> None:
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        image = image[:, :3 * message.width].reshape(message.height, message.width, 3)
        with self._lock:
            self._of(message.header).picture = image.copy()

    def _on_distribution(self, message: LaserScan) -> None:
        with self._lock:
            self._of(message.header).distribution = np.asarray(message.intensities, np.float32)

    def _on_heatmap(self, message: OccupancyGrid) -> None:
        self.extent = message.info.width * message.info.resolution / 2

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._lock:
            for status in message.status:
                aspect = status.name.rpartition(': ')[2]
                self._collected.values.update({f'{aspect}.{item.key}': item.value for item in status.values})
                level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
                if aspect == 'output':
                    self._take_mode({item.key: item.value for item in status.values})
                if level:
                    key = DiagnosticAlert(level, status.name, status.message)
                    self._collected.complaints[key] = self._collected.complaints.get(key, 0) + 1

    def _take_mode(self, said: dict[str, str]) -> None:
        answer = self._collected.answers.get(int(said.get('stamp_ns') or 0))
        if answer is not None:
            answer.mode, answer.mode_reason = said.get('mode', ''), said.get('reason', '')
            answer.no_direction = said.get('direction_reason', '')
