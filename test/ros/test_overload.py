# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A network that is slower than the sensor: only the newest sweep is processed, and nothing else has to wait."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import LaserScan  # noqa: E402
from support.node_kit import Graph, cloud, map_image, nanoseconds, odometry, street, values, wait_until  # noqa: E402

from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.node.configured import STARTING_BACKLOG, STARTING_SWEEPS  # noqa: E402


class Held(FusionPipeline):
    """The real pipeline, held up until `release` is set: a sweep that takes as long as the test wants."""

    release = threading.Event()
    entered = threading.Event()
    stamps: list = []

    def run(self, sweep):
        Held.stamps.append(sweep.cloud.stamp_ns)
        Held.entered.set()
        assert Held.release.wait(60.0)
        return super().run(sweep)


@pytest.fixture
def graph():
    Held.stamps.clear()
    Held.entered.clear()
    Held.release.clear()
    graph = Graph(create_pipeline=Held)
    yield graph
    Held.release.set()
    graph.close()


def start(graph):
    """The sweeps among which some wait beside the newest."""
    Held.release.set()
    for i in range(STARTING_SWEEPS):
        graph.sweep(-1.0 + 0.1 * i)
    Held.stamps.clear()
    Held.entered.clear()
    Held.release.clear()


def hold_one(graph, seconds=0.0):
    """A sweep that the pipeline is busy with."""
    end = time.monotonic() + 60.0
    while not Held.entered.wait(1.0):
        assert time.monotonic() < end
        graph.send(cloud(seconds))


def test_only_the_newest_waiting_sweep_is_processed_and_the_others_are_counted(graph):
    start(graph)
    hold_one(graph)
    for i in range(1, 9):
        graph.take(cloud(0.1 * i))
    wait_until(lambda: graph.drops['overrun'] == 7, 'the drops are counted')
    Held.release.set()
    wait_until(lambda: graph.results == STARTING_SWEEPS + 2, 'both results')
    assert Held.stamps == [nanoseconds(0.0), nanoseconds(0.8)]
    status = graph.status('output', lambda s: values(s)['overrun'] == '7', 'the drops')
    assert status.level == status.WARN and 'overrun' in status.message and 'Remedy' in status.message
    assert graph.drops['overrun'] == 7


def test_what_comes_while_the_first_sweep_is_in_work_is_made_up_for(graph):
    """It waits for what may belong to it, and caches are cold: at 20 Hz, the one after it was lost at every start."""
    hold_one(graph)
    for i in range(1, 2 + STARTING_BACKLOG):
        graph.take(cloud(0.1 * i))
    Held.release.set()
    wait_until(lambda: graph.results == 2 + STARTING_BACKLOG, 'every result')
    assert Held.stamps == [nanoseconds(0.1 * i) for i in range(2 + STARTING_BACKLOG)]
    assert not graph.drops['overrun']


def test_a_start_that_takes_for_ever_leaves_no_queue_of_old_sweeps(graph):
    hold_one(graph)
    for i in range(1, 9):
        graph.take(cloud(0.1 * i))
    wait_until(lambda: graph.drops['overrun'] == 7 - STARTING_BACKLOG, 'the drops are counted')
    Held.release.set()
    wait_until(lambda: graph.results == 2 + STARTING_BACKLOG, 'the results')
    assert Held.stamps == [nanoseconds(seconds) for seconds in (0.0, 0.6, 0.7, 0.8)]


def halves(graph, seconds):
    """What two LiDARs see of a street, at one moment."""
    points = street()
    graph.take(cloud(seconds - 0.01, points[points[:, 0] < 0], 'rear'), 'input/pointcloud_2')
    graph.take(cloud(seconds, points[points[:, 0] >= 0]), 'input/pointcloud')


