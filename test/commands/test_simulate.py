# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`simulate` publishes what a vehicle's drivers would; the drive itself is repeatable and its truth fits."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from support.calls import recorded_calls

from attention_fusion_ros.commands import simulate
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.geometry import rotation_2d
from attention_fusion_ros.maps.fix import fix_from_message
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.simulation.recording import TOPICS
from attention_fusion_ros.simulation.sweeps import DriveOptions, SimulatedDrive
from attention_fusion_ros.stream.inputs import default_topics, input_named
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.sweeps import SweepStream

FAST = DriveOptions(seed=1, rate=4.0, lidar='vlp_16', duration=1.0)


@pytest.fixture(scope='module')
def drive():
    return SimulatedDrive(FAST)


def test_equal_options_give_equal_sweeps_and_other_seeds_other_ones(drive):
    first, again = drive.sweep(2), SimulatedDrive(FAST).sweep(2)
    np.testing.assert_array_equal(first.cloud.xyz, again.cloud.xyz)
    np.testing.assert_array_equal(first.map_image, again.map_image)
    assert first.truth == again.truth and first.pose == again.pose
    other = SimulatedDrive(dataclasses.replace(FAST, seed=2)).sweep(2)
    assert other.pose != first.pose


def test_times_poses_and_odometry(drive):
    assert len(drive) == 4
    assert [drive.sweep(i).time_ns for i in range(4)] == [0, 250_000_000, 500_000_000, 750_000_000]
    path = [p for i in range(4) for p in drive.odometry(i)]
    times = np.array([t for t, _ in path])
    assert (np.diff(times) == 50_000_000).all() and path[5][1] == drive.sweep(1).pose
    steps = np.linalg.norm(np.diff([p[:2] for _, p in path], axis=0), axis=1)
    assert (steps <= FAST.speed * 0.05 + 1e-6).all() and steps.sum() > 1.0


def test_map_images_are_off_by_what_was_asked_for(drive):
    exact = SimulatedDrive(dataclasses.replace(FAST, map_shift=(0.0, 0.0), map_yaw=0.0, route=False))
    moved = SimulatedDrive(dataclasses.replace(FAST, map_shift=(4.0, 2.0), map_yaw=0.0, route=False))
    resolution = exact.map_layout.resolution
    rows, columns = round(4.0 / resolution), round(2.0 / resolution)  # up and to the left in the picture
    image, shifted = exact.sweep(0).map_image[..., 0], moved.sweep(0).map_image[..., 0]
    inner = shifted[:-rows, :-columns].astype(int) - image[rows:, columns:]
    assert (np.abs(inner) > 60).mean() < 0.002 < (np.abs(shifted.astype(int) - image) > 60).mean()
    red = drive.sweep(0).map_image[..., 0] > drive.sweep(0).map_image[..., 1].astype(int) + 100
    assert red.any() and not SimulatedDrive(dataclasses.replace(FAST, with_map=False)).sweep(0).map_image


def test_truth_leads_along_the_drive(drive):
    """Where the vehicle will cross the ring is within a lane of where the direction says."""
    long = SimulatedDrive(dataclasses.replace(FAST, duration=8.0, rate=1.0))
    x, y, yaw = long.sweep(0).pose
    later = np.array([p[:2] for i in range(len(long)) for _, p in long.odometry(i)]) - (x, y)
    ahead = later @ rotation_2d(yaw)  # into base_link
    crossing = ahead[np.argmax(np.hypot(*ahead.T) >= 20.0)]
    bearing, _ = long.sweep(0).truth.direction
    assert abs(math.remainder(math.atan2(crossing[1], crossing[0]) - bearing, 2 * math.pi)) < math.atan2(3.5, 20.0)


def test_rings_number_the_beams(drive):
    cloud = drive.sweep(0).cloud
    rings = drive.rings(cloud)
    assert rings.dtype == np.uint16 and set(rings) <= set(range(16)) and len(set(rings)) > 10
    elevation = np.arctan2(cloud.xyz[:, 2], np.hypot(*cloud.xyz[:, :2].T))
    assert (np.diff([np.median(elevation[rings == r]) for r in sorted(set(rings))]) > 0.02).all()


@pytest.mark.parametrize('options, words', [
    (['--rate', '0'], 'must be positive'), (['--speed', '-3'], 'must be positive'), (['--duration', '-1'], 'negative')])
def test_mistakes_are_one_line(options, words, capsys):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    assert simulate.main([*options, '--lidar', 'vlp_16']) == 2
    assert words in capsys.readouterr().err


