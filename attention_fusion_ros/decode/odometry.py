# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/Odometry -> stamp, child frame and pose, duck-typed."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, stamp_and_frame
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion


def decode_odometry(msg: Any) -> tuple[int, str, np.ndarray]:
    """nav_msgs/Odometry, duck-typed -> stamp in ns, child frame ('' when the sender leaves it out), (4, 4) pose.

    Raises InputError: malformed_message, stamp_zero, bad_odometry (zero quaternion, NaN).
    """
    stamp_ns, _ = stamp_and_frame(msg)
    pose = attribute(attribute(msg, 'pose'), 'pose')
    p, q = attribute(pose, 'position'), attribute(pose, 'orientation')
    try:
        T = se3_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    except ValueError as error:
        raise InputError('bad_odometry', f'the odometry pose is unusable: {error}.',
                         'fix its publisher: a finite position and a quaternion of length 1.') from error
    return stamp_ns, str(attribute(msg, 'child_frame_id')).lstrip('/'), T