def test_sweeps_of_two_lidars_that_come_while_the_first_is_in_work_are_made_up_for(graph):
    end = time.monotonic() + 60.0
    while not Held.entered.wait(0.5):
        assert time.monotonic() < end
        halves(graph, 0.0)
    Held.stamps.clear()
    for i in range(1, 2 + STARTING_BACKLOG):
        halves(graph, 0.1 * i)
    Held.release.set()
    wait_until(lambda: len(Held.stamps) == 1 + STARTING_BACKLOG, 'every sweep')
    assert Held.stamps == [nanoseconds(0.1 * i) for i in range(1, 2 + STARTING_BACKLOG)]
    assert not graph.drops['overrun']


def test_the_first_sweep_of_a_lidar_that_looks_ahead_is_not_lost(graph):
    """It is held back until it is known that it is no part of a turn, and comes together with the second one."""
    Held.release.set()
    points = street()
    ahead = points[np.abs(np.arctan2(points[:, 1], points[:, 0])) < 0.5]
    for i in range(3):
        graph.take(cloud(0.1 * i, ahead + np.float32(1e-3 * i)))
    wait_until(lambda: graph.results == 3, 'every result')
    assert Held.stamps == [nanoseconds(0.1 * i) for i in range(3)] and not graph.drops


def test_a_sweep_that_is_ready_does_not_wait_for_more_after_a_bad_message(graph):
    """The message might have given a newer one; it has not, and nothing else comes."""
    end = time.monotonic() + 60.0
    while not Held.entered.wait(0.5):
        assert time.monotonic() < end
        halves(graph, 0.0)
    halves(graph, 0.1)
    graph.take(cloud(None))
    Held.release.set()
    wait_until(lambda: nanoseconds(0.1) in Held.stamps, 'the sweep before the bad message', 10.0)


def test_everything_else_is_served_while_a_sweep_is_processed(graph):
    hold_one(graph)
    assert graph.call(GetState, 'get_state', GetState.Request(), timeout=10.0).current_state.label == 'active'
    request = SetParameters.Request(parameters=[Parameter('map.max_age', value=2.5).to_parameter_msg()])
    assert graph.call(SetParameters, 'set_parameters', request, timeout=10.0).results[0].successful
    graph.take(map_image(1.0))
    graph.take(odometry(1.0))
    graph.diagnostics.clear()
    wait_until(lambda: graph.diagnostics, 'diagnostics', 10.0)
    change = ChangeState.Request()
    change.transition.id = Transition.TRANSITION_DEACTIVATE
    assert graph.call(ChangeState, 'change_state', change, timeout=10.0).success
    assert graph.call(GetState, 'get_state', GetState.Request(), timeout=10.0).current_state.label == 'inactive'
    assert graph.results == 0  # all this happened while the one sweep was in work
    Held.release.set()


def test_cleanup_waits_for_the_sweep_in_work(graph):
    """The network must not be taken from under it."""
    hold_one(graph)
    graph.node.trigger_deactivate()
    threading.Timer(0.3, Held.release.set).start()
    graph.node.trigger_cleanup()
    assert Held.release.is_set()
    assert not [t for t in threading.enumerate() if t.name == 'sweeps']
    graph.node.trigger_configure()
    graph.node.trigger_activate()
    graph.sweep(5.0)


def test_a_sweep_that_waited_when_the_node_was_deactivated_is_forgotten(graph):
    hold_one(graph)
    graph.take(cloud(0.1))
    graph.node.trigger_deactivate()
    graph.node.trigger_activate()
    Held.release.set()
    graph.sweep(0.2)
    assert nanoseconds(0.1) not in Held.stamps


def test_the_result_of_a_sweep_that_was_in_work_is_not_published_after_another_activation(graph):
    graph.subscribe('distribution', LaserScan)
    hold_one(graph)
    graph.node.trigger_deactivate()
    graph.node.trigger_activate()
    Held.release.set()
    graph.sweep(5.0)
    wait_until(lambda: graph.received['distribution'], 'the result')
    assert graph.results == 1 and len(graph.received['distribution']) == 1
    assert graph.received['distribution'][0].header.stamp.sec == nanoseconds(5.0) // 10**9