def test_a_drive_is_written_as_a_recording_without_ros(tmp_path, monkeypatch, drive, capsys):
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    folder = tmp_path / 'out' / 'drive'
    options = ['--bag', str(folder), '--seed', '1', '--rate', '4', '--lidar', 'vlp_16', '--duration', '1', '--quiet']
    assert simulate.main(options) == 0
    with Recording(folder) as recording:
        clouds = [decode_cloud(recording.decode(raw)) for raw in recording.raw_messages(['/lidar/points'])]
        assert recording.count(list(TOPICS)) >= 1 + 4 * 3
    assert len(clouds) == 4
    assert np.array_equal(clouds[1].xyz, drive.sweep(1).cloud.xyz)
    capsys.readouterr()
    assert simulate.main([o for o in options if o != '--quiet']) == 2  # never over an existing one
    assert capsys.readouterr().err.startswith('error: ')  # no progress bar before it
    names = default_topics()
    assert {names['pointcloud'], names['map_image'], names['odometry'], '/tf_static'} == set(TOPICS)


class Listener:
    """Hears everything that `simulate` publishes."""

    def __init__(self, domain: int):
        from nav_msgs.msg import Odometry
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Image, Imu, NavSatFix, PointCloud2
        from tf2_msgs.msg import TFMessage

        from attention_fusion_ros.ros.clients.session import Session
        self.session = Session('listener', domain_id=domain)
        every = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE,
                             durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.heard = {}
        for topic, kind, qos in (('/lidar/points', PointCloud2, every), ('/map_image', Image, every),
                                 ('/odom', Odometry, every), ('/tf', TFMessage, every), ('/clock', Clock, every),
                                 ('/fix', NavSatFix, every), ('/heading', Imu, every),
                                 ('/tf_static', TFMessage, latched)):
            self.heard[topic] = []
            self.session.node.create_subscription(kind, topic, self.heard[topic].append, qos)


@pytest.fixture
def listener(ros_domain, monkeypatch):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(ros_domain))
    listener = Listener(ros_domain)
    yield listener.heard
    listener.session.close()


def run_until(heard, count, *options):
    """`simulate --loop` in rounds until so many clouds were heard: the first ones may go out before anybody hears."""
    end = time.monotonic() + 60
    while len(heard['/lidar/points']) < count:
        assert time.monotonic() < end, {topic: len(m) for topic, m in heard.items()}
        assert simulate.main(['--seed', '1', '--rate', '4', '--lidar', 'vlp_16', '--duration', '1', '--quiet',
                              *options]) == 0
        time.sleep(0.3)


def stamp(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_what_is_published_can_be_used_by_the_node(listener, drive):
    run_until(listener, 2)
    cloud = listener['/lidar/points'][-1]
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 7), ('ring', 16, 4), ('time', 18, 7)]
    assert cloud.header.frame_id == 'lidar' and cloud.point_step == 22
    # Moved by odometry from the time of each point, the points are where they are.
    stream = SweepStream(from_flat({'use_tf': False, 'T_base_sensor': drive.T_base_sensor.ravel().tolist()}),
                         max_wait_s=0.0)
    for message in listener['/odom']:
        stream.take(input_named('odometry'), input_named('odometry').transports[0], message)
    moved = stream.sweep(cloud).cloud.xyz
    np.testing.assert_allclose(moved, drive.sweep(3).cloud.xyz, atol=0.03)
    assert np.abs(decode_cloud(cloud).xyz - moved).max() > 0.5  # 0.25 s in a car
    times = np.frombuffer(bytes(cloud.data), np.uint8).reshape(-1, 22)[:, 18:22].copy().view('<f4')
    assert -0.25 <= times.min() < -0.2 and -0.05 < times.max() <= 0.0
    image = decode_map_image(listener['/map_image'][-1])
    assert image.road.max() > 0.9 and image.route is not None
    assert stamp(listener['/map_image'][-1]) == stamp(cloud)
    assert stamp(cloud) in {stamp(m) for m in listener['/odom']}
    assert 0 <= time.time_ns() - stamp(cloud) < 60 * 10**9
    static = listener['/tf_static'][-1].transforms[0]
    assert (static.header.frame_id, static.child_frame_id) == ('base_link', 'lidar')
    assert static.transform.translation.z == pytest.approx(drive.T_base_sensor[2, 3])
    moving = listener['/tf'][-1].transforms[0]
    assert (moving.header.frame_id, moving.child_frame_id) == ('odom', 'base_link')
    assert 0 < listener['/odom'][-1].twist.twist.linear.x <= FAST.speed + 0.1
    assert not listener['/clock']


