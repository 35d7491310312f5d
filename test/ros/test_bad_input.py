# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in: it is dropped with its reason in /diagnostics, and the next good message gives a result."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from support.node_kit import (  # noqa: E402
    Graph,
    NodeLog,
    cloud,
    compressed,
    header,
    map_image,
    odometry,
    street,
    transform,
    values,
    wait_until,
)

CLOUD, MAP, ODOMETRY, TRANSFORM = 'input cloud', 'map image', 'odometry', 'transform'


@pytest.fixture(scope='module')
def graph():
    """Sensor poses come from tf; 'lidar' is known, other frames are not."""
    graph = Graph({'use_tf': True})
    graph.take(transform('base_link', 'lidar', x=1.0))
    yield graph
    graph.close()


@pytest.fixture
def now(graph):
    """Seconds, later for every test: stamps only run backwards where a test wants them to."""
    graph.now = getattr(graph, 'now', 0.0) + 20.0
    return graph.now


def edited(message, **changes):
    message = copy.deepcopy(message)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def truncated(message):
    return edited(message, data=message.data[:len(message.data) // 2])


def renamed(message, old, new):
    message = copy.deepcopy(message)
    for field in message.fields:
        field.name = new if field.name == old else field.name
    return message


def retyped(message, datatype):
    message = copy.deepcopy(message)
    for field in message.fields:
        field.datatype = datatype
    return message


def stamped(message, seconds):
    return edited(message, header=header(seconds, message.header.frame_id))


CLOUDS = {
    'truncated data': (lambda t: truncated(cloud(t)), 'truncated_data', CLOUD),
    'more data than claimed': (lambda t: edited(cloud(t), height=1, width=10, row_step=160), 'size_mismatch', CLOUD),
    'steps contradict': (lambda t: edited(cloud(t), height=3, width=7, row_step=16), 'size_mismatch', CLOUD),
    'point_step too small': (lambda t: edited(cloud(t), point_step=8), 'field_out_of_point', CLOUD),
    'width x height overflows': (lambda t: edited(cloud(t), width=2**32 - 1, height=2**32 - 1), 'size_mismatch', CLOUD),
    'no x': (lambda t: renamed(cloud(t), 'x', 'a'), 'missing_field', CLOUD),
    'no y': (lambda t: renamed(cloud(t), 'y', 'b'), 'missing_field', CLOUD),
    'no z': (lambda t: renamed(cloud(t), 'z', 'c'), 'missing_field', CLOUD),
    'no fields': (lambda t: edited(cloud(t), fields=[]), 'missing_field', CLOUD),
    'unknown datatype': (lambda t: retyped(cloud(t), 99), 'unknown_datatype', CLOUD),
    'datatype 0': (lambda t: retyped(cloud(t), 0), 'unknown_datatype', CLOUD),
    'zero points': (lambda t: cloud(t, np.empty((0, 4))), 'empty_cloud', CLOUD),
    'all NaN': (lambda t: cloud(t, np.full((50, 4), math.nan)), 'no_finite_points', CLOUD),
    'all infinite': (lambda t: cloud(t, np.full((50, 4), math.inf)), 'no_finite_points', CLOUD),
    'all outside': (lambda t: cloud(t, street() + 1000.0), 'no_points_in_range', CLOUD),
    'stamp 0': (lambda t: cloud(None), 'stamp_zero', CLOUD),
    'stamp backwards': (lambda t: cloud(t - 25.0), 'stamp_backwards', CLOUD),
    'unknown frame': (lambda t: cloud(t, frame='nowhere'), 'transform_missing', TRANSFORM),
    'empty frame': (lambda t: cloud(t, frame=''), 'transform_missing', TRANSFORM),
}


@pytest.mark.parametrize('name', CLOUDS)
def test_a_bad_sweep_is_dropped_by_name_and_the_next_good_one_gives_a_result(graph, now, name):
    make, reason, aspect = CLOUDS[name]
    graph.sweep(now)
    drops, results = graph.drops[reason], graph.results
    graph.send(make(now + 0.1))
    wait_until(lambda: graph.drops[reason] == drops + 1, f'the drop is counted as {reason}')
    assert graph.results == results
    status = graph.status(CLOUD, lambda s: values(s).get(f'dropped.{reason}') == str(drops + 1), f'{reason} is counted')
    status = graph.status(aspect, lambda s: s.level != s.OK and reason in s.message, f'{reason} is named')
    assert 'Remedy' in status.message
    graph.sweep(now + 0.2)


def test_points_that_come_again_while_the_vehicle_moves_are_dropped_and_new_ones_give_a_result(graph, now):
    old, drops, results = cloud(now), graph.drops['frozen_cloud'], graph.results + 1
    graph.take(odometry(now))
    graph.send(old)
    wait_until(lambda: graph.results == results, 'the first time, they are used')
    for k in range(3):
        graph.take(odometry(now + 0.1 * (k + 1), x=float(k + 1)))
        graph.send(stamped(old, now + 0.1 * (k + 1)))
        wait_until(lambda k=k: graph.drops['frozen_cloud'] == drops + k + 1, 'the drop is counted')
    assert graph.results == results
    status = graph.status(CLOUD, lambda s: s.level != s.OK and 'frozen_cloud' in s.message, 'it is named')
    assert 'Remedy' in status.message
    graph.sweep(now + 0.4)


MAPS = {
    'truncated data': (lambda t: truncated(map_image(t)), 'truncated_data'),
    'more data than claimed': (lambda t: edited(map_image(t), height=10), 'size_mismatch'),
    'steps contradict': (lambda t: edited(map_image(t), height=7, step=16), 'size_mismatch'),
    'unknown encoding': (lambda t: edited(map_image(t), encoding='yuv422'), 'unknown_encoding'),
    'no encoding': (lambda t: edited(map_image(t), encoding=''), 'unknown_encoding'),
    'zero size': (lambda t: edited(map_image(t), width=0, height=0, step=0), 'empty_image'),
    'nothing at all': (lambda t: edited(map_image(t), width=0, height=0, step=0, data=[]), 'empty_image'),
    'stamp 0': (lambda t: stamped(map_image(t), None), 'stamp_zero'),
    'compressed: truncated': (lambda t: truncated(compressed(t)), 'truncated_data'),
    'compressed: empty': (lambda t: edited(compressed(t), data=[]), 'empty_image'),
    'compressed: no image': (lambda t: edited(compressed(t), data=[7] * 100), 'unknown_encoding'),
    'compressed: stamp 0': (lambda t: stamped(compressed(t), None), 'stamp_zero'),
}


@pytest.mark.parametrize('name', MAPS)
def test_a_bad_map_image_is_dropped_by_name_and_the_next_good_one_is_used(graph, now, name):
    make, reason = MAPS[name]
    before = graph.dropped(MAP, reason)
    graph.send(make(now))
    wait_until(lambda: graph.dropped(MAP, reason) == before + 1, f'the drop is counted as {reason}')
    status = graph.status(MAP, lambda s: values(s).get(f'dropped.{reason}') == str(before + 1), f'{reason} is counted')
    assert status.level == status.WARN and reason in status.message and 'Remedy' in status.message
    graph.sweep(now + 0.1)  # there is a result, without a map image
    assert graph.last.mode == 'lidar_only'
    graph.take(map_image(now + 0.2))
    graph.sweep(now + 0.25)
    assert graph.last.mode == 'fused'


@pytest.mark.parametrize('offset, reason', [(-3.5, 'map_too_old'), (2.0, 'map_from_future')])
def test_a_map_image_of_the_wrong_time_is_not_used(graph, now, offset, reason):
    graph.take(map_image(now + offset))
    graph.sweep(now)
    assert (graph.last.mode, graph.last.reason) == ('lidar_only', reason)
    status = graph.status(MAP, lambda s: reason in s.message, f'{reason} is named')
    assert status.level == status.WARN and 'Remedy' in status.message
    graph.take(map_image(now + 0.1))
    graph.sweep(now + 0.2)
    assert graph.last.mode == 'fused'


def of_pose(t, **changes):
    message = odometry(t)
    for name, value in changes.items():
        setattr(message.pose.pose.orientation if name in 'qxqyqzqw' else message.pose.pose.position, name[-1], value)
    return message


ODOMETRIES = {
    'zero quaternion': (lambda t: of_pose(t, qw=0.0), 'bad_odometry'),
    'quaternion of length 2': (lambda t: of_pose(t, qw=2.0), 'bad_odometry'),
    'NaN position': (lambda t: of_pose(t, px=math.nan), 'bad_odometry'),
    'NaN quaternion': (lambda t: of_pose(t, qz=math.nan), 'bad_odometry'),
    'infinite position': (lambda t: of_pose(t, py=math.inf), 'bad_odometry'),
    'stamp 0': (lambda t: stamped(odometry(t), None), 'stamp_zero'),
    'another frame': (lambda t: edited(odometry(t), child_frame_id='wheel'), 'odometry_frame'),
}


@pytest.mark.parametrize('name', ODOMETRIES)
def test_bad_odometry_is_dropped_by_name_and_the_next_good_one_is_used(graph, now, name):
    make, reason = ODOMETRIES[name]
    before = graph.dropped(ODOMETRY, reason)
    graph.send(make(now))
    wait_until(lambda: graph.dropped(ODOMETRY, reason) == before + 1, f'the drop is counted as {reason}')
    status = graph.status(ODOMETRY, lambda s: values(s).get(f'dropped.{reason}') == str(before + 1), f'{reason} counts')
    assert status.level == status.WARN and reason in status.message and 'Remedy' in status.message
    graph.sweep(now + 0.1)
    graph.take(odometry(now + 0.2, x=3.0))
    graph.sweep(now + 0.2)


def test_a_bad_transform_is_dropped_by_name_and_the_next_good_one_is_used(graph, now):
    broken = transform('base_link', 'late_lidar')
    broken.transforms[0].transform.rotation.w = 0.0
    graph.send(broken)
    wait_until(lambda: graph.dropped(TRANSFORM, 'bad_transform') == 1, 'the drop is counted')
    graph.status(TRANSFORM, lambda s: 'bad_transform' in s.message and 'Remedy' in s.message, 'it is named')
    graph.send(cloud(now, frame='late_lidar'))
    wait_until(lambda: graph.drops['transform_missing'] > 0, 'the sweep is dropped')
    graph.take(transform('base_link', 'late_lidar', x=2.0))
    graph.sweep(now + 0.1, frame='late_lidar')


def test_the_log_is_throttled_by_reason(capfd):
    log = NodeLog(capfd)
    graph = Graph({'diagnostics.log_throttle': 3600.0})
    try:
        for i in range(5):
            graph.send(truncated(cloud(float(i))))
            wait_until(lambda n=i + 1: graph.drops['truncated_data'] == n, 'the drop is counted')
        graph.send(cloud(9.0, np.empty((0, 4))))
        wait_until(lambda: graph.drops['empty_cloud'] == 1, 'the drop is counted')
        wait_until(lambda: log.entries('sweep dropped', 'empty_cloud'), 'the log')
        assert len(log.entries('sweep dropped', 'truncated_data')) == 1
    finally:
        graph.close()
