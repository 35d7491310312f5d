# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree of coordinate frames published on /tf and /tf_static (REP-105), for node and replay alike.

`T_parent_child` maps child to parent, as everywhere here and as in geometry_msgs/TransformStamped. In two things this
differs from tf2, so that a result depends on stamps only, and not on how late a message came: transforms stamped later
than the time asked for do not count (unless `interpolate` is set), and after its newest sample a moving transform is
extrapolated at constant velocity by MAX_EXTRAPOLATION_S at most, where tf2 refuses. `extrapolation_s` says by how much.
"""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.decode.transforms import StampedTransform
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.sync.pose_buffer import PoseBuffer

MAX_EXTRAPOLATION_S = 0.5  # how far from its nearest sample a moving transform may be asked for
HISTORY_S = 10.0  # as tf2 keeps them
MAX_DEPTH = 64  # frames from the root; more is a loop
TRANSFORM_MISSING = 'transform_missing'


class TransformBuffer:
    """Static and moving transforms by child frame. Not thread-safe."""

    def __init__(self) -> None:
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

    def add(self, transform: StampedTransform) -> None:
        """Add one transform; a frame that changes its parent forgets the old one."""
        child = transform.child
        if self._parent.get(child, transform.parent) != transform.parent:
            self._static.pop(child, None)
            self._moving.pop(child, None)
        self._parent[child] = transform.parent
        if transform.static:
            self._static[child] = transform.T_parent_child
        else:
            buffer = self._moving.setdefault(child, PoseBuffer(MAX_EXTRAPOLATION_S, HISTORY_S))
            buffer.add(transform.stamp_ns, transform.T_parent_child)

    def lookup(self, target: str, source: str, stamp_ns: int, interpolate: bool = False) -> np.ndarray:
        """T_target_source (4, 4) at a time.

        interpolate: samples later than `stamp_ns` count as well, as with tf2.
        Raises InputError `transform_missing`: frames that are not connected, or not at that time.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and source:
            return np.eye(4)
        to_target, to_source = self._links(target, source)
        T_common_source = self._chain(to_source, stamp_ns, interpolate)
        T_target_source: np.ndarray = inverse(self._chain(to_target, stamp_ns, interpolate)) @ T_common_source
        return T_target_source

    def extrapolation_s(self, target: str, source: str, stamp_ns: int) -> float:
        """By how many seconds `lookup` goes beyond the newest sample of a moving transform; 0 for static ones.

        Raises InputError `transform_missing` when the frames are not connected.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and source:
            return 0.0
        to_target, to_source = self._links(target, source)
        moving = [self._moving[f] for f in (*to_target, *to_source) if f not in self._static]
        return max((buffer.extrapolation_s(stamp_ns, stamp_ns) for buffer in moving), default=0.0)

    def is_dynamic(self, target: str, source: str) -> bool:
        """Whether any link between the two frames is not static, or they are not connected (yet)."""
        path, other = self._path(source.lstrip('/')), self._path(target.lstrip('/'))
        links = set(path) ^ set(other)
        return path[-1] != other[-1] or any(frame not in self._static for frame in links if frame in self._parent)

    def _links(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """Frames from target and from source up to below their first common ancestor."""
        from_source, from_target = self._path(source), self._path(target)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None or not source:
            raise InputError(TRANSFORM_MISSING, f"no transform from '{source}' to '{target}': "
                             f'{self._known(source, target)}.', self._remedy(source, target))
        return from_target[:from_target.index(common)], from_source[:from_source.index(common)]

    def _path(self, frame: str) -> list[str]:
        """The frame, its parent, ... up to the root."""
        path = [frame]
        while path[-1] in self._parent and len(path) <= MAX_DEPTH:
            path.append(self._parent[path[-1]])
        return path

    def _chain(self, frames: list[str], stamp_ns: int, interpolate: bool) -> np.ndarray:
        """Product of T_parent_child from the last of `frames` to the first."""
        T = np.eye(4)
        for frame in frames:
            link = self._static.get(frame)
            if link is None:
                link = self._moving[frame].pose(stamp_ns, known_until_ns=None if interpolate else stamp_ns)
            if link is None:
                raise InputError(TRANSFORM_MISSING, f"the transform '{self._parent[frame]}' -> '{frame}' is not "
                                 f'known at {stamp_ns / 1e9:.3f} s.', 'check that its publisher runs, and that it '
                                 'and the sensor use the same clock (use_sim_time).')
            T = link @ T
        return T

    def _known(self, *frames: str) -> str:
        unknown = [f for f in frames if f not in self._parent and f not in self._parent.values()]
        if not self._parent:
            return 'nothing was received on /tf and /tf_static'
        if unknown:
            return 'unknown frame ' + ' and '.join(f"'{f}'" for f in unknown)
        return 'the two are in separate trees'

    @staticmethod
    def _remedy(source: str, target: str) -> str:
        if not source:
            return 'let the driver fill in frame_id, or set use_tf to false and T_base_sensor.'
        return (f'publish it (ros2 run tf2_ros static_transform_publisher --frame-id {target} --child-frame-id '
                f'{source}) or set use_tf to false and T_base_sensor.')