def test_the_last_messages_are_waited_for_before_it_ends(listener, monkeypatch):
    from attention_fusion_ros.ros.clients.drive_publisher import DrivePublisher
    from attention_fusion_ros.ros.clients.session import Session
    calls = recorded_calls(monkeypatch, (DrivePublisher, 'run'), (DrivePublisher, 'flush'), (Session, 'close'))
    assert simulate.main(['--seed', '1', '--rate', '4', '--lidar', 'vlp_16', '--duration', '0.01', '--quiet']) == 0
    assert calls == ['run', 'flush', 'close']


def test_a_drive_shorter_than_a_period_is_one_sweep(listener):
    end = time.monotonic() + 60
    while not listener['/lidar/points']:
        assert time.monotonic() < end
        assert simulate.main(['--seed', '1', '--rate', '4', '--lidar', 'vlp_16', '--duration', '0.01', '--quiet']) == 0
        time.sleep(0.3)
    assert len(SimulatedDrive(dataclasses.replace(FAST, duration=0.01))) == 1
    assert SimulatedDrive(dataclasses.replace(FAST, duration=1e-12)).odometry(0)


def test_sweeps_are_computed_ahead_and_no_thread_is_left_when_the_rest_is_not_wanted(drive):
    """A thread that still computes when the process ends aborts it: Ctrl-C."""
    from attention_fusion_ros.ros.clients.drive_publisher import prefetched
    assert [sweep.index for sweep in prefetched(drive)] == [0, 1, 2, 3]
    with closing(prefetched(drive)) as sweeps:
        assert next(sweeps).index == 0
        assert any(thread.name.startswith('simulation') for thread in threading.enumerate())
    assert not any(thread.name.startswith('simulation') for thread in threading.enumerate())
    assert not list(prefetched(drive, alive=lambda: False))


def test_what_goes_wrong_in_the_thread_is_raised_where_the_sweeps_are_used(drive):
    from attention_fusion_ros.ros.clients.drive_publisher import prefetched

    class Broken:
        def __len__(self):
            return 2

        def sweep(self, index):
            if index:
                raise ValueError('no such sweep')
            return drive.sweep(0)

    sweeps = prefetched(Broken())
    assert next(sweeps).index == 0
    with pytest.raises(ValueError, match='no such sweep'):
        next(sweeps)


def test_clock_and_no_map(listener):
    run_until(listener, 2, '--clock', '--no-map')
    assert listener['/clock'] and not listener['/map_image']
    seconds = [t.clock.sec + t.clock.nanosec / 1e9 for t in listener['/clock']]
    assert seconds[0] >= 1.0 and max(seconds) < 2.0
    assert {stamp(m) for m in listener['/lidar/points']} <= {10**9 + i * 250_000_000 for i in range(4)}


