# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""tf2_msgs/TFMessage -> stamped transforms, duck-typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, malformed
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import se3_from_quaternion


@dataclass(frozen=True)
class StampedTransform:
    """One link of the tree of frames: `T_parent_child` maps child to parent, as geometry_msgs/TransformStamped does."""

    stamp_ns: int
    parent: str
    child: str
    T_parent_child: np.ndarray  # (4, 4) float64
    static: bool  # holds at any time

    def __post_init__(self) -> None:
        if not self.parent or not self.child or self.parent == self.child:
            raise ValueError(f"frame names '{self.parent}' and '{self.child}' must differ and not be empty")


@dataclass(frozen=True)
class Transforms:
    """One decoded message: what is usable in it, and what is wrong with the rest."""

    items: tuple[StampedTransform, ...]
    problem: InputError | None = None  # `bad_transform` about the last unusable one


def decode_transforms(msg: Any) -> Transforms:
    """Decode a tf2_msgs/TFMessage of /tf. Raises InputError `malformed_message`."""
    return _decode(msg, static=False)


def decode_static_transforms(msg: Any) -> Transforms:
    """Decode a tf2_msgs/TFMessage of /tf_static. Raises InputError `malformed_message`."""
    return _decode(msg, static=True)


def _decode(msg: Any, static: bool) -> Transforms:
    items: list[StampedTransform] = []
    problem = None
    try:
        for item in attribute(msg, 'transforms'):
            try:
                items.append(_decode_item(item, static))
            except ValueError as error:
                problem = InputError(
                    'bad_transform', f"the transform '{item.header.frame_id}' -> '{item.child_frame_id}' is unusable: "
                    f'{error}.', 'fix its publisher; tf2_echo shows it.')
    except (AttributeError, TypeError, OverflowError) as error:
        malformed(f'The {type(msg).__name__} holds something that is no transform: {error}.')
    return Transforms(tuple(items), problem)


def _decode_item(item: Any, static: bool) -> StampedTransform:
    stamp_ns = int(item.header.stamp.sec) * 10**9 + int(item.header.stamp.nanosec)
    t, q = item.transform.translation, item.transform.rotation
    T = se3_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    return StampedTransform(stamp_ns, item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/'), T, static)
