# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: which offers and requests match, and subscriptions that adapt to their publishers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

SECOND_NS = 10**9
REMEMBERED = 200  # messages; the two copies of one come shortly after each other
INFINITE_NS = 10**6 * SECOND_NS  # a deadline of eleven days is none; middlewares write "infinite" in different ways


def profile(depth: int, reliable: bool, latched: bool) -> QoSProfile:
    """A profile. latched: transient local, so that a late subscriber gets what was sent before."""
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


@dataclass(frozen=True)
class Request:
    """What one subscription asks for."""

    reliable: bool
    latched: bool

    def profile(self, depth: int) -> QoSProfile:
        """The profile to subscribe with."""
        return profile(depth, self.reliable, self.latched)


@dataclass
class AdaptiveQos:
    """The subscriptions that together hear every publisher of a topic.

    A publisher is heard by whoever asks for no more than it offers, so best effort and volatile hears all; but best
    effort loses sweeps of megabytes even on one machine, and only who asks for transient local gets what was sent
    before. A stream therefore starts with best effort and becomes reliable where every publisher is. What may come once
    only must not get lost while a subscription is made anew: an input that may latch is reliable from the start, and
    asks for transient local as well while a publisher latches. With `everyone` there is a subscription for each kind of
    publisher, and none is ever given up for another: messages come twice, see `Once`.
    """

    may_latch: bool = False
    everyone: bool = False
    requests: frozenset[Request] = frozenset()

    def __post_init__(self) -> None:
        self.requests = self._wanted([])

    def update(self, node: Node, topic: str, type_name: str) -> None:
        """Adapt `requests` to the publishers of a topic."""
        offers = [p.qos_profile for p in node.get_publishers_info_by_topic(topic) if p.topic_type == type_name]
        if offers or self.everyone:
            self.requests = self._wanted(offers)

    def _wanted(self, offers: list[QoSProfile]) -> frozenset[Request]:
        reliable = [o.reliability == ReliabilityPolicy.RELIABLE for o in offers]
        latched = [o.durability == DurabilityPolicy.TRANSIENT_LOCAL and r for o, r in zip(offers, reliable)]
        if self.everyone:
            return frozenset([Request(True, False), *([Request(True, True)] if self.may_latch else []),
                              *([] if all(reliable) else [Request(False, False)])])
        if not offers:
            return frozenset([Request(self.may_latch, False)])
        wanted = {Request(True, True)} if self.may_latch and any(latched) else set()
        if not (self.may_latch and all(latched)):
            wanted.add(Request(all(reliable), False))
        return frozenset(wanted)


class Once:
    """Tells which messages of several subscriptions to one topic have been heard already. Not thread-safe."""

    def __init__(self) -> None:
        self._heard: deque[tuple[Any, Any]] = deque(maxlen=REMEMBERED)

    def is_new(self, info: Mapping[str, Any]) -> bool:
        """Whether the message with this information (of rclpy) comes for the first time.

        By the time at which its publisher sent it, and its number. Where nobody tells (Humble), it is new: to take a
        message in twice does no harm.
        """
        key = info.get('source_timestamp'), info.get('publication_sequence_number')
        if not key[0]:
            return True
        if key in self._heard:
            return False
        self._heard.append(key)
        return True


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
