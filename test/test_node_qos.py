"""Quality of service: what matches everybody does, and what cannot match is named with its remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from node_kit import LATCHED, Graph, cloud, wait_until  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize('reliability', list(ReliabilityPolicy)[1:3])
@pytest.mark.parametrize('durability', list(DurabilityPolicy)[1:3])
def test_every_publisher_of_sweeps_is_heard(reliability, durability):
    graph = Graph()
    try:
        qos = QoSProfile(depth=1, reliability=reliability, durability=durability)
        graph.publisher('input/pointcloud', PointCloud2, qos)
        graph.sweep(0.0)
    finally:
        graph.close()


def test_a_subscriber_that_cannot_be_served_is_named_until_it_is_gone():
    graph = Graph()
    try:
        subscription = graph.probe.create_subscription(
            PoseWithCovarianceStamped, '/attention_fusion/direction', lambda message: None, LATCHED)
        status = graph.status('output', lambda s: s.level == s.WARN and 'QoS' in s.message, 'the mismatch')
        assert 'probe' in status.message and '/attention_fusion/direction' in status.message
        assert 'Remedy' in status.message
        graph.probe.destroy_subscription(subscription)
        graph.status('output', lambda s: 'QoS' not in s.message, 'the mismatch is gone')
    finally:
        graph.close()


def test_a_publisher_that_cannot_be_heard_is_named_until_it_is_gone():
    """By default nothing is out of earshot; a user may ask for reliable sweeps, and have a best effort driver."""
    override = 'qos_overrides./attention_fusion/input/pointcloud.subscription.reliability:=reliable'
    graph = Graph(arguments=['-p', override])
    try:
        publisher = graph.probe.create_publisher(PointCloud2, '/attention_fusion/input/pointcloud', BEST_EFFORT)
        status = graph.status('input cloud', lambda s: s.level == s.ERROR and 'QoS' in s.message, 'the mismatch')
        assert 'probe' in status.message and '/attention_fusion/input/pointcloud' in status.message
        assert 'Remedy' in status.message
        graph.probe.destroy_publisher(publisher)
        graph.sweep(0.0)
        graph.status('input cloud', lambda s: s.level == s.OK, 'sweeps are heard')
    finally:
        graph.close()


def test_nobody_publishing_is_told_from_somebody_silent():
    graph = Graph()
    try:
        status = graph.status('input cloud', lambda s: s.level == s.ERROR, 'no cloud')
        assert 'nobody publishes' in status.message and 'remap input/pointcloud' in status.message
        publisher = graph.publisher('input/pointcloud', PointCloud2)
        status = graph.status('input cloud', lambda s: '1 publisher' in s.message, 'a silent publisher')
        assert status.level == status.ERROR and 'Remedy' in status.message
        publisher.publish(cloud(0.0))
        wait_until(lambda: graph.results, 'a result')
        graph.status('input cloud', lambda s: s.level == s.OK, 'sweeps are heard')
    finally:
        graph.close()
