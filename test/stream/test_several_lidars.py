# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Several LiDARs, and parts of turns, in recordings: the same points as one whole LiDAR gives, and as many sweeps."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from support import several_lidars as lidars
from support import synthetic_bag as bag

from attention_fusion_ros.commands import replay
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import SyncedSweep
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording

CLOUD = 'sensor_msgs/msg/PointCloud2'
SWEEPS = 8
FAR_M = 0.02  # of points that were moved by odometry


def recorded(tmp_path, events, name: str = 'drive'):
    return bag.write(tmp_path / name, sorted(events, key=lambda e: e[0]), types={'/rear/points': CLOUD})


def pulled(path, topics=None, **parameters) -> list[SyncedSweep]:
    with Recording(path) as recording:
        found = list(synced_sweeps(recording, recording.input_topics(**(topics or {})), from_flat(parameters)))
    assert all(isinstance(sweep, SyncedSweep) for sweep in found), found
    return found


def in_base(sweep: SyncedSweep) -> np.ndarray:
    """(N, 3) points in the vehicle frame, in an order that does not depend on who sent them."""
    xyz = transform_points(sweep.motion.T_base_sensor, sweep.cloud.xyz)
    return xyz[np.lexsort(np.round(xyz, 1).T)]


def expected(seconds: float) -> np.ndarray:
    """(N, 3) the whole world in the vehicle frame."""
    return lidars.seen(lidars.world(), np.eye(4), seconds)[:, :3]


def farthest_m(sweep: SyncedSweep) -> float:
    """How far points of a sweep lie from the world's, at most; infinite where some are missing."""
    from scipy.spatial import cKDTree
    seconds = (sweep.cloud.stamp_ns - bag.T0) / 1e9
    true, found = expected(seconds), transform_points(sweep.motion.T_base_sensor, sweep.cloud.xyz)
    if len(true) != len(found):
        return np.inf
    return max(cKDTree(found).query(true)[0].max(), cKDTree(true).query(found)[0].max())


ARRANGEMENTS = {
    'a whole one': (lambda: lidars.whole(SWEEPS), {}),
    'two topics': (lambda: lidars.two_halves(SWEEPS, '/rear/points'),
                   {'pointcloud': '/lidar/points', 'pointcloud_2': '/rear/points'}),
    'two topics, the other way round': (lambda: lidars.two_halves(SWEEPS, '/rear/points'),
                                        {'pointcloud': '/rear/points', 'pointcloud_2': '/lidar/points'}),
    'two topics, stamped alike': (lambda: lidars.two_halves(SWEEPS, '/rear/points', lag_s=0.0),
                                  {'pointcloud': '/lidar/points', 'pointcloud_2': '/rear/points'}),
    'one topic, two frames': (lambda: lidars.two_halves(SWEEPS, '/lidar/points'), {}),
    'one topic, one frame': (lambda: lidars.two_halves(SWEEPS, '/lidar/points', 'lidar'), {}),
    'thirds': (lambda: lidars.parts_of_turns(SWEEPS, 3), {}),
    'tenths': (lambda: lidars.parts_of_turns(SWEEPS, 10), {}),
}


@pytest.mark.parametrize('arrangement', ARRANGEMENTS)
def test_however_a_turn_comes_it_is_one_sweep_with_every_point_in_its_place(arrangement, tmp_path):
    make, topics = ARRANGEMENTS[arrangement]
    sweeps = pulled(recorded(tmp_path, [*lidars.plain(1.0), *make()]), topics)
    assert [s.cloud.stamp_ns for s in sweeps] == [lidars.stamp(k * lidars.PERIOD_S) for k in range(SWEEPS)]
    assert max(farthest_m(sweep) for sweep in sweeps) < FAR_M
    assert not any(sweep.warnings for sweep in sweeps)


def test_the_parts_of_a_sweep_tell_which_points_were_seen_from_where(tmp_path):
    events = [*lidars.plain(1.0), *lidars.two_halves(SWEEPS, '/lidar/points')]
    for sweep in pulled(recorded(tmp_path, events)):
        ahead, rear = sorted(sweep.sources, key=lambda part: part.frame_id)
        assert (ahead.frame_id, rear.frame_id) == ('lidar', 'rear') and sweep.parts
        assert {(ahead.first, ahead.last), (rear.first, rear.last)} == {
            (0, min(ahead.last, rear.last)), (min(ahead.last, rear.last), len(sweep.cloud.xyz))}
        np.testing.assert_allclose(rear.T_base_sensor, lidars.REAR, atol=1e-6)
        # The one ahead sent its part when the vehicle was 0.3 m farther back.
        moved = bag.SENSOR[0, 3] - lidars.SPEED * lidars.LAG_S
        assert ahead.T_base_sensor[0, 3] == pytest.approx(moved, abs=0.02)
    whole = pulled(recorded(tmp_path, [*lidars.plain(1.0), *lidars.whole(2)], 'whole'))[0]
    assert whole.parts == () and [(p.first, p.last) for p in whole.sources] == [(0, len(whole.cloud.xyz))]


