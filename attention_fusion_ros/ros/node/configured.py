# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a configured node has, and what it does with a sweep."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, SyncedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.node.graph import TopicStatus, output_topic, published_topics
from attention_fusion_ros.ros.node.monitor import RECENT_S, NodeMonitor
from attention_fusion_ros.ros.node.parameters import NodeParameters
from attention_fusion_ros.ros.node.publications import Publications
from attention_fusion_ros.ros.node.reporting import ProblemReporter, ThrottledLog, format_traceback, internal_error
from attention_fusion_ros.ros.node.subscriptions import Subscriptions, inputs_of
from attention_fusion_ros.ros.node.topic_names import check_topics
from attention_fusion_ros.ros.node.worker import MAX_WAITING, Worker
from attention_fusion_ros.ros.outputs import OUTPUTS
from attention_fusion_ros.stream.decoded import DecodedSweep
from attention_fusion_ros.stream.inputs import SWEEPS, InputSpec, Transport, is_cloud
from attention_fusion_ros.stream.sweeps import SweepStream
from attention_fusion_ros.sync.synchronizer import TRANSFORMS

ROS_TIME = 'ROS time (now)'  # the clock that tells when messages are received
# The first sweep after activation takes longer than others: it waits for what may belong to it, and caches are cold. So
# among the first ones, some wait beside the newest and are made up for.
STARTING_SWEEPS, STARTING_BACKLOG = 10, 2
NO_PUBLISHER_S = 5.0  # without a publisher of a required input until the log says so
OVERRUN = InputError('overrun', 'a newer sweep arrived before this one was processed.', 'see the stage times; fewer '
                     'points, device cuda or fewer subscribers make the node faster.')
LOST = InputError('lost_in_transport', 'sweeps were lost between the driver and the node.', 'publish them reliably, '
                  "and start the driver with this package's Fast DDS profile (README, On a vehicle).")


@dataclass(frozen=True)
class ReceivedCloud:
    """A message with a sweep, or a part of one, on its way to the worker."""

    message: Any
    spec: InputSpec
    transport: Transport
    stamp_ns: int  # ROS time when it was received
    perf_counter_s: float  # the same by the clock for durations
    subscriptions: Subscriptions | None  # of the activation that it belongs to


