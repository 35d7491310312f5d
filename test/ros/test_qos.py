# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what matches everybody does, and what cannot match is named with its remedy."""

from __future__ import annotations

import time

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.subscription import Subscription  # noqa: E402
from sensor_msgs.msg import Image, LaserScan, PointCloud2  # noqa: E402
from support.node_kit import (  # noqa: E402
    LATCHED,
    RELIABLE,
    Graph,
    NodeLog,
    cloud,
    map_image,
    odometry,
    street,
    transform,
    wait_until,
)
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.ros.node.qos import conflict  # noqa: E402

# Whether rclpy tells two copies of a message from two messages; since Iron. Taking one in twice does no harm.
TOLD_APART = hasattr(Subscription, 'CallbackType')
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


def test_a_subscriber_of_another_type_is_named_in_diagnostics_and_log(capfd):
    graph, log = Graph(), NodeLog(capfd)
    try:
        graph.probe.create_subscription(PoseArray, '/attention_fusion/direction', lambda message: None, RELIABLE)
        status = graph.status('output', lambda s: s.level == s.WARN and 'PoseArray' in s.message, 'the mismatch')
        assert 'PoseArray on /attention_fusion/direction' in status.message
        assert 'PoseWithCovarianceStamped. Remedy' in status.message
        wait_until(lambda: log.entries('WARN', 'PoseArray', '/attention_fusion/direction'), 'the log says so')
    finally:
        graph.close()


def test_publishers_are_not_waited_for():
    """rclpy would ask each of them for events whenever a message comes."""
    graph = Graph()
    try:
        publishers = graph.node.publications.all()
        assert publishers and not any(publisher.event_handlers for publisher in publishers)
    finally:
        graph.close()


@pytest.mark.parametrize('name', ['/tf_static', '/tf'])
@pytest.mark.parametrize('reliability', [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
@pytest.mark.parametrize('durability', [DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL])
def test_transforms_of_every_publisher_are_heard(name, reliability, durability):
    """rosbag2 plays a recording without QoS profiles volatile, /tf_static as well."""
    graph = Graph({'use_tf': True})
    try:
        qos = QoSProfile(depth=10, reliability=reliability, durability=durability)
        publisher = graph.publisher(name, TFMessage, qos)
        end = time.monotonic() + 60.0
        while not graph.count('transform'):
            assert time.monotonic() < end
            publisher.publish(transform('base_link', 'lidar', x=1.0))
            time.sleep(0.5)  # a best-effort one is heard a moment after it is found
        graph.sweep(0.0)
        status = graph.status('transform', lambda s: s.level == s.OK, 'it is known')
        assert 'QoS' not in status.message
    finally:
        graph.close()


def test_a_static_transform_that_is_sent_once_right_after_its_publisher_was_found_is_heard_once():
    """No subscription is made anew for its sake, in which time it would be lost; and there are two that hear it."""
    graph = Graph({'use_tf': True})
    try:
        volatile = graph.probe.create_publisher(TFMessage, '/tf_static', RELIABLE)
        latched = graph.probe.create_publisher(TFMessage, '/tf_static', LATCHED)
        wait_until(lambda: volatile.get_subscription_count() == 1, 'it is heard by one')
        wait_until(lambda: latched.get_subscription_count() == 2, 'it is heard by both')
        volatile.publish(transform('base_link', 'mast', x=1.0))
        latched.publish(transform('mast', 'lidar', x=1.0))
        wait_until(lambda: graph.count('transform') >= 2, 'both have come')
        graph.sweep(0.0)
        assert graph.count('transform') == 2 + (not TOLD_APART)
    finally:
        graph.close()


def test_static_transforms_that_may_have_been_missed_are_named():
    """What a volatile publisher has sent before is gone: 'publish it' would not help whoever does publish it."""
    graph = Graph({'use_tf': True})
    try:
        publisher = graph.probe.create_publisher(TFMessage, '/tf_static', RELIABLE)
        wait_until(lambda: graph.node.count_publishers('/tf_static'), 'it is found')
        send = graph.publisher('input/pointcloud', PointCloud2)
        send.publish(cloud(0.0))
        status = graph.status('transform', lambda s: 'transform_missing' in s.message, 'it is missing')
        assert 'probe publishes /tf_static with durability volatile' in status.message
        assert 'replay_qos.yaml' in status.message
        publisher.publish(transform('base_link', 'lidar'))
        wait_until(lambda: graph.count('transform'), 'it has come')
        graph.sweep(1.0)
        graph.status('transform', lambda s: s.level == s.OK, 'nothing is missing')
    finally:
        graph.close()


def test_a_latched_map_image_is_heard_beside_a_volatile_one():
    """A map server that has sent its image long ago, and a player that sends others."""
    graph = Graph({'map.max_age': 1000.0}, active=False)
    try:
        topic = '/attention_fusion/input/map_image'
        latched = graph.probe.create_publisher(Image, topic, LATCHED)
        graph.probe.create_publisher(Image, topic, BEST_EFFORT)
        latched.publish(map_image(0.0))
        wait_until(lambda: graph.node.count_publishers(topic) == 2, 'both are found')
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        wait_until(lambda: graph.count('map image'), 'the latched one has come')
        latched.publish(map_image(0.1))
        wait_until(lambda: graph.count('map image') >= 2, 'the next one has come')
        graph.sweep(0.2)
        assert graph.last.mode == 'fused' and graph.count('map image') in ((2,) if TOLD_APART else (2, 3, 4))
    finally:
        graph.close()


def test_a_map_image_that_is_sent_once_is_not_lost_to_a_change_of_subscriptions():
    """Reliable and volatile, as rosbag2 plays it: what is listened to from the start."""
    graph = Graph()
    try:
        topic = '/attention_fusion/input/map_image'
        before = graph.probe.get_subscriptions_info_by_topic(topic)
        publisher = graph.publisher('input/map_image', Image)
        publisher.publish(map_image(0.0))
        wait_until(lambda: graph.count('map image') == 1, 'it has come')
        after = graph.probe.get_subscriptions_info_by_topic(topic)
        assert [bytes(e.endpoint_gid) for e in before] == [bytes(e.endpoint_gid) for e in after]
    finally:
        graph.close()


@pytest.mark.parametrize('component, name', [
    ('input cloud', 'input/pointcloud'), ('map image', 'input/map_image'), ('odometry', 'input/odometry'),
    ('transform', '/tf_static')])
def test_publishers_of_another_type_are_named_until_they_are_gone(component, name, capfd):
    graph = Graph({'use_tf': True})
    try:
        topic = name if name.startswith('/') else f'/attention_fusion/{name}'
        wrong = graph.probe.create_publisher(LaserScan, topic, 10)
        status = graph.status(component, lambda s: 'LaserScan' in s.message, 'the type')
        assert status.level == (status.ERROR if component == 'input cloud' else status.WARN)
        assert topic in status.message and 'expected: ' in status.message and 'Remedy' in status.message
        log = NodeLog(capfd)
        wait_until(lambda: log.entries('LaserScan', topic, 'Remedy'), 'the log says so')
        graph.probe.destroy_publisher(wrong)
        graph.status(component, lambda s: 'LaserScan' not in s.message, 'it is gone')
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
