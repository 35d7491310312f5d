# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Time that jumps: recordings that start again, simulated clocks, and what is stamped in between."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from rosgraph_msgs.msg import Clock  # noqa: E402
from support.node_kit import (  # noqa: E402
    Graph,
    cloud,
    map_image,
    nanoseconds,
    odometry,
    transform,
    values,
    wait_until,
)


def at(graph, seconds):
    """Inputs and a sweep of one moment, in the order in which a recording has them."""
    graph.take(odometry(seconds, x=seconds))
    graph.take(map_image(seconds))
    graph.send(cloud(seconds))


def play(graph, start, count, step=0.2):
    """Moments one after the other, as fast as they are dealt with."""
    def done():
        return graph.results + sum(graph.drops.values())

    for i in range(count):
        before = done()
        at(graph, start + step * i)
        wait_until(lambda n=before: done() > n, 'the sweep is done')


@pytest.mark.parametrize('length', [1.0, 100.0])
def test_a_recording_that_starts_again_loses_one_sweep(length):
    """Short or long, against buffers that hold 20 s: results resume with the second sweep, fused and with odometry."""
    graph = Graph({'use_tf': True})
    try:
        graph.take(transform('base_link', 'lidar'))
        graph.publisher('input/map_image', type(map_image(0)))
        graph.publisher('input/odometry', type(odometry(0)))
        graph.sweep(0.0)  # everything is connected
        for round_number in range(3):
            play(graph, 0.0 if round_number else 0.2, 3)
            play(graph, length, 3)
            drops = graph.drops
            assert set(drops) <= {'stamp_backwards'}, drops
            assert drops['stamp_backwards'] == round_number
            assert graph.last.mode == 'fused'
            assert graph.last.map_age_s == pytest.approx(0.0, abs=1e-6)
        results = graph.results
        play(graph, 0.0, 2)
        assert graph.results == results + 1
        assert graph.last.mode == 'fused'
        newest_ns = graph.node.get_clock().now().nanoseconds - 1e9 * graph.node.snapshot().ages_s['odometry']
        assert newest_ns == pytest.approx(nanoseconds(0.2), abs=1e8)  # and not one of the round before
        status = graph.status('input cloud', lambda s: values(s).get('dropped.stamp_backwards') == '3', 'the jumps')
        assert 'stamp_backwards' in status.message
    finally:
        graph.close()


def test_simulated_time():
    """With use_sim_time the clock of the recording counts; when it is set back, the future is forgotten."""
    graph = Graph({'use_sim_time': True})
    try:
        clock = graph.probe.create_publisher(Clock, '/clock', 10)
        node_clock = graph.node.get_clock()

        def set_clock(seconds):
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(nanoseconds(seconds), 10**9)

            def reached():
                clock.publish(message)
                return abs(node_clock.now().nanoseconds - nanoseconds(seconds)) < 10**6
            wait_until(reached, 'the clock is followed')

        set_clock(50.0)
        graph.take(map_image(50.0))
        graph.sweep(50.0)
        assert graph.last.mode == 'fused'
        assert graph.last.stage_ms['data_age'] == pytest.approx(0.0, abs=50.0)
        graph.status('map image', lambda s: values(s)['newest_age_s'] == '0.000', 'ages by the simulated clock')

        set_clock(0.0)
        wait_until(lambda: graph.node.snapshot().ages_s['map_image'] is None, 'the map of the future is forgotten')
        graph.sweep(0.1)  # no sweep is lost: the clock told in time
        assert graph.last.reason == 'no_map'
        assert not graph.drops
    finally:
        graph.close()


def test_diagnostics_go_on_while_simulated_time_stands_still():
    graph = Graph({'use_sim_time': True})
    try:
        for _ in range(3):
            graph.diagnostics.clear()
            wait_until(lambda: graph.diagnostics, 'diagnostics')
    finally:
        graph.close()


def test_simulated_time_without_a_clock_is_named():
    """`ros2 bag play` without --clock: results come, but no age of anything is right."""
    graph = Graph({'use_sim_time': True})
    try:
        graph.sweep(0.0)
        status = graph.status('output', lambda s: s.level == s.WARN and '/clock' in s.message, 'there is no clock')
        assert 'use_sim_time' in status.message and '--clock' in status.message
        clock = graph.probe.create_publisher(Clock, '/clock', 1)
        wait_until(lambda: clock.get_subscription_count(), 'the node listens to the clock')

        def ticks(s):
            clock.publish(Clock(clock=cloud(0.1).header.stamp))
            return '/clock' not in s.message
        graph.status('output', ticks, 'there is one')
    finally:
        graph.close()
