# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong inside the node, or around it, is named, costs as little as possible, and floods nothing."""

from __future__ import annotations

import time

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

import rclpy  # noqa: E402
from geometry_msgs.msg import PoseArray  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from sensor_msgs.msg import LaserScan, PointCloud2  # noqa: E402
from support.node_kit import RELIABLE, Graph, NodeLog, cloud, values, wait_until  # noqa: E402

from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.node import managed  # noqa: E402
from attention_fusion_ros.ros.node.graph import namesakes, published_topics  # noqa: E402
from attention_fusion_ros.ros.outputs import OUTPUTS  # noqa: E402
from attention_fusion_ros.stream.sweeps import SweepStream  # noqa: E402


class Odd(FusionPipeline):
    """Real results, but for a distribution that no message can hold, and a run that fails when it is told to."""

    fails: list = []

    def run(self, sweep):
        if Odd.fails:
            raise Odd.fails.pop()
        result = super().run(sweep)
        object.__setattr__(result, 'distribution', 'not numbers')
        return result


@pytest.fixture
def log(capfd):
    return NodeLog(capfd)


@pytest.fixture
def graph():
    Odd.fails.clear()
    graph = Graph({'branches.min_probability': 0.01}, create_pipeline=Odd)
    yield graph
    graph.close()


def test_an_output_that_cannot_be_made_costs_neither_the_sweep_nor_the_other_outputs(graph, log):
    graph.subscribe('distribution', LaserScan)
    graph.subscribe('branches', PoseArray)
    graph.sweep(0.0)  # counts as a result
    wait_until(lambda: graph.received['branches'], 'the branches')
    assert not graph.drops and not graph.received['distribution']
    assert graph.dropped('output', 'publish_failed') >= 1
    status = graph.status('output', lambda s: s.level == s.WARN, 'the failure')
    assert '/attention_fusion/distribution' in status.message and 'Remedy' in status.message
    assert values(status)['dropped.publish_failed'] != '0'
    wait_until(lambda: log.entries('Traceback', '/attention_fusion/distribution'), 'the traceback')


def test_an_error_after_the_result_is_logged_and_the_sweep_is_not_dropped(graph, log, monkeypatch):
    def fails(*_):
        raise RuntimeError('of no consequence for the result')
    monkeypatch.setattr(SweepStream, 'needs_dynamic_transforms', fails)
    graph.subscribe('branches', PoseArray)
    graph.sweep(0.0)  # counts as a result
    wait_until(lambda: log.entries('Traceback', 'of no consequence'), 'the traceback')
    wait_until(lambda: graph.received['branches'], 'the branches')
    assert not graph.drops


def test_tracebacks_are_those_of_the_error_that_they_are_logged_for(graph, log):
    for words in ('the first one', 'the second one'):
        before = graph.drops['internal_error']
        Odd.fails.append(KeyError(words))
        graph.send(cloud(len(words) / 10))
        wait_until(lambda n=before: graph.drops['internal_error'] > n, 'the drop')
        wait_until(lambda w=words: log.entries('Traceback', w), 'the traceback')
    assert not [e for e in log.entries('Traceback') if 'the first one' in e and 'the second one' in e]


def test_an_error_that_keeps_coming_neither_stops_the_node_nor_keeps_it_busy():
    graph = Graph(active=False)
    try:
        def broken():
            raise ValueError('always')

        timer = graph.node.create_timer(0.001, broken)
        wait_until(lambda: len(graph.errors) >= 8, 'errors')
        count, start = len(graph.errors), time.monotonic()
        assert graph.call(GetState, 'get_state', GetState.Request()).current_state.label == 'unconfigured'
        wait_until(lambda: time.monotonic() - start > 3.0, 'some seconds')
        # Without pauses there would be hundreds a second.
        assert len(graph.errors) - count <= 12 * (time.monotonic() - start)
        graph.node.destroy_timer(timer)
        graph.errors.clear()
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        graph.sweep(0.0)
        graph.errors.clear()
    finally:
        graph.close()


def test_a_cloud_topic_without_publisher_is_logged_with_what_is_published_instead(log):
    graph = Graph({'diagnostics.log_throttle': 3600.0}, active=False)
    try:
        graph.probe.create_publisher(PointCloud2, '/velodyne_points', RELIABLE)
        wait_until(lambda: graph.node.count_publishers('/velodyne_points'), 'the node knows the driver')
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        line = wait_until(lambda: log.entries('no publisher'), 'the warning')[0]
        assert '/attention_fusion/input/pointcloud' in line and 'Remedy' in line
        assert 'pointcloud:=/velodyne_points' in line and '-r ~/input/pointcloud:=/velodyne_points' in line
        time.sleep(1.0)
        assert len(log.entries('no publisher')) == 1  # as the log throttle says
        graph.sweep(0.0)
    finally:
        graph.close()


def test_what_a_node_of_this_kind_makes_in_another_namespace_is_no_remedy():
    graph = Graph(active=False)
    other = rclpy.create_node('attention_fusion', namespace='second', context=graph.probe.context)
    try:
        for topic in ('~/attention_points', '~/branches/scored', '/second/front/points'):
            other.create_publisher(PointCloud2, topic, RELIABLE)
        wanted = {'/second/attention_fusion/attention_points', '/second/front/points'}
        wait_until(lambda: all(map(graph.node.get_publishers_info_by_topic, wanted)), 'the node knows the other one')
        found = published_topics(graph.node, ['sensor_msgs/msg/PointCloud2'], OUTPUTS)
        assert list(found) == ['/second/front/points']
    finally:
        other.destroy_node()
        graph.close()


def test_another_node_of_the_same_name_is_told(log, monkeypatch):
    """ROS says nothing; it may be one that an earlier launch has left behind."""
    monkeypatch.setattr(managed, 'NAMESAKE_S', 0.5)
    graph = Graph(active=False)
    try:
        other = rclpy.create_node('attention_fusion', context=graph.probe.context)
        line = wait_until(lambda: log.entries('another node'), 'the warning')[0]
        assert 'another node is called /attention_fusion' in line and 'Remedy' in line
        other.destroy_node()
        wait_until(lambda: not namesakes(graph.node), 'the node is alone')
        rclpy.create_node('attention_fusion', namespace='second', context=graph.probe.context)
        time.sleep(0.5)
        assert not namesakes(graph.node)
    finally:
        graph.close()


def test_a_cloud_topic_with_a_publisher_is_not_logged(log):
    graph = Graph()
    try:
        graph.publisher('input/pointcloud', PointCloud2)
        before = len(log.entries('no publisher'))
        time.sleep(6.0)
        assert len(log.entries('no publisher')) == before
    finally:
        graph.close()