def test_a_drive_through_a_real_city_is_a_recording_with_fixes_and_truth(tmp_path, monkeypatch, capsys):
    pytest.importorskip('osmium', reason='needs osmium')
    pytest.importorskip('pyproj', reason='needs pyproj')
    monkeypatch.setitem(sys.modules, 'rclpy', None)
    folder = tmp_path / 'city'
    options = ['--osm', '--seed', '2', '--rate', '2', '--lidar', 'vlp_16', '--duration', '2', '--quiet']
    assert simulate.main([*options, '--imu', '--fix-rate', '10', '--fix-lost', '1', '0.5', '--bag', str(folder)]) == 0
    assert 'from 42.' in capsys.readouterr().err
    with Recording(folder) as recording:
        assert '/map_image' not in recording.topics
        heard = {topic: [recording.decode(raw) for raw in recording.raw_messages([topic])]
                 for topic in ('/lidar/points', '/fix', '/heading', '/odom', '/tf_static')}
        assert [len(heard[topic]) for topic in ('/lidar/points', '/fix', '/heading', '/odom')] == [4, 20, 40, 40]
        stamps = [stamp(m) for m in heard['/fix']]
        assert stamps == [10**9 + k * 10**8 for k in range(20)]
    lost = [m.status.status == -1 for m in heard['/fix']]
    assert lost == [10 <= k < 15 for k in range(20)]
    known = [fix_from_message(m) for m, gone in zip(heard['/fix'], lost) if not gone]
    assert all(f.std == pytest.approx(math.hypot(0.5, 2.0)) and f.std_known and f.frame_id == 'gnss' for f in known)
    mounted = {t.child_frame_id for t in heard['/tf_static'][0].transforms}
    assert mounted == {'lidar', 'gnss', 'imu'}
    truth = json.loads((folder / 'truth.json').read_text())
    frame = LocalFrame(*truth['datum'].values())
    assert [row['stamp_ns'] for row in truth['sweeps']] == [stamp(m) for m in heard['/lidar/points']]
    for row in truth['sweeps']:
        np.testing.assert_allclose(frame.to_metres(row['latitude'], row['longitude']), row['pose'][:2], atol=1e-3)
        assert row['direction']['20'] in row['branches']['20'] and len(row['branches']['30']) >= 2
    first = known[0]
    away = np.hypot(*(frame.to_metres(first.latitude, first.longitude) - truth['sweeps'][0]['pose'][:2]))
    assert away < 12.0
    assert 'OpenStreetMap' in truth['map data'] and truth['route']['geometry']['type'] == 'LineString'
    # From fixes and odometry to a position: the topics fit together.
    position = MapPosition(frame)
    for m in heard['/heading'][:1]:
        q, covariance = m.orientation, m.orientation_covariance
        assert abs(2 * math.atan2(q.z, q.w) - truth['sweeps'][0]['pose'][2]) % (2 * math.pi) < 0.15
        position.add_yaw(stamp(m), 2 * math.atan2(q.z, q.w), math.sqrt(covariance[8]))
    position.add_fix(first)
    assert math.degrees(position.estimate().heading_std) == pytest.approx(math.hypot(0.5, 1.5))


def test_a_simulated_town_has_a_truth_too_but_lies_nowhere(tmp_path, drive):
    folder = tmp_path / 'drive'
    assert simulate.main(['--bag', str(folder), '--seed', '1', '--rate', '4', '--lidar', 'vlp_16', '--duration', '1',
                          '--quiet']) == 0
    truth = json.loads((folder / 'truth.json').read_text())
    assert truth['datum'] is None and len(truth['sweeps']) == 4 and 'latitude' not in truth['sweeps'][0]
    assert tuple(truth['sweeps'][2]['pose']) == drive.sweep(2).pose
    assert truth['sweeps'][2]['direction']['20'] == list(drive.sweep(2).truth.direction)


@pytest.mark.parametrize('options, words', [
    (['--osm', '--goal', '10,10'], 'nowhere near the roads'),
    (['--osm', '--goal', '-33.8,151.2'], '-33.8000, 151.2000'),
    (['--goal', '42.3,-71.0'], 'add --osm'), (['--osm', '--fix-rate', '0'], 'fixes must be positive'),
    (['--osm', 'nothing.osm'], "'nothing.osm' cannot be read"), (['--osm', '--odometry-scale', '2'], 'odometry')])
def test_mistakes_about_the_city_are_one_line(options, words, tmp_path, capsys):
    pytest.importorskip('osmium', reason='needs osmium')
    pytest.importorskip('pyproj', reason='needs pyproj')
    assert simulate.main([*options, '--lidar', 'vlp_16', '--bag', str(tmp_path / 'none')]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith('error: ') and error.count('\n') == 1
    assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize('text', ['10', '1,2,3', 'north', '91,0', '0,181'])
def test_places_that_are_none(text, capsys):
    with pytest.raises(SystemExit):
        simulate.options_parser().parse_args(['--osm', '--goal', text])
    assert text in capsys.readouterr().err


def test_fixes_are_published_between_the_sweeps(listener):
    pytest.importorskip('osmium', reason='needs osmium')
    pytest.importorskip('pyproj', reason='needs pyproj')
    run_until(listener, 2, '--osm', '--imu')
    assert not listener['/map_image'] and listener['/fix'] and listener['/heading']
    fix = next(m for m in listener['/fix'] if m.status.status == 0)
    assert fix.header.frame_id == 'gnss' and fix.latitude == pytest.approx(42.347, abs=0.01)
    assert {stamp(m) for m in listener['/heading']} <= {stamp(m) for m in listener['/odom']}
    assert {t.child_frame_id for t in listener['/tf_static'][-1].transforms} == {'lidar', 'gnss', 'imu'}
    assert fix.position_covariance_type == 2 and fix.position_covariance[0] == pytest.approx(4.25)
