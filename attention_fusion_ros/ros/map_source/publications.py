# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The publishers of `map_source`, one for each entry of `MAP_OUTPUTS`, and tf map -> odom by choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy

from attention_fusion_ros.ros.map_source.outputs import MAP_OUTPUTS
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.ros.node.publications import qos_of

TF_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class MapPublications:
    """The publishers. on_error(topic, exception) is called when a message cannot be made or sent."""

    def __init__(self, node: LifecycleNode, publish_tf: bool, on_error: Callable[[str, Exception], None]):
        self._node, self._on_error = node, on_error
        self._messages: Counter[str] = Counter()
        self._publishers: dict[str, Any] = {
            spec.name: node.create_lifecycle_publisher(message_class(spec.type), spec.topic, qos_of(spec))
            for spec in MAP_OUTPUTS}
        if publish_tf:
            self._publishers['/tf'] = node.create_lifecycle_publisher(message_class('tf2_msgs/TFMessage'), '/tf',
                                                                      TF_QOS)

    @property
    def messages(self) -> Mapping[str, int]:
        """Messages sent so far, by name of the output."""
        return Counter(self._messages)

    def all(self) -> list[Any]:
        """Every publisher."""
        return list(self._publishers.values())

    def has_subscribers(self, name: str) -> bool:
        """Whether anybody subscribes to the output of this name."""
        return bool(self._publishers[name].get_subscription_count())

    def send(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        """Make and send a message; a failure costs this message only."""
        publisher = self._publishers[name]
        try:
            publisher.publish(make(*arguments))
            self._messages[name] += 1
        except Exception as error:
            self._on_error(publisher.topic_name, error)

    def close(self) -> None:
        """Take the topics off the graph. May be repeated."""
        for publisher in self.all():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
