# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the ROS graph says about topics of the node: who is at the other end, and why some do not find together."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from attention_fusion_ros.ros.node.diagnostics import Topic

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # before Iron
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

SECOND = 10**9  # ns
INFINITE = 10**6 * SECOND  # a deadline of eleven days is none; middlewares write "infinite" in different ways


def type_name(kind: type) -> str:
    """A message class -> `sensor_msgs/msg/PointCloud2`."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def reliable_and_latched(node: Node, topic: str, kind: str) -> tuple[bool, bool] | None:
    """Whether all publishers of a topic are reliable, and whether all latch as well; None when there is none."""
    offers = [p.qos_profile for p in node.get_publishers_info_by_topic(topic) if p.topic_type == kind]
    if not offers:
        return None
    reliable = all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    return reliable, reliable and all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)


def input_topic(node: Node, subscription: Subscription) -> Topic:
    """The publishers of an input."""
    topic, kind = subscription.topic_name, type_name(subscription.msg_type)
    peers = node.get_publishers_info_by_topic(topic)
    mismatches = []
    for peer in peers:
        if peer.topic_type != kind:
            mismatches.append(f'{peer.node_name} publishes {peer.topic_type} on {topic}, expected is {kind}. Remedy: '
                              'remap the input, or convert the messages.')
        elif reason := conflict(peer.qos_profile, subscription.qos_profile):
            mismatches.append(f'{peer.node_name} publishes on {topic} with a QoS that this node cannot hear: it offers '
                              f'{reason}. Remedy: change the QoS of that publisher.')
    return Topic(topic, len(peers), tuple(mismatches))


def output_topic(node: Node, publisher: Publisher) -> Topic:
    """The subscribers of an output."""
    topic = publisher.topic_name
    peers = node.get_subscriptions_info_by_topic(topic)
    return Topic(topic, len(peers), tuple(
        f'{peer.node_name} subscribes to {topic} with a QoS that cannot be served: it is offered {reason}. Remedy: let '
        'it ask for volatile, and reliable or best effort.'
        for peer in peers if (reason := conflict(publisher.qos_profile, peer.qos_profile))))


def conflict(offered: QoSProfile, requested: QoSProfile) -> str:
    """Why a publisher and a subscription do not find together ('best effort, asked is reliable'), '' when they do.

    By the rules of DDS 1.4, section 2.2.3: an offer has to be at least as strong as the request.
    """
    reasons = []
    if offered.reliability == ReliabilityPolicy.BEST_EFFORT and requested.reliability == ReliabilityPolicy.RELIABLE:
        reasons.append('best effort, asked is reliable')
    if offered.durability == DurabilityPolicy.VOLATILE and requested.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        reasons.append('volatile, asked is transient local')
    for name in ('deadline', 'liveliness_lease_duration'):
        offer, request = (_finite(getattr(qos, name).nanoseconds) for qos in (offered, requested))
        if request is not None and (offer is None or offer > request):
            reasons.append(f"no {name.replace('_', ' ')} of {request / SECOND:g} s")
    return ' and '.join(reasons)


def _finite(nanoseconds: int) -> int | None:
    return nanoseconds if 0 < nanoseconds < INFINITE else None


def subscribe(node: Node, kind: type, topic: str, callback: Callable, qos: QoSProfile,
              on_lost: Callable[[int], None] | None = None) -> Subscription:
    """A subscription with a callback group of its own.

    on_lost(count) is called when messages were lost on the way, where the middleware can tell.
    """
    options = {'callback_group': MutuallyExclusiveCallbackGroup()}
    if on_lost is not None:
        events = SubscriptionEventCallbacks(message_lost=lambda event: on_lost(event.total_count_change))
        try:
            return node.create_subscription(kind, topic, callback, qos, event_callbacks=events, **options)
        except UnsupportedEventTypeError:
            pass
    return node.create_subscription(kind, topic, callback, qos, **options)
