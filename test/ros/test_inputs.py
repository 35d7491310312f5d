# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the node takes in: both map transports, odometry, transforms, in any order, early or latched."""

from __future__ import annotations

import itertools
import math
import re
import time
from functools import partial

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from sensor_msgs.msg import Image  # noqa: E402
from support.node_kit import (  # noqa: E402
    LATCHED,
    Graph,
    cloud,
    compressed,
    map_image,
    nanoseconds,
    odometry,
    road_map,
    transform,
    values,
    wait_until,
)
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.node import configured  # noqa: E402
from attention_fusion_ros.stream.sweeps import SweepStream  # noqa: E402


class Recorder(FusionPipeline):
    """The real pipeline; remembers with what it was called."""

    calls: list = []

    def run(self, sweep):
        result = super().run(sweep)
        Recorder.calls.append((sweep, result))
        return result


@pytest.fixture
def graph(request):
    Recorder.calls.clear()
    graph = Graph(getattr(request, 'param', {}), create_pipeline=Recorder)
    yield graph
    graph.close()


ENCODED = {
    'mono8': (lambda m: m, 'mono8'),
    '8UC1': (lambda m: m, '8UC1'),
    'mono16': (lambda m: m.astype(np.uint16) * 257, 'mono16'),
    '32FC1': (lambda m: m.astype(np.float32) / 255, '32FC1'),
    'bgr8': (lambda m: np.dstack([m] * 3), 'bgr8'),
    'rgba8': (lambda m: np.dstack([m] * 3 + [np.full_like(m, 255)]), 'rgba8'),
}


def test_map_images_of_every_encoding_and_transport_look_the_same(graph):
    roads = {}
    seconds = 0.0
    for name, (convert, encoding) in ENCODED.items():
        seconds += 5.0
        graph.take(map_image(seconds, convert(road_map()), encoding))
        graph.sweep(seconds)
        roads[name] = Recorder.calls[-1][1].map_bev[0]
    seconds += 5.0
    graph.take(compressed(seconds))
    graph.sweep(seconds)
    roads['compressed'] = Recorder.calls[-1][1].map_bev[0]
    assert graph.last.mode == 'fused'
    for name, road in roads.items():
        assert road == pytest.approx(roads['mono8'], abs=0.01), name
    assert roads['mono8'][:, 128].max() > 0.9 and roads['mono8'][:, :100].max() == 0.0


def test_a_latched_map_image_from_before_the_node_is_used():
    """A map server publishes once, and keeps it for those who come later."""
    graph = Graph({'map.max_age': 1000.0}, active=False, create_pipeline=Recorder)
    try:
        publisher = graph.probe.create_publisher(Image, '/attention_fusion/input/map_image', LATCHED)
        publisher.publish(map_image(0.0))
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        wait_until(lambda: graph.count('map image'), 'the map image is taken in')
        graph.sweep(500.0)
        assert graph.last.mode == 'fused'
    finally:
        graph.close()


def test_the_map_image_is_moved_by_odometry(graph):
    """5 m ahead and 30 degrees to the left since the map image was drawn: its road turns to the right."""
    graph.take(odometry(0.0))
    graph.take(map_image(0.0))
    graph.take(odometry(1.0, x=5.0, yaw=math.radians(30)))
    graph.sweep(1.0)
    sweep, result = Recorder.calls[-1]
    motion = sweep.motion
    assert sweep.map_image.stamp_ns == nanoseconds(0.0) and sweep.cloud.stamp_ns == nanoseconds(1.0)
    assert motion.T_odom_base_map[:3, 3] == pytest.approx([0.0, 0.0, 0.0])
    assert motion.T_odom_base[:3, 3] == pytest.approx([5.0, 0.0, 0.0])
    road = result.map_bev[0]
    row, column = np.nonzero(road > 0.5)
    x, y = 40 - (row + 0.5) * 0.3125, 40 - (column + 0.5) * 0.3125
    ahead = (x > 5) & (x < 20)
    slope = np.polyfit(x[ahead], y[ahead], 1)[0]
    assert math.degrees(math.atan(slope)) == pytest.approx(-30.0, abs=1.5)
    assert graph.last.map_age_s == pytest.approx(1.0)


