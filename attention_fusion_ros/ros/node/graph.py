# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the ROS graph knows about topics of the node: who is at the other end, and which of them do not match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from attention_fusion_ros.ros.compat import (
    PublisherEventCallbacks,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)
from attention_fusion_ros.ros.messages.types import type_name
from attention_fusion_ros.ros.node.qos import conflict
from attention_fusion_ros.ros.outputs import OutputSpec


@dataclass(frozen=True)
class TopicStatus:
    """The far end of a topic of the node."""

    name: str  # resolved
    peers: int  # publishers of an input, subscribers of an output
    mismatches: tuple[str, ...] = ()  # peers that do not match: who, why and what to do
    notes: tuple[str, ...] = ()  # peers that match, but whose messages may be missing all the same: likewise


def input_topic(node: Node, subscriptions: Sequence[Subscription], sent_once: bool = False) -> TopicStatus:
    """The publishers of an input.

    subscriptions: those to one topic. sent_once: of messages that are sent once and hold for ever, volatile publishers
    are noted.
    """
    topic, kind = subscriptions[0].topic_name, type_name(subscriptions[0].msg_type)
    peers = node.get_publishers_info_by_topic(topic)
    mismatches, notes = [], []
    for peer in peers:
        reasons = [conflict(peer.qos_profile, subscription.qos_profile) for subscription in subscriptions]
        if peer.topic_type != kind:
            mismatches.append(f'{peer.node_name} publishes {peer.topic_type} on {topic}; expected: {kind}. Remedy: '
                              'remap the input, or convert the messages.')
        elif all(reasons):
            mismatches.append(f'{peer.node_name} publishes on {topic} with an incompatible QoS; it offers '
                              f'{min(reasons, key=len)}. Remedy: change the QoS of that publisher.')
        elif sent_once and peer.qos_profile.durability == DurabilityPolicy.VOLATILE:
            notes.append(f'{peer.node_name} publishes {topic} with durability volatile: what it sent before it was '
                         'connected to this node is lost. Remedy: publish it transient local (ros2 bag play '
                         '--qos-profile-overrides-path, with config/replay_qos.yaml of this package), or play again '
                         'while the node is active.')
    return TopicStatus(topic, len(peers), tuple(mismatches), tuple(notes))


def output_topic(node: Node, publisher: Publisher) -> TopicStatus:
    """The subscribers of an output."""
    topic, kind = publisher.topic_name, type_name(publisher.msg_type)
    peers = node.get_subscriptions_info_by_topic(topic)
    mismatches = []
    for peer in peers:
        if peer.topic_type != kind:
            mismatches.append(f'{peer.node_name} subscribes to {peer.topic_type} on {topic}; published is {kind}. '
                              'Remedy: remap the output, or subscribe to that type.')
        elif reason := conflict(publisher.qos_profile, peer.qos_profile):
            mismatches.append(f'{peer.node_name} subscribes to {topic} with an incompatible QoS; offered is {reason}. '
                              'Remedy: request volatile durability, and reliable or best effort.')
    return TopicStatus(topic, len(peers), tuple(mismatches))


def published_topics(node: Node, types: Iterable[str], outputs: Iterable[OutputSpec]) -> dict[str, list[str]]:
    """{name: types} of the topics that an input of these types could be remapped to.

    Without the outputs of this node, and those of its like in other namespaces: what was made of a cloud is no sensor.
    """
    names = {spec.name for spec in outputs}
    found = {}
    for topic, kinds in node.get_topic_names_and_types():
        publishers = node.get_publishers_info_by_topic(topic) if set(kinds) & set(types) else []
        owners = {f"{p.node_namespace.rstrip('/')}/{p.node_name}/" for p in publishers}
        if publishers and not any(topic.startswith(owner) and topic.removeprefix(owner) in names for owner in owners):
            found[topic] = kinds
    return found


def namesakes(node: Node) -> int:
    """How many other nodes have the whole name of this one. ROS allows it, and says nothing."""
    return node.get_node_names_and_namespaces().count((node.get_name(), node.get_namespace())) - 1


def merged(topics: list[TopicStatus]) -> TopicStatus:
    """Several transports of one input as one, under the name of the first."""
    return TopicStatus(topics[0].name, sum(t.peers for t in topics), tuple(m for t in topics for m in t.mismatches),
                       tuple(n for t in topics for n in t.notes))


def subscribe(node: Node, kind: Any, topic: str, callback: Callable[..., None], qos: QoSProfile,
              on_lost: Callable[[int], None] | None = None) -> Subscription:
    """A subscription. on_lost(count) is called when messages were lost in transport, where the middleware can tell.

    rclpy does not log publishers with another QoS: each topic has subscriptions for several kinds of them, and those
    that none of them hears are in `input_topic`.
    """
    if on_lost is not None:
        def message_lost(event: Any) -> None:
            on_lost(event.total_count_change)

        events = SubscriptionEventCallbacks(message_lost=message_lost, use_default_callbacks=False)
        try:
            return node.create_subscription(kind, topic, callback, qos, event_callbacks=events)
        except UnsupportedEventTypeError:
            pass
    return node.create_subscription(kind, topic, callback, qos,
                                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))


def without_events() -> PublisherEventCallbacks:
    """For publishers: rclpy is not to watch them for subscribers that do not match, which are in `output_topic`.

    It watches each publisher for two kinds of events, and looks at all of them whenever a message comes: with the
    outputs of a node, as many as all else that it waits for four times over.
    """
    return PublisherEventCallbacks(use_default_callbacks=False)
