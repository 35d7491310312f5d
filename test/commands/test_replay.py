# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay` over recordings: a row a sweep, the pipeline's own numbers, clear errors."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from support import synthetic_bag as bag

from attention_fusion_ros.commands import replay
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Motion, SyncedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.geometry import se2
from attention_fusion_ros.pipeline.fusion import FusionPipeline

DRIVES = ('karlsruhe_street', 'suburb_side_roads', 'singapore_left_turn', 'pittsburgh_junction_ahead')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return bag.lively_checkpoint(tmp_path_factory.mktemp('weights') / 'lively.safetensors')


@pytest.fixture
def run(checkpoint, tmp_path, capsys):
    """Run the command; (status, rows of directions.csv, rows of branches.csv, stdout, stderr)."""
    def run(path, *options, folder='out', threads=1):
        out = tmp_path / folder
        status = replay.main([str(path), '--out', str(out), '--pictures', '1', '--device', 'cpu',
                              '-p', f'checkpoint:={checkpoint}', '-p', f'threads:={threads}',
                              '-p', 'branches.min_direction_probability:=0.0', *options])
        printed = capsys.readouterr()
        return (status, *(rows(out / name) for name in ('directions.csv', 'branches.csv')), printed.out, printed.err)
    return run


def rows(path):
    if not path.exists():
        return None
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def numbers(found, *names):
    return np.array([[float(row[n]) for n in names] for row in found])


def test_a_row_a_sweep_with_the_numbers_of_the_pipeline(run, checkpoint, tmp_path):
    status, directions, branches, printed, _ = run(bag.write(tmp_path / 'drive', bag.drive(3)))
    assert status == 0
    assert [int(r['stamp_ns']) for r in directions] == [bag.T0 + i * bag.PERIOD for i in range(3)]
    assert [r['mode'] for r in directions] == ['fused'] * 3
    assert all(float(r['latency_ms']) > 0 for r in directions)
    pipeline = FusionPipeline(from_flat({'checkpoint': str(checkpoint), 'device': 'cpu', 'threads': 1,
                                         'branches.min_direction_probability': 0.0}))
    expected = []
    for i in range(3):
        stamp = bag.T0 + i * bag.PERIOD
        T = np.eye(4)
        T[:2, [0, 1, 3]] = se2(2.0 * i, 0.0, 0.0)[:2]
        cloud = decode_cloud(bag.cloud(stamp, bag.street(i)))
        sweep = SyncedSweep(cloud, Motion(bag.SENSOR, T, T), decode_map_image(bag.map_image(stamp)))
        result = pipeline.run(sweep)
        expected.append(result)
    got = numbers(directions, 'bearing_rad', 'heading_rad', 'bearing_std_rad', 'probability')
    want = [[r.direction.bearing, r.direction.heading, r.direction.bearing_std, r.direction.probability]
            for r in expected]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert np.ptp(got[:, 0]) > 0.1  # the sweeps differ, so equal numbers mean something
    want = [(r.stamp_ns, b.bearing, b.heading, b.probability) for r in expected for b in r.branches]
    assert [int(r['stamp_ns']) for r in branches] == [w[0] for w in want]
    np.testing.assert_allclose(numbers(branches, 'bearing_rad', 'heading_rad', 'probability'),
                               [w[1:] for w in want], atol=1e-5)
    assert 'sweeps      3' in printed and 'fused 3' in printed and 'median' in printed


@pytest.mark.slow
def test_the_report_can_be_looked_at(run, tmp_path):
    run(bag.write(tmp_path / 'drive', bag.drive(2)))
    text = (tmp_path / 'out/report.html').read_text()
    assert text.count('data:image/') == 5 and 'checkpoint' in text  # timeline, three panels, attention beside Grad-CAM
    assert cv2.imread(str(tmp_path / 'out/report.png')).std() > 10


def test_a_broken_sweep_leaves_an_empty_row_and_the_next_one_a_result(run, tmp_path):
    events = bag.drive(4)
    at = [i for i, e in enumerate(events) if e[1] == '/lidar/points']
    stamp = events[at[1]][0]
    events[at[1]] = (stamp, '/lidar/points', bag.cloud(stamp, bag.street(1), cut=16))
    events[at[2]] = (events[at[2]][0], '/lidar/points', b'\x00\x01\x00\x00\x01\x02')  # not even a message
    status, directions, _, printed, _ = run(bag.write(tmp_path / 'broken', events))
    assert status == 0
    assert [r['mode'] for r in directions] == ['fused', '', '', 'fused']
    assert set(directions[1].values()) == {str(stamp), ''}
    assert 'undecodable_message 1' in printed and 'drops       2' in printed


