# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Position and heading from fixes, odometry, headings and map alignments, on drives through cities."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.map_kit import CITIES, FRAME, START_NS, Errors, city, drive_through, simulate

import attention_fusion_ros.maps
from attention_fusion_ros.decode import REASONS as DECODER_REASONS
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion
from attention_fusion_ros.maps.fix import Fix, fix_from_message
from attention_fusion_ros.maps.flat_odometry import FlatOdometry
from attention_fusion_ros.maps.frames import LocalFrame, Utm
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.maps.odometry_track import OdometryTrack, Pose2
from attention_fusion_ros.maps.reasons import REASONS

pytest.importorskip('pyproj', reason='needs pyproj')

S = 1_000_000_000


def fix_message(status=0, kind=2, variance=4.0, latitude=49.43, longitude=7.76, sec=5):
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=0), frame_id='/gnss'),
        status=SimpleNamespace(status=status, service=1), latitude=latitude, longitude=longitude, altitude=math.nan,
        position_covariance=np.diag([variance, variance, 9.0]).ravel(), position_covariance_type=kind)


def test_fixes_are_read_with_what_their_receiver_says():
    found = fix_from_message(fix_message())
    assert (found.stamp_ns, found.frame_id, found.latitude, found.longitude) == (5 * S, 'gnss', 49.43, 7.76)
    assert found.std == 2.0 and found.std_known
    for unknown in ({'kind': 0}, {'variance': 0.0}, {'variance': -1.0}, {'variance': math.nan}):
        found = fix_from_message(fix_message(**unknown), usual_std=5.0)
        assert found.std == 5.0 and not found.std_known
    assert fix_from_message(fix_message(variance=1e-8)).std == 0.02, 'no receiver is exact'
    assert fix_from_message(fix_message(status=-2)).std == 2.0, 'status unknown, but a position'


@pytest.mark.parametrize(('message', 'reason'), [
    (fix_message(status=-1), 'no_fix'), (fix_message(latitude=0.0, longitude=0.0), 'no_fix'),
    (fix_message(latitude=math.nan), 'bad_fix'), (fix_message(latitude=99.0), 'bad_fix'),
    (fix_message(latitude=89.0), 'near_pole'), (fix_message(latitude=None), 'malformed_message'),
    (fix_message(sec=0), 'stamp_zero'), (SimpleNamespace(), 'malformed_message')])
def test_fixes_that_cannot_be_used(message, reason):
    with pytest.raises(InputError) as error:
        fix_from_message(message)
    assert error.value.reason == reason


def test_every_reason_is_in_the_table():
    source = '\n'.join(p.read_text() for p in Path(attention_fusion_ros.maps.__file__).parent.glob('*.py'))
    used = set(re.findall(r"(?:InputError\(|_count\(|_declined\(stamp_ns, |return )'([a-z]+_[a-z_]+)'", source))
    assert len(used) > 20 and used <= {*REASONS, *DECODER_REASONS}


def straight(speed: float = 10.0, seconds: float = 60.0, yaw: float = 0.7) -> np.ndarray:
    s = np.arange(0.0, seconds, 0.1) * speed
    return np.column_stack([s * math.cos(yaw), s * math.sin(yaw), np.full(len(s), yaw)])


