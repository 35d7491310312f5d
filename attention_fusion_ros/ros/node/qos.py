# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: which offers and requests match, and subscriptions that adapt to their publishers."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

SECOND_NS = 10**9
INFINITE_NS = 10**6 * SECOND_NS  # a deadline of eleven days is none; middlewares write "infinite" in different ways


def profile(depth: int, reliable: bool, latched: bool) -> QoSProfile:
    """A profile. latched: transient local, so that a late subscriber gets what was sent before."""
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


@dataclass
class AdaptiveQos:
    """The quality of service of a subscription that adapts to its publishers.

    Best effort and volatile matches every publisher, and is the start. Where every publisher is reliable it becomes
    reliable: sweeps of megabytes get lost otherwise, even on one machine. Where every publisher latches (and
    may_latch), it asks for what was sent before.
    """

    depth: int
    may_latch: bool = False
    reliable: bool = False
    latched: bool = False

    def profile(self) -> QoSProfile:
        """The profile to subscribe with."""
        return profile(self.depth, self.reliable, self.latched)

    def update(self, node: Node, topic: str, type_name: str) -> bool:
        """Adapt to the publishers of a topic; returns whether the profile changed."""
        offers = [p.qos_profile for p in node.get_publishers_info_by_topic(topic) if p.topic_type == type_name]
        if not offers:
            return False
        reliable = all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
        latched = self.may_latch and reliable and all(
            o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
        changed = (reliable, latched) != (self.reliable, self.latched)
        self.reliable, self.latched = reliable, latched
        return changed


def conflict(offered: QoSProfile, requested: QoSProfile) -> str:
    """Why a publisher and a subscription do not match ('best effort, requested: reliable'), '' when they do.

    By the rules of DDS 1.4, section 2.2.3: an offer has to be at least as strong as the request.
    """
    reasons = []
    if offered.reliability == ReliabilityPolicy.BEST_EFFORT and requested.reliability == ReliabilityPolicy.RELIABLE:
        reasons.append('best effort (requested: reliable)')
    if offered.durability == DurabilityPolicy.VOLATILE and requested.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        reasons.append('volatile (requested: transient local)')
    for name in ('deadline', 'liveliness_lease_duration'):
        offer, request = (_finite(getattr(qos, name).nanoseconds) for qos in (offered, requested))
        if request is not None and (offer is None or offer > request):
            reasons.append(f"no {name.replace('_', ' ')} of {request / SECOND_NS:g} s")
    return ' and '.join(reasons)


def _finite(nanoseconds: int) -> int | None:
    return nanoseconds if 0 < nanoseconds < INFINITE_NS else None
