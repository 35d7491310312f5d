# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node `map_source`: images and routes on topics, latched, in its namespace; bad messages cost nothing else."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from nav_msgs.srv import GetPlan  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image, PointCloud2  # noqa: E402
from support.map_kit import FRAME, START_NS  # noqa: E402
from support.map_node_kit import (  # noqa: E402
    MapGraph,
    Wire,
    alignment_message,
    fix_message,
    goal_message,
    imu_message,
    path_message,
    pixels,
    stamp_ns,
)
from support.node_kit import LATCHED, UNTRAINED, cloud, values, wait_until  # noqa: E402
from support.vehicle_kit import Vehicle, street, write_block  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.geometry import wrap  # noqa: E402
from attention_fusion_ros.maps.frames import LocalFrame, Utm  # noqa: E402
from attention_fusion_ros.maps.load import load_roads  # noqa: E402
from attention_fusion_ros.maps.local_roads import LocalRoads  # noqa: E402
from attention_fusion_ros.maps.odometry_track import Pose2  # noqa: E402
from attention_fusion_ros.maps.painter import ImageLayout, MapPainter  # noqa: E402
from attention_fusion_ros.ros.messages import sensors  # noqa: E402
from attention_fusion_ros.ros.node.node import AttentionFusionNode  # noqa: E402

LOCAL = LocalFrame(*FRAME)


@pytest.fixture(scope='session')
def parameters(tmp_path_factory):
    folder = tmp_path_factory.mktemp('block')
    return {'file': str(write_block(folder / 'block.geojson')), 'cache': str(folder / 'cache'),
            'datum': f'{FRAME[0]}, {FRAME[1]}'}


def pose_of(message) -> tuple[float, float, float]:
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return p.x, p.y, 2 * math.atan2(q.z, q.w)


def degrees_of(x: float, y: float) -> tuple[float, float]:
    latitude, longitude = LOCAL.to_degrees(np.array([x, y]))
    return float(latitude), float(longitude)


def text_of(x: float, y: float) -> str:
    return ', '.join(map(repr, degrees_of(x, y)))


def place(graph: MapGraph, seconds: float, x: float = -200.0, y: float = 0.0, yaw: float = 0.0):
    """The vehicle stands there: heading, fix, odometry of that time."""
    ns = START_NS + round(seconds * 1e9)
    wire = Wire(graph)
    wire.odometry(ns - 200_000_000, Pose2(x + 7.0, y - 4.0, yaw))
    graph.send('input/imu', imu_message(ns - 100_000_000, yaw), 'heading')
    wire.fix(ns - 100_000_000, *degrees_of(x, y), 0.5)
    wire.odometry(ns, Pose2(x + 7.0, y - 4.0, yaw))
    return ns


def image_at(graph: MapGraph, ns: int, condition=lambda image: True):
    """An image of what `place` has sent: there is none for its second odometry where the vehicle stood already."""
    return graph.wait_for('map_image', lambda m: 0 <= ns - stamp_ns(m) <= 200_000_000 and condition(m), f'for {ns}')


def red(image) -> bool:
    p = pixels(image).astype(int)
    return bool(((p[..., 0] > 150) & (p[..., 1] < 80) & (p[..., 2] < 80)).any())


