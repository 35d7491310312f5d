# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Receiver, odometry and IMU of a simulated vehicle: their errors are those that were asked for, and no others."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('pyproj', reason='needs pyproj')

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.simulation.sensors.dead_reckoning import DeadReckoning
from attention_fusion_ros.simulation.sensors.gnss import FIX, NO_FIX, GnssReceiver
from attention_fusion_ros.simulation.sensors.imu import Imu
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors, ImuErrors, OdometryErrors
from attention_fusion_ros.simulation.world.world import Terrain, World

FRAME = LocalFrame(60.0, 10.0, 100.0)
WORLD = World('osm', (), Terrain())
EXACT = dict(noise=0.0, bias=0.0, losses=0.0, jumps=0.0)


def fixes(errors: GnssErrors, seconds: float, seed: int = 0, pose=lambda t: (10.0 * t, 0.0, 0.0)):
    receiver, rng = GnssReceiver(FRAME, errors), np.random.default_rng(seed)
    return [receiver.measure(WORLD, pose(t), rng, round(t * 1e9)) for t in np.arange(0.0, seconds, 1.0 / errors.rate)]


def off(found, pose=lambda t: (10.0 * t, 0.0, 0.0)) -> np.ndarray:
    """(N, 2) m by which fixes are wrong, those that are none left out."""
    known = [f for f in found if f.status == FIX]
    return np.array([FRAME.to_metres(f.latitude, f.longitude) - pose(f.stamp_ns / 1e9)[:2] for f in known])


def test_without_errors_a_fix_is_where_the_antenna_is():
    errors = GnssErrors(**EXACT, antenna=(2.0, 1.0, 1.5))
    found = fixes(errors, 2.0, pose=lambda t: (3.0, 4.0, math.pi / 2))
    places = FRAME.to_metres([f.latitude for f in found], [f.longitude for f in found])
    np.testing.assert_allclose(places, np.tile([2.0, 6.0], (10, 1)), atol=1e-4)  # 2 m ahead is north, 1 m left is west
    assert found[0].altitude == pytest.approx(101.5) and found[0].covariance_type == 2


def test_white_noise_and_what_the_covariance_says():
    errors = GnssErrors(**{**EXACT, 'noise': 0.7})
    found = fixes(errors, 600.0)
    error = off(found)
    assert error.std(axis=0) == pytest.approx([0.7, 0.7], rel=0.06) and abs(error.mean()) < 0.06
    assert abs(np.corrcoef(error[1:, 0], error[:-1, 0])[0, 1]) < 0.06  # from fix to fix it is another one
    assert np.diag(found[0].covariance)[:2] == pytest.approx(0.49)


@pytest.mark.slow
def test_the_bias_wanders_and_the_covariance_is_honest():
    """Over many drives, 68 % of the errors of an axis are within the stated deviation."""
    errors = GnssErrors(rate=1.0, noise=0.5, bias=2.0, bias_time=60.0, losses=0.0, jumps=0.0)
    drives = np.array([off(fixes(errors, 180.0, seed)) for seed in range(120)])
    stated = math.sqrt(errors.variance)
    assert drives.std() == pytest.approx(stated, rel=0.06)
    assert (np.abs(drives) < stated).mean() == pytest.approx(0.683, abs=0.03)
    begin, later = drives[:, 0], drives[:, 60]
    assert np.corrcoef(begin.ravel(), later.ravel())[0, 1] == pytest.approx(4 / 4.25 * math.exp(-1), abs=0.15)
    steps = np.diff(drives, axis=1).std()
    assert steps == pytest.approx(math.sqrt(2 * 0.25 + 2 * 4.0 * (1 - math.exp(-1 / 60))), rel=0.06)  # no jumps


@pytest.mark.slow
def test_losses_come_as_often_and_last_as_long_as_was_asked_for():
    errors = GnssErrors(**{**EXACT, 'losses': 2.0}, loss_time=4.0)
    found = fixes(errors, 3600.0)
    lost = np.array([f.status == NO_FIX for f in found])
    begun = int((np.diff(lost.astype(int)) == 1).sum())
    assert 90 < begun < 140  # 120 an hour, of which some fall into each other
    assert lost.mean() == pytest.approx(1 - math.exp(-2 * 4 / 60), abs=0.03)
    gone = next(f for f in found if f.status == NO_FIX)
    assert math.isnan(gone.latitude) and gone.covariance_type == 0 and not gone.covariance.any()


def test_a_loss_by_appointment_changes_no_other_fix():
    errors = GnssErrors()
    found, other = fixes(errors, 60.0), fixes(GnssErrors(lost=((20.0, 15.0),)), 60.0)
    assert all(f.status == NO_FIX for f in other if 20 <= f.stamp_ns / 1e9 < 35)
    kept = [(a, b) for a, b in zip(found, other) if not 20 <= a.stamp_ns / 1e9 < 35]
    assert len(kept) == 225 and all(a.latitude == b.latitude or a.status == NO_FIX for a, b in kept)


