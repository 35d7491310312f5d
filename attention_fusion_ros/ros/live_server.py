# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Serves messages to viewers (Foxglove, Lichtblick) over the Foxglove WebSocket protocol; no ROS is needed.

The protocol: https://docs.foxglove.dev/docs/sdk/websocket-server. Messages are what ROS 2 sends: CDR, with the
definition of their type, so that a viewer shows them as if they came from a recording.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from attention_fusion_ros.errors import ConfigurationError, require

DEFAULT_HOST, DEFAULT_PORT = '127.0.0.1', 8765
CLOCK_STEP_NS = 20_000_000  # between two messages that set the clock of the viewers
POLL_S = 0.05
LATE_S = 0.5  # after the first subscription: viewers ask for one topic after another


class LiveServer:
    """A server with topics. Use as a context manager: it listens in between. Thread-safe.

    host, port: where it listens; port 0 takes a free one. name: as viewers show it.

    Raises ConfigurationError where foxglove-sdk is missing or the address cannot be used.
    """

    def __init__(self, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, name: str = 'attention_fusion'):
        self._sdk = require('foxglove', '--live', 'foxglove-sdk')
        websocket = require('foxglove.websocket', '--live', 'foxglove-sdk')
        self._host, self._lock = host, threading.Lock()
        self._channels: dict[str, Any] = {}
        self._latched: dict[str, tuple[bytes, int] | None] = {}  # the last message of topics that keep theirs
        self._clock_ns: int | None = None
        self._context = self._sdk.Context()
        try:
            self._server = self._sdk.start_server(
                name=name, host=host, port=port, context=self._context, server_listener=self,
                capabilities=[websocket.Capability.Time])
        except (RuntimeError, ValueError, OverflowError) as error:
            raise ConfigurationError(f'--live cannot listen on {host}, port {port}: {error}. Remedy: end what uses the '
                                     'port, or choose another with --port (and the address with --host).') from error

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.port)

    @property
    def url(self) -> str:
        """What viewers open as a Foxglove WebSocket."""
        return f"ws://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye to the viewers. May be repeated."""
        self._server.stop()

    def add_topic(self, topic: str, type_name: str, definition: str, latched: bool = False) -> None:
        """Offer a topic.

        type_name: `geometry_msgs/msg/Pose`. definition: of the type with all that it holds, as in recordings. latched:
        who comes later gets the last message.
        """
        schema = self._sdk.Schema(name=type_name, encoding='ros2msg', data=definition.encode())
        channel = self._sdk.Channel(topic, message_encoding='cdr', schema=schema, context=self._context)
        with self._lock:
            self._channels[topic] = channel
            if latched:
                self._latched[topic] = None

    def is_wanted(self, topic: str) -> bool:
        """Whether a viewer shows the topic."""
        return bool(self._channels[topic].has_sinks())

    def has_viewers(self) -> bool:
        """Whether a viewer shows anything."""
        return any(channel.has_sinks() for channel in list(self._channels.values()))

    def send(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Send a message in its CDR bytes to those who show the topic."""
        with self._lock:
            if topic in self._latched:
                self._latched[topic] = data, stamp_ns
            if self._clock_ns is None or not 0 <= stamp_ns - self._clock_ns < CLOCK_STEP_NS:
                self._clock_ns = stamp_ns
                self._server.broadcast_time(stamp_ns)
            self._channels[topic].log(data, log_time=stamp_ns)

    def wait_for_viewer(self, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> bool:
        """Wait until a viewer shows something; whether one does."""
        end = time.monotonic() + timeout_s
        while not self.has_viewers():
            if time.monotonic() >= end or not alive():
                return False
            time.sleep(POLL_S)
        time.sleep(LATE_S)
        return True

    def on_subscribe(self, client: Any, channel: Any) -> None:
        """Called by the server: a viewer that comes late gets the last message of latched topics."""
        with self._lock:
            kept, sender = self._latched.get(channel.topic), self._channels.get(channel.topic)
            if kept is not None and sender is not None:
                sender.log(kept[0], log_time=kept[1], sink_id=client.id)

    def on_unsubscribe(self, client: Any, channel: Any) -> None:
        """Called by the server."""
