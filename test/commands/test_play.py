# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`play` puts a recording on the graph as it was recorded."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import synthetic_bag as bag
from support.calls import recorded_calls

pytest.importorskip('rclpy', reason='needs ROS 2')

from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage

from attention_fusion_ros.commands import play
from attention_fusion_ros.ros.clients import bag_player
from attention_fusion_ros.ros.clients.bag_player import BagPlayer, offered_qos
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.stream.recording import Recording

pytestmark = pytest.mark.ros
KEEP_ALL = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {'/lidar/points': PointCloud2, '/map_image': Image, '/odom': Odometry}


def stamp(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture
def domain(ros_domain, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(ros_domain))
    return ros_domain


class Listener:
    """Subscribes to the topics of a drive, like the node does, and to /clock."""

    def __init__(self, domain: int, prefix: str = ''):
        self.session = Session('listener', domain_id=domain)
        self.heard = {topic: [] for topic in TYPES}
        self.clock, self.static = [], []
        for topic, kind in TYPES.items():
            self.session.node.create_subscription(kind, prefix + topic, self.heard[topic].append, KEEP_ALL)
        self.session.node.create_subscription(Clock, '/clock', self.clock.append, 100)
        self.session.node.create_subscription(TFMessage, '/tf_static', self.static.append, LATCHED)

    def wait(self, condition, timeout=30.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, {t: len(m) for t, m in self.heard.items()}
            time.sleep(0.02)


@pytest.fixture
def listener(domain):
    listener = Listener(domain)
    yield listener
    listener.session.close()


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    return bag.write(tmp_path_factory.mktemp('bags') / 'drive', bag.drive(4))


def test_publishes_every_message_with_its_bytes_and_stamps(listener, drive):
    assert play.main([str(drive), '--wait', '60', '--rate', '4', '--quiet']) == 0
    expected = [bag.T0 + i * bag.PERIOD for i in range(4)]
    listener.wait(lambda: all(len(m) == 4 for m in listener.heard.values()))
    for messages in listener.heard.values():
        assert [stamp(m) for m in messages] == expected
    assert bytes(listener.heard['/lidar/points'][2].data) == bag.street(2).tobytes()
    assert [p.name for p in listener.heard['/lidar/points'][2].fields] == ['x', 'y', 'z', 'intensity']
    assert listener.heard['/odom'][3].pose.pose.position.x == 6.0
    listener.wait(lambda: listener.static)
    assert listener.static[0].transforms[0].child_frame_id == 'lidar'
    assert not listener.clock


def test_pace_and_clock(listener, drive):
    start = time.monotonic()
    assert play.main([str(drive), '--wait', '60', '--rate', '0.5', '--clock', '50', '--quiet']) == 0
    assert time.monotonic() - start > 3 * bag.PERIOD / 1e9 / 0.5
    ticks = [t.clock.sec * 10**9 + t.clock.nanosec for t in listener.clock]
    assert len(ticks) > 10 and ticks == sorted(ticks)
    assert bag.T0 <= ticks[0] and ticks[-1] < bag.T0 + 4 * bag.PERIOD


def test_chosen_topics_and_remapping(domain, drive):
    listener = Listener(domain, '/vehicle')
    try:
        remaps = ['--ros-args', '-r', '/lidar/points:=/vehicle/lidar/points', '-r', '/odom:=/vehicle/odom']
        assert play.main([str(drive), '--wait', '60', '--topics', '/lidar/points', 'odom', '--rate', '4', '--quiet',
                          *remaps]) == 0
        listener.wait(lambda: len(listener.heard['/lidar/points']) == len(listener.heard['/odom']) == 4)
        assert not listener.heard['/map_image'] and not listener.static
    finally:
        listener.session.close()


def test_the_last_messages_are_waited_for_before_it_ends(domain, drive, monkeypatch):
    calls = recorded_calls(monkeypatch, (BagPlayer, 'play_once'), (BagPlayer, 'flush'), (Session, 'close'))
    assert play.main([str(drive), '--rate', '20', '--quiet']) == 0
    assert calls == ['play_once', 'flush', 'close']


def test_loop_starts_again_with_the_same_stamps(listener, drive, monkeypatch):
    def playing():
        monkeypatch.setattr(Session, 'ok', lambda self: len(listener.heard['/odom']) < 9 and self.context.ok())
        play.main([str(drive), '--wait', '60', '--rate', '20', '--loop', '--quiet'])
    player = threading.Thread(target=playing)
    player.start()
    player.join(60)
    assert not player.is_alive()
    stamps = [stamp(m) for m in listener.heard['/odom']]
    assert len(stamps) >= 9
    assert stamps == [bag.T0 + (i % 4) * bag.PERIOD for i in range(len(stamps))]


@pytest.mark.slow
@pytest.mark.parametrize('command', [['play', '{drive}', '--loop', '--quiet'], ['play', '{drive}', '--wait'],
                                     ['simulate', '--loop', '--quiet', '--lidar', 'vlp_16']])
@pytest.mark.parametrize('how', [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 3],
                         ids=lambda how: '+'.join(s.name for s in how))
def test_being_stopped_is_no_failure(domain, drive, command, how):
    """As by launch, by docker or by a terminal, once or several times."""
    def settled():
        names = graph.node.get_node_names()
        return any(name.startswith('attention_fusion_') for name in names)

    arguments = [argument.format(drive=drive) for argument in command]
    process = subprocess.Popen([sys.executable, '-m', 'attention_fusion_ros', *arguments],
                               cwd=Path(__file__).parents[2], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        with Session('probe', domain_id=domain) as graph:
            end = time.monotonic() + 60.0
            while not settled():
                assert time.monotonic() < end and process.poll() is None, process.communicate()[0]
                time.sleep(0.05)
        for number in how:
            process.send_signal(number)
            time.sleep(0.02)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 0 and 'Traceback' not in output and 'interrupted' not in output, output
    finally:
        process.kill()


def test_nobody_listens(domain, drive, capsys):
    assert play.main([str(drive), '--wait', '0.3', '--quiet']) == 1
    assert 'had no subscriber' in capsys.readouterr().err


@pytest.mark.parametrize('options, words', [
    (['/does/not/exist'], 'no recording'), (['{drive}', '--topics', '/nothing'], "no topic '/nothing'")])
def test_mistakes_are_one_line(drive, options, words, capsys):
    assert play.main([o.format(drive=drive) for o in options]) == 2
    assert words in capsys.readouterr().err


def test_a_recording_without_messages_is_called_that(tmp_path, capsys):
    assert play.main([str(bag.write(tmp_path / 'empty', [], types={'/odom': bag.TOPICS['/odom']}))]) == 2
    assert 'holds no messages' in capsys.readouterr().err


def test_topics_of_types_that_are_not_installed_are_left_out(listener, tmp_path, capsys):
    from rosbags.rosbag2 import Writer
    with Writer(tmp_path / 'odd', version=9) as writer:
        strange = writer.add_connection('/strange', 'no_such_msgs/msg/Thing', msgdef='float64 x\n', rihs01='RIHS01_0')
        odom = writer.add_connection('/odom', bag.TOPICS['/odom'], typestore=bag.STORE)
        writer.write(strange, bag.T0, b'\x00\x01\x00\x00' + bytes(8))
        writer.write(odom, bag.T0, bag.STORE.serialize_cdr(bag.odometry(bag.T0, 1.0), bag.TOPICS['/odom']))
    assert play.main([str(tmp_path / 'odd'), '--wait', '60', '--quiet']) == 0
    listener.wait(lambda: listener.heard['/odom'])
    error = capsys.readouterr().err
    assert 'strange is left out with its 1 message(s)' in error and 'no_such_msgs' in error


def test_a_late_subscriber_hears_every_static_transform(domain):
    """A recording holds those of several broadcasters, each of which latched its own."""
    with Session('speaker', domain_id=domain) as speaker, Session('late', domain_id=domain) as late:
        qos = offered_qos('/tf_static', latched=False)
        publisher = speaker.node.create_publisher(TFMessage, '/tf_static', qos)
        for _ in range(30):
            publisher.publish(TFMessage())
        heard = []
        late.node.create_subscription(TFMessage, '/tf_static', heard.append, qos)
        end = time.monotonic() + 30.0
        while len(heard) < 30:
            assert time.monotonic() < end, len(heard)
            time.sleep(0.02)


class Renewing:
    """A subscription of `node` that is replaced by another one whenever it is called; `player` sees the graph."""

    def __init__(self, node, player, topic):
        self._node, self._player, self._topic = node, player, topic
        self.rounds, self._subscription, self._known = 0, None, self._endpoints()

    def _endpoints(self):
        return {bytes(e.endpoint_gid) for e in self._player.get_subscriptions_info_by_topic(self._topic)}

    def __call__(self):
        before, self._subscription = self._subscription, self._node.create_subscription(
            TYPES[self._topic], self._topic, lambda _: None, 1)
        if before is not None:
            self._node.destroy_subscription(before)
        end = time.monotonic() + 30.0
        while len(now := self._endpoints()) != 1 or now == self._known:
            assert time.monotonic() < end, (now, self._known)
            time.sleep(0.01)
        self._known = now
        self.rounds += 1


@pytest.fixture
def connected(domain, tmp_path):
    """A node, and a player of a recording in the same domain."""
    path = bag.write(tmp_path / 'drive', bag.drive(1))
    with Session('node', domain_id=domain) as node, Session('player', domain_id=domain, spin=False) as player, \
            Recording(path) as recording:
        yield node.node, player.node, BagPlayer(player.node, recording, ['/lidar/points', '/odom'])


def test_it_does_not_start_while_a_subscription_is_made_anew(connected, monkeypatch):
    """Adapting to the QoS on offer replaces a subscription: as many as before, but not yet connected."""
    monkeypatch.setattr(bag_player, 'SETTLE_S', 0.2)
    monkeypatch.setattr(bag_player, 'SETTLE_LIMIT_S', 60.0)
    node, graph, player = connected
    renew = Renewing(node, graph, '/lidar/points')

    def before_each_look():
        if renew.rounds < 12:
            renew()
        return True

    assert player.wait_for_subscribers(60.0, before_each_look)
    assert renew.rounds == 12


def test_a_program_that_keeps_coming_and_going_holds_it_up_for_a_while_only(connected, monkeypatch):
    monkeypatch.setattr(bag_player, 'SETTLE_LIMIT_S', 0.5)
    node, graph, player = connected
    node.create_subscription(PointCloud2, '/lidar/points', lambda _: None, 1)
    renew = Renewing(node, graph, '/odom')

    def before_each_look():
        assert renew.rounds < 200, 'it waits on'
        renew()
        return True

    assert player.wait_for_subscribers(60.0, before_each_look)
    assert renew.rounds > 1


class Unseen:
    """`node` in a graph that names no endpoints: only its `publishers`, by topic, know whether somebody subscribes."""

    def __init__(self, node):
        self._node, self.publishers = node, {}

    def create_publisher(self, kind, topic, qos):
        self.publishers[topic] = self._node.create_publisher(kind, topic, qos)
        return self.publishers[topic]

    def get_subscriptions_info_by_topic(self, topic):
        return []

    def wait(self, topic, count):
        """Wait until a publisher has so many subscribers."""
        end = time.monotonic() + 30.0
        while self.publishers[topic].get_subscription_count() != count:
            assert time.monotonic() < end, (topic, count)
            time.sleep(0.01)


@pytest.fixture
def unseen(domain, tmp_path):
    """A node, and a player of two clouds and odometry in the same domain, whose endpoints the player does not see."""
    events = [(stamp, topic + '/rear' * rear, message) for stamp, topic, message in bag.drive(1)
              for rear in range(1 + (topic == '/lidar/points'))]
    path = bag.write(tmp_path / 'clouds', events, types={'/lidar/points/rear': bag.TOPICS['/lidar/points']})
    with Session('node', domain_id=domain) as node, Session('player', domain_id=domain, spin=False) as player, \
            Recording(path) as recording:
        graph = Unseen(player.node)
        yield node.node, graph, BagPlayer(graph, recording, ['/lidar/points', '/lidar/points/rear', '/odom'])


def test_each_cloud_is_waited_for(unseen, monkeypatch):
    monkeypatch.setattr(bag_player, 'SETTLE_S', 0.1)
    node, graph, player = unseen
    node.create_subscription(PointCloud2, '/lidar/points/rear', lambda _: None, 1)
    graph.wait('/lidar/points/rear', 1)
    assert not player.wait_for_subscribers(1.0)
    node.create_subscription(PointCloud2, '/lidar/points', lambda _: None, 1)
    assert player.wait_for_subscribers(60.0)


def test_it_does_not_start_while_publishers_gain_and_lose_subscribers(unseen, monkeypatch):
    """An endpoint is in the graph before messages reach it: then the publisher alone tells that it has come."""
    monkeypatch.setattr(bag_player, 'SETTLE_S', 0.2)
    monkeypatch.setattr(bag_player, 'SETTLE_LIMIT_S', 60.0)
    node, graph, player = unseen
    for topic in ('/lidar/points', '/lidar/points/rear'):
        node.create_subscription(PointCloud2, topic, lambda _: None, 1)
        graph.wait(topic, 1)
    changes, subscriptions = [], []

    def before_each_look():
        if len(changes) < 12:
            if subscriptions:
                node.destroy_subscription(subscriptions.pop())
            else:
                subscriptions.append(node.create_subscription(Odometry, '/odom', lambda _: None, 1))
            graph.wait('/odom', len(subscriptions))
            changes.append(len(subscriptions))
        return True

    assert player.wait_for_subscribers(60.0, before_each_look)
    assert changes == [1, 0] * 6


def test_time_to_settle_starts_anew_after_a_subscriber_has_left(unseen, monkeypatch):
    monkeypatch.setattr(bag_player, 'SETTLE_LIMIT_S', 0.5)
    node, graph, player = unseen
    topic = '/lidar/points'

    def subscribe():
        subscriptions.append(node.create_subscription(PointCloud2, topic, lambda _: None, 1))
        graph.wait(topic, 1)

    def leave():
        node.destroy_subscription(subscriptions.pop())
        graph.wait(topic, 0)

    node.create_subscription(PointCloud2, '/lidar/points/rear', lambda _: None, 1)
    graph.wait('/lidar/points/rear', 1)
    steps, subscriptions = [subscribe, leave, lambda: time.sleep(0.6), subscribe], []
    looks = []

    def before_each_look():
        if len(looks) < len(steps):
            steps[len(looks)]()
        looks.append(len(subscriptions))
        return True

    assert player.wait_for_subscribers(60.0, before_each_look)
    assert looks[:4] == [1, 0, 0, 1] and len(looks) > 4, 'it has settled the moment it is back'


def test_the_time_to_wait_is_that_for_a_subscriber(connected):
    """Settling afterwards does not count."""
    node, _, player = connected
    assert not player.wait_for_subscribers(0.1)
    node.create_subscription(PointCloud2, '/lidar/points', lambda _: None, 1)
    end = time.monotonic() + 30.0
    while not player.wait_for_subscribers(0.1):
        assert time.monotonic() < end