def test_multipath_throws_fixes_off_and_lets_them_come_back():
    errors = GnssErrors(**{**EXACT, 'jumps': 3.0}, jump=20.0, jump_time=3.0)
    away = np.hypot(*off(fixes(errors, 1800.0)).T)
    thrown = away > 1.0
    assert away[~thrown].max() < 0.01 and 10.0 - 0.01 < away[thrown].min() and away.max() < 30.01
    assert away[thrown].mean() == pytest.approx(20.0, abs=2.0)
    assert thrown.mean() == pytest.approx(3 * 3 / 69, abs=0.05)
    assert 55 < (np.diff(thrown.astype(int)) == 1).sum() < 110


def test_equal_seeds_give_equal_fixes():
    assert [f.latitude for f in fixes(GnssErrors(), 20.0, 3) if f.status == FIX] == [
        f.latitude for f in fixes(GnssErrors(), 20.0, 3) if f.status == FIX]
    assert fixes(GnssErrors(), 1.0, 3)[0].latitude != fixes(GnssErrors(), 1.0, 4)[0].latitude


@pytest.mark.parametrize('bad', [dict(rate=0.0), dict(noise=-1.0), dict(bias_time=0.0), dict(jump=math.nan),
                                 dict(lost=((1.0, -2.0),))])
def test_numbers_that_make_no_receiver(bad):
    with pytest.raises(ValueError, match='fixes'):
        GnssErrors(**bad)


def circle(n: int = 2000, radius: float = 40.0):
    angles = np.linspace(0.0, 4 * math.pi, n)
    return [(radius * math.cos(a), radius * math.sin(a), wrap(a + math.pi / 2)) for a in angles]


def odometry(errors: OdometryErrors, poses, seed: int = 0) -> np.ndarray:
    sensor, rng = DeadReckoning(errors), np.random.default_rng(seed)
    return np.array([sensor.measure(WORLD, pose, rng) for pose in poses])


def test_odometry_begins_at_zero_and_is_exact_without_errors():
    poses = circle()
    found = odometry(OdometryErrors(0.0, 0.0, 0.0), poses)
    assert found[0].tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(found[-1], [0.0, 0.0, 0.0], atol=1e-6)  # twice round
    # Seen from the first pose, which looks north: 80 m away is 80 m to the left.
    assert np.hypot(*found[:, :2].T).max() == pytest.approx(80.0, abs=0.01)


@pytest.mark.slow
def test_odometry_drifts_by_scale_and_with_the_root_of_the_way():
    straight = [(0.5 * k, 0.0, 0.0) for k in range(801)]
    assert odometry(OdometryErrors(0.02, 0.0, 0.0), straight)[-1, 0] == pytest.approx(400 * 1.02)
    drives = np.array([odometry(OdometryErrors(0.0, 0.1, 0.0), straight, seed) for seed in range(150)])
    for metres in (100, 400):
        assert np.degrees(drives[:, 2 * metres, 2].std()) == pytest.approx(0.1 * math.sqrt(metres), rel=0.2)
    with pytest.raises(ValueError, match='odometry'):
        OdometryErrors(scale=0.9)


@pytest.mark.slow
def test_the_imu_says_the_yaw_from_true_east_with_one_bias_a_drive():
    far = (8000.0, 0.0, 0.4)  # 8 km east of the datum north is another one than there
    exact = Imu(FRAME, ImuErrors(0.0, 0.0)).measure(WORLD, far, np.random.default_rng(0))
    latitude, longitude = FRAME.to_degrees(np.array(far[:2]))
    there = FRAME.convergence(float(latitude), float(longitude))
    assert abs(there) > math.radians(0.1) and exact.yaw == pytest.approx(0.4 - there)
    errors = ImuErrors(0.5, 1.5)
    drives = []
    for seed in range(200):
        imu, rng = Imu(FRAME, errors), np.random.default_rng(seed)
        drives.append([imu.measure(WORLD, (0.0, 0.0, 0.4), rng, k * 10**8).yaw - 0.4 for k in range(20)])
    turned = np.degrees(drives)
    assert turned.mean(axis=1).std() == pytest.approx(1.5, rel=0.2)
    assert (turned - turned.mean(axis=1, keepdims=True)).std() == pytest.approx(0.5, rel=0.1)
    assert turned.std() == pytest.approx(math.hypot(0.5, 1.5), rel=0.15)
    turning, rng = Imu(FRAME, errors), np.random.default_rng(0)
    turning.measure(WORLD, (0.0, 0.0, 3.1), rng, 0)
    assert turning.measure(WORLD, (0.0, 0.0, -3.1), rng, 10**8).rate == pytest.approx(0.832, abs=0.001)
