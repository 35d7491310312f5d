# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The demo: its table and figures, and the whole of it, in small, over DDS."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import synthetic_bag

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.simulation.truth.branches import Truth
from attention_fusion_ros.visualization.panels import TRUTH, squares

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))

import demo_report  # noqa: E402 - of tools/

RIGHT, LEFT, BEHIND = (-1.5, -1.6), (1.5, 1.6), (3.1, 3.1)


def branch(pair, off=0.0, probability=0.9):
    return Branch(pair[0] + off, pair[1], probability, 0.1, 0.1)


def sweep(index, branches, direction=None, latency=0.08, true=(RIGHT, LEFT, BEHIND), true_direction=LEFT):
    return demo_report.DemoSweep(index, index * 500_000_000, Truth(true, true_direction, ''), 10.0, branches, direction,
                                 None if branches is None else 10.0 + latency, mode='' if branches is None else 'fused')


def test_table_compares_in_degrees_and_counts_branches():
    found = (branch(LEFT, 0.05), branch(BEHIND, -0.1), branch(RIGHT, 0.3))
    rows = demo_report.table([sweep(0, found, (1.55, 1.6)), sweep(1, None), sweep(2, (), true_direction=None)])
    assert [r['branches found / true'] for r in rows] == ['2 / 3', 'no answer', '0 / 3']
    assert [r['too many'] for r in rows] == ['1', '', '0']
    assert (rows[0]['true bearing [deg]'], rows[0]['estimated']) == (f'{math.degrees(1.5):+.1f}',
                                                                   f'{math.degrees(1.55):+.1f}')
    assert (rows[0]['true heading [deg]'], rows[0]['estimated heading']) == ('+91.7', '+91.7')
    assert (rows[0]['latency [ms]'], rows[1]['latency [ms]']) == ('80', '')
    assert (rows[2]['true bearing [deg]'], rows[2]['estimated']) == ('', '')
    assert [r['mode'] for r in rows] == ['fused', '', 'fused']
    lines = demo_report.as_text(rows).splitlines()
    assert len(lines) == 5 and lines[0].startswith('sweep')


def test_summary_figures():
    perfect = (branch(LEFT), branch(BEHIND), branch(RIGHT))
    text = '\n'.join(demo_report.summary_lines([
        sweep(0, perfect, LEFT), sweep(1, (branch(LEFT),), (1.5 + math.radians(8), 1.6), 0.12), sweep(2, None)]))
    assert 'answers     2 of 3 sweeps' in text
    assert 'found 4 of 6, 0 too many: F1@10 0.800' in text
    assert 'bearing error: median 4.0 deg' in text and 'within 5 deg in 50% of 2' in text
    assert 'median 100 ms' in text and 'mode        fused 2' in text
    assert demo_report.summary_lines([sweep(0, None)]) == ['answers     0 of 1 sweeps']


def test_map_errors_are_in_the_table_where_they_are_known():
    known = [dataclasses.replace(sweep(i, (), latency=0.1), map_before=before, map_after=after) for i, (before, after)
             in enumerate([(None, None), ((4.0, 0.02), (0.5, 0.01)), ((2.0, 0.04), (0.3, 0.0))])]
    rows = demo_report.table(known)
    assert [r['map off before'] for r in rows] == ['', '4.0 m 1.1 deg', '2.0 m 2.3 deg']
    assert [r['after'] for r in rows] == ['', '0.5 m 0.6 deg', '0.3 m 0.0 deg']
    assert 'after' not in demo_report.table([sweep(0, ())])[0]
    lines = demo_report.summary_lines(known)
    assert any(line.startswith('map error   fixes alone: median 3.0 m and 1.7 deg') for line in lines)
    assert any(line.startswith('map error   corrected: median 0.4 m') for line in lines)


