# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings are read whole or refused with a reason."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from support import synthetic_bag as bag

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream import inputs
from attention_fusion_ros.stream import recording as recordings
from attention_fusion_ros.stream.recording import Recording, header_stamp_ns

CLOUD = 'sensor_msgs/msg/PointCloud2'
IMAGE = 'sensor_msgs/msg/Image'


@pytest.fixture(scope='module', params=['mcap', 'sqlite3'])
def drive(request, tmp_path_factory):
    return bag.write(tmp_path_factory.mktemp('bags') / request.param, bag.drive(3), request.param)


def read(path):
    with Recording(path) as recording:
        topics = recording.input_topics()
        return topics, [(raw.stamp_ns, raw.topic, recording.decode(raw))
                        for raw in recording.raw_messages(topics.names())]


def test_finds_topics_by_type_and_reads_messages_in_recorded_order(drive):
    topics, messages = read(drive)
    assert [topics[n] for n in ('pointcloud', 'map_image', 'odometry', 'transforms')] == [
        '/lidar/points', '/map_image', '/odom', '/tf_static']
    assert [(s, t) for s, t, _ in messages] == [(s, t) for s, t, _ in bag.drive(3)]
    clouds = [m for _, t, m in messages if t == '/lidar/points']
    assert [header_stamp_ns(m) for m in clouds] == [bag.T0 + i * bag.PERIOD for i in range(3)]
    assert bytes(clouds[1].data) == bag.street(1).tobytes()


def test_reads_a_folder_without_metadata_and_a_single_file(drive, tmp_path):
    expected = [(s, t) for s, t, _ in read(drive)[1]]
    copy = shutil.copytree(drive, tmp_path / 'copy')
    (copy / 'metadata.yaml').unlink()
    assert [(s, t) for s, t, _ in read(copy)[1]] == expected
    file = next(f for f in copy.iterdir() if f.suffix in ('.mcap', '.db3'))
    assert [(s, t) for s, t, _ in read(file)[1]] == expected


def test_counts_and_duration(drive):
    with Recording(drive) as recording:
        assert {t.name: t.count for t in recording.topics.values()} == {
            '/lidar/points': 3, '/map_image': 3, '/odom': 3, '/tf_static': 1}
        assert recording.count(['/odom', '/tf_static']) == 4
        assert recording.duration == pytest.approx(0.4, abs=1e-6)
        assert not recording.is_latched('/odom')


def test_none_leaves_an_optional_input_out(drive):
    with Recording(drive) as recording:
        topics = recording.input_topics(map_image='none', odometry='none')
        assert topics['map_image'] is None and topics['odometry'] is None
        assert topics.names() == ['/lidar/points', '/tf_static']


def refusal(path, **options):
    with pytest.raises(InputError) as caught, Recording(path) as recording:
        list(map(recording.decode, recording.raw_messages(recording.input_topics(**options).names())))
    assert 'Remedy: ' in str(caught.value)
    return caught.value


def test_what_is_no_recording_is_refused(tmp_path):
    empty, text, broken = tmp_path / 'empty', tmp_path / 'notes.txt', tmp_path / 'broken.mcap'
    empty.mkdir()
    text.write_text('hello')
    broken.write_text('hello')
    assert refusal(tmp_path / 'nothing').reason == 'recording_missing'
    assert [refusal(p).reason for p in (empty, text, broken)] == ['recording_unreadable'] * 3


def test_topics_that_are_missing_ambiguous_or_of_another_type(drive, tmp_path):
    two = bag.write(tmp_path / 'two', [*bag.drive(2), (bag.T0, '/rear/points', bag.cloud(bag.T0, bag.street(1)))],
                    types={'/rear/points': CLOUD})
    none = bag.write(tmp_path / 'none', [e for e in bag.drive(2) if e[1] != '/lidar/points'])
    ambiguous = refusal(two)
    assert ambiguous.reason == 'topic_ambiguous'
    assert '/lidar/points' in ambiguous.remedy and '/rear/points' in ambiguous.remedy
    assert 'none' not in ambiguous.remedy  # there is no doing without a cloud
    assert refusal(none).reason == 'topic_missing'
    missing = refusal(drive, map_image='/camera')
    assert missing.reason == 'topic_missing' and '/map_image' in missing.remedy
    assert refusal(drive, odometry='/map_image').reason == 'topic_type'
    wrong = refusal(drive, odometry='/lidar/points')  # the only cloud: not missing, but wrong for odometry
    assert wrong.reason == 'topic_type' and "'/lidar/points' holds sensor_msgs/msg/PointCloud2" in str(wrong)
    with Recording(two) as recording:
        assert recording.input_topics(pointcloud='rear/points')['pointcloud'] == '/rear/points'


