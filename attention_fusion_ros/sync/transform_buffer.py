# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree of coordinate frames that /tf and /tf_static spell out (REP-105), for node and replay alike.

`T_parent_child` maps child to parent, as everywhere here and as in geometry_msgs/TransformStamped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse, se3_from_quaternion
from attention_fusion_ros.sync.pose_buffer import PoseBuffer

MAX_AGE = 0.5  # s, how far from its nearest sample a moving transform may be asked for
HISTORY = 10.0  # s, as tf2 keeps them
MAX_DEPTH = 64  # frames from the root; more is a loop


class TransformBuffer:
    """Static and moving transforms by child frame. Not thread-safe."""

    def __init__(self):
        self._parent: dict[str, str] = {}
        self._static: dict[str, np.ndarray] = {}
        self._moving: dict[str, PoseBuffer] = {}

    def __len__(self) -> int:
        return len(self._parent)

    def clear(self) -> None:
        """Forget every frame."""
        self._parent.clear()
        self._static.clear()
        self._moving.clear()

    def drop_after(self, stamp_ns: int) -> None:
        """Drop moving transforms later than this; static ones hold at any time."""
        for buffer in self._moving.values():
            buffer.drop_after(stamp_ns)

    def add_message(self, msg: Any, static: bool) -> None:
        """A tf2_msgs/TFMessage, duck-typed.

        Raises InputError `bad_transform` after everything usable in the message has been taken in.
        """
        bad = None
        for item in msg.transforms:
            stamp = item.header.stamp.sec * 10**9 + item.header.stamp.nanosec
            t, q = item.transform.translation, item.transform.rotation
            try:
                T = se3_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
                self.add(stamp, item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/'), T, static)
            except ValueError as error:
                bad = InputError('bad_transform', f"the transform '{item.header.frame_id}' -> '{item.child_frame_id}' "
                                 f'is unusable: {error}.', 'fix its publisher; tf2_echo shows it.')
        if bad is not None:
            raise bad

    def add(self, stamp_ns: int, parent: str, child: str, T_parent_child: np.ndarray, static: bool) -> None:
        """Add one transform; a frame that changes its parent forgets the old one. Raises ValueError for bad names."""
        if not parent or not child or parent == child:
            raise ValueError(f"frame names '{parent}' and '{child}' must differ and not be empty")
        if self._parent.get(child, parent) != parent:
            self._static.pop(child, None)
            self._moving.pop(child, None)
        self._parent[child] = parent
        if static:
            self._static[child] = T_parent_child
        else:
            self._moving.setdefault(child, PoseBuffer(MAX_AGE, HISTORY)).add(stamp_ns, T_parent_child)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """T_target_source (4, 4) at a time.

        Raises InputError `transform_missing`: frames that do not hang together, or not at that time.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and source:
            return np.eye(4)
        to_root, from_root = self._path(source), self._path(target)
        common = next((frame for frame in to_root if frame in from_root), None)
        if common is None or not source:
            raise InputError('transform_missing', f"no transform from '{source}' to '{target}': "
                             f'{self._known(source, target)}.', self._remedy(source, target))
        T_common_source = self._down(to_root[:to_root.index(common)], stamp_ns)
        T_common_target = self._down(from_root[:from_root.index(common)], stamp_ns)
        return inverse(T_common_target) @ T_common_source

    def moves(self, target: str, source: str) -> bool:
        """Whether anything on the way from source to target is not static, or they do not hang together (yet)."""
        path, other = self._path(source.lstrip('/')), self._path(target.lstrip('/'))
        way = set(path) ^ set(other)
        return path[-1] != other[-1] or any(frame not in self._static for frame in way if frame in self._parent)

    def _path(self, frame: str) -> list[str]:
        """The frame, its parent, ... up to the root."""
        path = [frame]
        while path[-1] in self._parent and len(path) <= MAX_DEPTH:
            path.append(self._parent[path[-1]])
        return path

    def _down(self, frames: list[str], stamp_ns: int) -> np.ndarray:
        """Product of T_parent_child from the last of `frames` to the first."""
        T = np.eye(4)
        for frame in frames:
            step = self._static.get(frame)
            if step is None:
                step = self._moving[frame].pose(stamp_ns, known_until_ns=stamp_ns)
            if step is None:
                raise InputError('transform_missing', f"the transform '{self._parent[frame]}' -> '{frame}' is not "
                                 f'known at {stamp_ns / 1e9:.3f} s.', 'check that its publisher runs, and that it '
                                 'and the sensor use the same clock (use_sim_time).')
            T = step @ T
        return T

    def _known(self, *frames: str) -> str:
        unknown = [f for f in frames if f not in self._parent and f not in self._parent.values()]
        if not self._parent:
            return 'nothing was heard on /tf and /tf_static'
        if unknown:
            return 'unknown frame ' + ' and '.join(f"'{f}'" for f in unknown)
        return 'the two are in separate trees'

    @staticmethod
    def _remedy(source: str, target: str) -> str:
        if not source:
            return 'let the driver fill in frame_id, or set use_tf to false and T_base_sensor.'
        return (f'publish it (ros2 run tf2_ros static_transform_publisher --frame-id {target} --child-frame-id '
                f'{source}) or set use_tf to false and T_base_sensor.')
