# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bearings on the circle and rigid transforms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_fusion_ros import geometry as g

angles = st.floats(-50.0, 50.0)


@given(angles)
def test_wrap_keeps_the_direction_and_the_range(a):
    w = g.wrap(a)
    assert -math.pi < w <= math.pi
    assert math.isclose(math.cos(w), math.cos(a), abs_tol=1e-9) and math.isclose(math.sin(w), math.sin(a), abs_tol=1e-9)


def test_wrap_puts_the_seam_at_plus_pi():
    assert g.wrap(-math.pi) == math.pi and g.wrap(math.pi) == math.pi and g.wrap(3 * math.pi) == math.pi


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


def test_interpolation_between_two_poses():
    T0, T1 = np.eye(4), g.se3_from_quaternion((2, 0, 0), g.quaternion_from_yaw(1.0))
    middle = g.interpolate_se3(T0, T1, 0.5)
    assert np.allclose(middle[:3, 3], (1, 0, 0)) and math.isclose(g.yaw_of(middle), 0.5)
    assert np.allclose(g.interpolate_se3(T0, T1, 0.0), T0) and np.allclose(g.interpolate_se3(T0, T1, 1.0), T1)
