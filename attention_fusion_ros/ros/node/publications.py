# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The publishers of a configured node, one for each entry of `OUTPUTS`. No message is made without a subscriber."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from attention_fusion_ros.ros.messages import encode
from attention_fusion_ros.ros.messages.encode_map_frame import map_transform
from attention_fusion_ros.ros.messages.encoders import ENCODERS, STAGE_OUTPUTS, TAKEN_BACK_BY, head_of
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.sensors import header
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.ros.node.graph import without_events
from attention_fusion_ros.ros.outputs import LATCHED_DEPTH, OUTPUTS, RELIABLE_DEPTH, OutputSpec

RELIABLE = QoSProfile(depth=RELIABLE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
TRANSFORMS, OF_TRANSFORMS = '/tf', QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)  # as tf2_ros
LATCHED = QoSProfile(depth=LATCHED_DEPTH, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


def qos_of(spec: OutputSpec) -> QoSProfile:
    """The quality of service that an output offers."""
    return LATCHED if spec.latched else RELIABLE


class Publications:
    """The publishers. frame: the vehicle's, in which results are given. map_frame: child of the transform that says
    where the map image belongs, '' when it is not published.

    on_error(topic, exception) is called when a message cannot be made or sent; the other topics are still published.
    """

    def __init__(self, node: LifecycleNode, frame: str, on_error: Callable[[str, Exception], None],
                 map_frame: str = ''):
        self._node, self._frame, self._on_error, self._map_frame = node, frame, on_error, map_frame
        self._messages: Counter[str] = Counter()
        self._shown_at_s: dict[str, float] = {}  # by name: when the last message that can be taken back was sent
        self._publishers: dict[str, Any] = {}
        for spec in OUTPUTS:
            self._publishers[spec.name] = node.create_lifecycle_publisher(
                message_class(spec.type), spec.topic, qos_of(spec), event_callbacks=without_events())
        if map_frame:
            self._publishers[TRANSFORMS] = node.create_lifecycle_publisher(message_class('tf2_msgs/TFMessage'),
                                                                           TRANSFORMS, OF_TRANSFORMS,
                                                                           event_callbacks=without_events())

    @property
    def messages(self) -> Mapping[str, int]:
        """Messages made so far, by name of the output."""
        return Counter(self._messages)

    def all(self) -> list[Any]:
        """Every publisher."""
        return list(self._publishers.values())

    def has_subscribers(self, name: str) -> bool:
        """Whether anybody subscribes to the output of this name in OUTPUTS."""
        return bool(self._publishers[name].get_subscription_count())

    def publish(self, sweep: PublishedSweep) -> None:
        """Make and send a message on every topic that has a subscriber."""
        for spec, encoder in ENCODERS.items():
            if self.has_subscribers(spec.name):
                self._send(spec.name, encoder, sweep, head_of(spec, sweep, self._frame))
        if self._map_frame and self.has_subscribers(TRANSFORMS):
            self._send(TRANSFORMS, map_transform, sweep, self._map_frame)

    def publish_times(self, stage_ms: Mapping[str, float]) -> None:
        """Publish durations in milliseconds, by stage."""
        for stage, name in STAGE_OUTPUTS.items():
            if stage in stage_ms and self.has_subscribers(name):
                self._send(name, encode.milliseconds, stage_ms[stage])

    def take_back(self, older_than_s: float = 0.0) -> None:
        """End what is still shown of results of at least this age, on the topics where that is possible."""
        for name, shown_at_s in list(self._shown_at_s.items()):
            if time.monotonic() - shown_at_s >= older_than_s:
                self._send(name, TAKEN_BACK_BY[name], header(self._node.get_clock().now().nanoseconds, self._frame))
                self._shown_at_s.pop(name, None)

    def close(self) -> None:
        """Take the topics off the graph. May be repeated."""
        for publisher in self.all():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def _send(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        publisher = self._publishers[name]
        try:
            message = make(*arguments)
            if message is not None:
                self._messages[name] += 1
                publisher.publish(message)
                if name in TAKEN_BACK_BY:
                    self._shown_at_s[name] = time.monotonic()
        except Exception as error:  # one output must not cost the others, nor the sweep
            self._on_error(publisher.topic_name, error)