class Configured:
    """Network, worker thread, synchronisation and publishers: made by the configure transition, freed by cleanup.

    While the node is active there are subscriptions, too. Callbacks of subscriptions only hand messages over; decoding
    sweeps, the network and encoding run in the worker's thread.
    """

    def __init__(self, node: LifecycleNode, parameters: NodeParameters, monitor: NodeMonitor, log: ThrottledLog,
                 create_pipeline: Callable[[NodeConfig], FusionPipeline]):
        """Raises ConfigurationError when parameters, checkpoint or device cannot be used; nothing is left behind."""
        self._node, self._parameters, self._monitor, self._log = node, parameters, monitor, log
        self._problems = ProblemReporter(monitor, log)
        self._subscriptions: Subscriptions | None = None
        self._alone_since_s: dict[str, float] = {}  # by required input: since when it has no publisher
        self.config = config = parameters.config()
        self.inputs = inputs_of(config)
        check_topics(node, self.inputs, OUTPUTS)
        self._stream = SweepStream(config, self._problems_of_inputs)
        self._ready: deque[tuple[DecodedSweep, ReceivedCloud]] = deque()  # sweeps, and what completed them
        self._latest: ReceivedCloud | None = None  # the latest message
        self._sweeps_done = 0  # since activation
        with ExitStack() as undo:
            self._worker: Worker[ReceivedCloud] = Worker(self._process, self._on_overrun, self._due_s,
                                                         self._process_due)
            undo.callback(self._worker.close)
            # In the thread that uses it: the first run in a thread is slow, however warm another thread is.
            self.pipeline = self._worker.call(lambda: PipelineSupervisor(config, create_pipeline))
            undo.callback(self.pipeline.close)
            self.publications = Publications(node, config.frames.base, self._on_output_failed,
                                             config.frames.map_image)
            undo.callback(self.publications.close)
            undo.callback(self._worker.close)  # before what it uses
            jumps = node.get_clock().create_jump_callback(
                JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
                post_callback=self._on_time_jump)
            undo.callback(jumps.unregister)
            undo.callback(self.deactivate)
            self._undo = undo.pop_all()

    def activate(self) -> None:
        """Forget what was before, and subscribe."""
        self._stream.reset()
        self._ready, self._sweeps_done = deque(), 0
        self._worker.open()
        self._subscriptions = Subscriptions(self._node, self.inputs, self._on_message, self._on_lost)

    def deactivate(self) -> None:
        """Unsubscribe; a sweep in work is finished, but its result is not published. May be repeated."""
        self._worker.pause()
        subscriptions, self._subscriptions = self._subscriptions, None
        if subscriptions is not None:
            subscriptions.close()
            if self._node.context.ok():  # else displays end by themselves what they show
                self.publications.take_back()
        self._alone_since_s.clear()

    def close(self) -> None:
        """Free everything; returns when the sweep in work is finished. May be repeated."""
        self._undo.close()

    def follow_publishers(self) -> None:
        """Adapt the subscriptions to the publishers there are, warn where there is none, and end what is shown when
        results do not go on. To be called often.
        """
        if self._subscriptions is None:
            return
        self._subscriptions.update_qos()
        self.publications.take_back(older_than_s=RECENT_S)
        for spec in self.inputs:
            if spec.required:
                self._warn_without_publisher(spec, self._subscriptions.publishers(spec))

    def input_topics(self) -> dict[str, TopicStatus]:
        """What the graph knows about the inputs, by component; {} while the node is not active."""
        return {} if self._subscriptions is None else self._subscriptions.topics()

    def output_topics(self) -> tuple[TopicStatus, ...]:
        """What the graph knows about the outputs."""
        return tuple(output_topic(self._node, publisher) for publisher in self.publications.all())

    def ages_s(self, now_ns: int) -> dict[str, float | None]:
        """Seconds since the newest stamp of each input that is kept, None without one."""
        kept = [spec.name for spec in self.inputs if spec.name != TRANSFORMS and not is_cloud(spec)]
        return {name: self._stream.age_s(name, now_ns) for name in kept}

    def clocks(self) -> dict[str, str]:
        """By input: how sweeps are stamped against it, in words, where that cannot be latency; sweeps: by ROS time."""
        found = {spec.name: self._stream.sweeps_against_reception(ROS_TIME) if spec.name == SWEEPS
                 else self._stream.clock_difference(spec.name, received=ROS_TIME)
                 for spec in self.inputs if spec.name == SWEEPS or not is_cloud(spec)}
        return {name: str(difference) for name, difference in found.items() if difference is not None}

    # -- in the worker's thread ----------------------------------------------------------------------------------------

    def _process(self, item: ReceivedCloud) -> None:
        """One message, and the sweep that it completes; whatever is wrong with it costs this message only."""
        try:
            self._take_over_parameters()
            decoded = self._stream.decode(item.message, item.stamp_ns, item.spec, item.transport)
            whole = self._stream.assemble(decoded, time.monotonic_ns())
        except Exception as error:
            self._problems_of_inputs(item.spec, error if isinstance(error, InputError) else internal_error(error))
            whole = []  # but others may be ready that have waited for this message
        self._take_whole(whole, item)

    def _process_due(self) -> None:
        """Nothing has come: sweeps go on without what they have waited for."""
        self._take_whole(self._stream.overdue(time.monotonic_ns()), self._latest)

    def _take_whole(self, whole: list[DecodedSweep], item: ReceivedCloud | None) -> None:
        """Process these sweeps and those that are ready, unless messages wait that may give newer ones.

        Only the newest is processed, but for the first ones after activation.
        """
        item = self._latest = None if item is None else replace(item, message=None)  # megabytes
        ready = self._ready  # activating makes another one
        if item is not None:
            ready.extend((sweep, item) for sweep in whole)
        while len(ready) > 1 + self._backlog:
            ready.popleft()
            self._on_overrun()
        while ready and not (self._stream.needs_every_cloud and self._worker.is_behind):
            self._process_sweep(*ready.popleft())

    def _process_sweep(self, decoded: DecodedSweep, item: ReceivedCloud) -> None:
        if item.subscriptions is not self._subscriptions:  # the node was deactivated since the sweep arrived
            return
        try:
            sweep = self._stream.wait_and_complete(decoded)
            result = self.pipeline.run(sweep)
        except InputError as error:
            self._drop_sweep(error)
        except Exception as error:
            self._drop_sweep(internal_error(error))
        else:
            if item.subscriptions is self._subscriptions:  # else the node was deactivated meanwhile
                self._publish(result, sweep, item.perf_counter_s)
        finally:
            self._sweeps_done += 1

    def _due_s(self) -> float | None:
        due_ns = self._stream.due_ns
        return None if due_ns is None else due_ns / 1e9

    def _publish(self, result: FusionResult, sweep: SyncedSweep, received_s: float) -> None:
        try:
            self.publications.publish(PublishedSweep(result, sweep, self._explain))
            stage_ms = {'decode': sweep.decode_ms, **result.stage_ms,
                        'total': 1e3 * (time.perf_counter() - received_s),
                        'data_age': (self._node.get_clock().now().nanoseconds - result.stamp_ns) / 1e6}
            self.publications.publish_times(stage_ms)
            self._warn_without_map(result)
            for reason, text in sweep.warnings.items():
                self._log.warn(reason, f'{reason}: {text}')
            self._monitor.result(result, sweep, stage_ms)
            self._set_dynamic_tf_enabled(any(map(self._stream.needs_dynamic_transforms,
                                                 {part.frame_id for part in sweep.sources})))
            self._set_bursts_expected(self._stream.clouds_come_in_bursts)
        except Exception as error:
            if self._node.context.ok():  # else shutdown has taken the node from under it
                self._log.error('publish', f'after the result: {format_traceback(error)}')

    def _take_over_parameters(self) -> None:
        config = self._parameters.config()
        if config is not self.config:
            self.config = config
            self._stream.update(config)
            self.pipeline.update(config)

    def _explain(self, result: FusionResult) -> dict[str, np.ndarray]:
        """Grad-CAM by stage; a failure costs this picture only."""
        try:
            return self.pipeline.explain(result)
        except InputError as error:
            self._problems.explanation_failed(error)
            return {}

    def _warn_without_map(self, result: FusionResult) -> None:
        last = self._monitor.last_result
        if result.reason and (last is None or last.reason != result.reason):
            self._log.warn(result.reason, f'lidar_only, the map image is not used: {result.reason} (see /diagnostics)')

    # -- in the executor's thread --------------------------------------------------------------------------------------

    def _on_message(self, spec: InputSpec, transport: Transport, message: Any) -> None:
        self._monitor.received(spec.component)
        now_ns = self._node.get_clock().now().nanoseconds
        if is_cloud(spec):
            received = ReceivedCloud(message, spec, transport, now_ns, time.perf_counter(), self._subscriptions)
            self._stream.announce(spec, message)
            self._worker.put(received, (spec.name, message.header.frame_id), self._waiting_sweeps)
        else:
            self._stream.take(spec, transport, message, now_ns)

    @property
    def _waiting_sweeps(self) -> int:
        """How many messages of a LiDAR may wait beside the newest."""
        return MAX_WAITING if self._stream.needs_every_cloud else self._backlog

    @property
    def _backlog(self) -> int:
        """How many sweeps may wait beside the newest."""
        return STARTING_BACKLOG if self._sweeps_done < STARTING_SWEEPS else 0

    def _on_time_jump(self, _: TimeJump) -> None:
        """The clock was set back (a bag that starts again): forget what is later."""
        self._stream.on_time_jump(self._node.get_clock().now().nanoseconds)

    def _on_lost(self, spec: InputSpec, count: int) -> None:
        for _ in range(count):
            self._problems.input_dropped(spec, LOST)

    def _warn_without_publisher(self, spec: InputSpec, topic: TopicStatus | None) -> None:
        if topic is None or topic.peers:
            self._alone_since_s.pop(spec.name, None)
            return
        alone_s = time.monotonic() - self._alone_since_s.setdefault(spec.name, time.monotonic())

        def text() -> str:
            return (f'{topic.name} ({spec.label}) has had no publisher for {alone_s:.0f} s. Remedy: start the driver, '
                    f'or remap the topic: {self._remap_hint(spec)}.')

        if alone_s >= NO_PUBLISHER_S:
            self._log.warn(f'no publisher {spec.name}', text, NO_PUBLISHER_S)

    def _remap_hint(self, spec: InputSpec) -> str:
        """How to remap an input, to a topic of its type that is being published where there is one."""
        found = {name: next(t for t in spec.transports if t.type in types)
                 for name, types in published_topics(self._node, spec.types, OUTPUTS).items()}
        target, transport = next(iter(found.items()), ('TOPIC', spec.transports[0]))
        remap = f'--ros-args -r {transport.private_topic}:={target}'
        if transport.optional and target.rpartition('/')[2] not in transport.names:  # launch files cannot tell
            return remap
        return (f'{spec.name}:={target} (launch file) or {remap}'
                + (f"; published are {', '.join(found)}" if len(found) > 1 else ''))

    # -- in both -------------------------------------------------------------------------------------------------------

    def _problems_of_inputs(self, spec: InputSpec, error: InputError) -> None:
        self._problems.input_dropped(spec, error)
        if error.reason in ('odometry_frame', 'transform_missing'):
            self._set_dynamic_tf_enabled(True)

    def _drop_sweep(self, error: InputError) -> None:
        self._problems.sweep_dropped(error)
        if error.reason == 'transform_missing':
            self._set_dynamic_tf_enabled(True)

    def _on_overrun(self) -> None:
        self._problems.sweep_dropped(OVERRUN)

    def _on_output_failed(self, topic: str, error: Exception) -> None:
        if self._node.context.ok():  # else it is the shutdown
            self._problems.output_failed(topic, error)

    def _set_bursts_expected(self, expected: bool) -> None:
        subscriptions = self._subscriptions
        if subscriptions is not None:
            subscriptions.set_bursts_expected(expected)

    def _set_dynamic_tf_enabled(self, enabled: bool) -> None:
        subscriptions = self._subscriptions  # deactivating takes it away
        if subscriptions is not None:
            subscriptions.set_dynamic_tf_enabled(enabled)
