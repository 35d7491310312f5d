# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the map belongs, carried over a simulated drive: it converges, is honest, forgets, re-opens and gets lost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_fusion_ros.attention.pose_volume import PRIOR_SIZE
from attention_fusion_ros.contracts import MapAlignment
from attention_fusion_ros.geometry import rotation_2d, wrap
from attention_fusion_ros.network.map_tracker import FORGOTTEN, LOST, MAX_GAP_S, TRUST, MapTracker, TrackState, moved

STEP_NS = 100_000_000
NOISE = np.array([0.4, 0.9, math.radians(1.0)])  # of one registration: across, along, yaw
COVARIANCE = np.diag(NOISE ** 2)


def planar(x: float, y: float, yaw: float) -> np.ndarray:
    T = np.eye(3)
    T[:2, :2], T[:2, 2] = rotation_2d(yaw), (x, y)
    return T


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    """(4, 4) of odometry."""
    T = np.eye(4)
    T[:2, :2], T[:2, 3] = rotation_2d(yaw), (x, y)
    return T


def numbers(T: np.ndarray) -> np.ndarray:
    return np.array([T[0, 2], T[1, 2], math.atan2(T[1, 0], T[0, 0])])


def found(mean: np.ndarray, covariance: np.ndarray = COVARIANCE) -> MapAlignment:
    std = np.sqrt(np.diag(covariance))
    return MapAlignment(*map(float, mean), tuple(std.tolist()), tuple(map(tuple, covariance.tolist())))


