# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the lifecycle nodes of this package share: transitions that can be repeated, parameters, diagnostics, a main."""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros import start
from attention_fusion_ros.ros.compat import lifecycle_state, refuse_impossible_transitions
from attention_fusion_ros.ros.node.graph import namesakes, without_events
from attention_fusion_ros.ros.node.monitor import NodeMonitor
from attention_fusion_ros.ros.node.parameters import NodeParameters
from attention_fusion_ros.ros.node.reporting import ThrottledLog
from attention_fusion_ros.ros.node.spinning import spin
from attention_fusion_ros.ros.outputs import DIAGNOSTICS
from attention_fusion_ros.ros.transport import configure_fastdds_shared_memory
from attention_fusion_ros.utils import memory

FOLLOW_PERIOD_S = 0.2  # how often the subscriptions adapt to their publishers
NAMESAKE_S = 40.0  # with another node of the same name until the log says so; a killed one is known for half of that
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Work(Protocol):
    """What the configure transition makes."""

    def activate(self) -> None:
        """Subscribe."""

    def deactivate(self) -> None:
        """Unsubscribe. May be repeated."""

    def close(self) -> None:
        """Free everything. May be repeated."""

    def follow_publishers(self) -> None:
        """Adapt to the publishers there are. Called often."""


class ManagedNode(LifecycleNode):
    """A lifecycle node that can be configured, activated and cleaned up as often as one likes.

    A subclass makes its work in `_make` and its /diagnostics in `_diagnostics_message`. A transition and the timers
    never overlap.
    """

    def __init__(self, name: str, config_type: type, check: Callable[[Any], object], monitor: NodeMonitor,
                 **options: Any):
        """config_type, check: see `NodeParameters`."""
        super().__init__(name, **options)
        self.parameters = NodeParameters(self, config_type, check)
        self.monitor = monitor
        self._log = ThrottledLog(self.get_logger(), self._log_period_s)
        self._transition = threading.RLock()  # transitions and the diagnostics timer do not overlap
        self._work: Any = None
        self._error = ''  # why configuring failed
        self._alone_s = time.monotonic()  # when this was the only node of its name
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS.name, 10,
                                                  event_callbacks=without_events())
        # By a steady clock: /diagnostics goes on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = self.get_parameter('diagnostics.period').value
        self._own_timers = [self.create_timer(period_s, self._publish_diagnostics, clock=steady),
                            self.create_timer(FOLLOW_PERIOD_S, self._follow_publishers, clock=steady)]
        refuse_impossible_transitions(self)

    def _make(self) -> Work:
        """What the node has while it is configured. Raises ConfigurationError; nothing is left behind then."""
        raise NotImplementedError

    def _diagnostics_message(self) -> DiagnosticArray:
        """The statuses as of now."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """Label of the lifecycle state."""
        return lifecycle_state(self)

    # -- parameters ----------------------------------------------------------------------------------------------------

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> SetParametersResult:
        """As rclpy does, but with helpful reasons for unknown and read-only names, and 2 accepted for 2.0."""
        wanted = list(parameter_list)
        refusal = self.parameters.refuse(wanted)
        return refusal or super().set_parameters_atomically(self.parameters.in_own_type(wanted))

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load what is needed, advertise the outputs."""
        with self._transition:
            try:
                self.monitor.clear()
                self._error = ''
                self._work = self._make()
            except ConfigurationError as error:
                self._fail(str(error))
                return FAILURE
            except OSError as error:
                self._fail(f'{error}. Remedy: give the process what it lacks (open files: ulimit -n; memory; disk), '
                           'and configure again.')
                return FAILURE
            except Exception as error:
                self._fail(f'{type(error).__name__}: {error}. Remedy: report it, with the traceback in the log.',
                           traceback.format_exc())
                return FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        with self._transition:
            super().on_activate(state)  # publishers first: the first message may arrive at once
            try:
                assert self._work is not None
                self._work.activate()
            except Exception:
                self.get_logger().error(traceback.format_exc())  # rclpy would swallow it
                raise
            self.monitor.set_active(True)
            self.get_logger().info('active')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; what is in work is finished, but its result is not published."""
        with self._transition:
            if self._work is not None:
                self._work.deactivate()
            self.monitor.set_active(False)
            self.get_logger().info('inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free memory, threads and topics."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state; nothing leads back, but the process goes on until it is ended."""
        self._free()
        if self.context.ok():  # else the process ends by itself
            self.get_logger().info('finalized. To start again, end the process')
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: free everything; the node can be configured again."""
        self._free()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Free everything, then the node. May be called in any state."""
        self._free()
        super().destroy_node()

    def _fail(self, error: str, trace: str = '') -> None:
        self._free()
        self._error = error
        if self.context.ok():  # else the process was told to stop meanwhile
            self.get_logger().error('\n'.join([f'configuring failed: {error}', *filter(None, [trace])]))

    def _free(self) -> None:
        """Give back everything that configure and activate took. May be repeated."""
        with self._transition:
            work, self._work = self._work, None
            if work is not None:
                work.close()
                del work
                memory.give_back()
            self.monitor.set_active(False)
            self._error = ''

    # -- timers --------------------------------------------------------------------------------------------------------

    def _follow_publishers(self) -> None:
        if self._transition.acquire(blocking=False):
            try:
                if self._work is not None:
                    self._work.follow_publishers()
            finally:
                self._transition.release()

    def _publish_diagnostics(self) -> None:
        # A transition in progress may take seconds (loading the network), and is reported when it is over.
        if not self._transition.acquire(blocking=False):
            return
        try:
            message = self._diagnostics_message()
        finally:
            self._transition.release()
        self._diagnostics.publish(message)
        self._warn_of_namesakes()

    def _warn_of_namesakes(self) -> None:
        """One that an earlier launch has left behind, mostly: both publish, and either may get a request."""
        if not namesakes(self):
            self._alone_s = time.monotonic()
        elif time.monotonic() - self._alone_s >= NAMESAKE_S:
            self._log.warn('namesake', f'another node is called {self.get_fully_qualified_name()}, too: both publish '
                           'the same topics, and either may answer a service. Remedy: end one of them (ps aux), or '
                           'give them namespaces.', NAMESAKE_S)

    def _log_period_s(self) -> float:
        return float(self.parameters.latest.diagnostics.log_throttle)


def run(make: Callable[[], ManagedNode], arguments: list[str], activate: bool = False) -> int:
    """Run a node until it is stopped; returns the exit status.

    arguments: the command line, for its `--ros-args`. activate: configure and activate the node at once.
    Raises ConfigurationError when rclpy cannot use the arguments, a malformed parameter file for example, or the
    environment.
    """
    configure_fastdds_shared_memory()
    start.init(arguments)
    node = None
    try:
        node = make()
        executor = SingleThreadedExecutor(context=node.context)  # first: a signal must not find it half made
        gc.freeze()  # the modules stay: looking through all of them for garbage takes longer than a sweep
        if activate and not (node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS):
            return 1
        spin(node, executor=executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        if node is None and start.is_environment(error):
            raise start.explained(error) from error
        if rclpy.ok():  # else a transition was cut short by the shutdown
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
