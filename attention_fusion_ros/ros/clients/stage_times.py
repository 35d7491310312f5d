# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Listens to how long every sweep took in the fusion node."""

from __future__ import annotations

import threading

from rclpy.node import Node
from std_msgs.msg import Float64

QUEUE = 100


class StageTimes:
    """Durations of one stage of every result of the node `name`. Thread-safe.

    stage: as in `debug/processing_time/<stage>_ms`; total: from the arrival of a sweep to its published result.
    """

    def __init__(self, node: Node, name: str = '/attention_fusion', stage: str = 'total'):
        self._lock = threading.Lock()
        self._ms: list[float] = []
        node.create_subscription(Float64, f'{name}/debug/processing_time/{stage}_ms', self._on_time, QUEUE)

    def take(self) -> list[float]:
        """Those since the last call, in ms."""
        with self._lock:
            taken, self._ms = self._ms, []
            return taken

    def _on_time(self, message: Float64) -> None:
        with self._lock:
            self._ms.append(message.data)
