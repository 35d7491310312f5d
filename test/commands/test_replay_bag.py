# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay --bag`: the outputs as a recording, the same with and without ROS, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import Reader
from support import synthetic_bag as bag
from support.full_disk import no_room

from attention_fusion_ros.commands import replay
from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.outputs import OUTPUTS
from attention_fusion_ros.stream.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = 3
ROS = ('rclpy', 'builtin_interfaces', 'geometry_msgs', 'nav_msgs', 'sensor_msgs', 'std_msgs', 'visualization_msgs',
       'diagnostic_msgs', 'rosgraph_msgs')
WITHOUT_ROS = f'import sys; sys.modules.update(dict.fromkeys({ROS!r}))\n'
RUN = 'import sys; from attention_fusion_ros.commands import replay; sys.exit(replay.main(sys.argv[1:]))'
TOPICS = {f'/attention_fusion/{spec.name}': spec for spec in OUTPUTS}


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    return bag.write(tmp_path_factory.mktemp('bags') / 'drive', bag.drive(SWEEPS))


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    return bag.lively_options(tmp_path_factory.mktemp('weights'))


@pytest.fixture(scope='module')
def results(drive, options, tmp_path_factory):
    """The recording that a process without ROS writes."""
    folder = tmp_path_factory.mktemp('results')
    done = subprocess.run([sys.executable, '-c', WITHOUT_ROS + RUN, drive, '--out', folder / 'out', '--bag',
                           folder / 'results', *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'WARNING' not in done.stderr, done.stderr
    return folder / 'results'


def messages(path: Path) -> dict[str, list]:
    with Recording(path) as recording:
        found: dict[str, list] = {name: [] for name in recording.topics}
        for raw in recording.raw_messages(list(recording.topics)):
            found[raw.topic].append(raw)
        return found


def contents(path: Path) -> dict[str, list]:
    """(stamp, bytes) by topic, with what is between the fields, which anything may be, set to zero."""
    with Recording(path) as recording:
        return {topic: [(raw.stamp_ns, bytes(STORE.serialize_cdr(recording.decode(raw), raw.type))) for raw in found]
                for topic, found in messages(path).items()}


def test_every_output_is_there_with_a_message_a_sweep(results):
    found = messages(results)
    assert set(found) == set(TOPICS)
    with Recording(results) as recording:
        for topic, spec in TOPICS.items():
            assert recording.topics[topic].type == spec.type.replace('/', '/msg/')
            assert recording.is_latched(topic) == spec.latched
            for raw in found[topic]:
                message = recording.decode(raw)
                if hasattr(message, 'header'):
                    assert message.header.frame_id == ('lidar' if spec.in_sensor_frame else 'base_link')
            # The checkpoint has no spatial transformer, so there is no alignment.
            assert len(found[topic]) == (0 if spec.name == 'map_alignment' else SWEEPS), topic
        stamps = [recording.decode(raw).header.stamp.sec * 10**9 + recording.decode(raw).header.stamp.nanosec
                  for raw in found['/attention_fusion/branches']]
        assert stamps == [bag.T0 + i * bag.PERIOD for i in range(SWEEPS)]
        age = [recording.decode(raw).data for raw in found['/attention_fusion/debug/processing_time/data_age_ms']]
        total = [recording.decode(raw).data for raw in found['/attention_fusion/debug/processing_time/total_ms']]
        assert all(0 < b <= a < b + 200 for a, b in zip(age, total))


def test_qos_profiles_are_those_that_rosbag2_plays_since_humble(results):
    info = yaml.safe_load((results / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert info['storage_identifier'] == 'mcap' and info['version'] <= 8
    for entry in info['topics_with_message_count']:
        topic = entry['topic_metadata']
        profile, = yaml.safe_load(topic['offered_qos_profiles'])  # a text, with the numbers of rmw/types.h
        spec = TOPICS[topic['name']]
        assert profile['reliability'] == 1 and profile['durability'] == (1 if spec.latched else 2)
        assert profile['depth'] == (1 if spec.latched else 2)


def test_a_process_with_ros_writes_the_same_bytes(results, drive, options, tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    done = subprocess.run([sys.executable, '-c', RUN, drive, '--out', tmp_path / 'out', '--bag', tmp_path / 'results',
                           *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, other = contents(results), contents(tmp_path / 'results')
    assert set(one) == set(other)
    for topic, spec in TOPICS.items():
        if not spec.stage:  # durations differ
            assert one[topic] == other[topic], topic


def test_inputs_are_copied_between_the_results(drive, options, tmp_path, capsys):
    assert replay.main([str(drive), '--out', str(tmp_path / 'out'), '--bag', str(tmp_path / 'both'), '--with-inputs',
                        *options]) == 0
    before, both = messages(drive), messages(tmp_path / 'both')
    assert set(both) == set(before) | set(TOPICS)
    for topic, sent in before.items():
        assert [(m.stamp_ns, m.data) for m in both[topic]] == [(m.stamp_ns, m.data) for m in sent]
    with Recording(tmp_path / 'both') as recording:
        assert recording.is_latched('/tf_static') and not recording.is_latched('/odom')
        order = [raw.stamp_ns for raw in recording.raw_messages(list(recording.topics))]
        assert order == sorted(order)
    with Reader(tmp_path / 'both') as reader:  # as another program reads it
        assert sum(1 for _ in reader.messages()) == sum(map(len, both.values()))
    # Once more, of its own result: the old results are not copied beside the new ones.
    assert replay.main([str(tmp_path / 'both'), '--out', str(tmp_path / 'again'), '--bag', str(tmp_path / 'twice'),
                        '--with-inputs', *options]) == 0  # and are no inputs
    assert {t: len(m) for t, m in messages(tmp_path / 'twice').items()} == {t: len(m) for t, m in both.items()}
    told = [line for line in capsys.readouterr().err.splitlines() if 'the results written here' in line]
    assert len(told) == 1 and all(topic in told[0] for topic in TOPICS)  # one cause, one message


def test_results_without_their_inputs_are_told_from_a_recording_without_sensors(results, options, tmp_path, capsys):
    assert replay.main([str(results), '--out', str(tmp_path / 'out'), *options]) == 2
    said = capsys.readouterr().err
    assert 'results of the node' in said and '--with-inputs' in said and 'No topic' not in said


def test_what_exists_is_not_written_to(drive, options, tmp_path, capsys):
    (tmp_path / 'there').mkdir()
    assert replay.main([str(drive), '--out', str(tmp_path / 'out'), '--bag', str(tmp_path / 'there'), *options]) == 2
    assert 'exists already' in capsys.readouterr().err and not (tmp_path / 'out').exists()
    with pytest.raises(SystemExit):
        replay.main([str(drive), '--out', str(tmp_path / 'out'), '--with-inputs', *options])


def test_a_full_disk_is_named_with_the_folder_and_nothing_is_left(drive, options, tmp_path, capsys):
    with no_room(2000):
        status = replay.main([str(drive), '--out', str(tmp_path / 'out'), '--bag', str(tmp_path / 'results'), *options])
    assert status == 2 and list(tmp_path.iterdir()) == []
    assert f"'{tmp_path / 'results'}' cannot be written" in capsys.readouterr().err


def test_an_interrupted_run_leaves_nothing_under_the_name(options, tmp_path):
    long = bag.write(tmp_path / 'long', bag.drive(700))
    process = subprocess.Popen([sys.executable, '-c', RUN, long, '--out', tmp_path / 'out', '--bag',
                                tmp_path / 'results', *options], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, 'PYTHONUNBUFFERED': '1'},
                               # Whoever runs the tests in the background may have it ignored.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while not [f for f in tmp_path.glob('.results.*/results/*.mcap') if f.stat().st_size > 10_000]:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert sorted(f.name for f in tmp_path.iterdir()) == ['long']