def test_without_odometry_what_is_stamped_close_together_is_put_together_as_it_is(tmp_path):
    events = [*lidars.plain(1.0, odometry=False), *lidars.two_halves(SWEEPS, '/lidar/points')]
    sweeps = pulled(recorded(tmp_path, events))
    assert len(sweeps) == SWEEPS and all(len(s.parts) == 2 and not s.warnings for s in sweeps)
    assert 0.2 < max(farthest_m(sweep) for sweep in sweeps) < 1.0  # 0.3 m driven, and turned by half a degree


def test_without_odometry_what_is_stamped_far_apart_is_named(tmp_path):
    events = [*lidars.plain(1.0, odometry=False), *lidars.two_halves(SWEEPS, '/lidar/points')]
    stretched = [(bag.T0 + 5 * (at - bag.T0), topic, message) for at, topic, message in events]
    for _, topic, message in stretched:
        if topic == '/lidar/points':
            late = 5 * (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - bag.T0)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(bag.T0 + late, 10**9)
    sweeps = pulled(recorded(tmp_path, stretched))
    assert len(sweeps) == SWEEPS
    assert "'rear' of pointcloud" in sweeps[3].warnings['part_without_motion'] and len(sweeps[3].parts) == 1


def test_a_turn_in_parts_is_whole_without_odometry(tmp_path):
    """As long as it takes: a turn in one message is not moved either."""
    sweeps = pulled(recorded(tmp_path, [*lidars.plain(1.0, odometry=False), *lidars.parts_of_turns(SWEEPS, 10)]))
    assert len(sweeps) == SWEEPS and not any(sweep.warnings for sweep in sweeps)
    assert all(len(sweep.cloud.xyz) == len(lidars.world()) for sweep in sweeps)


def test_a_lidar_without_transform_is_named_and_the_other_one_goes_on(tmp_path):
    events = [e for e in (*lidars.plain(1.0), *lidars.two_halves(SWEEPS, '/lidar/points'))
              if e[1] != '/tf_static' or e[2].transforms[0].child_frame_id == 'lidar']
    drops = []
    with Recording(recorded(tmp_path, events)) as recording:
        sweeps = list(synced_sweeps(recording, recording.input_topics(), from_flat({}),
                                    on_drop=lambda topic, error: drops.append((topic, str(error)))))
    assert len(sweeps) == SWEEPS and all(s.cloud.frame_id == 'lidar' for s in sweeps)
    assert len(drops) == SWEEPS and all(topic == '/lidar/points' and "'rear'" in text for topic, text in drops)


def test_where_the_first_lidar_has_no_transform_the_other_one_goes_on(tmp_path):
    events = [e for e in (*lidars.plain(1.0), *lidars.two_halves(SWEEPS, '/lidar/points'))
              if e[1] != '/tf_static' or e[2].transforms[0].child_frame_id == 'rear']
    sweeps = pulled(recorded(tmp_path, events))
    assert len(sweeps) == SWEEPS and all(s.cloud.frame_id == 'rear' for s in sweeps)
    assert "'lidar' of pointcloud" in sweeps[2].warnings['part_without_transform']


def test_a_lidar_that_falls_silent_is_named_and_comes_back(tmp_path):
    sweeps = 30
    events = [*lidars.plain(3.2), *lidars.two_halves(sweeps, '/rear/points', silent=range(8, 20))]
    found = pulled(recorded(tmp_path, events), {'pointcloud': '/lidar/points', 'pointcloud_2': '/rear/points'})
    silent = [k for k, sweep in enumerate(found) if 'lidar_silent' in sweep.warnings]
    by_stamp = {sweep.cloud.stamp_ns: sweep for sweep in found}
    assert len(by_stamp) == len(found) >= sweeps - 2  # a turn of the rear one waits for the one ahead in vain
    assert [found[k].cloud.stamp_ns for k in silent] == [lidars.stamp(k * 0.1) for k in range(10, 20)]
    text = found[silent[-1]].warnings['lidar_silent']
    assert "'lidar' on input/pointcloud for" in text and f'since {lidars.stamp(0.67) / 1e9:.3f}' in text
    assert [len(by_stamp[lidars.stamp(k * 0.1)].sources) for k in (3, 16, 25)] == [2, 1, 2]
    assert farthest_m(by_stamp[lidars.stamp(2.5)]) < FAR_M


