# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found behind the decoders: messages that are good each for itself, and do not go together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from support.messages import header

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode import decode_odometry, decode_transforms
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import MAX_DISTANCE_M, se3_from_quaternion
from attention_fusion_ros.stream.decoded import DecodedSweep
from attention_fusion_ros.stream.merge import MAX_UNMOVED_NS, PART_WITHOUT_TRANSFORM, merge

T0 = 1_700_000_000 * 10**9


class Mountings:
    """Only the mounting of 'lidar' is known, and no odometry."""

    def sensor_pose(self, frame, stamp_ns):
        if frame != 'lidar':
            raise InputError('transform_missing', 'not known.', 'publish it.')
        return np.eye(4)

    def base_poses(self, stamps_ns):
        return [None] * len(stamps_ns)


def message(frame, stamp_ns, name='pointcloud', **more):
    return DecodedSweep(PointCloud(stamp_ns, frame, np.ones((5, 3), np.float32), None), 1.0, None, name, **more)


def test_a_sweep_whose_latest_message_has_no_place_is_that_of_the_others():
    """It is stamped with that message, long after the only LiDAR whose place is known: this is used all the same."""
    late = message('elsewhere', T0 + 2 * MAX_UNMOVED_NS, 'pointcloud_2')
    sweep = message('lidar', T0, others=(late,), several=True)
    merged = merge(sweep, np.eye(4), Mountings(), deskew=False)
    assert len(merged.cloud.xyz) == 5 and PART_WITHOUT_TRANSFORM in merged.warnings


def pose(x):
    return SimpleNamespace(position=SimpleNamespace(x=x, y=0.0, z=0.0),
                           orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0))


@pytest.mark.parametrize('x', [1e300, -1.7e308, 2 * MAX_DISTANCE_M])
def test_a_finite_number_is_no_place_when_its_products_are_infinite(x):
    odometry = SimpleNamespace(header=header(), child_frame_id='base_link', pose=SimpleNamespace(pose=pose(x)))
    with pytest.raises(InputError) as found:
        decode_odometry(odometry)
    assert found.value.reason == 'bad_odometry'
    transform = SimpleNamespace(translation=pose(x).position, rotation=pose(x).orientation)
    item = SimpleNamespace(header=header(), child_frame_id='child', transform=transform)
    assert decode_transforms(SimpleNamespace(transforms=[item])).problem.reason == 'bad_transform'
    assert se3_from_quaternion((MAX_DISTANCE_M, 0, 0), (0, 0, 0, 1))[0, 3] == MAX_DISTANCE_M
