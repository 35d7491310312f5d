# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/Odometry -> stamp, child frame and pose, duck-typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, malformed, stamp_and_frame, text
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion


@dataclass(frozen=True)
class Odometry:
    """One decoded odometry message."""

    stamp_ns: int
    child_frame_id: str  # frame that the pose is of, '' when the sender leaves it out
    T_odom_child: np.ndarray  # (4, 4) float64
    frame_id: str = ''  # in which the pose is given


def decode_odometry(msg: Any) -> Odometry:
    """Decode a nav_msgs/Odometry; the twist is not used.

    Raises InputError: malformed_message, stamp_zero, bad_odometry (zero quaternion, NaN).
    """
    stamp_ns, frame_id = stamp_and_frame(msg)
    pose = attribute(attribute(msg, 'pose'), 'pose')
    p, q = attribute(pose, 'position'), attribute(pose, 'orientation')
    try:
        T = se3_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    except ValueError as error:
        raise InputError('bad_odometry', f'the odometry pose is unusable: {error}.',
                         'fix its publisher: a finite position and a quaternion of length 1.') from error
    except (AttributeError, TypeError, OverflowError) as error:
        malformed(f'The pose of the {type(msg).__name__} cannot be read: {error}.')
    return Odometry(stamp_ns, text(msg, 'child_frame_id').lstrip('/'), T, frame_id.lstrip('/'))
