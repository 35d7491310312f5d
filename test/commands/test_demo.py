# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The demo: its table and figures, and the whole of it, in small, over DDS."""

from __future__ import annotations

import csv
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


def run(tmp_path, *options):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, ROOT / 'tools/demo.py', '--out', tmp_path / 'demo', '--lidar', 'vlp_16',
                           '--seconds', '2', *options], capture_output=True, text=True, timeout=280, env=environment)


@pytest.mark.ros
@pytest.mark.slow
def test_demo_in_small(tmp_path):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    checkpoint = synthetic_bag.lively_checkpoint(tmp_path / 'lively.safetensors')
    done = run(tmp_path, '--checkpoint', checkpoint)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'answers     4 of 4 sweeps' in done.stdout and 'branches' in done.stdout
    with open(tmp_path / 'demo/demo.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [r['sweep'] for r in rows] == ['0', '1', '2', '3'] and all(float(r['latency [ms]']) > 0 for r in rows)
    modes = {r['mode'] for r in rows}  # the first map image may be late where the machine is busy
    assert 'fused' in modes and modes <= {'fused', 'lidar_only'}
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