def parts(prior: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    return prior[:3].astype(float), prior[3:12].reshape(3, 3).astype(float), float(prior[12])


def posterior(prior: np.ndarray | None, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a registration finds that is told of the prior: the product of both."""
    if prior is None:
        return measured, COVARIANCE
    mean, covariance, _ = parts(prior)
    one, two = np.linalg.inv(covariance), np.linalg.inv(COVARIANCE)
    together = np.linalg.inv(one + two)
    return together @ (one @ mean + two @ measured), together


@pytest.mark.parametrize('motion', [(0.0, 0.0, 0.0), (-3.0, 0.5, 0.2), (5.0, -8.0, -2.5)])
def test_a_correction_seen_from_elsewhere_is_the_same_motion_of_the_map(motion):
    correction, M = np.array([2.0, -1.0, 0.25]), planar(*motion)
    mean, _ = moved(correction, COVARIANCE, M)
    assert mean == pytest.approx(numbers(M @ planar(*correction) @ np.linalg.inv(M)), abs=1e-9)
    # A point of the map, moved then or now, comes to lie at the same place on the ground.
    point = np.array([12.0, -7.0, 1.0])
    assert planar(*mean) @ (M @ point) == pytest.approx(M @ (planar(*correction) @ point), abs=1e-9)


@pytest.mark.parametrize('motion', [(-3.0, 0.5, 0.2), (5.0, -8.0, -2.5)])
def test_the_covariance_follows_the_derivative(motion):
    correction, M, h = np.array([2.0, -1.0, 0.25]), planar(*motion), 1e-6
    jacobian = np.stack([(moved(correction + h * e, COVARIANCE, M)[0] - moved(correction - h * e, COVARIANCE, M)[0])
                         / (2 * h) for e in np.eye(3)], axis=1)
    root = np.random.default_rng(0).normal(size=(3, 3))
    covariance = root @ root.T
    assert moved(correction, covariance, M)[1] == pytest.approx(jacobian @ covariance @ jacobian.T, rel=1e-6, abs=1e-8)


def drive(rng: np.random.Generator, sweeps: int = 12) -> list[np.ndarray]:
    """(4, 4) poses of a vehicle that drives a bend, a metre from one sweep to the next, from anywhere."""
    x, y, yaw = rng.uniform(-100, 100, 2).tolist() + [rng.uniform(-3, 3)]
    poses = []
    for _ in range(sweeps):
        poses.append(pose(x, y, yaw))
        x, y, yaw = x + math.cos(yaw), y + math.sin(yaw), wrap(yaw + 0.05)
    return poses


def test_over_a_drive_it_converges_and_stays_honest():
    rng = np.random.default_rng(4)
    first, last, held = [], [], []
    for _ in range(40):
        tracker, poses = MapTracker(), drive(rng)
        start = np.array([3.0, -2.0, 0.12])  # of the map, in base_link of the first sweep
        for k, T in enumerate(poses):
            M = np.linalg.inv(T) @ poses[0]
            M = planar(M[0, 3], M[1, 3], math.atan2(M[1, 0], M[0, 0]))
            right = numbers(M @ planar(*start) @ np.linalg.inv(M))
            prior = tracker.prior(k * STEP_NS, T)
            assert (prior is None) == (k == 0)
            mean, covariance = posterior(prior, right + rng.normal(size=3) * NOISE)
            tracker.update(k * STEP_NS, T, found(mean, covariance), 0.99)
            left = mean - right
            left[2] = wrap(left[2])
            if k == 0:
                first.append(left)
        last.append(left)
        held.append(float(left @ np.linalg.inv(covariance) @ left) < 7.815)
        assert tracker.state is TrackState.TRACKED
    better = np.abs(last).mean(axis=0) / np.abs(first).mean(axis=0)
    assert (better < 0.75).all(), better
    assert np.mean(held) > 0.85


def test_what_is_known_is_less_than_what_was_found_and_less_still_after_a_way():
    tracker, here = MapTracker(), np.eye(4)
    tracker.update(0, here, found(np.array([1.0, 2.0, 0.1])), 1.0)
    mean, covariance, weight = parts(tracker.prior(STEP_NS, here))
    assert mean == pytest.approx([1.0, 2.0, 0.1], abs=1e-6) and weight == pytest.approx(TRUST)
    assert (np.diag(covariance) > np.diag(COVARIANCE) / (1 - FORGOTTEN)).all()
    _, farther, _ = parts(tracker.prior(STEP_NS, pose(20.0, 0.0, 0.0)))
    assert (np.linalg.eigvalsh(farther - covariance)[-1] > 0) and np.diag(farther)[2] > np.diag(covariance)[2]
    prior = tracker.prior(STEP_NS, here)
    assert prior.shape == (PRIOR_SIZE,) and prior.dtype == np.float32


def test_states():
    tracker = MapTracker()
    assert tracker.state is TrackState.NONE and tracker.prior(0, np.eye(4)) is None
    right = found(np.zeros(3))
    tracker.update(0, np.eye(4), right, 0.9)
    assert tracker.state is TrackState.SINGLE
    assert tracker.prior(STEP_NS, np.eye(4)) is not None
    tracker.update(STEP_NS, np.eye(4), right, 0.9)
    assert tracker.state is TrackState.TRACKED
    tracker.update(2 * STEP_NS, np.eye(4), right, LOST - 0.01)
    assert tracker.state is TrackState.LOST and tracker.prior(3 * STEP_NS, np.eye(4)) is None, 'open to every pose'
    tracker.update(3 * STEP_NS, np.eye(4), right, 0.1)
    assert tracker.state is TrackState.LOST
    tracker.update(4 * STEP_NS, np.eye(4), found(np.array([5.0, 0.0, 0.1])), 0.9)
    assert tracker.state is TrackState.SINGLE
    assert parts(tracker.prior(5 * STEP_NS, np.eye(4)))[0] == pytest.approx([5.0, 0.0, 0.1], abs=1e-6), 'a new place'
    tracker.update(5 * STEP_NS, np.eye(4), None, 0.0)
    assert tracker.state is TrackState.NONE, 'no map'
    tracker.update(6 * STEP_NS, np.eye(4), right, 0.2)
    assert tracker.state is TrackState.NONE, 'never tracked, hence not lost'
    tracker.update(7 * STEP_NS, np.eye(4), right, 0.9)
    tracker.clear()
    assert tracker.state is TrackState.NONE and tracker.prior(8 * STEP_NS, np.eye(4)) is None


def test_gaps_time_that_runs_backwards_and_missing_odometry_leave_nothing_known():
    tracker = MapTracker()
    tracker.update(10 * STEP_NS, np.eye(4), found(np.zeros(3)), 0.9)
    limit = 10 * STEP_NS + round(MAX_GAP_S * 1e9)
    assert tracker.prior(limit, np.eye(4)) is not None and tracker.prior(limit + 1, np.eye(4)) is None
    assert tracker.prior(9 * STEP_NS, np.eye(4)) is None and tracker.prior(11 * STEP_NS, None) is None
    tracker.update(11 * STEP_NS, None, found(np.zeros(3)), 0.9)
    assert tracker.prior(12 * STEP_NS, np.eye(4)) is None, 'nobody knows where that was'


def test_a_registration_that_tells_no_covariance_is_not_carried():
    tracker = MapTracker()
    tracker.update(0, np.eye(4), MapAlignment(1.0, 0.0, 0.0, (0.1, 0.1, 0.1)), 1.0)
    assert tracker.prior(STEP_NS, np.eye(4)) is None and tracker.state is TrackState.NONE


def test_what_was_not_told_of_the_past_is_a_single_sweep():
    tracker, here = MapTracker(), pose(0, 0, 0)
    for stamp_ns, state in ((0, TrackState.SINGLE), (STEP_NS, TrackState.TRACKED),
                            (round((MAX_GAP_S + 5) * 1e9), TrackState.SINGLE)):
        tracker.prior(stamp_ns, here)
        tracker.update(stamp_ns, here, found(np.zeros(3)), 1.0)
        assert tracker.state is state
    stamp_ns += STEP_NS  # nobody asked
    tracker.update(stamp_ns, here, found(np.zeros(3)), 1.0)
    assert tracker.state is TrackState.SINGLE
