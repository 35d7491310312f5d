# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Serving the node's callbacks until shutdown, whatever they raise."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 1.0
CALM_S = 10.0  # without an error until the pauses start over


class Backoff:
    """Pauses between restarts that double while errors follow each other closely, up to LONGEST_PAUSE_S.

    clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._pause_s = 0.0
        self._failed_at_s: float | None = None
        self._repeats: dict[str, int] = {}

    def next_pause_s(self) -> float:
        """The pause after an error that has just happened."""
        now = self._clock()
        if self._failed_at_s is None or now - self._failed_at_s > CALM_S:
            self._pause_s, self._repeats = 0.0, {}
        self._failed_at_s = now
        self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        return self._pause_s

    def describe(self, error: BaseException) -> str:
        """What to log: a traceback the first time, one line when the same error repeats."""
        line = f'{type(error).__name__}: {error}'
        self._repeats[line] = self._repeats.get(line, 0) + 1
        if self._repeats[line] == 1:
            return ''.join(traceback.format_exception(type(error), error, error.__traceback__))
        return f'again ({self._repeats[line]} times), in a callback: {line}'


def spin(node: Node, on_error: Callable[[Exception], None] | None = None,
         executor: Executor | None = None) -> None:
    """Serve callbacks until the node's context is shut down; an error in one of them is logged and ends nothing.

    Errors that keep coming slow the node down to one attempt a second instead of flooding log and processor.
    on_error is called with each of them instead of logging it.
    Raises KeyboardInterrupt and ExternalShutdownException.
    """
    # One thread: callbacks are short and sweeps have a worker of their own. More threads cost a core in wait sets.
    executor = executor or SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    backoff = Backoff()
    try:
        while node.context.ok():
            try:
                executor.spin()
            except (KeyboardInterrupt, ExternalShutdownException):
                raise
            except InvalidHandle:
                pass  # a subscription was destroyed (deactivate, new QoS) while the executor was about to serve it
            except Exception as error:
                if not node.context.ok():  # the callback ran into the shutdown
                    break
                pause_s = backoff.next_pause_s()
                if on_error is not None:
                    on_error(error)
                else:
                    node.get_logger().error(backoff.describe(error))
                time.sleep(pause_s)
    finally:
        executor.shutdown(timeout_sec=2.0)
