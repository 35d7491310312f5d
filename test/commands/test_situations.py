# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""tools/situations.py: recordings of every situation, what counts as wrong, and the script from start to end."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.stream.recording import Recording

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))

import situation_kit as kit  # noqa: E402 - of tools/
import situations  # noqa: E402


@pytest.fixture(scope='module')
def drive():
    return kit.Drive(2)


def stamp(drive, index=0):
    return kit.bag.T0 + drive.sweeps[index].time_ns


@pytest.mark.parametrize('name', situations.SITUATIONS)
def test_every_situation_is_a_recording_with_clouds(drive, name, tmp_path):
    recipe = situations.SITUATIONS[name]
    kit.write(drive, recipe, tmp_path / 'bag')
    with Recording(tmp_path / 'bag') as recording:
        topics = recording.topics
    assert '/lidar/points' in topics and '/odom' in topics
    assert (recipe.map_topic in topics) == (recipe.picture is not None)
    assert ('/tf' in topics) == (recipe.tf_period_ns > 0)


def test_points_are_seen_from_where_the_vehicle_is_at_the_stamp(drive):
    now, later = (drive.cloud(drive.sweeps[0], late) for late in (0, 100_000_000))
    in_odom = [transform_points(drive.T_odom_base(c.stamp_ns - kit.bag.T0), c.xyz) for c in (now, later)]
    assert np.abs(now.xyz - later.xyz).max() > 0.3
    np.testing.assert_allclose(in_odom[0], in_odom[1], atol=1e-6)


def test_parts_of_a_turn_hold_every_point_once(drive):
    sweep = drive.sweeps[0]
    parts = [cloud for _, _, cloud in kit.tenths(drive, sweep)]
    assert sum(len(c.xyz) for c in parts) == pytest.approx(len(sweep.cloud.xyz), rel=0.01)
    assert [c.stamp_ns - stamp(drive) for c in parts] == [-20_000_000 * k for k in range(9, -1, -1)]


def test_wrong_is_off_the_true_direction_or_off_every_road_without_one(drive):
    plain, no_route = situations.SITUATIONS['nothing wrong'], situations.SITUATIONS['nothing wrong, no map']
    way = drive.truth(stamp(drive), route=True).direction[0]
    for off, expected in ((0.0, False), (14.0, False), (-16.0, True), (180.0, True)):
        assert situations.is_wrong(drive, plain, stamp(drive), way + math.radians(off)) == expected
    truth = drive.truth(stamp(drive), route=False)
    for bearing, _ in truth.branches if truth.direction is None else [truth.direction]:
        assert not situations.is_wrong(drive, no_route, stamp(drive), bearing)
    assert situations.is_wrong(drive, situations.SITUATIONS['sweeps 37 s ahead (TAI)'],
                               stamp(drive) + situations.TAI_AHEAD_NS, way + math.pi)


def test_what_replay_wrote_is_counted_by_reason(drive, tmp_path):
    way = drive.truth(stamp(drive), route=True).direction[0]
    rows = [(stamp(drive), 'fused', way), (stamp(drive), 'fused', way + math.pi), (stamp(drive, 1), 'fused', ''),
            (stamp(drive, 1) + 1, '', '')]
    with open(tmp_path / 'directions.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('stamp_ns', 'mode', 'bearing_rad'), *rows])
    plain = situations.SITUATIONS['nothing wrong']
    assert situations.judged(drive, plain, tmp_path, 0, '').cells() == ['4', '2', '1', 'not told 1, sweep dropped 1']
    (tmp_path / 'reasons.csv').write_text(f'stamp_ns,reason\n{stamp(drive, 1)},not_seen: 3 to 40 degrees\n')
    outcome = situations.judged(drive, plain, tmp_path, 0, '')
    assert outcome.cells()[3] == '`not_seen` 1, sweep dropped 1'
    nothing = situations.judged(drive, plain, tmp_path / 'none', 2, 'a warning\nerror: no cloud')
    assert nothing.cells() == ['0', '0', '0', 'ended with 2: error: no cloud']
    *_, row = situations.table(['abc'], {'x': [outcome]}).splitlines()
    assert row == '| x | 4 | 2 | 1 | `not_seen` 1, sweep dropped 1 |'


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_script_prints_a_row_for_each_situation():
    done = subprocess.run([sys.executable, ROOT / 'tools/situations.py', '--sweeps', '2', '--jobs', '2', '--only',
                           'nothing wrong', 'blind +-90 deg ahead, no map'], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert head.count('wrong') == 1
    cells = [[c.strip() for c in row.strip('|').split('|')] for row in rows]
    assert [c[0] for c in cells] == ['nothing wrong', 'blind +-90 deg ahead, no map']
    assert cells[0][1:4] == ['2', '2', '0']
    assert cells[1][1] == '2' and cells[1][3] == '0'
