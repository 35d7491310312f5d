# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a recording on the ROS graph, in recorded order and pace, with the stamps it was recorded with."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import SWEEPS, input_named
from attention_fusion_ros.stream.recording import STATIC_TRANSFORMS_TOPIC, RawMessage, Recording

QUEUE = 10  # messages a slow reliable subscriber may lag behind
STATIC_QUEUE = 100  # recordings merge several broadcasters of /tf_static, and a late subscriber wants all of them
SETTLE = 0.5  # s without a new subscriber before the graph counts as connected


def message_class(type_name: str) -> type:
    """`sensor_msgs/msg/Image` -> the class. Raises InputError `message_type_missing` when its package is absent."""
    package, kind, name = type_name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.{kind}'), name)
    except (ImportError, AttributeError) as error:
        raise InputError('message_type_missing', f'{type_name} is not installed ({error}).',
                         f'Install the message package {package}, or leave the topic out with --topics.') from error


def offered_qos(topic: str, latched: bool) -> QoSProfile:
    """What every subscriber that could hear the original hears: reliable, and kept for late joiners if that was."""
    keep = latched or topic == STATIC_TRANSFORMS_TOPIC
    depth = STATIC_QUEUE if topic == STATIC_TRANSFORMS_TOPIC else QUEUE
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL if keep else DurabilityPolicy.VOLATILE)


class Player:
    """Publishers for the chosen topics of a recording, and the loop that feeds them.

    rate: 2.0 plays twice as fast. clock_hz: how often /clock is published with the recorded time; 0 leaves it out.
    Raises InputError when a message type is not installed.
    """

    def __init__(self, node: Node, recording: Recording, topics: list[str], rate: float = 1.0, clock_hz: float = 0.0):
        self._recording, self._topics, self._rate = recording, topics, rate
        self._dynamic = [t for t in topics if t != STATIC_TRANSFORMS_TOPIC]
        self.message_count = recording.count(self._dynamic)  # of one round
        self._publishers: dict[str, Publisher] = {
            name: node.create_publisher(message_class(recording.topics[name].type), name,
                                        offered_qos(name, recording.is_latched(name)))
            for name in topics}
        self._clock = node.create_publisher(Clock, '/clock', 1) if clock_hz > 0 else None
        self._clock_period = 1.0 / clock_hz if clock_hz > 0 else 0.0

    def subscribers(self) -> dict[str, int]:
        """Topic -> how many subscriptions it has."""
        return {name: p.get_subscription_count() for name, p in self._publishers.items()}

    def wait_for_subscribers(self, timeout: float, alive: Callable[[], bool] = lambda: True) -> bool:
        """Wait until somebody listens to each point cloud (to any topic when there is none) and nobody new appears.

        timeout: s. Returns whether that happened in time.
        """
        types = input_named(SWEEPS).types
        clouds = [n for n in self._topics if self._recording.topics[n].type in types]
        start = last_change = time.monotonic()
        seen: dict[str, int] = {}
        while time.monotonic() - start < timeout and alive():
            now = self.subscribers()
            if now != seen:
                seen, last_change = now, time.monotonic()
            heard = all(now[n] for n in clouds) if clouds else any(now.values())
            if heard and time.monotonic() - last_change > SETTLE:
                return True
            time.sleep(0.05)
        return False

    def publish_static_transforms(self) -> None:
        """Publish every static transform of the recording at once: they hold from its first message on."""
        if STATIC_TRANSFORMS_TOPIC in self._publishers:
            for raw in self._recording.raw_messages([STATIC_TRANSFORMS_TOPIC]):
                self._publishers[STATIC_TRANSFORMS_TOPIC].publish(raw.data)

    def play_once(self, alive: Callable[[], bool] = lambda: True,
                  on_message: Callable[[RawMessage], None] = lambda raw: None) -> int:
        """Publish the recording from start to end; returns how many messages went out. Stops early when not alive."""
        sent, start_wall, start_stamp = 0, time.monotonic(), None
        for raw in self._recording.raw_messages(self._dynamic):
            if start_stamp is None:
                start_stamp = raw.stamp_ns
                self._tick(start_stamp)
            self._wait(start_wall, start_stamp, raw.stamp_ns, alive)
            if not alive():
                break
            # The recorded bytes are what a publisher would send: no need to take them apart and put them together.
            self._publishers[raw.topic].publish(raw.data)
            sent += 1
            on_message(raw)
        return sent

    def flush(self, timeout: float = 2.0) -> None:
        """Give reliable subscribers up to `timeout` seconds to acknowledge the last messages."""
        for publisher in self._publishers.values():
            if publisher.get_subscription_count():
                publisher.wait_for_all_acked(Duration(seconds=timeout))

    def _wait(self, start_wall: float, start_stamp: int, stamp: int, alive: Callable[[], bool]) -> None:
        """Sleep until the message is due, ticking the clock on the way."""
        due = start_wall + (stamp - start_stamp) / 1e9 / self._rate
        while alive() and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, self._clock_period or 0.1))
            if self._clock:
                self._tick(start_stamp + int((time.monotonic() - start_wall) * self._rate * 1e9))

    def _tick(self, stamp_ns: int) -> None:
        if self._clock:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 10**9)
            self._clock.publish(message)


def playable(recording: Recording, wanted: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """The topics to play, and complaints about those of types that are not installed.

    wanted: names, all when empty; a wanted topic that is absent or whose type is not installed raises InputError.
    """
    wanted = [w if w.startswith('/') else f'/{w}' for w in wanted]
    for name in wanted:
        if name not in recording.topics:
            raise InputError('topic_missing', f"The recording has no topic '{name}'.",
                             f"Give --topics some of: {', '.join(recording.topics)}.")
        message_class(recording.topics[name].type)
    chosen, complaints = [], []
    for name, info in recording.topics.items():
        if wanted and name not in wanted:
            continue
        try:
            message_class(info.type)
            chosen.append(name)
        except InputError as error:
            complaints.append(f'{name} is left out: {error}')
    return chosen, complaints
