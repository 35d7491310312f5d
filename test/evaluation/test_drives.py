# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Drives: loading, turning, spoiling and drawing; the real ones only where they are present."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from support.drive_kit import write_drive

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.datasets import drives
from attention_fusion_ros.datasets.drives import MapOffset
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.drives import benchmark
from attention_fusion_ros.evaluation.drives.benchmark import Condition
from attention_fusion_ros.evaluation.methods.method import FunctionMethod
from attention_fusion_ros.geometry import yaw_of
from attention_fusion_ros.metrics.branches import Prediction

rad = math.radians


def branch(bearing: float, heading: float) -> Branch:
    return Branch(rad(bearing), rad(heading), 1.0, 0.01, 0.01)


def perfect(inputs: PlacedSweep) -> Prediction:
    """Knows the drive of `write_drive`: the road runs along 0.3 rad in odom."""
    ahead = 0.3 - yaw_of(inputs.motion.T_odom_base)
    return Prediction((Branch(ahead, ahead, 1.0, 0.01, 0.01), Branch(ahead + math.pi, ahead + math.pi, 1, 0.01, 0.01)))


def test_the_perfect_answer_scores_perfectly_at_every_turn(tmp_path):
    drive = drives.load_drive(write_drive(tmp_path / 'straight'))
    done = []
    answers = benchmark.run_drive(drive, [FunctionMethod('perfect', perfect)], progress=done.append)
    assert sum(done) == benchmark.steps(drive) == 3 * 5 * 7
    for condition in ('standard', 'doubled', 'no map'):
        figures = benchmark.drive_estimates(answers[condition, 'perfect'])
        assert figures['found'].value == 1 and figures['f1_15'].value == 1
        assert figures['heading_p90'].value == pytest.approx(0, abs=1e-6)
    standard = answers['standard', 'perfect']
    assert standard.heading_error.shape == (45, 2)
    assert np.isnan(standard.heading_error[:, 1]).sum() == 15  # sweep 0 does not tell about the road behind


def test_straight_ahead_is_right_only_where_the_vehicle_is_not_turned(tmp_path):
    drive = drives.load_drive(write_drive(tmp_path / 'straight', roads=False))
    ahead = FunctionMethod('ahead', lambda _: Prediction((branch(0, 0), branch(180, 180))))
    answers = benchmark.run_drive(drive, [ahead], [Condition('no map', None, (0,))])
    figures = benchmark.drive_estimates(answers['no map', 'ahead'])
    assert figures['found'].value == pytest.approx(0.2)
    assert figures['heading_median'].value == 25 and 'f1_15' not in figures


def test_a_sweep_is_scored_as_by_hand():
    truth = drives.RingTruth((0.0, rad(5)), (rad(180), rad(180)), ((0.0, 0.0), (rad(90), rad(90))))
    score = benchmark.score_sweep(Prediction((branch(14, 8), branch(-20, 40))), truth)
    assert score.heading_error == pytest.approx((3, 25)) and score.bearing_error == pytest.approx((14, 25))
    assert score.found == (True, False) and score.counts == (1, 1, 1)
    score = benchmark.score_sweep(Prediction((branch(0, 45),)), drives.RingTruth((0.0, 0.0), None, None))
    assert score.heading_error[0] == pytest.approx(45)  # found but badly turned: not capped
    assert math.isnan(score.heading_error[1]) and score.found == (True, False) and score.counts == (0, 0, 0)


def test_map_errors_are_the_same_for_every_method_and_have_the_stated_spread(tmp_path):
    drive = drives.load_drive(write_drive(tmp_path / 'straight'))
    standard = benchmark.CONDITIONS[0]
    errors = [benchmark.map_error(drive, standard, seed, turn, sweep) for seed in range(20)
              for turn in benchmark.TURNS_RAD for sweep in range(20)]
    assert len({e.x for e in errors}) == len(errors)
    assert errors[7] == benchmark.map_error(drive, standard, 0, benchmark.TURNS_RAD[0], 7)
    assert np.std([e.x for e in errors]) == pytest.approx(2.5, rel=0.05)
    assert np.std([e.y for e in errors]) == pytest.approx(2.5, rel=0.05)
    assert np.std([e.yaw for e in errors]) == pytest.approx(rad(4), rel=0.05)


def test_spoiled_map_lies_where_the_error_says(tmp_path):
    drive = drives.load_drive(write_drive(tmp_path / 'straight'))
    stamp = int(np.load(drive.sweeps[0])['stamp_ns'])
    image = drives.map_picture(drive, stamp, 0.0, MapOffset(0, 3.0, rad(30)))
    rows, columns = np.nonzero(image[..., 0] > 127)
    x, y = (240 - rows) * 0.25, (240 - columns) * 0.25
    slope, offset = np.polyfit(x, y, 1)
    assert math.degrees(math.atan(slope)) == pytest.approx(30, abs=1) and offset == pytest.approx(3, abs=0.5)
    turned = drives.map_picture(drive, stamp, rad(-60), MapOffset())
    rows, columns = np.nonzero(turned[..., 0] > 127)
    assert math.degrees(math.atan(np.polyfit(240 - rows, 240 - columns, 1)[0])) == pytest.approx(60, abs=2)


