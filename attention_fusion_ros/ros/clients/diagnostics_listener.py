# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Listens to /diagnostics of the fusion node."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from attention_fusion_ros.ros.outputs import DIAGNOSTICS

QUEUE = 20
OnStatus = Callable[[str, 'dict[str, str]'], None]


@dataclass(frozen=True)
class DiagnosticAlert:
    """A diagnostic status at WARN or ERROR."""

    level: int  # of diagnostic_msgs/DiagnosticStatus
    name: str
    message: str


class DiagnosticsListener:
    """The newest values by component, and every alert. Thread-safe.

    on_status(component, values) is called for each status. source: the node whose values are kept, as statuses name it;
    other nodes have components of the same names. Alerts are kept of all.
    """

    def __init__(self, node: Node, on_status: OnStatus | None = None, source: str = 'attention_fusion'):
        self._source = source
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, str]] = {}
        self._alerts: Counter[DiagnosticAlert] = Counter()
        self._on_status = on_status
        node.create_subscription(DiagnosticArray, DIAGNOSTICS.name, self._on_message, QUEUE)

    def number(self, component: str, key: str) -> float:
        """A value as a number; 0 when it has not been reported."""
        return float(self.text(component, key) or 0)

    def text(self, component: str, key: str) -> str:
        """A value; '' when it has not been reported."""
        with self._lock:
            return self._values.get(component, {}).get(key, '')

    def values(self) -> dict[str, str]:
        """All newest values, '<component>.<key>' -> value."""
        with self._lock:
            return {f'{component}.{key}': value for component, values in self._values.items()
                    for key, value in values.items()}

    def drops(self, component: str) -> dict[str, int]:
        """Messages dropped by a component, by reason."""
        with self._lock:
            values = self._values.get(component, {})
        return {key.removeprefix('dropped.'): int(value) for key, value in values.items()
                if key.startswith('dropped.')}

    def alerts(self) -> Counter[DiagnosticAlert]:
        """Statuses at WARN or ERROR, and how often each was received."""
        with self._lock:
            return Counter(self._alerts)

    def _on_message(self, message: DiagnosticArray) -> None:
        for status in message.status:
            source, _, component = status.name.rpartition(': ')
            values = {item.key: item.value for item in status.values}
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            own = source in ('', self._source)
            with self._lock:
                if own:
                    self._values[component] = values
                if level:
                    self._alerts[DiagnosticAlert(level, status.name, status.message)] += 1
            if own and self._on_status is not None:
                self._on_status(component, values)
