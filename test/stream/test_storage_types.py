# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of every profile and of ROS 1, with types of other packages and channels that are not of ROS."""

from __future__ import annotations

import sys

import lz4.frame
import pytest
from rosbags import rosbag1
from rosbags.rosbag2 import Reader
from support import mcap_bytes as mcap
from support import synthetic_bag as bag
from support.storage_kit import CLOUD, COUNTS, DRIVE, definition, odometry_bytes, read, refusal, ros1_bag, write

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.recording import Recording

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


# -- other encodings and formats ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('profile', ['', 'ros2', 'x-own'])
@pytest.mark.parametrize('compression', ['loose', '', 'zstd', 'lz4'])
def test_mcap_of_any_profile_with_channels_that_are_not_of_ros(tmp_path, profile, compression):
    records = b''.join([
        mcap.schema(1, 'nav_msgs/msg/Odometry', 'ros2msg', definition('nav_msgs/msg/Odometry')),
        mcap.schema(2, 'foxglove.Log', 'protobuf', '\x0a\x00'), mcap.schema(3, 'Status', 'jsonschema', '{}'),
        mcap.channel(1, 1, '/odom', 'cdr'), mcap.channel(2, 2, '/log', 'protobuf'),
        mcap.channel(3, 3, '/status', 'json'), mcap.channel(4, 0, '/plain', 'json'),
        mcap.message(1, 20, odometry_bytes(20)), mcap.message(2, 5, b'\x08\x01'), mcap.message(3, 6, b'{}'),
        mcap.message(1, 10, odometry_bytes(10)), mcap.message(4, 7, b'{}')])
    pack = {'': bytes, 'zstd': zstd.compress, 'lz4': lz4.frame.compress}.get(compression)
    file = tmp_path / 'mixed.mcap'
    file.write_bytes(mcap.whole([records if pack is None else mcap.chunk(records, compression, pack(records))],
                                profile))
    counts, notes, losses = read(file)
    assert counts == {'/odom': 2} and losses == []
    assert notes == ['mixed.mcap: left out, for they are not of ROS: /log (protobuf), /plain (json), /status (json).']


def test_types_of_other_packages_are_decoded_by_their_recorded_definition(tmp_path):
    text = 'std_msgs/Header header\nuint32 point_num\nOwn[] points\n' + '=' * 80 + '\nMSG: my_msgs/Own\nfloat32 x\n' + (
        '=' * 80 + '\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n') + (
        '=' * 80 + '\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n')
    data = b'\0\1\0\0' + b'\1\0\0\0\2\0\0\0' + b'\2\0\0\0a\0\0\0' + b'\1\0\0\0' + b'\1\0\0\0' + b'\0\0\x80\x3f'
    file = tmp_path / 'own.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, 'my_msgs/msg/Cloud', 'ros2msg', text),
                                 mcap.channel(1, 1, '/own', 'cdr'), mcap.message(1, 10, data)]))
    with Recording(file) as recording:
        message = recording.decode(next(recording.raw_messages(['/own'])))
    assert message.header.stamp.nanosec == 2 and message.header.frame_id == 'a'
    assert [point.x for point in message.points] == [1.0]


def test_a_type_without_definition_is_refused_by_name_when_it_is_decoded(tmp_path):
    file = tmp_path / 'own.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, 'my_msgs/msg/Cloud', '', ''), mcap.channel(1, 1, '/own', 'cdr'),
                                 mcap.message(1, 10, b'\0\1\0\0')]))
    with Recording(file) as recording, pytest.raises(InputError) as caught:
        recording.decode(next(recording.raw_messages(['/own'])))
    assert caught.value.reason == 'undecodable_message' and 'my_msgs/msg/Cloud' in str(caught.value)


@pytest.mark.parametrize('compression', [None, *rosbag1.Writer.CompressionFormat])
def test_ros1_bags_give_what_the_same_messages_of_ros2_give(tmp_path, compression):
    file = ros1_bag(tmp_path / 'drive.bag', compression=compression)
    assert read(file) == (COUNTS, [], [])
    with Recording(file) as old, Recording(write(tmp_path / 'drive')) as new:
        assert old.topics == new.topics
        assert old.is_latched('/map_image') and not old.is_latched('/odom')
        topics = list(new.topics)
        # The header of ROS 1 has a sequence number more, and each topic is as ROS 2 sends it all the same.
        assert [raw.data for raw in old.raw_messages(topics)] == [raw.data for raw in new.raw_messages(topics)]
        assert all(map(old.is_ros2_type, topics))


@pytest.mark.parametrize('compression', [None, *rosbag1.Writer.CompressionFormat])
def test_ros1_bags_that_break_off(tmp_path, compression):
    whole = ros1_bag(tmp_path / 'drive.bag', bag.drive(60), compression)
    file = tmp_path / 'drive.bag.active'
    file.write_bytes(whole.read_bytes()[:int(whole.stat().st_size * 0.7)])
    counts, _, losses = read(file)
    assert 10 <= counts['/lidar/points'] < 60 and 'interrupted' in losses[0]
    with Recording(file) as broken, Recording(whole) as recording:
        topics = list(recording.topics)
        of_whole = list(recording.raw_messages(topics))
        assert [(m.stamp_ns, m.topic, m.data) for m in broken.raw_messages(topics)] == [
            (m.stamp_ns, m.topic, m.data) for m in of_whole[:sum(counts.values())]]
        assert broken.is_latched('/map_image')
    file.write_bytes(whole.read_bytes()[:200])
    assert 'index' in str(refusal(file))


# -- names -------------------------------------------------------------------------------------------------------------

def test_transforms_in_a_namespace(tmp_path):
    def named(event, robot):
        stamp, topic, message = event
        return stamp, f'/{robot}{topic}', message

    moving = (bag.T0, '/tf', bag.transform_message(bag.T0, 'odom', 'base_link', bag.SENSOR))
    one = [named(e, 'robot1') for e in [*DRIVE, moving]]
    both = one + [named(e, 'robot2') for e in [*DRIVE, moving] if e[1].startswith('/tf')]
    for name, events in (('one', one), ('both', both)):
        with Recording(write(tmp_path / name, sorted(events, key=lambda e: e[0]))) as recording:
            topics = recording.input_topics()
            transforms = [n for n in topics.names() if topics.topic(n).spec.name == 'transforms']
            assert transforms == ['/robot1/tf', '/robot1/tf_static']
            assert [topics.topic(n).transport.topic for n in transforms] == ['/tf', '/tf_static']


def test_topics_without_messages_are_named_as_that(tmp_path):
    folder = write(tmp_path / 'drive', [e for e in DRIVE if e[1] != '/lidar/points'])
    with Reader(folder):
        pass
    file = tmp_path / 'silent.mcap'
    file.write_bytes(mcap.whole([mcap.schema(1, CLOUD, 'ros2msg', definition(CLOUD)),
                                 mcap.channel(1, 1, '/lidar/points', 'cdr')]))
    with Recording(file) as recording, pytest.raises(InputError) as caught:
        recording.input_topics()
    assert caught.value.reason == 'topic_missing' and '/lidar/points (0 messages)' in str(caught.value)
