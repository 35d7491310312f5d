# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A node for commands that talk to the ROS graph without being the fusion node."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from attention_fusion_ros.ros import transport

DOMAINS = range(1, 100)  # those that every operating system has ports for
PORT_BASE, PORTS_PER_DOMAIN = 7400, 250  # RTPS 2.2, 9.6.1.1
SHARED_MEMORY = Path('/dev/shm')


def free_domain() -> int:
    """A ROS domain id that nobody on this machine uses, as far as can be seen.

    Fast DDS leaves its shared-memory ports behind when a process is killed, and messages through such a port come up to
    seconds late: domains with ports are left alone.
    """
    ports = (re.fullmatch(r'fast(?:rtps|dds)_port(\d+)', f.name) for f in SHARED_MEMORY.glob('fast*_port*'))
    taken = {(int(match[1]) - PORT_BASE) // PORTS_PER_DOMAIN for match in ports if match}
    return random.choice([d for d in DOMAINS if d not in taken] or list(DOMAINS))


class Session:
    """A context, a node in it, and by choice a thread that serves its callbacks. Use as a context manager.

    arguments: the command line with its `--ros-args`, or None. domain_id: None for that of the environment.
    environment: variables that the middleware is to see besides those of `transport.environment`; the environment of
    this process is as before afterwards.
    """

    def __init__(self, name: str, arguments: list[str] | None = None, domain_id: int | None = None, spin: bool = True,
                 environment: Mapping[str, str] | None = None):
        self.context = Context()
        with transport.applied({**transport.environment(), **(environment or {})}):
            rclpy.init(args=arguments, context=self.context, domain_id=domain_id)
            self.node = rclpy.create_node(name, context=self.context, start_parameter_services=False)
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
