# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A viewer sees the topics of the running node, and what no viewer shows is not subscribed to."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('foxglove', reason='foxglove-sdk is not installed')

from support.live_viewer import Viewer  # noqa: E402
from support.node_kit import Graph, nanoseconds, wait_until  # noqa: E402

from attention_fusion_ros.ros.clients.live_bridge import LiveBridge  # noqa: E402
from attention_fusion_ros.ros.live_server import LiveServer  # noqa: E402
from attention_fusion_ros.ros.outputs import OUTPUTS  # noqa: E402


def test_a_viewer_shows_the_node():
    graph = Graph({'branches.min_probability': 0.01})
    try:
        with LiveServer(port=0) as server:
            LiveBridge(graph.probe, server, {'/chosen/points': 'sensor_msgs/msg/PointCloud2'})
            with Viewer(server.port) as viewer:
                viewer.wait_for('/chosen/points', '/diagnostics', '/tf_static',
                                *(f'/attention_fusion/{spec.name}' for spec in OUTPUTS))
                viewer.subscribe('/attention_fusion/branches')
                wait_until(lambda: graph.node.publications.has_subscribers('branches'), 'a subscription for the viewer')
                graph.sweep(0.0)
                message = viewer.messages(lambda found: found)[0].message
                assert message.header.frame_id == 'base_link' and message.poses
                assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == nanoseconds(0.0)
                assert set(graph.node.publications.messages) == {'branches'}
            wait_until(lambda: not graph.node.publications.has_subscribers('branches'), 'the viewer is gone')
    finally:
        graph.close()