def test_the_point_cloud_turns_with_the_vehicle(tmp_path):
    drive = drives.load_drive(write_drive(tmp_path / 'straight'))
    cloud = decode_cloud(drives.cloud_message(drive.sweeps[1]))
    raw = np.load(drive.sweeps[1])['xyz_mm'].T / 1000
    assert cloud.xyz == pytest.approx(raw, abs=1e-5) and cloud.frame_id == 'lidar'
    level, turned = (drives.motion_at(drive, cloud.stamp_ns, turn) for turn in (0.0, rad(30)))
    for motion in (level, turned):  # the world does not move
        T = motion.T_odom_base @ motion.T_base_sensor
        assert T == pytest.approx(level.T_odom_base @ level.T_base_sensor)
    assert yaw_of(turned.T_base_sensor) == pytest.approx(rad(-30))


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match='no drive in'):
        drives.find_drives(tmp_path)
    folder = write_drive(tmp_path / 'broken')
    (folder / 'sweeps/000002.npz').unlink()
    with pytest.raises(ConfigurationError, match='2 sweeps and 3 rows of truth'):
        drives.load_drive(folder)
    (folder / 'poses.csv').write_text('stamp_ns,x\n1,2\n')
    with pytest.raises(ConfigurationError, match='is not a drive'):
        drives.load_drive(folder)
    drive = drives.load_drive(write_drive(tmp_path / 'good'))
    with pytest.raises(ConfigurationError, match='not 35 m'):
        drives.ring_truth(drive, 0, 0.0, 35.0)


@pytest.mark.parametrize('name, options, turn, error, route', [
    ('karlsruhe_street', ['--route', '--yaw', '30', '--map-shift', '2', '-1', '--map-yaw', '3'], 30,
     MapOffset(2, -1, rad(3)), True),
    ('singapore_left_turn', ['--yaw', '-60', '--map-shift', '-1.7', '3.3', '--map-yaw', '-7'], -60,
     MapOffset(-1.7, 3.3, rad(-7)), False)])
def test_same_inputs_as_a_converted_bag(shared_folder, tmp_path, name, options, turn, error, route):
    """Cloud, map image and motion equal those in the recording that the data's own tool makes."""
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_typestore
    tool, folder = shared_folder / 'tools/to_rosbag2.py', shared_folder / 'data' / name
    subprocess.run([sys.executable, tool, folder, tmp_path / 'bag', '--sweeps', '2', *options], check=True,
                   capture_output=True)
    store = get_typestore(Stores.ROS2_JAZZY)
    with Reader(tmp_path / 'bag') as bag:
        messages = [(c.topic, store.deserialize_cdr(raw, c.msgtype)) for c, _, raw in bag.messages()]
    images = [m for topic, m in messages if topic == '/map_image']
    clouds = [m for topic, m in messages if topic == '/lidar/points']
    static = next(m for topic, m in messages if topic == '/tf_static').transforms[0].transform
    drive = drives.load_drive(shared_folder / 'data' / name)
    assert len(images) == len(clouds) == 2
    for k in range(2):
        cloud = decode_cloud(drives.cloud_message(drive.sweeps[k]))
        theirs = decode_cloud(clouds[k])
        assert np.array_equal(cloud.xyz, theirs.xyz) and np.array_equal(cloud.intensity, theirs.intensity)
        assert cloud.stamp_ns == theirs.stamp_ns
        picture = drives.map_picture(drive, cloud.stamp_ns, rad(turn), error, route)
        assert np.array_equal(picture, images[k].data.reshape(picture.shape))
        assert (picture.std(axis=2) > 50).any() == route
        ours, bag_map = decode_map_image(drives.image_message(cloud.stamp_ns, picture)), decode_map_image(images[k])
        assert np.array_equal(ours.road, bag_map.road)
        motion = drives.motion_at(drive, cloud.stamp_ns, rad(turn))
        assert motion.T_base_sensor[:3, 3] == pytest.approx(
            [static.translation.x, static.translation.y, static.translation.z], abs=1e-9)


def test_truth_of_the_real_drives_agrees_with_their_maps(shared_folder):
    """The branch truth at 20 m lies on a road of roads.csv (lane centre lines: up to half a road beside one of them):
    our frames and bearings are those of the data."""
    checked = 0
    for folder in drives.find_drives(shared_folder / 'data'):
        drive = drives.load_drive(folder)
        for k in range(0, len(drive.sweeps), 10):
            with np.load(drive.sweeps[k]) as z:
                pose = drives.motion_at(drive, int(z['stamp_ns']), rad(30)).T_odom_base
            truth = drives.ring_truth(drive, k, rad(30))
            for bearing, _ in truth.branches or ():
                where = bearing + yaw_of(pose)
                point = pose[:2, 3] + 20 * np.array([math.cos(where), math.sin(where)])
                assert _distance(point, drive.roads) < 2.0
                checked += 1
    assert checked >= 8


def _distance(point: np.ndarray, lines) -> float:
    """Distance from a point to the nearest segment."""
    best = math.inf
    for line in lines:
        a, d = line[:-1], np.diff(line, axis=0)
        t = np.clip(((point - a) * d).sum(1) / np.maximum((d * d).sum(1), 1e-12), 0, 1)
        best = min(best, float(np.linalg.norm(a + t[:, None] * d - point, axis=1).min()))
    return best