def test_images_come_and_are_what_the_painter_draws(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image', 'position', 'position/fix', 'roads')
        vehicle = Vehicle(Wire(graph), LOCAL, street())
        vehicle.drive(6.0)
        image = graph.wait_for('map_image', lambda m: stamp_ns(m) > vehicle.now_ns - 500_000_000)
        assert (image.encoding, image.width, image.height, image.header.frame_id) == ('rgb8', 480, 480, 'base_link')
        position = graph.wait_for('position', lambda m: stamp_ns(m) == stamp_ns(image))
        roads = LocalRoads(load_roads(parameters['file'], cache=None), LOCAL)
        drawn = MapPainter(roads, ImageLayout()).draw(pose_of(position))
        assert np.array_equal(pixels(image), drawn)
        truth = vehicle.truth_at(stamp_ns(image))
        assert np.hypot(*(np.array(pose_of(position)[:2]) - truth[:2])) < 1.0
        fix = graph.wait_for('position/fix', lambda m: stamp_ns(m) == stamp_ns(image))
        assert np.hypot(*(LOCAL.to_metres(fix.latitude, fix.longitude) - pose_of(position)[:2])) < 0.01
        markers = graph.wait_for('roads').markers
        assert markers[0].action == markers[0].DELETEALL and len(markers[1].points) >= 4
        status = values(graph.status('position', lambda s: 'known to' in s.message, 'known'))
        assert float(status['position_std_m']) < 2.0 and float(status['heading_std_deg']) < 15.0
        graph.status('output', lambda s: s.level == b'\x00' and 'draw_p95_ms' in values(s), 'with times')
        late = []  # who comes later gets the last image
        graph.probe.create_subscription(Image, '/map_source/map_image', late.append, LATCHED)
        wait_until(lambda: late, 'the last image')


def test_every_transition_can_be_repeated(parameters):
    with MapGraph(parameters, active=False) as graph:
        for k in range(2):
            assert str(graph.node.trigger_configure()).endswith('SUCCESS')
            assert str(graph.node.trigger_activate()).endswith('SUCCESS')
            graph.subscribe('map_image')
            image_at(graph, place(graph, 10.0 * k))
            assert str(graph.node.trigger_deactivate()).endswith('SUCCESS')
            wait_until(lambda: not graph.probe.count_subscribers('/map_source/input/fix'), 'the inputs disappear')
            assert str(graph.node.trigger_activate()).endswith('SUCCESS')
            image_at(graph, place(graph, 10.0 * k + 5.0))
            assert str(graph.node.trigger_deactivate()).endswith('SUCCESS')
            assert str(graph.node.trigger_cleanup()).endswith('SUCCESS')
            wait_until(lambda: not graph.probe.count_publishers('/map_source/map_image'), 'the outputs disappear')


@pytest.mark.parametrize('values_of, words', [
    ({'file': '/nowhere/city.osm.pbf'}, 'cannot be read'), ({'file': ''}, 'file'), ({'goal': 'home'}, 'goal'),
    ({'datum': '35.0, 139.0'}, 'nowhere near'), ({'map.resolution': -1.0}, 'map.resolution'),
    ({'map.resolutoin': 0.25}, "Did you mean 'map.resolution'")])
def test_what_cannot_be_configured_is_named(parameters, values_of, words):
    with MapGraph({**parameters, **values_of}, active=False) as graph:
        assert str(graph.node.trigger_configure()).endswith('FAILURE')
        assert graph.node.state == 'unconfigured'
        status = graph.status('map', lambda s: words in s.message, words)
        assert status.level == b'\x02'


def fill(fifo, content: str, times: int) -> threading.Thread:
    """Write to a pipe in a thread, once for each time it is read."""
    def run():
        for _ in range(times):
            with open(fifo, 'w') as file:
                file.write(content)
            time.sleep(2.0)  # until the reader has seen the end
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_file_that_takes_long_is_read_while_the_node_is_up(parameters, tmp_path):
    slow = tmp_path / 'slow.geojson'
    os.mkfifo(slow)
    with MapGraph({**parameters, 'file': str(slow)}) as graph:  # configured and active
        graph.status('map', lambda s: 'map_loading' in s.message, 'it is being read')
        graph.subscribe('map_image', 'route')
        mounted = sensors.transform((50.0, 0.0, 1.0), 0.0, sensors.header(0, 'base_link'), 'mast')
        graph.send('/tf_static', TFMessage(transforms=[mounted]), 'transform')
        graph.send('input/goal_fix', fix_message(0, *degrees_of(100.0, 0.0)), 'goal')
        fill(slow, Path(parameters['file']).read_text(), 2)  # once for its name in the cache
        graph.status('map', lambda s: 'stretches of road' in s.message, 'it has been read')
        graph.send('input/imu', imu_message(START_NS, 0.0), 'heading')
        graph.send('input/fix', fix_message(START_NS, *degrees_of(-200.0, 0.0), frame='mast'), 'fix')
        Wire(graph).odometry(START_NS + 100_000_000, Pose2(0.0, 0.0, 0.0))
        image = image_at(graph, START_NS + 200_000_000, red)  # what came meanwhile is not lost: the goal ...
        route = graph.wait_for('route', lambda m: m.poses)
        assert route.poses[0].pose.position.x == pytest.approx(-250.0, abs=2.0)  # ... and the mounting
        assert stamp_ns(image) >= START_NS


def test_a_file_that_turns_out_to_be_unusable_is_named(parameters, tmp_path):
    slow = tmp_path / 'slow.geojson'
    os.mkfifo(slow)
    with MapGraph({**parameters, 'file': str(slow)}) as graph:
        fill(slow, '{"type": "FeatureCollection", "features": []}', 2)
        status = graph.status('map', lambda s: 'map_unusable' in s.message, 'map_unusable')
        assert status.level == b'\x02' and 'no roads' in status.message
        graph.send('input/fix', fix_message(START_NS, *FRAME), 'fix')
        assert graph.node.state == 'active'


def test_goals_come_in_every_way_and_the_last_one_counts(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image', 'route', 'route/geojson')

        def route_to(x: float, y: float, seconds: float):
            """The route after the vehicle has been heard of again, and the image."""
            graph.received['route'].clear()
            ns = place(graph, seconds)
            route = graph.wait_for('route', lambda m: m.poses and math.hypot(
                m.poses[-1].pose.position.x - x, m.poses[-1].pose.position.y - y) < 1.0, f'to {x}, {y}')
            assert route.header.frame_id == 'map'
            image_at(graph, ns, red)

        assert not red(image_at(graph, place(graph, 0.0)))
        assert graph.wait_for('route').poses == []
        assert json.loads(graph.wait_for('route/geojson').data)['geometry'] is None
        graph.node.set_parameters([Parameter('goal', value=text_of(200.0, 100.0))])
        route_to(200.0, 100.0, 2.0)
        latitude, longitude = degrees_of(200.0, 100.0)
        feature = json.loads(graph.wait_for('route/geojson', lambda m: '"LineString"' in m.data).data)
        assert feature['geometry']['coordinates'][-1] == pytest.approx([longitude, latitude], abs=1e-6)
        assert feature['properties']['names'][0] == 'street 0'
        graph.send('input/goal_fix', fix_message(0, *degrees_of(0.0, 100.0)), 'goal')
        route_to(0.0, 100.0, 4.0)
        graph.send('input/goal_pose', goal_message(100.0, 0.0), 'goal')
        route_to(100.0, 0.0, 6.0)
        graph.send('input/goal_pose', goal_message(320.0, 0.0, 'base_link'), 'goal')
        route_to(120.0, 0.0, 8.0)
        graph.send('input/goal_pose', goal_message(87.0, -4.0, 'odom'), 'goal')
        route_to(80.0, 0.0, 10.0)
        latitude, longitude = degrees_of(60.0, 0.0)
        graph.send('input/goal_pose', goal_message(longitude, latitude, 'wgs84'), 'goal')
        route_to(60.0, 0.0, 12.0)
        graph.send('input/path', path_message([(-250.0, 0.0), (40.0, 0.0)]), 'goal')
        route_to(40.0, 0.0, 14.0)
        answer = graph.call(GetPlan, 'set_goal', GetPlan.Request(goal=goal_message(20.0, 0.0)))
        assert answer.plan.poses[-1].pose.position.x == pytest.approx(20.0, abs=0.1)
        route_to(20.0, 0.0, 16.0)
        graph.node.set_parameters([Parameter('map.min_distance', value=0.4)])
        image_at(graph, place(graph, 18.0), red)  # another parameter does not bring the goal of the parameter back
        assert graph.received['route'][-1].poses[-1].pose.position.x == pytest.approx(20.0, abs=0.1)
        graph.node.set_parameters([Parameter('goal', value=text_of(200.0, 100.0))])  # as it was set before
        route_to(200.0, 100.0, 20.0)
        graph.send('input/path', path_message([]), 'goal')
        assert not red(image_at(graph, place(graph, 22.0)))


def test_what_is_wrong_with_a_goal_is_named(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image', 'route')
        place(graph, 0.0)
        refused = graph.node.set_parameters([Parameter('goal', value='home')])[0]
        assert not refused.successful and 'latitude' in refused.reason
        graph.send('input/goal_pose', goal_message(math.nan, 0.0), 'goal')
        graph.status('goal', lambda s: 'goal_malformed' in s.message, 'goal_malformed')
        graph.send('input/goal_pose', goal_message(1.0, 0.0, 'mars'), 'goal')
        graph.status('goal', lambda s: 'unknown_frame' in s.message, 'unknown_frame')
        answer = graph.call(GetPlan, 'set_goal', GetPlan.Request(goal=goal_message(0.0, 3000.0)))
        assert not answer.plan.poses
        place(graph, 2.0)
        status = graph.status('route', lambda s: 'goal_off_network' in s.message, 'goal_off_network')
        assert status.level == b'\x01' and 'Remedy' in status.message
        graph.send('input/path', path_message([(1.0, 1.0)]), 'goal')
        graph.status('goal', lambda s: 'path_too_short' in s.message, 'path_too_short')
        graph.send('input/goal_pose', goal_message(100.0, 0.0), 'goal')
        image_at(graph, place(graph, 4.0), red)


def test_messages_that_cannot_be_used_are_named_and_the_next_good_ones_give_an_image(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image')
        latitude, longitude = FRAME
        wire = Wire(graph)
        bad = {'no_fix': fix_message(START_NS, latitude, longitude, status=-1),
               'bad_fix': fix_message(START_NS, math.nan, longitude),
               'near_pole': fix_message(START_NS, 89.0, longitude),
               'stamp_zero': fix_message(0, latitude, longitude),
               'far_from_datum': fix_message(START_NS, -33.9, 151.2)}
        for reason, message in bad.items():
            graph.send('input/fix', message, 'fix')
            wait_until(lambda reason=reason: graph.dropped('fix', reason), reason)
        graph.send('input/odometry', sensors.odometry((math.nan, 0.0, 0.0), sensors.header(START_NS, 'odom')),
                   'odometry')
        wait_until(lambda: graph.dropped('odometry', 'bad_odometry'), 'bad_odometry')
        nothing = imu_message(START_NS, 0.0)
        nothing.orientation_covariance[0] = -1.0
        graph.send('input/imu', nothing, 'heading')
        wait_until(lambda: graph.dropped('heading', 'no_orientation'), 'no_orientation')
        wire.odometry(START_NS, Pose2(0.0, 0.0, 0.0))
        status = graph.status('position', lambda s: 'no_position' in s.message, 'no_position')
        assert status.level == b'\x01' and 'Remedy' in status.message
        assert not graph.received['map_image']
        image_at(graph, place(graph, 3.0))
        graph.status('position', lambda s: 'known to' in s.message, 'known')
        image_at(graph, place(graph, -500.0))  # the recording starts again
        place(graph, 10.0, y=5000.0)
        graph.status('position', lambda s: s.level == b'\x01', 'a reason')


def test_alignments_bring_the_map_to_where_it_belongs(parameters):
    """The stand-in for the fusion node: the truth with noise."""
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image', 'position')
        vehicle = Vehicle(Wire(graph), LOCAL, street(speed=9.0), seed=3, fix_std=4.0, scale=0.01,
                          drift=math.radians(0.004))
        rng = np.random.default_rng(4)
        used: list[int] = []

        def image_of(ns: int) -> bool:
            """In step with the node, however fast the machine: what waits in queues would be corrected too late."""
            end = time.monotonic() + 2.0
            while time.monotonic() < end:
                if all(any(stamp_ns(m) == ns for m in list(graph.received[name]))
                       for name in ('map_image', 'position')):
                    return True
                time.sleep(0.002)
            return False

        def align(ns: int, truth: Pose2):
            # Of a position for which an image was drawn, as the fusion node's alignments are.
            if vehicle.at % 3 == 0 and graph.received['map_image'] and image_of(ns):
                used.append(ns)
                position = next(m for m in graph.received['position'] if stamp_ns(m) == ns)
                a = truth.relative(Pose2(*pose_of(position)))
                noise = rng.normal(0, (0.4, 0.4, math.radians(1.0)))
                graph.send('input/map_alignment', alignment_message(
                    ns, a.x + noise[0], a.y + noise[1], a.yaw + noise[2]), 'alignment')
        vehicle.on_step = align
        vehicle.drive(45.0)
        assert len(used) > 100, f'{len(used)} images in step with the vehicle'
        vehicle.on_step = lambda ns, truth: None
        vehicle.drive(1.0)
        last = graph.wait_for('position', lambda m: stamp_ns(m) > vehicle.now_ns - 300_000_000)
        errors = np.array([vehicle.truth_at(stamp_ns(m)).relative(Pose2(*pose_of(m)))
                           for m in graph.received['position'] if stamp_ns(m) - START_NS > 30e9])
        assert np.median(np.hypot(errors[:, 0], errors[:, 1])) < 1.0
        assert np.median(np.abs(errors[:, 2])) < math.radians(1.0)
        assert stamp_ns(last) > START_NS
        corrected = values(graph.status('position', lambda s: 'corrected_m' in values(s), 'corrected'))
        assert float(corrected['corrected_m']) > 0.0


def test_tf_says_where_odometry_lies_in_the_map(parameters):
    with MapGraph({**parameters, 'publish_tf': True}) as graph:
        graph.probe.create_subscription(TFMessage, '/tf', graph.received['/tf'].append, 100)
        wait_until(lambda: graph.node.count_subscribers('/tf') >= 2, 'the listener is found')
        ns = place(graph, 0.0, x=-200.0, y=0.0, yaw=0.3)
        message = graph.wait_for('/tf', lambda m: stamp_ns(m.transforms[0]) == ns)
        transform = message.transforms[0]
        assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'odom')
        t, q = transform.transform.translation, transform.transform.rotation
        base = Pose2(t.x, t.y, 2 * math.atan2(q.z, q.w)).then(Pose2(-193.0, -4.0, 0.3))  # as `place` has it
        assert np.hypot(base.x + 200.0, base.y) < 0.5 and abs(wrap(base.yaw - 0.3)) < 0.02


def test_a_pose_on_tf_in_utm_is_all_that_is_needed(parameters):
    with MapGraph({**parameters, 'datum': '', 'position.source': 'tf', 'position.coordinates': 'utm',
                   'position.utm_zone': '32N'}) as graph:
        graph.subscribe('map_image', 'position/fix')
        x, y = Utm(32).to_metres(*FRAME)
        pose = sensors.transform((x, y, 200.0), 0.5, sensors.header(START_NS, 'utm'), 'base_link')
        graph.send('/tf', TFMessage(transforms=[pose]), 'transform')
        image = image_at(graph, START_NS)
        assert pixels(image).any()


def test_without_odometry_messages_tf_says_how_the_vehicle_moves(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image')
        graph.send('input/imu', imu_message(START_NS, 0.0), 'heading')

        def moved(seconds: float, x: float):
            ns = START_NS + round(seconds * 1e9)
            pose = sensors.transform((x, 3.0, 0.0), 0.0, sensors.header(ns, 'odom'), 'base_link')
            graph.send('/tf', TFMessage(transforms=[pose]), 'transform')
            return ns
        moved(0.1, 0.0)
        graph.send('input/imu', imu_message(START_NS + 100_000_000, 0.0), 'heading')
        graph.send('input/fix', fix_message(START_NS + 100_000_000, *FRAME), 'fix')
        image_at(graph, moved(0.4, 2.0))
        image_at(graph, moved(1.4, 12.0))


def test_two_nodes_in_two_namespaces_do_not_mix(parameters):
    with MapGraph(parameters, namespaces=('/car1', '/car2')) as graph:
        graph.subscribe('map_image', namespace='/car1')
        graph.subscribe('map_image', namespace='/car2')
        ns = place(graph, 0.0)  # the first one
        graph.wait_for('car1/map_image', lambda m: stamp_ns(m) == ns)
        assert not graph.received['car2/map_image']
        graph.status('position', lambda s: 'known to' in s.message, 'known', 'car1/map_source')
        graph.status('position', lambda s: s.level == b'\x01', 'no position', 'car2/map_source')


def test_a_recording_that_is_looped_with_its_clock_gives_images_in_every_round(parameters):
    with MapGraph({**parameters, 'use_sim_time': True, 'publish_tf': True}) as graph:
        graph.subscribe('map_image')
        graph.status('output', lambda s: '/clock' in s.message, 'no clock')
        clock = graph.probe.create_publisher(Clock, '/clock', 10)

        def tick(seconds: float):
            def ticked():
                clock.publish(sensors.clock(ns))
                return graph.node.get_clock().now().nanoseconds == ns
            ns = START_NS + round(seconds * 1e9)
            wait_until(ticked, 'the time')

        for _ in range(3):
            graph.received['map_image'].clear()
            for seconds in (0.0, 1.0, 2.0, 3.0):
                tick(seconds + 0.3)
                image_at(graph, place(graph, seconds, x=-200.0 + 5.0 * seconds))
        graph.status('position', lambda s: int(values(s).get('refused.clock_went_back', 0)) >= 2, 'clock_went_back')


def test_the_fusion_node_uses_the_image_as_it_comes(parameters):
    """Without a parameter of its own: only the topics are connected."""
    with MapGraph({**parameters, 'goal': text_of(200.0, 100.0)}) as graph:
        fusion = graph.add(AttentionFusionNode, [Parameter(name, value=value) for name, value in {
            **UNTRAINED, 'use_tf': False}.items()],
            ['-r', '/attention_fusion/input/map_image:=/map_source/map_image',
             '-r', '/attention_fusion/input/odometry:=/map_source/input/odometry'])
        assert str(fusion.trigger_configure()).endswith('SUCCESS')
        assert str(fusion.trigger_activate()).endswith('SUCCESS')
        wait_until(lambda: graph.node.publications.has_subscribers('map_image'), 'the fusion node listens')

        def fused():
            monitor = fusion.monitor.snapshot()
            return monitor.last is not None and monitor.last.mode == 'fused'

        sweeps = graph.probe.create_publisher(PointCloud2, '/attention_fusion/input/pointcloud', 1)
        for k in range(20):
            ns = place(graph, 0.5 * k, x=-200.0 + k)
            message = cloud(0.0)
            message.header.stamp = sensors.header(ns, '').stamp
            sweeps.publish(message)
            try:
                wait_until(fused, 'a fused result', timeout=3.0)
                break
            except AssertionError:
                continue
        assert fused(), fusion.monitor.snapshot()