@pytest.mark.parametrize('graph', [{'map.orientation': 'north_up'}], indirect=True)
def test_a_north_up_map_image_needs_odometry_and_says_so(graph):
    graph.take(map_image(0.0))
    graph.sweep(0.1)
    assert graph.last.reason == 'north_up_without_odometry'
    status = graph.status('odometry', lambda s: s.level == s.WARN, 'north_up needs it')
    assert 'north_up' in status.message and 'Remedy' in status.message
    graph.take(odometry(0.0, yaw=math.pi / 2))
    graph.take(odometry(0.2, yaw=math.pi / 2))
    graph.sweep(0.2)
    assert graph.last.mode == 'fused'
    road = Recorder.calls[-1][1].map_bev[0]  # driving north on a map whose road runs north: straight ahead
    assert road[40:100, 128].min() > 0.9
    graph.status('odometry', lambda s: s.level == s.OK, 'it is used')


def test_a_map_image_that_comes_shortly_after_its_sweep_is_used_for_it(graph):
    """They carry the same stamp; whichever topic is faster must not decide."""
    graph.take(odometry(0.0))
    for i in range(4):
        graph.take(odometry(0.1 * i + 0.05))  # later than the sweep: not waited for
        graph.take(map_image(0.1 * i))
        graph.sweep(0.1 * i)
    before = graph.count('input cloud')
    graph.take(odometry(0.95))
    end, met = time.monotonic() + 60.0, 0
    for i in itertools.count(10):  # a machine with much else to do may take longer than the node waits
        assert time.monotonic() < end, f'{met} sweeps met their map images'
        graph.send(cloud(0.1 * i))
        wait_until(lambda n=before: graph.count('input cloud') > n, 'the sweep arrives')
        before = graph.count('input cloud')
        graph.send(map_image(0.1 * i))
        stamp = nanoseconds(0.1 * i)
        sweep = wait_until(lambda n=stamp: recorded(n), 'a result')
        met += sweep.map_image.stamp_ns == stamp
        if met == 4:
            break


def test_the_first_sweep_waits_no_longer_than_until_the_next_one_comes(monkeypatch):
    """Nothing else is published here; at 20 Hz, the whole wait would cost a sweep each time the node starts."""
    monkeypatch.setattr(configured, 'SweepStream', partial(SweepStream, max_wait_s=300.0))
    graph = Graph(create_pipeline=Recorder)
    try:
        graph.send(cloud(0.0))
        wait_until(lambda: graph.count('input cloud') == 1, 'the first sweep arrives')
        graph.send(cloud(0.05))
        wait_until(lambda: graph.results == 2, 'two results')
        assert sum(graph.drops.values()) == 0
    finally:
        graph.close()


def recorded(stamp_ns):
    return next((sweep for sweep, _ in Recorder.calls if sweep.cloud.stamp_ns == stamp_ns), None)


def test_static_transforms_from_before_the_node_are_used():
    """As robot_state_publisher and a static_transform_publisher leave them; leading slashes are those of ROS 1."""
    graph = Graph({'use_tf': True}, create_pipeline=Recorder, active=False)
    try:
        publishers = [graph.probe.create_publisher(TFMessage, '/tf_static', LATCHED) for _ in range(2)]
        publishers[0].publish(transform('/base_link', '/mast', x=1.0))
        publishers[1].publish(transform('mast', 'lidar', x=2.0))
        graph.node.trigger_configure()
        graph.node.trigger_activate()
        graph.sweep(0.0, frame='/lidar')
        assert Recorder.calls[-1][0].motion.T_base_sensor[:3, 3] == pytest.approx([3.0, 0.0, 0.0])
    finally:
        graph.close()


@pytest.mark.parametrize('graph', [{'use_tf': True}], indirect=True)
def test_moving_transforms_are_subscribed_to_as_long_as_odometry_needs_them(graph):
    """The sensor is fixed; odometry is of a footprint that moves below the vehicle."""
    graph.take(transform('base_link', 'lidar', x=1.0))
    for i in range(5):
        graph.take(transform('base_footprint', 'base_link', x=0.1 * i, seconds=0.1 * i), '/tf')
    graph.take(odometry(0.4, x=5.0, child='base_footprint'))
    graph.sweep(0.4)
    assert Recorder.calls[-1][0].motion.T_odom_base[:3, 3] == pytest.approx([5.4, 0.0, 0.0])
    time.sleep(0.5)  # the node looks at its subscriptions several times
    assert graph.probe.count_subscribers('/tf') == 1
    graph.take(odometry(0.5, x=5.0))  # of the base frame itself: /tf is not needed any more
    graph.sweep(0.5)
    wait_until(lambda: graph.probe.count_subscribers('/tf') == 0, '/tf is given up')