def test_true_branches_are_drawn_where_they_are():
    size = 400
    picture = np.zeros((round(1.34 * size), 3 * size, 3), np.uint8)
    drawn = demo_report.with_truth(picture, sweep(0, (), true=((0.0, 0.0), (math.pi / 2, math.pi / 2))), 40.0)
    for square in squares(drawn):
        blue = square.max(axis=2) > 60  # lines are smoothed
        rows, columns = np.nonzero(blue)
        ahead = blue[:, size // 2 - 15:size // 2 + 15]  # the ring is 20 m = 100 pixels from the centre
        assert ahead.any() and np.nonzero(ahead)[0].max() == pytest.approx(100, abs=2)
        assert rows.min() == pytest.approx(50, abs=3) and columns.min() == pytest.approx(50, abs=3)
    assert not picture.any()


def test_the_report_knows_the_truth():
    record, = demo_report.records([sweep(0, (branch(LEFT),), LEFT)])
    assert record.true_branches and record.true_direction in record.true_branches
    assert record.odometry_reason is None and record.findings == ()


@pytest.fixture(scope='module')
def city():
    """A short drive whose sensors have no errors."""
    pytest.importorskip('osmium', reason='needs osmium')
    pytest.importorskip('pyproj', reason='needs pyproj')
    import demo_city

    from attention_fusion_ros.simulation.city_drive import CityDrive, CityOptions, DriveOptions
    from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors, OdometryErrors
    return CityDrive(DriveOptions(seed=1, rate=2.0, lidar='vlp_16', with_map=False, duration=6.0), CityOptions(
        start=demo_city.START, goals=(demo_city.GOAL,), odometry=OdometryErrors(0.0, 0.0, 0.0),
        gnss=GnssErrors(noise=0.01, bias=0.0, losses=0.0, jumps=0.0)))


def test_errors_of_fixes_are_those_of_the_filter(city):
    import demo_city
    alone = demo_city.poses_by_fixes(city)
    errors = demo_city.errors_of(alone, city)
    assert len(errors) == len(city) == 12 and errors[0] is None
    known = [e for e in errors if e is not None]
    assert len(known) >= 9 and max(e[0] for e in known) < 0.2 and max(e[1] for e in known) < math.radians(1.0)
    assert math.dist(alone[8][:2], city.poses(8)[0][1][:2]) == pytest.approx(errors[8][0])


def test_the_overview_shows_the_typical_correction_at_a_junction(city, tmp_path):
    import demo_picture

    from attention_fusion_ros.maps.odometry_track import Pose2
    placed = {i: Pose2(*city.poses(i)[0][1]) for i in range(3, len(city))}
    driven = [city.sweep(i) for i in range(len(city))]
    seen = [demo_report.DemoSweep(s.index, s.time_ns, s.truth, 0.0, cloud=s.cloud,
                                  map_before=(1.0 + s.index, 0.1) if s.index > 2 else None,
                                  map_after=(0.0, 0.0) if s.index > 2 else None) for s in driven]
    two, three = (Truth(t, t[0], '') for t in (((0.0, 0.0), BEHIND), (RIGHT, LEFT, BEHIND)))
    mixed = [dataclasses.replace(s, truth=three if s.index in (4, 6, 10) else two) for s in seen]
    assert demo_picture.worth_showing(mixed, placed).index == 6
    assert demo_picture.worth_showing(seen[:3], placed) is None
    alone, track = [Pose2(*city.poses(i)[0][1]) for i in range(len(city))], np.array([p[:2] for p in placed.values()])
    path = demo_picture.write(tmp_path / 'overview.png', city, seen, alone, placed, track)
    image = cv2.imread(str(path))
    assert image.shape == (1000, 1500, 3)
    without = cv2.imread(str(demo_picture.write(tmp_path / 'bare.png', city, seen[:3], alone, {}, track[:0])))
    assert without is not None and (without != image).any()


def test_an_image_is_aligned_whose_stamp_lies_between_two_positions():
    """Images and positions have stamps of their own: nothing was aligned for most of a drive where these never met."""
    import demo_city

    from attention_fusion_ros.maps.odometry_track import OdometryTrack, Pose2
    track = OdometryTrack()
    for k in range(4):  # at 0.5, 1.5 ... s, 2 m/s
        track.add(10**9 * k + 500_000_000, Pose2(2.0 * k + 1.0, 0.0, 0.1 * k))
    drawn = [10**9 * k for k in range(6)]
    stamp_ns, pose = demo_city.aligned(drawn, track, 0)
    assert stamp_ns == 3 * 10**9 and pose == pytest.approx((6.0, 0.0, 0.25))
    assert demo_city.aligned(drawn, track, 3 * 10**9 + 1) is None  # later ones have no place yet
    assert demo_city.aligned([], track, 0) is None and demo_city.aligned(drawn, OdometryTrack(), 0) is None


def test_where_corrections_come_from_is_told(tmp_path):
    pytest.importorskip('pyproj', reason='needs pyproj')
    import demo_city
    assert 'stand-in' in demo_city.words(False) and 'network' in demo_city.words(True)
    assert not demo_city.registers_map(str(tmp_path / 'nothing.safetensors'))
    assert demo_city.source_remaps(True)['~/input/map_alignment'] == '/attention_fusion/map_alignment'


def run(tmp_path, *options, seconds='2'):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, ROOT / 'tools/demo.py', '--out', tmp_path / 'demo', '--lidar', 'vlp_16',
                           '--seconds', seconds, *options], capture_output=True, text=True, timeout=280,
                          env=environment)