def test_no_image_before_the_heading_is_known():
    position = MapPosition(LocalFrame(*FRAME))
    with pytest.raises(InputError) as error:
        position.pose_for_image()
    assert error.value.reason == 'no_position'
    for k in range(20):  # standing
        position.add_odometry(START_NS + k * S // 10, 3.0, 4.0, 1.0)
        position.add_fix(Fix(START_NS + k * S // 10, '', *FRAME, 0.0, 2.0, True))
    with pytest.raises(InputError) as error:
        position.pose_for_image()
    assert error.value.reason == 'no_heading'
    position.add_yaw(START_NS + 19 * S // 10, 0.5, math.radians(2.0))
    found = position.pose_for_image()
    assert found.pose == pytest.approx((0.0, 0.0, 0.5), abs=1e-6)
    assert found.position_std == pytest.approx(2.0, rel=0.1) and found.heading_std == pytest.approx(math.radians(2.0))


def test_fixes_before_the_first_odometry_are_not_paired_with_it():
    position, frame = MapPosition(LocalFrame(*FRAME)), LocalFrame(*FRAME)
    for k in range(40):
        latitude, longitude = (float(v) for v in frame.to_degrees(np.array([k, 0.0])))
        position.add_fix(Fix(START_NS + k * S // 10, '', latitude, longitude, 0.0, 1.0, True))
        if k >= 20:  # odometry whose frame lies far away
            position.add_odometry(START_NS + k * S // 10, 2000.0, 1000.0 + k, math.pi / 2)
    assert position.estimate().pose == pytest.approx((39.0, 0.0, 0.0), abs=0.5)


@pytest.mark.parametrize('fixes_every', [1, 10])
def test_a_receiver_and_an_absolute_heading_are_enough(fixes_every):
    """As recordings of INS have them: no odometry, and curves of 20 degrees a second."""
    position, frame = MapPosition(LocalFrame(*FRAME)), LocalFrame(*FRAME)
    rng = np.random.default_rng(0)
    turned, away = [], []
    for k in range(200):
        stamp_ns, angle = START_NS + k * S // 10, math.radians(2.0 * k)
        place = 25.0 * np.array([math.cos(angle), math.sin(angle)])
        position.add_yaw(stamp_ns, angle + math.pi / 2 + rng.normal(0, math.radians(1.0)), math.radians(1.0))
        if k % fixes_every == 0:
            latitude, longitude = (float(v) for v in frame.to_degrees(place + rng.normal(0, 0.2, 2)))
            position.add_fix(Fix(stamp_ns, '', latitude, longitude, 0.0, 1.0, True))
        if k > 20 and k % fixes_every == 0:
            found = position.pose_for_image(stamp_ns)
            turned.append(abs(math.remainder(found.pose.yaw - angle - math.pi / 2, math.tau)))
            away.append(math.hypot(found.pose.x - place[0], found.pose.y - place[1]))
    assert max(turned) < math.radians(8.0) and np.median(turned) < math.radians(2.5)
    assert max(away) < 3.0 and not position.reference.counts


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    return se3_from_quaternion((x, y, 0.0), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))


def test_odometry_in_a_frame_that_lies_on_its_side():
    """That of a camera, or of LiDAR odometry that starts as the frame of its sensor: z ahead, y down."""
    T_side = np.array([[0.0, -1.0, 0.0, 4.0], [0.0, 0.0, -1.0, 2.0], [1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    level, side = FlatOdometry(), FlatOdometry()
    for k in range(30):
        T = pose(5.0 * math.sin(0.1 * k), 5.0 - 5.0 * math.cos(0.1 * k), 0.1 * k)
        a, b = level.add(k * S // 10, T), side.add(k * S // 10, T_side @ T)
        if not k:
            first = a, b
    assert first[0].relative(a) == pytest.approx(first[1].relative(b), abs=1e-9)
    assert first[0].relative(a) == pytest.approx((5.0 * math.sin(2.9), 5.0 - 5.0 * math.cos(2.9), 2.9))
    assert level.add(28 * S // 10, pose(0.0, 0.0, 0.0)) is None, 'late'
    assert level.add(0, pose(1.0, 2.0, 0.5)) == pytest.approx((1.0, 2.0, 0.5)), 'the clock went back'


def test_averaging_fixes_does_not_make_the_position_exact():
    log = simulate(LocalFrame(*FRAME), straight(), Errors(fix_std=3.0))
    assert 2.0 < np.median(log.column('std')) < 3.5


@pytest.mark.slow
@pytest.mark.parametrize('name', CITIES)
def test_deviations_are_honest_and_jumps_of_the_receiver_are_not_followed(name, shared_folder):
    roads = city(shared_folder, name)
    poses = drive_through(roads, 3, 80.0)
    inside, turned, away, fixes = [], [], [], []
    for seed in range(4):
        log = simulate(roads.frame, poses, Errors(seed=seed, jumps=(40.0, 50.0)))
        assert log.column('away')[0] < 20.0 and len(log.rows) > 700, 'after a few metres there is a position'
        inside.append(log.column('away') < 2.45 * log.column('std'))
        turned.append(log.column('turned') < 1.96 * log.column('turn_std'))
        away.append(np.median(log.column('away', 10.0)))
        fixes.append(np.median(log.column('fix', 10.0)))
        assert log.position.reference.counts['fix_jumped'] >= 9
        assert log.column('away', 39.0, 52.0).max() < log.column('away', 30.0, 39.0).max() + 3.0
    assert np.mean(inside) > 0.85 and np.mean(turned) > 0.85
    assert np.mean(away) < 1.1 * np.mean(fixes), 'never worse than the fixes'


@pytest.mark.slow
@pytest.mark.parametrize('name', CITIES)
def test_a_wrong_start_is_corrected_by_alignments_within_half_a_minute(name, shared_folder):
    roads = city(shared_folder, name)
    poses = drive_through(roads, 5, 45.0)
    logs = [simulate(roads.frame, poses, Errors(seed=seed, start=(5.0, math.radians(5.0)), align=True))
            for seed in range(4)]
    assert np.median([log.column('away', 29.0, 31.0).mean() for log in logs]) < 1.0
    assert np.median([log.column('turned', 29.0, 31.0).mean() for log in logs]) < math.radians(1.0)
    assert all(log.column('away', 30.0).mean() < log.column('fix', 30.0).mean() for log in logs)


@pytest.mark.slow
def test_a_minute_without_fixes(shared_folder):
    """Odometry of 1 % drift, which alignments have measured before: by itself it would be 5.4 m off after 540 m."""
    worst, going_on = [], []
    for name in CITIES:
        roads = city(shared_folder, name)
        poses = drive_through(roads, 7, 130.0)
        for seed in range(2):
            before = Errors(seed=seed, outage=(65.0, 126.0), align=True, align_until=65.0,
                            turn_noise=math.radians(0.003))
            log = simulate(roads.frame, poses, before)
            worst.append(log.column('away', 65.0, 125.0).max())
            assert (log.column('away', 65.0, 125.0) < 3.0 * log.column('std', 65.0, 125.0)).all()
        log = simulate(roads.frame, poses, Errors(seed=1, outage=(65.0, 126.0), align=True))
        going_on.append(log.column('away', 65.0, 125.0).max())
    assert np.median(worst) < 2.0
    assert max(going_on) < 1.0, 'alignments carry on without fixes'


@pytest.mark.parametrize('offset', [(0.0, 25.0, 0.0), (9.0, -14.0, 0.0), (0.0, 0.0, 0.5)])
def test_alignments_onto_the_wrong_road_cannot_lead_away(offset):
    """They say so ten times a second, surely and with one voice."""
    wrong = Errors(align=True, align_from=20.0, align_offset=offset)
    log = simulate(LocalFrame(*FRAME), straight(seconds=120.0), wrong)
    assert log.column('away', 20.0).max() < 12.0, 'no farther than the fixes may be wrong'
    assert log.column('turned', 20.0).max() < math.radians(6.0)
    assert sum(log.position.counts.values()) > 100
    plain = simulate(LocalFrame(*FRAME), straight(seconds=120.0), Errors())
    assert np.median(log.column('away', 60.0)) < np.median(plain.column('away', 60.0)) + 3.0


@pytest.mark.slow
def test_without_alignments_the_correction_fades():
    log = simulate(LocalFrame(*FRAME), straight(seconds=400.0), Errors(align=True, align_until=60.0))
    assert log.column('std', 55.0, 60.0).mean() < 0.5
    position = log.position
    assert position.estimate().position_std == pytest.approx(position.reference.estimate().position_std, rel=0.15)
    a, b = position.estimate().pose, position.reference.estimate().pose
    assert math.dist(a[:2], b[:2]) < 1.5


def aligned_once(**kwargs) -> tuple[MapPosition, str]:
    position = MapPosition(LocalFrame(*FRAME))
    position.add_odometry(START_NS, 0.0, 0.0, 0.0)
    position.add_pose(START_NS, 0.0, 0.0, 0.0, std=3.0)
    if kwargs.pop('drawn', True):
        position.pose_for_image(START_NS)
    options = {'dx': 1.0, 'dy': 0.0, 'dyaw': 0.0, 'covariance': np.diag([0.01, 0.01, 1e-4]), **kwargs}
    return position, position.add_alignment(START_NS, **options)


def test_a_map_that_belongs_farther_ahead_means_that_the_vehicle_is_farther_back():
    position, reason = aligned_once()
    assert reason == '' and position.estimate().pose.x == pytest.approx(-1.0, abs=0.05)
    position, _ = aligned_once(dx=0.0, dyaw=0.02)
    assert position.estimate().pose.yaw == pytest.approx(-0.02, abs=0.01)


@pytest.mark.parametrize(('wrong', 'reason'), [
    ({'dx': math.nan}, 'alignment_unusable'), ({'covariance': np.diag([-1.0, 1, 1])}, 'alignment_unusable'),
    ({'covariance': np.eye(2)}, 'alignment_unusable'), ({'dx': 50.0}, 'alignment_too_large'),
    ({'dyaw': 1.0}, 'alignment_too_large'), ({'dx': 15.0}, 'alignment_out_of_bounds'),
    ({'drawn': False}, 'alignment_without_image'), ({'image_stamp_ns': 7}, 'alignment_without_image')])
def test_alignments_that_are_not_used(wrong, reason):
    position, found = aligned_once(**wrong)
    assert found == reason and position.counts == {reason: 1}
    assert position.estimate().pose == pytest.approx((0.0, 0.0, 0.0))


def test_an_alignment_belongs_to_the_image_that_was_drawn_not_to_the_pose_of_today():
    """The correction of an old image must not be applied twice."""
    position = MapPosition(LocalFrame(*FRAME))
    position.add_odometry(START_NS, 0.0, 0.0, 0.0)
    position.add_pose(START_NS, 2.0, 0.0, 0.0, std=3.0)  # truly at 0, 0
    position.pose_for_image(START_NS)
    for k in range(1, 30):
        position.add_odometry(START_NS + k * S // 10, k * 1.0, 0.0, 0.0)
        covariance = np.diag([0.01, 0.01, 1e-4])
        assert position.add_alignment(START_NS + k * S // 10, 2.0, 0.0, 0.0, covariance, START_NS) == ''
    assert position.estimate().pose.x == pytest.approx(29.0, abs=0.2)


def test_odometry_in_utm_needs_no_fix():
    frame, grid = LocalFrame(60.0, 11.9), Utm(32)
    position = MapPosition(frame)
    x, y = grid.to_metres(60.0, 11.9)
    for k in range(50):
        stamp_ns = START_NS + k * S // 10
        position.add_odometry(stamp_ns, x + k, y, 0.0)
        position.add_pose(stamp_ns, *grid.pose_in(frame, x + k, y, 0.0), std=0.5)
    found = position.pose_for_image()
    assert math.degrees(found.pose.yaw) == pytest.approx(-2.5, abs=0.1), 'grid east is not east'
    assert found.pose[:2] == pytest.approx((49 * math.cos(found.pose.yaw), 49 * math.sin(found.pose.yaw)), abs=0.1)


def test_an_antenna_beside_the_origin():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    poses = straight()
    for k, (x, y, yaw) in enumerate(poses):
        stamp_ns = START_NS + k * S // 10
        position.add_odometry(stamp_ns, x, y, yaw)
        antenna = np.array([x + 2.0 * math.cos(yaw) - math.sin(yaw), y + 2.0 * math.sin(yaw) + math.cos(yaw)])
        latitude, longitude = frame.to_degrees(antenna)
        position.add_fix(Fix(stamp_ns, '', float(latitude), float(longitude), 0.0, 0.05, True), (2.0, 1.0))
    assert position.estimate().pose == pytest.approx(tuple(poses[-1]), abs=0.1)


def test_late_fixes_are_moved_to_now_by_odometry():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    poses = straight(speed=15.0)
    for k, (x, y, yaw) in enumerate(poses):
        position.add_odometry(START_NS + k * S // 10, x, y, yaw)
        if k >= 5:  # half a second late: 7.5 m
            latitude, longitude = frame.to_degrees(poses[k - 5, :2])
            position.add_fix(Fix(START_NS + (k - 5) * S // 10, '', float(latitude), float(longitude), 0.0, 0.05, True))
    assert position.estimate().pose == pytest.approx(tuple(poses[-1]), abs=0.1)


def test_fixes_and_a_dual_antenna_without_odometry():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    for k, (x, y, yaw) in enumerate(straight(seconds=20.0)):
        latitude, longitude = frame.to_degrees([x, y])
        position.add_fix(Fix(START_NS + k * S // 10, '', float(latitude), float(longitude), 0.0, 0.5, True))
        position.add_yaw(START_NS + k * S // 10, yaw, math.radians(1.0))
    found = position.pose_for_image()
    assert found.pose == pytest.approx((x, y, yaw), abs=0.5)


def test_a_recording_that_starts_again_is_sought_anew():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    for _ in range(2):
        for k, (x, y, yaw) in enumerate(straight(seconds=15.0)):
            position.add_odometry(START_NS + k * S // 10, x, y, yaw)
            latitude, longitude = frame.to_degrees([x, y])
            position.add_fix(Fix(START_NS + k * S // 10, '', float(latitude), float(longitude), 0.0, 1.0, True))
    assert position.reference.counts['clock_went_back'] == 1
    assert position.pose_for_image().pose == pytest.approx((x, y, yaw), abs=1.0)


def test_odometry_whose_frame_jumps_costs_certainty_not_the_position():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    for k, (x, y, yaw) in enumerate(straight(seconds=30.0)):
        jumped = (500.0, -300.0, 1.0) if k > 200 else (0.0, 0.0, 0.0)
        position.add_odometry(START_NS + k * S // 10, *Pose2(*jumped).then(Pose2(x, y, yaw)))
        latitude, longitude = frame.to_degrees([x, y])
        position.add_fix(Fix(START_NS + k * S // 10, '', float(latitude), float(longitude), 0.0, 0.5, True))
    found = position.estimate()
    assert found.pose == pytest.approx((x, y, yaw), abs=1.0)
    T = position.odom_in_map()
    assert T.then(position.reference.track.last) == pytest.approx(tuple(found.pose))


def test_fixes_that_were_right_all_along_are_believed_in_the_end():
    frame = LocalFrame(*FRAME)
    position = MapPosition(frame)
    for k, (x, y, yaw) in enumerate(straight(seconds=90.0)):
        position.add_odometry(START_NS + k * S // 10, x, y, yaw)
        off = 80.0 if k < 200 else 0.0  # the first fixes were reflected
        latitude, longitude = frame.to_degrees([x, y + off])
        if k % 10 == 0:
            position.add_fix(Fix(START_NS + k * S // 10, '', float(latitude), float(longitude), 0.0, 2.0, True))
        if k == 300:
            assert position.estimate().pose.y == pytest.approx(y + 80.0, abs=3.0)
    assert position.reference.counts['restarted'] == 1
    assert position.estimate().pose == pytest.approx((x, y, yaw), abs=2.0)


@pytest.mark.parametrize(('call', 'reason'), [
    (lambda p: p.add_fix(Fix(START_NS, '', -33.9, 151.2, 0.0, 1.0, True)), 'far_from_datum'),
    (lambda p: p.add_yaw(START_NS, math.nan, 0.1), 'bad_yaw'), (lambda p: p.add_yaw(START_NS, 0.1, 0.0), 'bad_yaw'),
    (lambda p: p.add_pose(START_NS, math.nan, 0.0, 0.0), 'bad_fix')])
def test_inputs_that_cannot_be_used(call, reason):
    position = MapPosition(LocalFrame(*FRAME))
    with pytest.raises(InputError) as error:
        call(position)
    assert error.value.reason == reason
    position.add_odometry(START_NS, math.nan, 0.0, 0.0)
    assert position.reference.counts == {'bad_odometry': 1}


def test_old_poses_are_no_poses_of_now():
    position, _ = aligned_once()
    with pytest.raises(InputError) as error:
        position.pose_for_image(START_NS + 5 * S)
    assert error.value.reason == 'position_stale'


def test_a_track_interpolates_and_forgets():
    track = OdometryTrack()
    for k in range(3000):
        track.add(k * S // 10, Pose2(0.1 * k, 0.0, 0.001 * k))
    assert track.at(290 * S + S // 20) == pytest.approx((290.05, 0.0, 2.9005), abs=1e-6)
    assert track.at(0) is None and track.at(400 * S) is None
    assert track.add(301 * S, Pose2(5000.0, 0.0, 0.0)) is None and len(track) == 1
