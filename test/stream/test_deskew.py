# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points are moved from their own time to the sweep's stamp, by odometry."""

from __future__ import annotations

import numpy as np
import pytest
from support import several_lidars as lidars
from support import synthetic_bag as bag
from support.sync_kit import T0, at, odometry

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.decode.plain_messages import point_cloud
from attention_fusion_ros.geometry import inverse, quaternion_from_yaw, se3_from_quaternion, transform_points
from attention_fusion_ros.stream.deskew import knots_s, move_points
from attention_fusion_ros.stream.inputs import input_named
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.sweeps import SweepStream
from attention_fusion_ros.studies.deskew import Bend, sweep_of, wall_errors


@pytest.mark.parametrize('stamped', ['start', 'end'])
def test_walls_stand_where_they_are_at_20_m_per_second_in_a_bend(stamped):
    bend = Bend(speed=20.0, radius=40.0)
    before, after = (wall_errors(sweep_of(bend, stamped, deskew), bend) for deskew in ('off', 'auto'))
    assert before.median > 0.3 and before.p95 > 1.0
    assert after.largest < 0.01


def stream_of(deskew: str = 'auto') -> SweepStream:
    return SweepStream(from_flat({'use_tf': False, 'cloud.deskew': deskew}), max_wait_s=0.0)


def drive(stream: SweepStream, first: float, last: float, speed: float = 10.0) -> None:
    spec = input_named('odometry')
    for seconds in np.arange(first, last + 1e-9, 0.05):
        stream.take(spec, spec.transports[0], odometry(float(seconds), x=speed * float(seconds)))


def message(times: np.ndarray, seconds: float = 0.0, name: str = 'time', kind: str = 'f4'):
    """Points 10 m to the left, one for each time."""
    points = np.zeros(len(times), [*((axis, '<f4') for axis in 'xyz'), (name, kind)])
    points['y'], points['z'], points[name] = 10.0, np.linspace(-1, 1, len(times)), times
    return point_cloud(points, at(seconds), 'lidar')


TIMES = np.linspace(-0.1, 0.0, 200)


def test_each_point_is_moved_by_what_was_driven_since():
    stream = stream_of()
    drive(stream, -1.0, 0.0)
    sweep = stream.sweep(message(TIMES))
    np.testing.assert_allclose(sweep.cloud.xyz[:, 0], 10.0 * TIMES, atol=1e-3)
    np.testing.assert_allclose(sweep.cloud.xyz[:, 1], 10.0, atol=1e-3)
    assert sweep.deskew == 'time (float32) in s after the stamp' and sweep.cloud.stamp_ns == T0


def test_it_can_be_switched_off_while_running():
    stream = stream_of()
    drive(stream, -1.0, 1.0)
    stream.update(from_flat({'use_tf': False, 'cloud.deskew': 'off'}))
    sweep = stream.sweep(message(TIMES))
    assert not sweep.cloud.xyz[:, 0].any() and sweep.deskew == ''


def test_without_odometry_points_stay_and_it_is_said():
    sweep = stream_of().sweep(message(TIMES))
    assert not sweep.cloud.xyz[:, 0].any() and 'no odometry' in sweep.deskew and 'time (float32)' in sweep.deskew
    stream = stream_of()
    drive(stream, -0.5, 0.0)
    assert 'no odometry' in stream.sweep(message(TIMES, 30.0)).deskew


def test_points_after_the_newest_odometry_are_moved_at_constant_velocity():
    stream = stream_of()
    drive(stream, -1.0, 0.0)
    np.testing.assert_allclose(stream.sweep(message(-TIMES)).cloud.xyz[:, 0], -10.0 * TIMES, atol=1e-3)


def test_odometry_that_reaches_a_part_of_the_sweep_is_used_for_that_part():
    stream = SweepStream(from_flat({'use_tf': False, 'odometry.max_age': 0.02}), max_wait_s=0.0)
    drive(stream, -0.05, 0.0)
    sweep = stream.sweep(message(TIMES))
    assert 'of which odometry covers' in sweep.deskew
    recent = TIMES > -0.045
    np.testing.assert_allclose(sweep.cloud.xyz[recent, 0], 10.0 * TIMES[recent], atol=1e-3)