def test_two_inputs_cannot_be_one_topic(drive, tmp_path):
    both = refusal(drive, pointcloud='/lidar/points', pointcloud_2='lidar/points')
    assert both.reason == 'topic_taken'
    assert all(words in str(both) for words in ("'/lidar/points'", '--pointcloud and --pointcloud-2', 'of its own'))
    other = refusal(drive, pointcloud_2='/lidar/points')  # the only one, and not that of the first LiDAR
    assert other.reason == 'topic_taken' and "--pointcloud-2 has taken '/lidar/points'" in str(other)
    assert 'give --pointcloud /lidar/points' in other.remedy and 'Record one' not in str(other)
    copy = shutil.copytree(drive, tmp_path / 'hinted')
    (copy / 'replay.yaml').write_text('recording:\n  ros__parameters: {pointcloud: /lidar/points}\n')
    assert refusal(copy, pointcloud_2='/lidar/points').reason == 'topic_taken'


def test_where_no_topic_is_found_in_a_file_that_breaks_off_that_is_said(tmp_path):
    path = bag.write(tmp_path / 'drive', bag.drive(3))
    file = path / 'drive.mcap'
    whole = file.read_bytes()
    file.write_bytes(whole[:whole.index(b'/lidar/points')])  # before the first cloud
    for what in (path, file):
        error = refusal(what)
        assert error.reason == 'topic_missing' and 'drive.mcap breaks off' in str(error)
        assert 'get the file again' in error.remedy and 'Record one' not in str(error)
        assert '/tf_static' in error.remedy


def test_a_damaged_message_is_named(tmp_path):
    path = bag.write(tmp_path / 'damaged', [*bag.drive(1), (bag.T0 + 5, '/map_image', b'\x00\x01\x00\x00\x07')])
    error = refusal(path)
    assert error.reason == 'undecodable_message' and '/map_image' in str(error)


def test_a_second_input_of_the_same_type_takes_what_is_left(tmp_path, monkeypatch):
    rear = dataclasses.replace(inputs.input_named('pointcloud'), name='rear', required=False)
    table = (*(spec for spec in inputs.INPUTS if spec.name == 'pointcloud' or CLOUD not in spec.types), rear)
    monkeypatch.setattr(recordings, 'INPUTS', table)
    monkeypatch.setattr(recordings, 'selectable_inputs', lambda: inputs.selectable_inputs(table))
    one = bag.write(tmp_path / 'one', bag.drive(2))
    two = bag.write(tmp_path / 'two', [*bag.drive(2), (bag.T0, '/rear/points', bag.cloud(bag.T0, bag.street(1)))],
                    types={'/rear/points': CLOUD})
    with Recording(one) as recording:
        assert recording.input_topics()['rear'] is None
    with Recording(two) as recording:
        for wanted in ({'pointcloud': '/lidar/points'}, {'rear': 'rear/points'}):
            topics = recording.input_topics(**wanted)
            assert (topics['pointcloud'], topics['rear']) == ('/lidar/points', '/rear/points')
        with pytest.raises(TypeError):
            recording.input_topics(front='/lidar/points')


def test_results_of_the_node_that_were_recorded_too_are_no_inputs(tmp_path):
    scored, points, inputs = (f'/car/fusion/{name}' for name in ('branches/scored', 'attention_points',
                                                                 'input/pointcloud'))
    results = [(bag.T0, topic, bag.cloud(bag.T0, bag.street(1))) for topic in (scored, points)]
    beside = bag.write(tmp_path / 'beside', [*bag.drive(2), *results], types={scored: CLOUD, points: CLOUD})
    below = bag.write(tmp_path / 'below', [(s, inputs if t == '/lidar/points' else t, m) for s, t, m in
                                           [*bag.drive(2), *results]],
                      types={scored: CLOUD, points: CLOUD, inputs: CLOUD})
    with Recording(beside) as recording:
        topics = recording.input_topics()
        assert topics['pointcloud'] == '/lidar/points' and recording.further_clouds(topics) == []
        assert recording.input_topics(pointcloud=points)['pointcloud'] == points  # if it is asked for
    with Recording(below) as recording:
        assert recording.input_topics()['pointcloud'] == inputs
