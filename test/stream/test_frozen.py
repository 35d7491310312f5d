# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR that freezes during a drive: alone, as one of two, and while it sends parts of turns."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from support import several_lidars as lidars
from support import synthetic_bag as bag

from attention_fusion_ros.commands import replay
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.stream.recorded_sweeps import DroppedSweep, synced_sweeps
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.sync.frozen_cloud import FROZEN_CLOUD

SWEEPS, LAST_GOOD, GOOD_AGAIN = 10, 3, 7


def pulled(tmp_path, events, topics=None):
    path = bag.write(tmp_path / 'drive', sorted(events, key=lambda e: e[0]),
                     types={'/rear/points': 'sensor_msgs/msg/PointCloud2'})
    with Recording(path) as recording:
        return list(synced_sweeps(recording, recording.input_topics(**(topics or {})), from_flat({})))


def frozen(events, topic: str, frame: str, parts: int = 1):
    """The clouds of one LiDAR with the points of its turn LAST_GOOD from the one after that to GOOD_AGAIN."""
    own = [message for _, name, message in events if name == topic and message.header.frame_id == frame]
    for k, message in enumerate(own):
        if LAST_GOOD < k // parts < GOOD_AGAIN:
            old = own[LAST_GOOD * parts + k % parts]
            message.data, message.width, message.row_step = old.data, old.width, old.row_step
    return events


def reasons(sweeps) -> list[str]:
    return [sweep.error.reason if isinstance(sweep, DroppedSweep) else '' for sweep in sweeps]


FAULTY = [FROZEN_CLOUD if LAST_GOOD < k < GOOD_AGAIN else '' for k in range(SWEEPS)]


@pytest.mark.parametrize('parts', [1, 2, 10])
def test_sweeps_of_a_frozen_lidar_are_dropped_and_good_ones_go_on_at_once(parts, tmp_path):
    events = lidars.whole(SWEEPS) if parts == 1 else lidars.parts_of_turns(SWEEPS, parts)
    sweeps = pulled(tmp_path, [*lidars.plain(1.5), *frozen(events, '/lidar/points', 'lidar', parts)])
    assert reasons(sweeps) == FAULTY
    error = sweeps[LAST_GOOD + 1].error
    assert '1.0 m' in error.cause and 'driver' in error.remedy


def test_without_odometry_they_are_used(tmp_path):
    sweeps = pulled(tmp_path, [*lidars.plain(1.5, odometry=False),
                               *frozen(lidars.whole(SWEEPS), '/lidar/points', 'lidar')])
    assert reasons(sweeps) == [''] * SWEEPS


@pytest.mark.parametrize('topic, frame', [('/lidar/points', 'lidar'), ('/rear/points', 'rear')])
def test_of_two_lidars_the_other_one_goes_on(topic, frame, tmp_path):
    events = frozen(lidars.two_halves(SWEEPS, '/rear/points'), topic, frame)
    sweeps = pulled(tmp_path, [*lidars.plain(1.5), *events],
                    {'pointcloud': '/lidar/points', 'pointcloud_2': '/rear/points'})
    assert reasons(sweeps) == [''] * SWEEPS
    assert [FROZEN_CLOUD if sweep.warnings else '' for sweep in sweeps] == FAULTY
    for k, sweep in enumerate(sweeps):
        assert sweep.cloud.stamp_ns == lidars.stamp(k * lidars.PERIOD_S)
        used = {part.frame_id for part in sweep.sources}
        assert used == ({'lidar', 'rear'} - {frame} if FAULTY[k] else {'lidar', 'rear'})
        if FAULTY[k]:
            assert list(sweep.warnings) == [FROZEN_CLOUD] and f"'{frame}'" in sweep.warnings[FROZEN_CLOUD]
            first = sweep.sources[0]
            assert sweep.cloud.frame_id == first.frame_id and first.last == len(sweep.cloud.xyz)
            true = {'lidar': bag.SENSOR, 'rear': lidars.REAR}[first.frame_id]
            np.testing.assert_allclose(sweep.motion.T_base_sensor, true, atol=1e-6)


def test_replay_counts_them_with_the_remedy(tmp_path, capsys):
    events = [*lidars.plain(1.5), *frozen(lidars.whole(SWEEPS), '/lidar/points', 'lidar')]
    path = bag.write(tmp_path / 'drive', sorted(events, key=lambda e: e[0]))
    out = tmp_path / 'out'
    assert replay.main([str(path), '--out', str(out), *bag.lively_options(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f'{FROZEN_CLOUD} {FAULTY.count(FROZEN_CLOUD)}' in printed and 'restart the driver' in printed
    with (out / 'reasons.csv').open() as file:
        assert sum(FROZEN_CLOUD in ''.join(row) for row in csv.reader(file)) == FAULTY.count(FROZEN_CLOUD)
