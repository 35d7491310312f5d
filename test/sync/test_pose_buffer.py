# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Poses between, before and after the samples."""

from __future__ import annotations

import pytest
from support.sync_kit import at, pose

from attention_fusion_ros.geometry import yaw_of
from attention_fusion_ros.sync.pose_buffer import PoseBuffer


def test_poses_are_interpolated_between_samples():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(0.0), pose(0.0, yaw=0.0))
    buffer.add(at(0.1), pose(1.0, yaw=0.2))
    T = buffer.pose(at(0.025))
    assert T[0, 3] == pytest.approx(0.25)
    assert yaw_of(T) == pytest.approx(0.05)


def test_poses_go_on_at_constant_velocity_after_the_newest():
    buffer = PoseBuffer(0.5, 20.0)
    for i in range(11):
        buffer.add(at(0.1 * i), pose(10.0 * 0.1 * i, yaw=0.3 * 0.1 * i))
    T = buffer.pose(at(1.07))
    assert T[0, 3] == pytest.approx(10.7)
    assert yaw_of(T) == pytest.approx(0.321)
    assert buffer.pose(at(1.51)) is None


def test_noise_is_not_blown_up_when_carried_on():
    """Two samples a millisecond apart with a centimetre of noise would give 10 m/s out of nothing."""
    buffer = PoseBuffer(0.5, 20.0)
    for i in range(1001):
        buffer.add(at(0.001 * i), pose(0.01 * (i % 2)))
    assert abs(buffer.pose(at(1.2))[0, 3]) < 0.03


def test_poses_later_than_known_do_not_count():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(0.0), pose(0.0))
    buffer.add(at(0.1), pose(1.0))
    before = buffer.pose(at(0.15), known_until_ns=at(0.15))
    buffer.add(at(0.2), pose(9.0))
    assert buffer.pose(at(0.15), known_until_ns=at(0.15)) == pytest.approx(before)
    assert buffer.pose(at(0.15))[0, 3] == pytest.approx(5.0)


def test_samples_that_overtook_each_other_are_sorted_and_equal_ones_replaced():
    buffer = PoseBuffer(0.5, 20.0)
    for seconds, x in ((0.0, 0.0), (0.2, 2.0), (0.1, 1.0), (0.1, 1.1)):
        buffer.add(at(seconds), pose(x))
    assert len(buffer) == 3
    assert buffer.pose(at(0.1))[0, 3] == pytest.approx(1.1)


def test_history_is_bounded():
    buffer = PoseBuffer(0.5, 2.0)
    for i in range(1000):
        buffer.add(at(0.01 * i), pose(float(i)))
    assert len(buffer) == 201


def test_a_jump_back_empties_the_buffer():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(100.0), pose(5.0))
    buffer.add(at(0.0), pose(1.0))
    assert len(buffer) == 1 and buffer.newest_ns == at(0.0)
