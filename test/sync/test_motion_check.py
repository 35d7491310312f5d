# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry that jumps or flips is named; odometry of a vehicle is not."""

import numpy as np
import pytest

from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.decode.odometry import Odometry
from attention_fusion_ros.decode.transforms import StampedTransform, Transforms
from attention_fusion_ros.sync.motion_check import ODOMETRY_JUMP, MotionCheck
from attention_fusion_ros.sync.synchronizer import Synchronizer

STEP_NS = 20_000_000


def pose(x, yaw=0.0, roll=0.0):
    c, s = np.cos(yaw), np.sin(yaw)
    r = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    T = np.eye(4)
    T[:3, :3], T[0, 3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ r, x
    return T


@pytest.mark.parametrize(('strange', 'words'), [
    (pose(4.0), '4.0 m'), (pose(0.2, yaw=np.pi), '180 deg'), (pose(0.2, roll=np.pi), '180 deg')])
def test_a_jump_is_named_for_a_while(strange, words):
    check = MotionCheck()
    check.add(STEP_NS, pose(0.0))
    check.add(2 * STEP_NS, strange)
    found = check.finding(3 * STEP_NS)
    assert found is not None and found.name == ODOMETRY_JUMP and words in found.message and 'Remedy' in found.message
    assert check.finding(2 * STEP_NS + 2 * 10**9) is None and check.finding(0) is None


def test_driving_fast_and_turning_hard_is_no_jump():
    check = MotionCheck()
    for i in range(200):
        check.add((i + 1) * STEP_NS, pose(i * 1.0, yaw=0.03 * i))  # 180 km/h, 86 deg/s
    assert check.finding(201 * STEP_NS) is None


def test_poses_far_apart_are_not_compared():
    check = MotionCheck()
    check.add(10**9, pose(0.0))
    check.add(3 * 10**9, pose(500.0))  # the next drive of a recording
    check.add(4 * 10**9, pose(560.0))
    assert check.finding(4 * 10**9) is None


def test_noise_between_poses_a_moment_apart_is_no_jump():
    check = MotionCheck()
    check.add(1000, pose(0.0))
    check.add(2000, pose(0.4, yaw=0.1))
    assert check.finding(3000) is None


def test_the_sweep_after_a_jump_says_so():
    base = NodeConfig().frames.base
    sync = Synchronizer(from_flat({'use_tf': False}))
    for i, x in enumerate((0.0, 0.2, 9.0)):
        sync.add_odometry(Odometry(10**9 + i * STEP_NS, base, pose(x), 'odom'))
    found = sync.match(10**9 + 3 * STEP_NS, 'lidar').findings
    assert [f.name for f in found] == [ODOMETRY_JUMP]


def test_odometry_on_tf_is_looked_at_too_and_messages_that_follow_are_of_another_frame():
    base, odom = NodeConfig().frames.base, NodeConfig().frames.odom
    sync = Synchronizer(NodeConfig())
    sync.add_transforms(Transforms((StampedTransform(0, base, 'lidar', np.eye(4), static=True),)))

    def found(tenths, x):
        stamp_ns = 10**9 + tenths * 10**8
        sync.add_transforms(Transforms((StampedTransform(stamp_ns, odom, base, pose(x), static=False),)))
        return [f.name for f in sync.match(stamp_ns, 'lidar').findings]
    assert [found(i, x) for i, x in enumerate((0.0, 1.5, 3.0, 40.0))] == [[], [], [], [ODOMETRY_JUMP]]
    for i in range(5):  # from now on messages, in a frame that started elsewhere
        sync.add_odometry(Odometry(10**9 + 4 * 10**8 + i * STEP_NS, base, pose(500.0 + 0.3 * i), 'map'))
    assert sync.match(10**9 + 5 * 10**8, 'lidar').findings == ()
