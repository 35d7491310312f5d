# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Watches a node minute by minute while it is fed, and reconfigures it at the end of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.benchmarking import soak

MINUTE_S = 60.0
# What is changed at the end of a minute, each in turn between two values.
PARAMETERS: dict[str, tuple[Any, Any]] = {'branches.min_probability': (0.35, 0.4), 'map.max_age': (4.0, 5.0)}


class Node(Protocol):
    """What is watched: a `ros.clients.node_process.NodeProcess`."""

    def rss_bytes(self) -> int:
        """Resident memory."""

    def shared_bytes(self) -> int:
        """Of it, what is shared with other processes."""

    def threads(self) -> list[int]:
        """Ids of its threads."""

    def handles(self) -> int:
        """Open files and sockets."""

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Set parameters."""

    def cycle(self) -> None:
        """Down to unconfigured and up to active again."""


class SoakWatch:
    """Writes a line of the CSV `path` each minute. Call `sample` often, with the seconds since the start.

    take_ms: the latencies since the last call. Raises what the node's reconfiguration has raised, in `sample`.
    """

    def __init__(self, path: Path, node: Node, take_ms: Callable[[], list[float]], reconfigures: bool = True,
                 minute_s: float = MINUTE_S):
        self._path, self._node, self._take_ms = path, node, take_ms
        self._reconfigures, self._minute_s = reconfigures, minute_s
        self._rss_mb: list[float] = []
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._sampled_s = 0.0
        self.minutes: list[soak.Minute] = []
        path.unlink(missing_ok=True)

    def sample(self, seconds: float) -> None:
        """Note the memory, once a second; at the end of a minute write its line and reconfigure the node."""
        if self._error is not None:
            raise self._error
        if seconds - self._sampled_s >= min(1.0, self._minute_s / 10):
            self._sampled_s = seconds
            self._rss_mb.append(self._node.rss_bytes() / 1e6)
        if seconds < self._minute_s * (len(self.minutes) + 1) or not self._rss_mb:
            return
        what = 'parameters, lifecycle' if self._reconfigures else ''
        minute = soak.Minute.of(len(self.minutes) + 1, self._rss_mb, len(self._node.threads()), self._node.handles(),
                                self._take_ms(), what, self._node.shared_bytes() / 1e6)
        self.minutes.append(minute)
        soak.append(self._path, minute)
        self._rss_mb = []
        if self._reconfigures:
            self.join()
            # Beside the loop that feeds the node: sweeps go on.
            self._thread = threading.Thread(target=self._reconfigure, args=(len(self.minutes),), daemon=True)
            self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for a reconfiguration that is under way."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _reconfigure(self, turn: int) -> None:
        try:
            self._node.set_parameters({name: values[turn % 2] for name, values in PARAMETERS.items()})
            self._node.cycle()
        except Exception as error:  # raised where it is heard
            self._error = error
