# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What programs that publish and end owe to their subscribers: the last messages."""

from __future__ import annotations

import sys

import pytest
from support import synthetic_bag as bag

pytest.importorskip('rclpy', reason='no ROS 2 here')

from attention_fusion_ros.ros.clients.bag_player import BagPlayer  # noqa: E402
from attention_fusion_ros.ros.clients.drive_publisher import DrivePublisher  # noqa: E402
from attention_fusion_ros.ros.clients.session import Session, flush  # noqa: E402
from attention_fusion_ros.simulation.drive_options import DriveOptions  # noqa: E402
from attention_fusion_ros.simulation.sweeps import SimulatedDrive  # noqa: E402
from attention_fusion_ros.stream.recording import Recording  # noqa: E402


class Topic:
    """Has so many subscribers, and remembers whether it was waited for them."""

    def __init__(self, subscribers: int = 1):
        self._subscribers, self.waited = subscribers, False

    def get_subscription_count(self):
        return self._subscribers

    def wait_for_all_acked(self, timeout):
        self.waited = timeout.nanoseconds > 0


class Topics(dict):
    """What is published, by name."""

    def create_publisher(self, kind, topic, qos):
        return self.setdefault(topic, Topic())


def test_each_publisher_with_subscribers_is_waited_for():
    publishers = [Topic(1), Topic(0), Topic(3)]
    flush(publisher for publisher in publishers)
    assert [publisher.waited for publisher in publishers] == [True, False, True]


def test_a_player_waits_for_all_its_topics(tmp_path):
    topics = Topics()
    with Recording(bag.write(tmp_path / 'drive', bag.drive(1))) as recording:
        BagPlayer(topics, recording, list(recording.topics)).flush()
    assert {name: topic.waited for name, topic in topics.items()} == dict.fromkeys(bag.TOPICS, True)


@pytest.mark.parametrize('with_map', [True, False])
def test_a_simulated_drive_waits_for_all_its_topics(with_map):
    topics = Topics()
    drive = SimulatedDrive(DriveOptions(seed=1, rate=4.0, lidar='vlp_16', duration=0.01, with_map=with_map))
    DrivePublisher(topics, drive).flush()
    expected = {'/lidar/points', '/odom', '/tf', '/tf_static'} | ({'/map_image'} if with_map else set())
    assert {name: topic.waited for name, topic in topics.items()} == dict.fromkeys(expected, True)


def test_the_command_line_of_the_process_is_not_its_own(ros_domain, monkeypatch):
    """`benchmark -p device:=cpu` is no remap rule for the node that measures."""
    monkeypatch.setattr(sys, 'argv', ['benchmark', '--ros-args', '-r', '__ns:=/elsewhere'])
    with Session('probe', domain_id=ros_domain) as session:
        assert session.node.get_namespace() == '/'
    with Session('probe', list(sys.argv), domain_id=ros_domain) as session:
        assert session.node.get_namespace() == '/elsewhere'
