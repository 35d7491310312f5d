# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of an active node, one for each transport of the table of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.ros.compat import with_message_info
from attention_fusion_ros.ros.messages.types import is_installed, message_class
from attention_fusion_ros.ros.node.graph import TopicStatus, input_topic, merged, subscribe
from attention_fusion_ros.ros.node.qos import AdaptiveQos, Once, Request
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, InputSpec, Transport, is_cloud
from attention_fusion_ros.sync.synchronizer import TRANSFORMS

BURST_DEPTH = 64  # messages: a turn in packets
OnMessage = Callable[[InputSpec, Transport, Any], None]


def inputs_of(config: NodeConfig) -> tuple[InputSpec, ...]:
    """The inputs that a node of this configuration subscribes to.

    Raises ConfigurationError when the messages of one are not installed.
    """
    used = tuple(spec for spec in INPUTS if (config.use_tf or spec.name != TRANSFORMS)
                 and (config.cloud.assemble == 'auto' or spec.name == SWEEPS or not is_cloud(spec)))
    for spec in used:
        for transport in spec.transports:
            try:
                message_class(transport.type)
            except InputError as error:
                if transport.optional:
                    continue
                remedy = ' Or set use_tf to false and T_base_sensor.' if spec.name == TRANSFORMS else ''
                raise ConfigurationError(f'{error}{remedy}') from error
    return used


class Subscriptions:
    """Subscribes to every transport of `inputs`.

    on_message(spec, transport, message) gets every message. on_lost(spec, count) is called when sweeps were lost in
    transport.
    """

    def __init__(self, node: LifecycleNode, inputs: Sequence[InputSpec], on_message: OnMessage,
                 on_lost: Callable[[InputSpec, int], None]):
        self._node, self._on_message, self._on_lost = node, on_message, on_lost
        # Sweeps, the first of the table, last: of messages that wait together, the executor takes those of earlier
        # subscriptions first.
        self._transports = [(spec, transport) for spec in reversed(inputs) for transport in spec.transports
                            if not transport.optional or is_installed(transport.type)]
        self._cloud_topics = {transport.topic for spec, transport in self._transports if is_cloud(spec)}
        self._qos = {transport.topic: AdaptiveQos(transport.may_latch, transport.fixed_qos)
                     for _, transport in self._transports}
        self._once = {transport.topic: Once() for _, transport in self._transports
                      if transport.may_latch or transport.fixed_qos}  # those that may have several subscriptions
        self._subscriptions: dict[str, dict[Request, Subscription]] = {}  # by topic of the table
        self._dynamic_tf_enabled = True
        self._bursts_expected = self._queues_bursts = False
        try:
            self.update_qos()
        except Exception:
            self.close()  # none of them would be given up otherwise
            raise

    def close(self) -> None:
        """Unsubscribe from everything. May be repeated."""
        self._transports = []
        for topic in list(self._subscriptions):
            self._keep(topic, frozenset())
        # rclpy's executor keeps the subscription that it looked at last: not all that its callback leads to as well.
        self._on_message = self._on_lost = _ignore

    def set_dynamic_tf_enabled(self, enabled: bool) -> None:
        """Whether /tf is needed: where all transforms are static, listening to it is wasted time. See `update_qos`."""
        self._dynamic_tf_enabled = enabled

    def set_bursts_expected(self, expected: bool) -> None:
        """Whether clouds come that close together that more than one has to be queued. See `update_qos`."""
        self._bursts_expected = expected

    def update_qos(self) -> None:
        """Adapt to the current publishers, and to whether /tf is needed. To be called often."""
        if self._queues_bursts != self._bursts_expected:
            self._queues_bursts = self._bursts_expected
            for topic in self._cloud_topics:  # subscribed to again below, with another depth
                self._keep(topic, frozenset())
        for spec, transport in self._transports:
            wanted: frozenset[Request] = frozenset()
            if self._dynamic_tf_enabled or not _is_dynamic_tf(spec, transport):
                qos = self._qos[transport.topic]
                qos.update(self._node, self._resolved(transport), transport.type)
                wanted = qos.requests
            self._keep(transport.topic, wanted)
            for request in wanted - self._subscriptions.get(transport.topic, {}).keys():
                self._subscribe(spec, transport, request)

    def topics(self) -> dict[str, TopicStatus]:
        """What the graph knows about the inputs, by component."""
        by_component: dict[str, list[TopicStatus]] = {}
        for spec, transport in self._transports:
            if transport.topic in self._subscriptions:
                status = input_topic(self._node, list(self._subscriptions[transport.topic].values()),
                                     sent_once=transport.fixed_qos and transport.may_latch)
                by_component.setdefault(spec.component, []).append(status)
        return {component: merged(topics) for component, topics in by_component.items()}

    def publishers(self, spec: InputSpec) -> TopicStatus | None:
        """Resolved topic and number of publishers of an input, over all its transports; None while unsubscribed."""
        names = [self._resolved(t) for t in spec.transports if t.topic in self._subscriptions]
        return TopicStatus(names[0], sum(map(self._node.count_publishers, names))) if names else None

    def _resolved(self, transport: Transport) -> str:
        known = self._subscriptions.get(transport.topic)
        name = next(iter(known.values())).topic_name if known else self._node.resolve_topic_name(
            transport.private_topic)
        return str(name)

    def _subscribe(self, spec: InputSpec, transport: Transport, request: Request) -> None:
        once = self._once.get(transport.topic)
        depth = BURST_DEPTH if self._queues_bursts and is_cloud(spec) else transport.depth

        def on_message(message: Any) -> None:
            self._on_message(spec, transport, message)

        def on_message_once(message: Any, info: Mapping[str, Any]) -> None:
            if once is None or once.is_new(info):
                self._on_message(spec, transport, message)

        def on_lost(count: int) -> None:
            self._on_lost(spec, count)

        self._subscriptions.setdefault(transport.topic, {})[request] = subscribe(
            self._node, message_class(transport.type), transport.private_topic,
            on_message if once is None else with_message_info(on_message_once), request.profile(depth),
            on_lost if is_cloud(spec) else None)

    def _keep(self, topic: str, wanted: frozenset[Request]) -> None:
        """Give up the subscriptions to a topic that are not wanted any more."""
        known = self._subscriptions.get(topic, {})
        for request in known.keys() - wanted:
            self._node.destroy_subscription(known.pop(request))
        if not known:
            self._subscriptions.pop(topic, None)


def _ignore(*_: Any) -> None:
    """What comes after `close`."""


def _is_dynamic_tf(spec: InputSpec, transport: Transport) -> bool:
    return spec.name == TRANSFORMS and not transport.may_latch