@pytest.mark.slow
def test_a_recording_that_starts_again_goes_on_after_one_sweep(run, tmp_path):
    again = [(s + 10**9, t, m) for s, t, m in bag.drive(3) if t != '/tf_static']  # recorded later, stamped as before
    status, directions, _, printed, _ = run(bag.write(tmp_path / 'loop', bag.drive(3) + again))
    assert status == 0
    assert [r['mode'] for r in directions] == ['fused'] * 3 + [''] + ['fused'] * 2
    assert 'stamp_backwards 1' in printed


def test_the_map_image_of_a_sweep_may_be_recorded_a_little_after_it(run, tmp_path):
    late = [(s + (30_000_000 if t == '/map_image' else 0), t, m) for s, t, m in bag.drive(3)]
    late.sort(key=lambda e: e[0])
    plain = run(bag.write(tmp_path / 'plain', bag.drive(3)), folder='a')
    shifted = run(bag.write(tmp_path / 'late', late), folder='b')
    assert [r['mode'] for r in shifted[1]] == ['fused'] * 3
    np.testing.assert_array_equal(numbers(plain[2], 'bearing_rad'), numbers(shifted[2], 'bearing_rad'))


def test_it_says_how_many_sweeps_had_odometry_and_a_map(run, tmp_path):
    *_, printed, errors = run(bag.write(tmp_path / 'drive', bag.drive(4)), '--limit', '3')
    assert 'map image   used for 3 of 3 (without: -)' in printed
    assert 'odometry    used for 3 of 3 (without: -)' in printed and 'ahead of' not in errors


def test_sweeps_of_another_clock_are_told_in_one_sentence(run, tmp_path):
    street = bag.street(0)
    events = [(stamp, topic, bag.cloud(stamp + 37 * 10**9, street) if topic == '/lidar/points' else message)
              for stamp, topic, message in bag.drive(4)]
    status, *_, printed, errors = run(bag.write(tmp_path / 'tai', events))
    assert status == 0 and 'odometry    used for 0 of 4 (without: odometry_too_old 4)' in printed
    assert 'map image   used for 0 of 4 (without: map_too_old 4)' in printed
    assert errors.count('sweeps are 37.0 s ahead of map image, odometry and the time of recording, steadily') == 1
    assert 'more often' not in printed + errors


def test_a_map_image_that_is_too_old_comes_with_a_remedy(run, tmp_path):
    events = [event for i, event in enumerate(bag.drive(20)) if event[1] != '/map_image' or i < 4]
    *_, printed, errors = run(bag.write(tmp_path / 'drive', events))
    assert 'map_too_old: the newest map image is older than map.max_age. Remedy:' in printed and 'ahead' not in errors


@pytest.mark.slow
def test_static_transforms_hold_wherever_they_stand(run, tmp_path):
    events = bag.drive(2)
    status, directions, *_ = run(bag.write(tmp_path / 'end', [*events[1:], (events[-1][0], *events[0][1:])]))
    assert status == 0 and [r['mode'] for r in directions] == ['fused'] * 2


@pytest.mark.slow
def test_sensor_pose_from_the_parameter_gives_what_tf_gives(run, tmp_path):
    path = bag.write(tmp_path / 'drive', bag.drive(2))
    by_tf = run(path, folder='a')
    matrix = ', '.join(map(str, bag.SENSOR.ravel().tolist()))
    by_parameter = run(path, '-p', 'use_tf:=false', '-p', f'T_base_sensor:=[{matrix}]', folder='b')
    upright = run(path, '-p', 'use_tf:=false', folder='c')  # identity: the sensor is turned by 90 degrees in truth
    np.testing.assert_allclose(numbers(by_tf[2], 'bearing_rad', 'heading_rad'),
                               numbers(by_parameter[2], 'bearing_rad', 'heading_rad'), atol=1e-4)
    assert [r['bearing_rad'] for r in by_tf[1]] != [r['bearing_rad'] for r in upright[1]]


def test_without_transforms_every_sweep_is_dropped_and_the_remedy_printed(run, tmp_path):
    status, directions, branches, printed, _ = run(bag.write(tmp_path / 'no_tf', bag.drive(2)[1:]))
    assert status == 1
    assert [r['mode'] for r in directions] == ['', ''] and branches == []
    assert 'transform_missing 2' in printed and 'T_base_sensor' in printed