@pytest.mark.parametrize(('seconds', 'words'), [
    (37.0, '37.0 s ahead'), (-37.0, '37.0 s behind'), (-0.6, '0.6 s behind')])
def test_a_lidar_of_another_clock_costs_no_sweep_and_is_named_as_that(seconds, words, tmp_path):
    events = [*lidars.plain(2.5), *lidars.two_halves(20, '/rear/points')]
    for _, topic, message in events:
        if topic == '/lidar/points':
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + round(seconds * 1e9)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    found = pulled(recorded(tmp_path, events), {'pointcloud': '/rear/points', 'pointcloud_2': '/lidar/points'})
    assert len(found) >= 18 and all(len(sweep.sources) == 1 for sweep in found[4:])
    for sweep in found[4:-1]:
        assert words in sweep.warnings['lidar_clock'] and 'lidar_silent' not in sweep.warnings


def test_a_recording_that_starts_again_loses_one_sweep(tmp_path):
    once = [*lidars.plain(3.0), *lidars.two_halves(24, '/lidar/points')]
    again = [(at + 4 * 10**9, topic, message) for at, topic, message in once]
    with Recording(recorded(tmp_path, [*once, *again])) as recording:
        found = list(synced_sweeps(recording, recording.input_topics(), from_flat({})))
    dropped = [(k, sweep.error.reason) for k, sweep in enumerate(found) if not isinstance(sweep, SyncedSweep)]
    assert dropped == [(24, 'stamp_backwards')] and len(found) == 48
    assert max(farthest_m(sweep) for sweep in found[26:]) < FAR_M


def test_each_sensor_has_its_own_unit_of_intensity(tmp_path):
    same, other = (pulled(recorded(tmp_path, [*lidars.plain(1.0), *lidars.two_halves(4, '/lidar/points', gain=gain)],
                                   f'gain {gain}')) for gain in (1.0, 1 / 255))
    for a, b in zip(same, other):
        np.testing.assert_allclose(a.cloud.intensity, b.cloud.intensity, atol=1e-3)
        assert abs(np.median(a.cloud.intensity)) < 0.05 and np.ptp(np.quantile(a.cloud.intensity, (0.1, 0.9))) == \
            pytest.approx(1.0, abs=0.1)


def test_it_can_be_switched_off(tmp_path):
    path = recorded(tmp_path, [*lidars.plain(1.0), *lidars.parts_of_turns(2, 10)])
    assert len(pulled(path, **{'cloud.assemble': 'off'})) == 20


@pytest.mark.parametrize('covered_deg', [360, 270, 90, 20])
def test_a_lidar_that_sees_a_part_only_gives_a_sweep_a_message(covered_deg, tmp_path):
    events = lidars.plain(1.0)
    for k in range(SWEEPS):
        points = lidars.world()
        points = points[np.abs(lidars.bearings(points, 0.1 * k)) < np.radians(covered_deg / 2)]
        events.append((lidars.stamp(0.1 * k), '/lidar/points', bag.cloud(
            lidars.stamp(0.1 * k), lidars.seen(points, bag.SENSOR, 0.1 * k))))
    sweeps = pulled(recorded(tmp_path, events))
    assert [s.cloud.stamp_ns for s in sweeps] == [lidars.stamp(0.1 * k) for k in range(SWEEPS)]
    assert all(s.parts == () for s in sweeps)


@pytest.mark.slow
def test_replay_says_what_it_uses_and_what_it_leaves_out(tmp_path, capsys):
    path = recorded(tmp_path, [*lidars.plain(1.0), *lidars.two_halves(SWEEPS, '/rear/points', silent=range(2, 99))])
    options = [str(path), '--out', str(tmp_path / 'out'), '--pictures', '0', '--device', 'cpu']
    assert replay.main([*options, '--pointcloud', '/lidar/points']) == 0
    assert 'not used    /rear/points (8 messages)' in capsys.readouterr().out
    assert replay.main([*options, '--pointcloud', '/lidar/points', '--pointcloud-2', '/rear/points']) == 0
    said = capsys.readouterr()
    assert 'point cloud 2 /rear/points (8 messages)' in said.out and 'not used' not in said.out
    with open(tmp_path / 'out' / 'directions.csv', newline='') as file:
        assert len(list(csv.DictReader(file))) >= SWEEPS - 3
    assert replay.main(options) == 2  # which of the two is not said
    assert '--pointcloud-2' in capsys.readouterr().err
