# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Several LiDARs, and parts of turns, to the real node over DDS."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from support.node_kit import (  # noqa: E402
    Graph,
    cloud,
    nanoseconds,
    odometry,
    street,
    transform,
    values,
    wait_until,
)

from attention_fusion_ros.geometry import transform_points  # noqa: E402
from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402

PERIOD_S = 0.2  # of the stamps
ENOUGH = 4  # sweeps


class Recorder(FusionPipeline):
    """The real pipeline; remembers with what it was called."""

    sweeps: list = []
    go_on = threading.Event()
    entered = threading.Event()

    def run(self, sweep):
        Recorder.entered.set()
        assert Recorder.go_on.wait(60.0)
        result = super().run(sweep)
        Recorder.sweeps.append(sweep)
        return result


@pytest.fixture
def graph():
    Recorder.sweeps.clear()
    Recorder.go_on.set()
    graph = Graph({'use_tf': True}, create_pipeline=Recorder)
    for frame, x in (('lidar', 1.0), ('rear', -1.0)):
        graph.take(transform('base_link', frame, x=x))
    yield graph
    Recorder.go_on.set()
    graph.close()


def send_until(graph, send_turn, condition, what: str) -> None:
    """Send turn after turn until enough sweeps are as they should be: a machine with much else to do may be late."""
    end, k = time.monotonic() + 90.0, 0
    while not condition():
        assert time.monotonic() < end, f'{what}: {[len(s.sources) for s in Recorder.sweeps]}, {dict(graph.drops)}'
        graph.take(odometry(PERIOD_S * k))
        before = graph.results
        send_turn(PERIOD_S * k)
        if k > 1:  # the first turns may wait for the next ones
            wait_until(lambda n=before: graph.results > n, 'a result')
        k += 1


def assembled(count: int):
    return lambda: sum(len(sweep.sources) == count for sweep in Recorder.sweeps) >= ENOUGH


STREET = street()
HALVES = {'rear': STREET[STREET[:, 0] < 0], 'lidar': STREET[STREET[:, 0] >= 0]}


def half(frame: str) -> np.ndarray:
    """What the sensor sees, in its frame."""
    points = HALVES[frame].copy()
    points[:, 0] -= 1.0 if frame == 'lidar' else -1.0
    return points


@pytest.mark.parametrize('rear_topic', ['input/pointcloud_2', 'input/pointcloud'])
def test_two_lidars_are_one_sweep(graph, rear_topic):
    def send_turn(seconds):
        graph.take(cloud(seconds - 0.02, half('rear'), 'rear'), rear_topic)
        graph.take(cloud(seconds, half('lidar'), 'lidar'), 'input/pointcloud')

    send_until(graph, send_turn, assembled(2), 'two LiDARs')
    sweep = next(s for s in reversed(Recorder.sweeps) if len(s.sources) == 2)
    xyz = transform_points(sweep.motion.T_base_sensor, sweep.cloud.xyz)
    np.testing.assert_allclose(np.sort(xyz[:, 0]), np.sort(STREET[:, 0]), atol=0.01)
    assert {part.frame_id for part in sweep.sources} == {'lidar', 'rear'}
    status = graph.status('input cloud', lambda s: s.level == s.OK and 'of 2 messages' in s.message, 'both are named')
    assert values(status)['messages_per_sweep'] == '2'
    if rear_topic == 'input/pointcloud_2':
        graph.status('input cloud 2', lambda s: s.level == s.OK and values(s)['topic'].endswith('_2'), 'it is there')
    else:
        assert 'input cloud 2' not in graph.diagnostics


def test_turns_that_come_while_the_first_sweep_is_in_work_are_made_up_for(graph):
    Recorder.go_on.clear()
    Recorder.entered.clear()
    graph.take(cloud(0.0, half('lidar'), 'lidar'))
    assert Recorder.entered.wait(60.0)
    for seconds in (0.1, 0.2):
        graph.take(cloud(seconds - 0.02, half('rear'), 'rear'), 'input/pointcloud_2')
        graph.take(cloud(seconds, half('lidar'), 'lidar'), 'input/pointcloud')
    Recorder.go_on.set()
    wait_until(lambda: len(Recorder.sweeps) == 3, 'every turn')
    assert [sweep.cloud.stamp_ns for sweep in Recorder.sweeps] == [nanoseconds(s) for s in (0.0, 0.1, 0.2)]
    assert [len(sweep.sources) for sweep in Recorder.sweeps] == [1, 2, 2] and not graph.drops['overrun']


def test_tenths_of_a_turn_are_one_sweep(graph):
    def send_turn(seconds):
        azimuth = (np.arctan2(STREET[:, 1], STREET[:, 0] - 1.0) + np.pi) / (2 * np.pi)
        points = STREET.copy()
        points[:, 0] -= 1.0
        for tenth in range(10):
            part = points[(azimuth * 10).astype(int).clip(0, 9) == tenth]
            graph.take(cloud(seconds - 0.1 + 0.01 * (tenth + 1), part))

    send_until(graph, send_turn, assembled(10), 'tenths')
    sweep = next(s for s in reversed(Recorder.sweeps) if len(s.sources) == 10)
    assert len(sweep.cloud.xyz) == len(STREET)


def test_a_lidar_that_falls_silent_is_named_and_the_other_one_goes_on(graph):
    def both(seconds):
        graph.take(cloud(seconds - 0.02, half('rear'), 'rear'), 'input/pointcloud_2')
        ahead(seconds)

    def ahead(seconds):
        graph.take(cloud(seconds, half('lidar'), 'lidar'))

    send_until(graph, both, assembled(2), 'both')
    seconds = 100.0
    Recorder.sweeps.clear()
    while not any('lidar_silent' in sweep.warnings for sweep in Recorder.sweeps):
        before = graph.results
        graph.take(odometry(seconds))
        ahead(seconds)
        wait_until(lambda n=before: graph.results > n, 'the other one goes on')
        seconds += PERIOD_S
    status = graph.status('input cloud', lambda s: s.level == s.WARN, 'the silent one is named')
    assert "'rear' on input/pointcloud_2" in status.message and 'Remedy' in status.message
    Recorder.sweeps.clear()
    send_until(graph, lambda s: both(s + 200.0), assembled(2), 'both again')
    assert not Recorder.sweeps[-1].warnings
