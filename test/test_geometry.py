# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bearings on the circle and rigid transforms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from attention_fusion_ros import geometry as g

angles = st.floats(-50.0, 50.0)


@given(angles)
def test_wrap_keeps_the_direction_and_the_range(a):
    w = g.wrap(a)
    assert -math.pi < w <= math.pi
    assert math.isclose(math.cos(w), math.cos(a), abs_tol=1e-9) and math.isclose(math.sin(w), math.sin(a), abs_tol=1e-9)


def test_wrap_puts_the_seam_at_plus_pi():
    assert g.wrap(-math.pi) == math.pi and g.wrap(math.pi) == math.pi and g.wrap(3 * math.pi) == math.pi


@given(st.floats(-1e6, 1e6))
def test_a_number_is_wrapped_to_the_bit_as_arrays_are(a):
    assert g.wrap(a) == g.wrap(np.array([a]))[0] == g.wrap(np.float64(a))
    assert math.isnan(g.wrap(math.inf)) and math.isnan(g.wrap(math.nan))


@given(st.floats(-100, 100), st.floats(-100, 100), angles)
def test_inverse_undoes_a_planar_transform(x, y, yaw):
    T = g.se2(x, y, yaw)
    assert np.allclose(g.inverse(T) @ T, np.eye(3), atol=1e-9)


def test_quaternion_agrees_with_yaw():
    T = g.se3_from_quaternion((1, 2, 3), g.quaternion_from_yaw(0.7))
    assert math.isclose(g.yaw_of(T), 0.7) and np.allclose(T[:3, 3], (1, 2, 3))
    assert g.is_rigid(T)


@pytest.mark.parametrize('q', [(0, 0, 0, 0), (0, 0, 0, 2), (math.nan, 0, 0, 1)])
def test_a_quaternion_that_is_none_is_refused(q):
    with pytest.raises(ValueError):
        g.se3_from_quaternion((0, 0, 0), q)


def test_is_rigid_refuses_scale_mirror_and_nan():
    mirrored = np.diag([1.0, 1.0, -1.0, 1.0])
    scaled = np.diag([2.0, 2.0, 2.0, 1.0])
    broken = np.full((4, 4), np.nan)
    assert not any(map(g.is_rigid, (mirrored, scaled, broken, np.eye(3))))
    for i, j in np.ndindex(4, 4):  # any single number of the rotation, or of the last row
        bent = np.eye(4)
        bent[i, j] += 0.01
        assert g.is_rigid(bent) is (j == 3 and i < 3)


def test_interpolation_between_two_poses():
    T0, T1 = np.eye(4), g.se3_from_quaternion((2, 0, 0), g.quaternion_from_yaw(1.0))
    middle = g.interpolate_se3(T0, T1, 0.5)
    assert np.allclose(middle[:3, 3], (1, 0, 0)) and math.isclose(g.yaw_of(middle), 0.5)
    assert np.allclose(g.interpolate_se3(T0, T1, 0.0), T0) and np.allclose(g.interpolate_se3(T0, T1, 1.0), T1)


@given(axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.01),
       angle=st.floats(0.0, math.pi) | st.floats(0.0, 1e-3).map(lambda a: math.pi - a) | st.floats(0.0, 1e-8),
       start=st.tuples(*[st.floats(-3, 3)] * 3), fraction=st.floats(0.0, 1.0))
def test_interpolation_is_scipys_slerp_up_to_half_a_turn(axis, angle, start, fraction):
    axis = np.array(axis) / np.linalg.norm(axis)
    R0 = Rotation.from_rotvec(start)
    R1 = R0 * Rotation.from_rotvec(angle * axis)
    T0, T1 = np.eye(4), np.eye(4)
    T0[:3, :3], T1[:3, :3] = R0.as_matrix(), R1.as_matrix()
    T = g.interpolate_se3(T0, T1, fraction)
    assert g.is_rigid(T, 1e-12)
    # At half a turn the two ways are equally short, and rounding chooses, in scipy as well: either will do.
    ways = [Slerp([0, 1], Rotation.concatenate([R0, R1]))(fraction)]
    if math.pi - angle < 1e-6:
        ways += [R0 * Rotation.from_rotvec(fraction * a * axis) for a in (angle, angle - 2 * math.pi)]
    assert min((way.inv() * Rotation.from_matrix(T[:3, :3])).magnitude() for way in ways) < 1e-6


@pytest.mark.parametrize('short_of_half_a_turn', [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
def test_interpolation_near_half_a_turn_is_a_rotation(short_of_half_a_turn):
    yaw = math.pi - short_of_half_a_turn
    T = g.interpolate_se3(np.eye(4), g.se3_from_quaternion((0, 0, 0), g.quaternion_from_yaw(yaw)), 0.5)
    assert g.is_rigid(T, 1e-12) and abs(abs(g.yaw_of(T)) - yaw / 2) < 1e-9


def test_interpolation_carries_on_beyond_the_second_pose():
    T = g.interpolate_se3(np.eye(4), g.se3_from_quaternion((1, 0, 0), g.quaternion_from_yaw(0.4)), 2.5)
    assert T[0, 3] == pytest.approx(2.5) and g.yaw_of(T) == pytest.approx(1.0)


@given(st.tuples(*[st.floats(-4, 4)] * 3))
def test_a_quaternion_gives_its_rotation_back(rotation_vector):
    R = Rotation.from_rotvec(rotation_vector).as_matrix()
    q = g.quaternion_from_rotation(R)
    assert q[3] >= 0 and np.allclose(g.se3_from_quaternion((0, 0, 0), q)[:3, :3], R, atol=1e-12)
