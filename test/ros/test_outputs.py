# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every output topic of the running node: what it carries, when, and that nothing is made for nobody."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import OccupancyGrid  # noqa: E402
from sensor_msgs_py.point_cloud2 import read_points  # noqa: E402
from support.node_kit import LATCHED, T0, Graph, map_image, nanoseconds, street, values, wait_until  # noqa: E402
from visualization_msgs.msg import Marker, MarkerArray  # noqa: E402

from attention_fusion_ros.contracts import Calibration, RingPoint  # noqa: E402
from attention_fusion_ros.network import checkpoint  # noqa: E402
from attention_fusion_ros.network.config import NetworkConfig, mechanism  # noqa: E402
from attention_fusion_ros.network.model import FusionNetwork  # noqa: E402
from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.messages.types import message_class  # noqa: E402
from attention_fusion_ros.ros.outputs import OUTPUTS, STAGES  # noqa: E402

# This network does not register the map.
TOPICS = {spec.name: message_class(spec.type) for spec in OUTPUTS if spec.name != 'map_alignment'}
SENSOR_FRAME = {spec.name for spec in OUTPUTS if spec.in_sensor_frame}
# The sensor stands 2 m ahead of the origin and looks to the left.
T_BASE_SENSOR = [0.0, -1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.8, 0.0, 0.0, 0.0, 1.0]


class Decided(FusionPipeline):
    """Random weights rarely agree on a direction: the most probable branch is taken."""

    explained: list = []  # stamps

    def run(self, *arguments, **options):
        result = super().run(*arguments, **options)
        taken = result.branches[0]
        return replace(result, direction=taken, path=(RingPoint(result.lookahead, taken),))

    def explain(self, result):
        Decided.explained.append(result.stamp_ns)
        return super().explain(result)


@pytest.fixture(scope='module')
def graph():
    # Random weights: a low bar, so that there are branches to publish.
    graph = Graph({'T_base_sensor': T_BASE_SENSOR, 'branches.min_probability': 0.01}, create_pipeline=Decided)
    yield graph
    graph.close()


@pytest.fixture(scope='module')
def messages(graph):
    """What one sweep puts on every topic, by name."""
    for name, kind in TOPICS.items():
        graph.subscribe(name, kind)
        graph.received[name].clear()
    graph.take(map_image(10.0))
    points = street()
    points[:, 2] -= 1.8
    graph.sweep(10.05, points=points)
    wait_until(lambda: all(graph.received[n] for n in TOPICS), 'a message on every topic')
    return {name: graph.received[name][-1] for name in TOPICS}


def test_nothing_is_made_for_nobody():
    graph = Graph({'branches.min_probability': 0.01}, create_pipeline=Decided)
    try:
        only_what_is_subscribed_is_made(graph)
    finally:
        graph.close()


def only_what_is_subscribed_is_made(graph):
    graph.sweep(0.0)
    assert graph.results >= 1 and sum(graph.node.publications.messages.values()) == 0
    subscription = graph.subscribe('branches', PoseArray)
    graph.sweep(0.1)
    wait_until(lambda: graph.received['branches'], 'branches')
    assert set(graph.node.publications.messages) == {'branches'}
    graph.probe.destroy_subscription(subscription)
    wait_until(lambda: not graph.node.publications.has_subscribers('branches'), 'the subscriber is gone')
    made = graph.node.publications.messages['branches']
    graph.sweep(0.2)
    assert graph.node.publications.messages['branches'] == made


def test_every_topic(messages):
    """One sweep, all topics: each says the same."""
    got = messages
    for name, message in got.items():
        if hasattr(message, 'header'):
            assert message.header.stamp.sec + message.header.stamp.nanosec / 1e9 == pytest.approx(T0 + 10.05), name
            assert message.header.frame_id == ('lidar' if name in SENSOR_FRAME else 'base_link'), name

    scored = read_points(got['branches/scored'])
    assert 1 <= len(scored) == len(got['branches'].poses)
    assert (np.diff(scored['probability']) <= 0).all()
    for pose, bearing, heading in zip(got['branches'].poses, scored['bearing'], scored['heading']):
        assert math.hypot(pose.position.x, pose.position.y) == pytest.approx(20.0, abs=1e-3)
        assert math.atan2(pose.position.y, pose.position.x) == pytest.approx(bearing, abs=1e-4)
        assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(heading, abs=1e-4)

    place = got['direction'].pose.pose.position
    assert math.atan2(place.y, place.x) == pytest.approx(scored['bearing'][0], abs=1e-4)
    start, end = (stamped.pose.position for stamped in got['path'].poses)
    assert (start.x, start.y) == (0.0, 0.0) and (end.x, end.y) == (place.x, place.y)

    scan = got['distribution']
    assert sum(scan.intensities) == pytest.approx(1.0, abs=1e-3) and min(scan.intensities) >= 0
    heat = np.asarray(got['heatmap/spatial'].data)
    assert heat.min() == 0 and 90 < heat.max() <= 98  # stretched to its range, then resized
    shares = got['heatmap/channels']
    assert shares.data[0] + shares.data[1] == pytest.approx(1.0, abs=1e-5)
    assert len(shares.data) == sum(dimension.size for dimension in shares.layout.dim) > 2
    assert shares.layout.dim[-1].label == f'stamp_ns={nanoseconds(10.05)}'
    assert got['heatmap/image'].encoding == 'bgr8' and len(got['heatmap/image'].data) > 0
    assert any(m.text == 'UNTRAINED WEIGHTS' for m in got['markers'].markers)


