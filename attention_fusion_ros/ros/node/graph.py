# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the ROS graph knows about topics of the node: who is at the other end, and which of them do not match."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from attention_fusion_ros.ros.compat import SubscriptionEventCallbacks, UnsupportedEventTypeError
from attention_fusion_ros.ros.messages.types import type_name
from attention_fusion_ros.ros.node.qos import conflict


@dataclass(frozen=True)
class TopicStatus:
    """The far end of a topic of the node."""

    name: str  # resolved
    peers: int  # publishers of an input, subscribers of an output
    mismatches: tuple[str, ...] = ()  # peers that do not match: who, why and what to do


def input_topic(node: Node, subscription: Subscription) -> TopicStatus:
    """The publishers of an input."""
    topic, kind = subscription.topic_name, type_name(subscription.msg_type)
    peers = node.get_publishers_info_by_topic(topic)
    mismatches = []
    for peer in peers:
        if peer.topic_type != kind:
            mismatches.append(f'{peer.node_name} publishes {peer.topic_type} on {topic}; expected: {kind}. Remedy: '
                              'remap the input, or convert the messages.')
        elif reason := conflict(peer.qos_profile, subscription.qos_profile):
            mismatches.append(f'{peer.node_name} publishes on {topic} with an incompatible QoS; it offers {reason}. '
                              'Remedy: change the QoS of that publisher.')
    return TopicStatus(topic, len(peers), tuple(mismatches))


def output_topic(node: Node, publisher: Publisher) -> TopicStatus:
    """The subscribers of an output."""
    topic = publisher.topic_name
    peers = node.get_subscriptions_info_by_topic(topic)
    return TopicStatus(topic, len(peers), tuple(
        f'{peer.node_name} subscribes to {topic} with an incompatible QoS; offered is {reason}. Remedy: request '
        'volatile durability, and reliable or best effort.'
        for peer in peers if (reason := conflict(publisher.qos_profile, peer.qos_profile))))


def merged(topics: list[TopicStatus]) -> TopicStatus:
    """Several transports of one input as one, under the name of the first."""
    return TopicStatus(topics[0].name, sum(t.peers for t in topics), tuple(m for t in topics for m in t.mismatches))


def subscribe(node: Node, kind: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile,
              on_lost: Callable[[int], None] | None = None) -> Subscription:
    """A subscription. on_lost(count) is called when messages were lost in transport, where the middleware can tell."""
    if on_lost is not None:
        def message_lost(event: Any) -> None:
            on_lost(event.total_count_change)

        events = SubscriptionEventCallbacks(message_lost=message_lost)
        try:
            return node.create_subscription(kind, topic, callback, qos, event_callbacks=events)
        except UnsupportedEventTypeError:
            pass
    return node.create_subscription(kind, topic, callback, qos)