@pytest.mark.parametrize('graph', [{'use_tf': True}], indirect=True)
def test_the_sensor_pose_comes_from_the_transforms(graph):
    graph.take(transform('base_link', 'mast', x=1.0, yaw=math.pi / 2))
    graph.take(transform('mast', 'lidar', x=2.0))
    graph.sweep(0.0)
    T = Recorder.calls[-1][0].motion.T_base_sensor
    assert T[:3, 3] == pytest.approx([1.0, 2.0, 0.0])
    graph.status('transform', lambda s: s.level == s.OK and s.message == 'known', 'the transform')

    # All static: /tf, often the busiest topic of a vehicle, is left alone ...
    wait_until(lambda: graph.probe.count_subscribers('/tf') == 0, '/tf is given up')
    # ... until a sweep needs what only /tf may know.
    seconds = 0.1
    publisher = graph.probe.create_publisher(TFMessage, '/tf', 10)
    end = time.monotonic() + 60.0
    while not publisher.get_subscription_count() and time.monotonic() < end:
        graph.send(cloud(seconds, frame='turning'))
        seconds += 0.1
        time.sleep(0.1)
    assert graph.drops['transform_missing'] > 0
    for i in range(5):
        before = graph.count('transform')
        publisher.publish(transform('base_link', 'turning', yaw=0.1 * i, seconds=seconds + 0.1 * i))
        wait_until(lambda n=before: graph.count('transform') > n, 'the transform is taken in')
    graph.sweep(seconds + 0.25, frame='turning')
    T = Recorder.calls[-1][0].motion.T_base_sensor
    assert math.atan2(T[1, 0], T[0, 0]) == pytest.approx(0.25, abs=1e-6)
    assert graph.probe.count_subscribers('/tf') == 1


@pytest.mark.parametrize('graph', [{'use_tf': True}], indirect=True)
def test_extrapolated_transforms_are_named(graph):
    """Beyond the newest moving transform it goes on at the speed it had: a guess, and /diagnostics says so."""
    for i in range(3):
        graph.take(transform('base_link', 'lidar', yaw=0.1 * i, seconds=0.1 * i), '/tf')
    graph.sweep(0.2)
    graph.status('transform', lambda s: s.message == 'known', 'nothing is extrapolated')
    graph.sweep(0.4)
    T = Recorder.calls[-1][0].motion.T_base_sensor
    assert math.atan2(T[1, 0], T[0, 0]) == pytest.approx(0.4, abs=1e-6)
    status = graph.status('transform', lambda s: 'extrapolated' in s.message, 'the extrapolation')
    assert '0.20 s' in status.message and 'Remedy' in status.message
    assert values(status)['extrapolated_s'] == '0.200'


def test_sweeps_of_another_clock_find_no_odometry_and_diagnostics_compare_the_clocks(graph):
    """A LiDAR on PTP (TAI) time: 37 s ahead of everybody else."""
    for i in range(5):
        graph.take(odometry(0.1 * i, x=float(i)))
        graph.take(map_image(0.1 * i))
        graph.sweep(37.0 + 0.1 * i)
    status = graph.status('odometry', lambda s: 'steadily' in s.message, 'the clocks')
    ahead = re.search(r'sweeps are ([\d.]+) s ahead of odometry', status.message)  # by when messages came: not exactly
    assert status.level == status.WARN and ahead and float(ahead[1]) == pytest.approx(37.0, abs=0.5)
    status = graph.status('map image', lambda s: 'steadily' in s.message, 'the clocks')
    assert status.level == status.WARN and 'ahead of map image' in status.message
    assert 'more often' not in status.message


def test_a_map_image_that_is_drawn_upside_down_is_told_once_the_vehicle_has_driven(graph):
    """A street with side streets on the left: the picture moves ahead with the vehicle, where it should fall behind."""
    for k in range(9):
        driven, seconds = 10.5 * k, 0.5 * k
        picture = np.zeros((480, 480), np.uint8)
        picture[:, 228:252] = 255
        for at in (5.0, 31.0, 50.0, 88.0, 99.0):  # m along the street
            row = 240 - round((at - driven) / 0.25)
            picture[max(0, row - 12):max(0, row + 12), :240] = 255
        graph.take(odometry(seconds, x=driven))
        graph.take(map_image(seconds, np.ascontiguousarray(picture[::-1, ::-1])))
        graph.sweep(seconds)
        assert graph.last.mode == 'fused'
    status = graph.status('map image', lambda s: 'map_moves_otherwise' in s.message, 'the motion of the map image')
    assert status.level == status.WARN and 'Remedy: let the image be drawn anew' in status.message