def test_gradcam_costs_nothing_until_somebody_looks():
    """A run with gradients for every sweep that has a subscriber, none without; on the grid of the attention."""
    own = Graph({'branches.min_probability': 0.01}, create_pipeline=Decided)
    try:
        Decided.explained.clear()
        own.subscribe('heatmap/spatial', OccupancyGrid)
        own.sweep(0.0)
        wait_until(lambda: own.received['heatmap/spatial'], 'the attention')
        assert Decided.explained == []
        subscription = own.subscribe('heatmap/gradcam', OccupancyGrid)
        own.received['heatmap/spatial'].clear()
        own.sweep(0.1)
        wait_until(lambda: own.received['heatmap/gradcam'] and own.received['heatmap/spatial'], 'both')
        assert Decided.explained and set(Decided.explained) == {nanoseconds(0.1)}
        gradcam, spatial = own.received['heatmap/gradcam'][-1], own.received['heatmap/spatial'][-1]
        assert gradcam.header == spatial.header and gradcam.info == spatial.info
        heat = np.asarray(gradcam.data)
        assert len(heat) == gradcam.info.width * gradcam.info.height and 0 == heat.min() < 90 < heat.max() <= 98
        assert 0.001 < (heat > 50).mean() < 0.5
        own.probe.destroy_subscription(subscription)
        wait_until(lambda: not own.node.publications.has_subscribers('heatmap/gradcam'), 'the subscriber is gone')
        own.sweep(0.2)
        assert nanoseconds(0.2) not in Decided.explained
    finally:
        own.close()


def test_attention_of_a_point_is_that_of_the_grid_below_it(messages):
    """Through the sensor's pose: positions of attention_points and heatmap/spatial have to agree."""
    cloud, grid = messages['attention_points'], messages['heatmap/spatial']
    points = read_points(cloud)
    T = np.reshape(T_BASE_SENSOR, (4, 4))
    base = np.stack([points['x'], points['y'], points['z']], 1) @ T[:3, :3].T + T[:3, 3]
    data = np.asarray(grid.data).reshape(grid.info.height, grid.info.width)
    i, j = (np.floor((base[:, k] - (grid.info.origin.position.x, grid.info.origin.position.y)[k])
                     / grid.info.resolution).astype(int) for k in (0, 1))
    inside = (i >= 0) & (i < grid.info.width) & (j >= 0) & (j < grid.info.height)
    assert inside.sum() > 1000
    attention, level = points['attention'][inside], data[j[inside], i[inside]]
    shown = level > 0
    apart = np.abs(attention[shown] - level[shown] / 98.0)
    assert (apart > 0.0052).mean() <= 0.005, 'but for points less than a millimetre beside the border of a cell'
    assert (attention[~shown] >= 0.1).mean() <= 0.005
    assert points['attention'][inside].std() > 0.01


def test_stage_times_add_up(messages):
    times = {stage: messages[f'debug/processing_time/{stage}_ms'].data for stage in STAGES}
    parts = sum(times[s] for s in ('decode', 'bev', 'network', 'postprocess'))
    assert all(times[s] > 0 for s in ('decode', 'bev', 'network', 'postprocess'))
    assert parts <= times['total'] < 60_000
    assert times['data_age'] > 1e9  # the test's stamps are years back, and the node says so


def test_heatmap_satisfies_displays_that_ask_for_a_latched_map(graph, messages):
    """A display that starts later asks for what was sent last, and gets it."""
    graph.probe.create_subscription(OccupancyGrid, '/attention_fusion/heatmap/spatial',
                                    graph.received['latched'].append, LATCHED)
    wait_until(lambda: graph.received['latched'], 'the last heatmap')


