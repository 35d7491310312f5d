# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Stamps, poses and messages (as plain namespaces) for the tests of buffers, synchronizer and stream."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np

from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion

SECOND_NS = 10**9
T0 = 1_700_000_000 * SECOND_NS


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND_NS)


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return se3_from_quaternion((x, y, 0.0), quaternion_from_yaw(yaw))


def header(seconds: float, frame: str = 'odom') -> Message:
    stamp = at(seconds)
    return Message(stamp=Message(sec=stamp // SECOND_NS, nanosec=stamp % SECOND_NS), frame_id=frame)


def odometry(seconds: float, x: float = 0.0, yaw: float = 0.0, child: str = 'base_link', quaternion=None) -> Message:
    q = quaternion_from_yaw(yaw) if quaternion is None else quaternion
    return Message(header=header(seconds), child_frame_id=child, pose=Message(pose=Message(
        position=Message(x=x, y=0.0, z=0.0), orientation=Message(x=q[0], y=q[1], z=q[2], w=q[3]))))


def transforms(*links, seconds: float = 0.0) -> Message:
    """links: (parent, child, x) or (parent, child, x, quaternion)."""
    items = []
    for parent, child, x, *q in links:
        q = q[0] if q else (0.0, 0.0, 0.0, 1.0)
        items.append(Message(header=header(seconds, parent), child_frame_id=child, transform=Message(
            translation=Message(x=x, y=0.0, z=0.0), rotation=Message(x=q[0], y=q[1], z=q[2], w=q[3]))))
    return Message(transforms=items)


def image(seconds: float) -> MapImage:
    return MapImage(at(seconds), 'base_link', np.ones((2, 2), np.float32), None)
