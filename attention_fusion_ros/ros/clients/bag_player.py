# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a recording on the ROS graph, in recorded order and pace, with the stamps it was recorded with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.ros.clients.session import flush
from attention_fusion_ros.ros.messages.sensors import clock
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.stream.inputs import SWEEPS, input_named
from attention_fusion_ros.stream.recording import RawMessage, Recording, is_static

QUEUE = 10  # messages a slow reliable subscriber may lag behind
STATIC_QUEUE = 100  # recordings merge several broadcasters of /tf_static, and a late subscriber wants all of them
SETTLE_S = 1.0  # without a change of subscriptions before the graph counts as connected: they follow what is offered
SETTLE_LIMIT_S = 5.0  # other programs whose subscriptions come and go do not hold it up for longer


def offered_qos(topic: str, latched: bool) -> QoSProfile:
    """QoS that matches every subscriber of the original publisher: reliable, and latched if the original was."""
    keep = latched or is_static(topic)
    depth = STATIC_QUEUE if is_static(topic) else QUEUE
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL if keep else DurabilityPolicy.VOLATILE)


def always() -> bool:
    """Play to the end."""
    return True


class BagPlayer:
    """Publishers for the chosen topics of a recording, and the loop that feeds them.

    rate: 2.0 plays twice as fast. clock_hz: how often /clock is published with the recorded time; 0 leaves it out.
    Raises InputError when a message type is not installed.
    """

    def __init__(self, node: Node, recording: Recording, topics: list[str], rate: float = 1.0, clock_hz: float = 0.0):
        self._node, self._recording, self._topics, self._rate = node, recording, topics, rate
        self._dynamic = [t for t in topics if not is_static(t)]
        self.message_count = recording.count(self._dynamic)  # of one round
        self._publishers: dict[str, Publisher] = {
            name: node.create_publisher(message_class(recording.topics[name].type), name,
                                        offered_qos(name, recording.is_latched(name)))
            for name in topics}
        self._clock = node.create_publisher(Clock, '/clock', 1) if clock_hz > 0 else None
        self._clock_period = 1.0 / clock_hz if clock_hz > 0 else 0.0

    def wait_for_subscribers(self, timeout_s: float, alive: Callable[[], bool] = always) -> bool:
        """Wait until each point cloud (or any topic, without one) has a subscriber, and then until all have settled.

        Returns whether there was a subscriber within `timeout_s` seconds. Settled: no subscription has come or gone for
        SETTLE_S, or SETTLE_LIMIT_S have passed.
        """
        types = input_named(SWEEPS).types
        clouds = [n for n in self._topics if self._recording.topics[n].type in types]
        start = last_change = time.monotonic()
        connected_s: float | None = None
        before: object = None
        while alive():
            # Counts first: a subscription that has been counted is among those that are looked up after it.
            counts = {name: publisher.get_subscription_count() for name, publisher in self._publishers.items()}
            now, time_s = (counts, self._subscriptions()), time.monotonic()
            if now != before:
                before, last_change = now, time_s
            if all(counts[n] for n in clouds) if clouds else any(counts.values()):
                connected_s = time_s if connected_s is None else connected_s
                if time_s - last_change > SETTLE_S or time_s - connected_s > SETTLE_LIMIT_S:
                    return True
            else:
                connected_s = None
                if time_s - start > timeout_s:
                    return False
            time.sleep(0.05)
        return False

    def _subscriptions(self) -> set[tuple[str, bytes]]:
        """(Topic, endpoint): one that is made anew, with other QoS, is another one, though the count is the same."""
        return {(name, bytes(endpoint.endpoint_gid)) for name, publisher in self._publishers.items()
                for endpoint in self._node.get_subscriptions_info_by_topic(name)}

    def publish_static_transforms(self) -> None:
        """Publish every static transform of the recording at once: they hold from its first message on."""
        for raw in self._recording.raw_messages([name for name in self._publishers if is_static(name)]):
            if raw.data:
                self._publishers[raw.topic].publish(raw.data)

    def play_once(self, alive: Callable[[], bool] = always,
                  on_message: Callable[[RawMessage], None] | None = None) -> int:
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
            if raw.data:  # else a message of ROS 1 that could not be converted
                self._publishers[raw.topic].publish(raw.data)
                sent += 1
            if on_message is not None:
                on_message(raw)
        return sent

    def flush(self) -> None:
        """Wait until reliable subscribers have the last messages, see `session.flush`."""
        flush(self._publishers.values())

    def _wait(self, start_wall: float, start_stamp: int, stamp: int, alive: Callable[[], bool]) -> None:
        """Sleep until the message is due, ticking the clock on the way."""
        due = start_wall + (stamp - start_stamp) / 1e9 / self._rate
        while alive() and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, self._clock_period or 0.1))
            if self._clock:
                self._tick(start_stamp + int((time.monotonic() - start_wall) * self._rate * 1e9))

    def _tick(self, stamp_ns: int) -> None:
        if self._clock:
            self._clock.publish(clock(stamp_ns))


def playable(recording: Recording, wanted: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """The topics to play, and a note on each one that cannot be sent, with the number of its messages.

    wanted: names, all when empty. Raises InputError for a wanted topic that is absent or cannot be sent.
    """
    wanted = [w if w.startswith('/') else f'/{w}' for w in wanted]
    for name in wanted:
        if name not in recording.topics:
            raise InputError('topic_missing', f"The recording has no topic '{name}'.",
                             f"Give --topics some of: {', '.join(recording.topics)}.")
        _check_sendable(recording, name)
    chosen: list[str] = []
    notes: list[str] = []
    for name, info in recording.topics.items():
        if wanted and name not in wanted:
            continue
        try:
            _check_sendable(recording, name)
            chosen.append(name)
        except InputError as error:
            notes.append(f'{name} is left out with its {info.count} message(s): {error}')
    return chosen, notes


def _check_sendable(recording: Recording, name: str) -> None:
    """Raises InputError for a topic whose type is not installed, or is another one in ROS 2 than in ROS 1."""
    message_class(recording.topics[name].type)
    if not recording.is_ros2_type(name):
        raise InputError('message_type_differs', f'{recording.topics[name].type} has other fields in ROS 2 than in the '
                         'ROS 1 bag.', 'leave the topic out with --topics.')
