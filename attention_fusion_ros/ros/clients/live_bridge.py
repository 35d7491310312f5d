# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shows topics of the ROS graph in a viewer: a subscription as long as a viewer shows the topic, and none otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from attention_fusion_ros.ros.live_outputs import TRANSFORMS, definition_of
from attention_fusion_ros.ros.live_server import LiveServer
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.ros.outputs import DIAGNOSTICS, OUTPUTS
from attention_fusion_ros.ros.result_sink import topic_of
from attention_fusion_ros.stream.recording import is_static

POLL_S = 0.2
DEPTH = 5
GRAPH_TOPICS = {'/tf': TRANSFORMS, '/tf_static': TRANSFORMS}


class LiveBridge:
    """Passes the outputs of the node, /diagnostics, transforms and further topics on to a server, as they are.

    node: one that is spun. topics: {name: type} of further topics, for example the inputs of the fusion node.
    """

    def __init__(self, node: Node, server: LiveServer, topics: Mapping[str, str] | None = None):
        self._node, self._server = node, server
        self._subscriptions: dict[str, Any] = {}
        latched = {topic_of(spec) for spec in OUTPUTS if spec.latched}
        self._types = {**{topic_of(spec): spec.type.replace('/', '/msg/') for spec in (*OUTPUTS, DIAGNOSTICS)},
                       **GRAPH_TOPICS, **(topics or {})}
        self._latched = {name for name in self._types if name in latched or is_static(name)}
        for name, type_name in self._types.items():
            # Without the server's memory: a subscription that is made for a viewer gets what the publisher has kept.
            server.add_topic(name, type_name, definition_of(type_name))
        self._timer = node.create_timer(POLL_S, self._follow_viewers)

    def _follow_viewers(self) -> None:
        for name, type_name in self._types.items():
            wanted = self._server.is_wanted(name)
            if wanted and name not in self._subscriptions:
                durability = DurabilityPolicy.TRANSIENT_LOCAL if name in self._latched else DurabilityPolicy.VOLATILE
                profile = QoSProfile(depth=100 if is_static(name) else DEPTH, durability=durability,
                                     reliability=ReliabilityPolicy.RELIABLE if name in self._latched
                                     else ReliabilityPolicy.BEST_EFFORT)
                self._subscriptions[name] = self._node.create_subscription(
                    message_class(type_name), name, partial(self._pass_on, name), profile, raw=True)
            elif not wanted and name in self._subscriptions:
                self._node.destroy_subscription(self._subscriptions.pop(name))

    def _pass_on(self, name: str, data: bytes) -> None:
        self._server.send(name, self._node.get_clock().now().nanoseconds, bytes(data))