def test_where_the_map_belongs(tmp_path):
    """A transformer whose last layer is set by hand: the answer is known, on the topic and in /diagnostics."""
    network = FusionNetwork(NetworkConfig(map_registration=mechanism('stn', max_shift=10.0, max_yaw=0.3)))
    with torch.no_grad():
        network.map_registration.regression.bias.copy_(torch.tensor([0.1, -0.2, 0.3, -1.0, -2.0, -3.0]))
    checkpoint.save(tmp_path / 'stn.safetensors', network, Calibration(), {})
    shift, std = (10 * math.tanh(0.1), -10 * math.tanh(0.2), 0.3 * math.tanh(0.3)), 10 / math.sqrt(3)
    own = Graph({'checkpoint': str(tmp_path / 'stn.safetensors'), 'map.max_age': 2.0})
    try:
        own.subscribe('map_alignment', PoseWithCovarianceStamped)
        own.take(map_image(0.0))
        own.sweep(0.1)
        message = wait_until(lambda: own.received['map_alignment'], 'the correction')[-1]
        assert message.header.frame_id == 'base_link' and message.header.stamp.nanosec == 100_000_000
        pose, covariance = message.pose.pose, np.reshape(message.pose.covariance, (6, 6))
        assert (pose.position.x, pose.position.y) == pytest.approx(shift[:2], abs=1e-4)
        assert 2 * math.atan2(pose.orientation.z, pose.orientation.w) == pytest.approx(shift[2], abs=1e-4)
        assert covariance[0, 0] == pytest.approx((std * math.exp(-1))**2, rel=1e-4)
        assert covariance[1, 1] == pytest.approx((std * math.exp(-2))**2, rel=1e-4)
        told = values(own.status('map image', lambda s: 'alignment.dx_m' in values(s), 'the correction'))
        assert float(told['alignment.dx_m']) == pytest.approx(shift[0], abs=1e-3)
        assert float(told['alignment.dyaw_deg']) == pytest.approx(math.degrees(shift[2]), abs=1e-2)
        count = len(own.received['map_alignment'])
        own.sweep(30.0)  # by then the map image is too old: there is nothing to be corrected
        own.status('map image', lambda s: 'map_too_old' in s.message and 'alignment.dx_m' not in values(s), 'no more')
        assert len(own.received['map_alignment']) == count
    finally:
        own.close()


def test_a_network_that_does_not_register_the_map_says_so(graph):
    subscription = graph.subscribe('map_alignment', PoseWithCovarianceStamped)
    graph.sweep(20.0)
    status = graph.status('output', lambda s: 'map_alignment' in s.message, 'why nothing comes')
    assert status.level == status.OK and "'untrained'" in status.message and 'Remedy' in status.message
    assert not graph.received['map_alignment']
    graph.probe.destroy_subscription(subscription)
    graph.status('output', lambda s: 'map_alignment' not in s.message, 'nobody waits any more')


def test_messages_that_were_not_made_are_not_counted():
    own = Graph({'branches.min_direction_probability': 0.99, 'branches.min_probability': 0.01})
    try:
        own.subscribe('direction', PoseWithCovarianceStamped)
        own.subscribe('branches', PoseArray)
        own.sweep(0.0)
        wait_until(lambda: own.received['branches'], 'the branches')
        assert own.last.direction_reason and own.node.publications.messages['direction'] == 0
        assert own.node.publications.messages['branches'] >= 1
    finally:
        own.close()


def test_what_is_drawn_on_the_ground_ends_when_results_do_not_go_on():
    """For displays that started before, and for those that start afterwards."""
    own = Graph({'branches.min_probability': 0.01}, create_pipeline=Decided)
    try:
        shown = {'heatmap/spatial': lambda m: max(m.data) > 0, 'map_points': lambda m: m.width > 0,
                 'attention_points': lambda m: m.width > 0}
        for name in shown:
            own.subscribe(name, TOPICS[name])
        own.take(map_image(0.0))
        own.sweep(0.05)
        for name, something in shown.items():
            assert something(wait_until(lambda name=name: own.received[name], name)[-1]), name
        own.node.trigger_deactivate()
        for name, something in shown.items():
            wait_until(lambda name=name, something=something: not something(own.received[name][-1]), f'{name} ends')
        late = []
        own.probe.create_subscription(OccupancyGrid, '/attention_fusion/heatmap/spatial', late.append, LATCHED)
        assert max(wait_until(lambda: late, 'what is latched')[-1].data) == 0
    finally:
        own.close()


def ends(graph):
    """Whether the last of the markers received ends all that were shown before."""
    last = graph.received['markers'][-1].markers
    return [marker.action for marker in last] == [Marker.DELETEALL]


def test_markers_end_when_results_do_not_go_on():
    """By themselves where no message comes any more, and by a message on silence and when the node is deactivated."""
    graph = Graph({'branches.min_probability': 0.01}, create_pipeline=Decided)
    try:
        graph.subscribe('markers', MarkerArray)
        graph.sweep(0.0)
        wait_until(lambda: graph.received['markers'], 'markers')
        shown = [m for m in graph.received['markers'][0].markers if m.action == Marker.ADD]
        assert shown and all(0 < m.lifetime.sec + m.lifetime.nanosec / 1e9 <= 2.0 for m in shown)
        wait_until(lambda: ends(graph), 'no sweep comes: they are taken back')
        count = len(graph.received['markers'])
        graph.sweep(1.0)
        wait_until(lambda: len(graph.received['markers']) > count, 'markers are back')
        assert not ends(graph)
        graph.node.trigger_deactivate()
        wait_until(lambda: ends(graph), 'the node is deactivated: they are taken back')
        count = len(graph.received['markers'])
        graph.node.trigger_activate()
        graph.node.trigger_deactivate()
        time.sleep(0.5)
        assert len(graph.received['markers']) == count  # nothing is shown: there is nothing to end
    finally:
        graph.close()
