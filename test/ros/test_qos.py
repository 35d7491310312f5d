# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what matches everybody does, and what cannot match is named with its remedy."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image, LaserScan, PointCloud2  # noqa: E402
from support.node_kit import LATCHED, Graph, cloud, map_image, odometry, street, wait_until  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.ros.node.qos import conflict  # noqa: E402

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def offered(node, topic):
    """The QoS of the node's subscription, as the graph tells it."""
    return [i.qos_profile for i in node.get_subscriptions_info_by_topic(topic) if i.node_name == 'attention_fusion'][0]


@pytest.mark.parametrize('reliability', [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
@pytest.mark.parametrize('durability', [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])
def test_every_publisher_is_heard(reliability, durability):
    graph = Graph()
    try:
        qos = QoSProfile(depth=1, reliability=reliability, durability=durability)
        for name, kind in (('input/pointcloud', PointCloud2), ('input/map_image', Image), ('input/odometry', Odometry)):
            graph.publisher(name, kind, qos)
            wait_until(lambda n=name: offered(graph.probe, f'/attention_fusion/{n}').reliability == reliability,
                       f'{name} follows its publisher')
        graph.take(map_image(0.0))
        graph.take(odometry(0.0))
        graph.sweep(0.0)
        assert graph.last.mode == 'fused'
    finally:
        graph.close()


def test_sweeps_of_megabytes_arrive_from_a_reliable_publisher():
    """Best effort loses most of them even on one machine, where they exceed the shared memory of the middleware."""
    graph = Graph()
    try:
        publisher = graph.publisher('input/pointcloud', PointCloud2)
        wait_until(lambda: offered(graph.probe, '/attention_fusion/input/pointcloud').reliability
                   == ReliabilityPolicy.RELIABLE, 'the subscription follows')
        points = street(150_000)
        for i in range(10):
            publisher.publish(cloud(0.1 * i, points=points))
            wait_until(lambda n=i: graph.count('input cloud') > n, f'sweep {i} arrives')
        assert graph.count('input cloud') == 10 and not graph.drops['lost_in_transport']
    finally:
        graph.close()


def test_a_subscriber_that_cannot_be_served_is_named_until_it_is_gone():
    graph = Graph()
    try:
        graph.subscribe('branches', PoseArray)  # one that can
        subscription = graph.probe.create_subscription(
            PoseWithCovarianceStamped, '/attention_fusion/direction', lambda message: None, LATCHED)
        status = graph.status('output', lambda s: s.level == s.WARN and 'QoS' in s.message, 'the mismatch')
        assert 'probe' in status.message and '/attention_fusion/direction' in status.message
        assert 'transient local' in status.message and 'Remedy' in status.message
        assert '/attention_fusion/branches' not in status.message
        graph.probe.destroy_subscription(subscription)
        graph.status('output', lambda s: 'QoS' not in s.message, 'the mismatch is gone')
    finally:
        graph.close()


def test_publishers_that_cannot_be_heard_are_named_until_they_are_gone():
    """Moving transforms are reliable by convention; and a message of another type is never heard."""
    graph = Graph({'use_tf': True})
    try:
        wrong_qos = graph.probe.create_publisher(TFMessage, '/tf', BEST_EFFORT)
        wrong_type = graph.probe.create_publisher(LaserScan, '/attention_fusion/input/pointcloud', 10)
        status = graph.status('transform', lambda s: s.level == s.WARN and 'QoS' in s.message, 'the QoS')
        assert 'probe' in status.message and '/tf' in status.message and 'Remedy' in status.message
        status = graph.status('input cloud', lambda s: s.level == s.ERROR and 'LaserScan' in s.message, 'the type')
        assert 'sensor_msgs/msg/PointCloud2' in status.message and 'Remedy' in status.message
        graph.probe.destroy_publisher(wrong_qos)
        graph.probe.destroy_publisher(wrong_type)
        graph.status('transform', lambda s: 'QoS' not in s.message, 'the QoS is right')
        graph.status('input cloud', lambda s: 'LaserScan' not in s.message, 'the type is right')
    finally:
        graph.close()


@pytest.mark.parametrize('offer, request_, words', [
    ({'reliability': 2}, {'reliability': 1}, 'best effort'),
    ({'durability': 2}, {'durability': 1}, 'volatile'),
    ({}, {'deadline': Duration(seconds=1)}, 'deadline of 1 s'),
    ({'deadline': Duration(seconds=2)}, {'deadline': Duration(seconds=1)}, 'deadline of 1 s'),
    ({'deadline': Duration(seconds=1)}, {'deadline': Duration(seconds=2)}, ''),
    ({}, {'deadline': Duration(nanoseconds=2**63 - 1)}, ''),
    ({'reliability': 1, 'durability': 1}, {'reliability': 2, 'durability': 2}, ''),
])
def test_rules_of_offer_and_request(offer, request_, words):
    def profile(values):
        kinds = {'reliability': ReliabilityPolicy, 'durability': DurabilityPolicy}
        return QoSProfile(depth=1, **{k: kinds[k](v) if k in kinds else v for k, v in values.items()})
    reason = conflict(profile({'reliability': 1, **offer}), profile({'reliability': 2, **request_}))
    assert words in reason and bool(words) == bool(reason)


def test_nobody_publishing_is_told_from_somebody_silent():
    graph = Graph()
    try:
        status = graph.status('input cloud', lambda s: s.level == s.ERROR, 'no cloud')
        assert 'has no publisher' in status.message and 'remap input/pointcloud' in status.message
        publisher = graph.publisher('input/pointcloud', PointCloud2)
        status = graph.status('input cloud', lambda s: '1 publisher' in s.message, 'a silent publisher')
        assert status.level == status.ERROR and 'Remedy' in status.message
        publisher.publish(cloud(0.0))
        wait_until(lambda: graph.results, 'a result')
        graph.status('input cloud', lambda s: s.level == s.OK, 'sweeps are heard')
    finally:
        graph.close()