def test_an_implausible_time_is_named_and_not_used():
    stream = stream_of()
    drive(stream, -1.0, 0.0)
    sweep = stream.sweep(message(np.full(200, 5.0)))
    assert not sweep.cloud.xyz[:, 0].any() and "'time (float32)' is not used" in sweep.deskew
    assert 'cloud.deskew' in sweep.deskew


def test_every_part_of_a_sweep_is_moved_from_its_own_times(tmp_path):
    """Two LiDARs, each of whose points were measured during the 50 ms before its stamp."""
    points, events = lidars.world(), lidars.plain(1.0)
    for k in range(4):
        for frame, T, lag_s in (('lidar', bag.SENSOR, 0.03), ('rear', lidars.REAR, 0.0)):
            stamp_s = 0.1 * k - lag_s
            ahead = np.abs(lidars.bearings(points, 0.1 * k)) < np.pi / 2
            mine = points[ahead if frame == 'lidar' else ~ahead]
            mine = mine[np.argsort(lidars.bearings(mine, 0.1 * k))]
            offsets = np.linspace(-0.05, 0.0, len(mine)).astype(np.float32)
            seen = np.concatenate([lidars.seen(mine[i:i + 1], T, stamp_s + float(offsets[i]))
                                   for i in range(len(mine))])
            events.append((lidars.stamp(0.1 * k), '/lidar/points', timed_cloud(lidars.stamp(stamp_s), seen, offsets,
                                                                               frame)))
    path = bag.write(tmp_path / 'drive', sorted(events, key=lambda e: e[0]))
    for parameters, low, high in (({}, 0.0, 0.02), ({'cloud.deskew': 'off'}, 0.2, 1.0)):
        with Recording(path) as recording:
            sweeps = list(synced_sweeps(recording, recording.input_topics(), from_flat(parameters)))
        assert len(sweeps) == 4 and all(len(sweep.parts) == 2 for sweep in sweeps)
        from scipy.spatial import cKDTree
        true = lidars.seen(points, np.eye(4), 0.3)[:, :3]
        found = transform_points(sweeps[3].motion.T_base_sensor, sweeps[3].cloud.xyz)
        assert low <= cKDTree(true).query(found)[0].max() < high
    assert sweeps[3].deskew == ''


def timed_cloud(stamp: int, points: np.ndarray, offsets: np.ndarray, frame: str):
    plain = bag.cloud(stamp, points, frame)
    packed = np.column_stack([points, offsets]).astype('<f4')
    plain.fields.append(bag.T['sensor_msgs/msg/PointField']('time', 16, 7, 1))
    plain.point_step, plain.row_step, plain.data = 20, packed.nbytes, np.frombuffer(packed.tobytes(), np.uint8)
    return plain


@pytest.mark.parametrize('shake', [0.0, 0.3])
def test_motion_that_no_polynomial_follows_is_followed_as_well(shake):
    """shake: amplitude in metres of a jump of odometry in the middle of the sweep."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-40, 40, (3000, 3)).astype(np.float32)
    offsets = rng.uniform(-0.1, 0.0, 3000).astype(np.float32)

    def motion(seconds: float) -> np.ndarray:
        jump = shake * (seconds > -0.05)
        return se3_from_quaternion((20 * seconds, 0.0, jump), quaternion_from_yaw(0.8 * seconds))

    knots = knots_s(offsets)
    moved = move_points(xyz, offsets, knots, np.array([motion(t) for t in knots]))
    assert moved.dtype == np.float32
    true = np.array([transform_points(motion(t), p) for t, p in zip(offsets.astype(float), xyz.astype(float))])
    away = np.abs(offsets + 0.05) > 0.005  # between the knots around the jump either is right
    assert np.abs(moved - true)[away | (shake == 0)].max() < 0.01


def test_the_sweep_is_stamped_where_its_points_are_moved_to():
    """Moved to the stamp and back again by the same motion, points are what the sensor sent."""
    bend = Bend()
    sent, moved = (sweep_of(bend, 'end', deskew).cloud.xyz for deskew in ('off', 'auto'))
    in_base = sent[:1].astype(float) + [0.8, 0, 1.8]
    first = transform_points(inverse(bend.pose(0.0)) @ bend.pose(-bend.period_s), in_base)
    np.testing.assert_allclose(moved[:1], first - [0.8, 0, 1.8], atol=0.01)
