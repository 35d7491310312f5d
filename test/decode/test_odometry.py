# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Odometry is decoded or refused with a reason."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message

import numpy as np
import pytest
from support.sync_kit import SECOND_NS, T0, at, header, odometry

from attention_fusion_ros.decode import decode_odometry
from attention_fusion_ros.errors import InputError


def test_stamp_frame_and_pose():
    found = decode_odometry(odometry(1.5, x=3.0, yaw=math.pi / 2, child='/imu_link'))
    assert (found.stamp_ns, found.child_frame_id) == (at(1.5), 'imu_link')
    assert found.T_odom_child[:2, [0, 3]] == pytest.approx(np.array([[0.0, 3.0], [1.0, 0.0]]))


@pytest.mark.parametrize('message, reason', [
    (odometry(0.0, quaternion=(0.0, 0.0, 0.0, 0.0)), 'bad_odometry'),
    (odometry(0.0, x=math.nan), 'bad_odometry'),
    (odometry(0.0, quaternion=(0.0, math.inf, 0.0, 1.0)), 'bad_odometry'),
    (odometry(-T0 / SECOND_NS), 'stamp_zero'),
    (Message(header=header(0.0)), 'malformed_message'),
    (Message(header=header(0.0), child_frame_id='', pose=Message(pose=Message(position=None, orientation=None))),
     'malformed_message'),
])
def test_bad_odometry_is_named(message, reason):
    with pytest.raises(InputError) as caught:
        decode_odometry(message)
    assert caught.value.reason == reason