@pytest.mark.ros
@pytest.mark.slow
def test_the_whole_chain_in_small(tmp_path):
    """A real city, fixes, map_source, the fusion node: map images come, and corrections make them fit."""
    for needed in ('rclpy', 'osmium', 'pyproj'):
        pytest.importorskip(needed)
    checkpoint = synthetic_bag.lively_checkpoint(tmp_path / 'lively.safetensors')
    done = run(tmp_path, '--checkpoint', checkpoint, seconds='7')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'configured and active: map_source, attention_fusion' in done.stdout and 'by a stand-in' in done.stdout
    with open(tmp_path / 'demo/demo.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14 and rows[-1]['mode'] == 'fused'
    errors = [[float(r[name].split()[0]) for r in rows[6:] if r[name]] for name in ('map off before', 'after')]
    assert min(map(len, errors)) > 4 and np.median(errors[1]) < 1.0 < np.median(errors[0])
    for name in ('overview.png', 'picture.png', 'report.png'):
        assert cv2.imread(str(tmp_path / 'demo' / name)) is not None, name


@pytest.mark.ros
@pytest.mark.slow
def test_a_goal_off_the_network_is_one_line(tmp_path):
    for needed in ('rclpy', 'osmium', 'pyproj'):
        pytest.importorskip(needed)
    done = run(tmp_path, '--goal', '-33.8,151.2')
    assert done.returncode == 2 and done.stderr.startswith('error: -33.8000, 151.2000 is nowhere near')


@pytest.mark.ros
@pytest.mark.slow
def test_demo_in_small(tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    checkpoint = synthetic_bag.lively_checkpoint(tmp_path / 'lively.safetensors')
    done = run(tmp_path, '--town', '--checkpoint', checkpoint)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'answers     4 of 4 sweeps' in done.stdout and 'branches' in done.stdout
    with open(tmp_path / 'demo/demo.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [r['sweep'] for r in rows] == ['0', '1', '2', '3'] and all(float(r['latency [ms]']) > 0 for r in rows)
    modes = {r['mode'] for r in rows}  # where the machine is busy, the first map image may be late, or /diagnostics
    assert 'fused' in modes and modes <= {'fused', 'lidar_only', ''}
    assert 'data:image/' in (tmp_path / 'demo/report.html').read_text()
    picture = cv2.imread(str(tmp_path / 'demo/picture.png'))
    assert (picture == TRUTH).all(axis=2).sum() > 50
    assert cv2.imread(str(tmp_path / 'demo/report.png')) is not None


@pytest.mark.slow
@pytest.mark.ros
def test_demo_fails_when_the_node_cannot_run(tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    done = run(tmp_path, '--checkpoint', tmp_path / 'nothing.safetensors')
    assert done.returncode == 1
    assert 'nothing.safetensors' in done.stderr and 'Traceback' not in done.stderr
