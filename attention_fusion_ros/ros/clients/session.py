# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A node for commands that talk to the ROS graph without being the fusion node."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.publisher import Publisher

from attention_fusion_ros.ros import start, transport

FLUSH_S = 2.0  # a publisher


def flush(publishers: Iterable[Publisher]) -> None:
    """Give reliable subscribers up to FLUSH_S to acknowledge the last messages, which are lost otherwise."""
    for publisher in publishers:
        if publisher.get_subscription_count():
            publisher.wait_for_all_acked(Duration(seconds=FLUSH_S))


class Session:
    """A context, a node in it, and by choice a thread that serves its callbacks. Use as a context manager.

    arguments: the command line with its `--ros-args`, or None. domain_id: None for that of the environment.
    environment: variables that the middleware is to see besides those of `transport.environment`; the environment of
    this process is as before afterwards.
    Raises ConfigurationError, see `start.init`.
    """

    def __init__(self, name: str, arguments: list[str] | None = None, domain_id: int | None = None, spin: bool = True,
                 environment: Mapping[str, str] | None = None):
        self.context = Context()
        with transport.applied({**transport.environment(), **(environment or {})}):
            start.init(arguments or (), self.context, domain_id)
            try:
                self.node = rclpy.create_node(name, context=self.context, start_parameter_services=False)
            except Exception as error:
                if start.is_environment(error):
                    raise start.explained(error) from error
                raise
        self._thread: threading.Thread | None = None
        if spin:
            self._executor = SingleThreadedExecutor(context=self.context)
            self._executor.add_node(self.node)
            self._thread = threading.Thread(target=self._spin, name='ros', daemon=True)
            self._thread.start()

    def ok(self) -> bool:
        """False once the context was shut down, by a signal for example."""
        return self.context.ok()

    def close(self) -> None:
        """Leave the graph. May be repeated."""
        self.context.try_shutdown()
        if self._thread is not None:
            self._thread.join(5.0)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except (ExternalShutdownException, KeyboardInterrupt):
            pass