def test_without_a_map_the_mode_says_so(run, tmp_path):
    path = bag.write(tmp_path / 'drive', bag.drive(3))
    status, directions, _, printed, _ = run(path, '--map-image', 'none', '--limit', '2')
    assert status == 0 and [r['mode'] for r in directions] == ['lidar_only'] * 2
    assert 'no_map 2' in printed


@pytest.mark.slow
def test_a_bad_map_image_costs_the_map_only(run, tmp_path):
    events = [e for e in bag.drive(2)]
    wrong = bag.map_image(bag.T0)
    wrong.encoding = 'yuv422'
    events = [(s, t, wrong if t == '/map_image' else m) for s, t, m in events]
    status, directions, _, printed, _ = run(bag.write(tmp_path / 'drive', events))
    assert status == 0 and [r['mode'] for r in directions] == ['lidar_only'] * 2
    assert '2 x /map_image: unknown_encoding' in printed


@pytest.mark.parametrize('options, words', [
    (['-p', 'map.resolutoin:=0.5'], "Did you mean 'map.resolution'"),
    (['-p', 'map.resolution:=-1'], 'must be within'),
    (['-p', 'map.resolution'], 'NAME:=VALUE'),
    (['--params', '/does/not/exist.yaml'], 'cannot be read'),
    (['-p', 'checkpoint:=untrained'], 'allow_untrained'),
    (['--pointcloud', '/odom'], 'not sensor_msgs/msg/PointCloud2'),
    (['--pointcloud', '/lidar/points', '--pointcloud-2', '/lidar/points'], 'is to be the topic of two inputs'),
    (['--device', 'abacus'], 'device'),
])
def test_mistakes_are_one_line_and_nothing_is_written(run, tmp_path, options, words):
    status, directions, _, _, errors = run(bag.write(tmp_path / 'drive', bag.drive(1)), *options)
    assert status == 2 and directions is None
    line = errors.strip().splitlines()[-1]
    assert line.startswith('error: ') and words in line


def test_of_a_recording_that_breaks_off_the_rest_is_replayed_and_the_loss_told(run, tmp_path):
    path = bag.write(tmp_path / 'drive', bag.drive(30))
    file = path / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 4])
    status, directions, _, _, errors = run(path, '--map-image', 'none')
    assert status == 1 and 3 < len(directions) < 10
    assert 'breaks off' in errors and f'/lidar/points {len(directions)} of 30' in errors
    assert 'Remedy' not in errors and 'reindex' not in errors


def test_a_cloud_topic_without_messages_is_named_as_that(run, tmp_path):
    cloud = 'sensor_msgs/msg/PointCloud2'
    path = bag.write(tmp_path / 'drive', bag.drive(1), types={'/rear/points': cloud})
    with Writer(tmp_path / 'silent', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection('/rear/points', cloud, typestore=bag.STORE)
    shutil.copy(tmp_path / 'silent/silent.mcap', path / 'silent.mcap')
    status, directions, _, _, errors = run(path / 'metadata.yaml', '--pointcloud', '/rear/points')
    assert status == 2 and directions is None
    assert 'no message came' in errors and 'choose another topic with --pointcloud: /lidar/points' in errors


@pytest.mark.slow
def test_parameter_files_of_the_node_are_understood(run, tmp_path):
    path = bag.write(tmp_path / 'drive', bag.drive(1))
    file = tmp_path / 'parameters.yaml'
    file.write_text('attention_fusion:\n  ros__parameters:\n    use_sim_time: true\n    map:\n      resolution: 0.05\n')
    zoomed = run(path, '--params', str(file), folder='a')
    overruled = run(path, '--params', str(file), '-p', 'map.resolution:=0.25', folder='b')
    plain = run(path, folder='c')
    assert zoomed[0] == 0 and zoomed[2] != plain[2]
    assert [r['bearing_rad'] for r in overruled[2]] == [r['bearing_rad'] for r in plain[2]]


@pytest.mark.slow
@pytest.mark.parametrize('name', DRIVES)
def test_real_drives_run_through(run, shared_folder, tmp_path, name):
    drive = shared_folder / 'data' / name
    sweeps = 3
    subprocess.run([sys.executable, shared_folder / 'tools/to_rosbag2.py', drive, tmp_path / name, '--route',
                    '--sweeps', str(sweeps)], check=True, capture_output=True)
    status, directions, branches, printed, _ = run(tmp_path / name)
    assert status == 0
    assert len(directions) == min(sweeps, len(list((drive / 'sweeps').iterdir())))
    assert {r['mode'] for r in directions} == {'fused'}
    assert branches and 'drops       0' in printed
