# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `attention_fusion`: point clouds and map images in, road directions and attention heatmaps out."""

from __future__ import annotations

import gc
import re
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.ros.compat import lifecycle_state, refuse_impossible_transitions
from attention_fusion_ros.ros.node.configured import Configured
from attention_fusion_ros.ros.node.diagnostics import DiagnosticsBuilder, NodeSnapshot
from attention_fusion_ros.ros.node.monitor import NodeMonitor
from attention_fusion_ros.ros.node.parameters import NodeParameters
from attention_fusion_ros.ros.node.publications import Publications
from attention_fusion_ros.ros.node.reporting import ThrottledLog
from attention_fusion_ros.ros.node.spinning import spin
from attention_fusion_ros.ros.outputs import DIAGNOSTICS
from attention_fusion_ros.ros.transport import configure_fastdds_shared_memory

NAME = 'attention_fusion'
FOLLOW_PERIOD_S = 0.2  # how often the subscriptions adapt to their publishers
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class AttentionFusionNode(LifecycleNode):
    """Its topics and parameters are in the README's tables.

    create_pipeline is called with the configuration at every configure transition.
    """

    def __init__(self, create_pipeline: Callable[[NodeConfig], FusionPipeline] = FusionPipeline, **options: Any):
        super().__init__(NAME, **options)
        self._create_pipeline = create_pipeline
        self.parameters = NodeParameters(self)
        self.monitor = NodeMonitor()
        self._log = ThrottledLog(self.get_logger(), self._log_period_s)
        self._transition = threading.RLock()  # transitions and the diagnostics timer do not overlap
        self._configured: Configured | None = None
        self._error = ''  # why configuring failed
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS.name, 10)
        self._diagnostics_builder = DiagnosticsBuilder()
        # By a steady clock: /diagnostics goes on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = self.get_parameter('diagnostics.period').value
        self._own_timers = [self.create_timer(period_s, self._publish_diagnostics, clock=steady),
                            self.create_timer(FOLLOW_PERIOD_S, self._follow_publishers, clock=steady)]
        refuse_impossible_transitions(self)

    @property
    def state(self) -> str:
        """Label of the lifecycle state."""
        return lifecycle_state(self)

    @property
    def publications(self) -> Publications | None:
        """The publishers of the outputs, None while the node is not configured."""
        return None if self._configured is None else self._configured.publications

    def snapshot(self) -> NodeSnapshot:
        """The node as of now: what /diagnostics is made from."""
        with self._transition:
            now_ns, configured = self.get_clock().now().nanoseconds, self._configured
            node = NodeSnapshot(self.state, self.monitor.snapshot(), error=self._error)
            # rcl: simulated time is 0 until the first message.
            node.clock_missing = self.get_parameter('use_sim_time').value and not now_ns
            if configured is not None:
                node.config, node.pipeline = configured.config, configured.pipeline
                node.inputs, node.outputs = configured.input_topics(), configured.output_topics()
                node.ages_s = configured.ages_s(now_ns)
                node.clocks = configured.clocks()
                node.messages = configured.publications.messages
                node.alignment_wanted = configured.publications.has_subscribers('map_alignment')
            return node

    # -- parameters ----------------------------------------------------------------------------------------------------

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> SetParametersResult:
        """As rclpy does, but with helpful reasons for unknown and read-only names, and 2 accepted for 2.0."""
        wanted = list(parameter_list)
        refusal = self.parameters.refuse(wanted)
        return refusal or super().set_parameters_atomically(self.parameters.in_own_type(wanted))

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network, run it once, advertise the outputs."""
        with self._transition:
            try:
                self._configure()
            except ConfigurationError as error:
                self._fail(str(error))
                return FAILURE
            except Exception as error:
                self._fail(f'{type(error).__name__}: {error}\n{traceback.format_exc()}')
                return FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        with self._transition:
            super().on_activate(state)  # publishers first: the first sweep may arrive at once
            try:
                assert self._configured is not None
                self._configured.activate()
            except Exception:
                self.get_logger().error(traceback.format_exc())  # rclpy would swallow it
                raise
            self.monitor.set_active(True)
            self.get_logger().info('active')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; a sweep in work is finished, but its result is not published."""
        with self._transition:
            if self._configured is not None:
                self._configured.deactivate()
            self.monitor.set_active(False)
            self.get_logger().info('inactive')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free network, threads and topics."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: free everything; the node can be configured again."""
        self._free()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Free everything, then the node. May be called in any state."""
        self._free()
        super().destroy_node()

    def _configure(self) -> None:
        self.monitor.clear()
        self._error = ''
        self._configured = Configured(self, self.parameters, self.monitor, self._log, self._create_pipeline)
        network = self._configured.pipeline.info
        self.get_logger().info(f'configured: {network.checkpoint_name} on {network.device}')
        if not network.trained:
            self.get_logger().warning('UNTRAINED weights: directions and heatmaps are meaningless')

    def _fail(self, error: str) -> None:
        self._free()
        self._error = error
        if self.context.ok():  # else the process was told to stop meanwhile
            self.get_logger().error(f'configuring failed: {error}')

    def _free(self) -> None:
        """Give back everything that configure and activate took. May be repeated."""
        with self._transition:
            configured, self._configured = self._configured, None
            if configured is not None:
                configured.close()
            self.monitor.set_active(False)
            self._error = ''

    # -- timers --------------------------------------------------------------------------------------------------------

    def _follow_publishers(self) -> None:
        if self._transition.acquire(blocking=False):
            try:
                if self._configured is not None:
                    self._configured.follow_publishers()
            finally:
                self._transition.release()

    def _publish_diagnostics(self) -> None:
        # A transition in progress may take seconds (loading the network), and is reported when it is over.
        if not self._transition.acquire(blocking=False):
            return
        try:
            snapshot = self.snapshot()
        finally:
            self._transition.release()
        self._log_connections(snapshot)
        self._diagnostics.publish(
            self._diagnostics_builder.message(snapshot, self.get_clock().now().to_msg(), NAME))

    def _log_connections(self, node: NodeSnapshot) -> None:
        """Publishers that cannot be heard, and those whose messages are missing although they can."""
        for component, topic in node.inputs.items():
            notes = topic.notes if node.monitor.recent_problem(component) else ()
            for text in (*topic.mismatches, *notes):
                self._log.warn(f'connection {text}', text)

    def _log_period_s(self) -> float:
        return self.parameters.latest.diagnostics.log_throttle


def run(arguments: list[str], activate: bool = False) -> int:
    """Run the node until it is stopped; returns the exit status.

    arguments: the command line, for its `--ros-args`. activate: configure and activate the node at once.
    Raises ConfigurationError when rclpy cannot use the arguments: a parameter file that is missing or malformed.
    """
    configure_fastdds_shared_memory()
    try:
        rclpy.init(args=arguments)
    except Exception as error:
        raise ConfigurationError(f'{_without_source_lines(str(error))}. Remedy: correct the arguments after '
                                 '--ros-args; a parameter file begins as config/attention_fusion.yaml does.') from error
    node = None
    try:
        node = AttentionFusionNode()
        executor = SingleThreadedExecutor(context=node.context)  # first: a signal must not find it half made
        gc.freeze()  # the modules stay: looking through all of them for garbage takes longer than a sweep
        if activate and not (node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS):
            return 1
        spin(node, executor=executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # else a transition was cut short by the shutdown
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _without_source_lines(text: str) -> str:
    """An error of rcl in one line, without where in rcl it was raised."""
    return ' '.join(re.sub(r',? at \S+\.c(pp)?:\d+', '', text).split()).rstrip(' .,')
