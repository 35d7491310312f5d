# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree of coordinate frames published on /tf and /tf_static (REP-105), for node and replay alike.

`T_parent_child` maps child to parent, as everywhere here and as in geometry_msgs/TransformStamped. It differs from tf2
in three things. A result depends on stamps only, and not on how late a message came: transforms stamped later than the
time asked for do not count (unless `interpolate` is set, or there is no earlier one). After its newest sample a
transform of /tf goes on, see `MovingTransform`, where tf2 refuses; `extrapolation_s` says by how much. And a frame may
have several parents: LiDAR odometry often publishes `its odom -> lidar` beside the mounting `base_link -> lidar`, which
must not get lost by that. A way of static transforms alone counts before any other, for it holds at any time; else
static parents come first, then those heard of last, and the first that leads to the other frame counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from attention_fusion_ros.decode.transforms import StampedTransform
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.sync.moving_transform import HISTORY_S, MAX_EXTRAPOLATION_S, MovingTransform

__all__ = ['HISTORY_S', 'MAX_AGE_S', 'MAX_EXTRAPOLATION_S', 'TRANSFORM_MISSING', 'TransformBuffer']

MAX_AGE_S = 10.0  # parameter tf_max_age
TRANSFORM_MISSING = 'transform_missing'


@dataclass
class _Link:
    """From one frame to one of its parents."""

    parent: str
    child: str
    static: np.ndarray | None = None  # T_parent_child
    moving: MovingTransform = field(default_factory=MovingTransform)

    def order(self) -> tuple[bool, int]:
        """Sorts the links of a frame, the last first."""
        return self.static is not None, self.moving.newest_ns or 0


class TransformBuffer:
    """Static and moving transforms by child frame. Not thread-safe.

    max_age_s: how long a transform of /tf that stands still holds after its newest sample (parameter tf_max_age).
    """

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self.max_age_s = max_age_s
        self._links: dict[str, list[_Link]] = {}  # by child, those that were added last first

    def __len__(self) -> int:
        return len(self._links)

    def clear(self) -> None:
        """Forget every frame."""
        self._links.clear()

    def drop_after(self, stamp_ns: int) -> None:
        """Drop moving transforms later than this; static ones hold at any time."""
        for links in self._links.values():
            for link in links:
                link.moving.drop_after(stamp_ns)

    def add(self, transform: StampedTransform) -> None:
        """Add one transform."""
        links = self._links.setdefault(transform.child, [])
        link = next((link for link in links if link.parent == transform.parent), None)
        if link is None:
            link = _Link(transform.parent, transform.child)
            links.insert(0, link)
        if transform.static:
            link.static = transform.T_parent_child
            links.remove(link)
            links.insert(0, link)
        else:
            link.moving.add(transform.stamp_ns, transform.T_parent_child)

    def lookup(self, target: str, source: str, stamp_ns: int, interpolate: bool = False) -> np.ndarray:
        """T_target_source (4, 4) at a time.

        interpolate: samples later than `stamp_ns` count as well, as with tf2.
        Raises InputError `transform_missing`: frames that are not connected, or not at that time.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and source:
            return np.eye(4)
        to_target, to_source = self._between(target, source)
        T_common_source = self._chain(to_source, stamp_ns, interpolate)
        T_target_source: np.ndarray = inverse(self._chain(to_target, stamp_ns, interpolate)) @ T_common_source
        return T_target_source

    def extrapolation_s(self, target: str, source: str, stamp_ns: int) -> float:
        """By how many seconds `lookup` goes beyond the newest sample of a moving transform; 0 for static ones.

        Raises InputError `transform_missing` when the frames are not connected.
        """
        return max((link.moving.extrapolation_s(stamp_ns) for link in self._moving(target, source)), default=0.0)

    def moving_frames(self, target: str, source: str) -> frozenset[str]:
        """Child frames of the links between the two that are not static; empty where they are not connected."""
        try:
            return frozenset(link.child for link in self._moving(target, source))
        except InputError:
            return frozenset()

    def is_dynamic(self, target: str, source: str) -> bool:
        """Whether any link between the two frames is not static, or they are not connected (yet)."""
        try:
            return bool(self._moving(target, source))
        except InputError:
            return True

    def _moving(self, target: str, source: str) -> list[_Link]:
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and source:
            return []
        to_target, to_source = self._between(target, source)
        return [link for link in (*to_target, *to_source) if link.static is None]

    def _between(self, target: str, source: str) -> tuple[list[_Link], list[_Link]]:
        """Links from target and from source up to their first common ancestor."""
        for only_static in (True, False):
            from_source, from_target = (dict(self._ancestors(frame, only_static)) for frame in (source, target))
            common = next((frame for frame in from_source if frame in from_target), None)
            if common is not None:
                break
        if common is None or not source:
            raise InputError(TRANSFORM_MISSING, f"no transform from '{source}' to '{target}': "
                             f'{self._known(source, target)}.', self._remedy(source, target))
        return from_target[common], from_source[common]

    def _ancestors(self, frame: str, only_static: bool) -> Iterator[tuple[str, list[_Link]]]:
        """The frame and all above it, each once, with the links that lead there: the preferred way to a root first."""
        seen: set[str] = set()
        ahead: list[tuple[str, list[_Link]]] = [(frame, [])]
        while ahead:
            at, links = ahead.pop()
            if at in seen:
                continue
            seen.add(at)
            yield at, links
            # Sorted ascending and from the list's end on, for the last one is taken up next.
            above = sorted(reversed(self._links.get(at, [])), key=_Link.order)
            ahead += [(link.parent, [*links, link]) for link in above if not only_static or link.static is not None]

    def _chain(self, links: list[_Link], stamp_ns: int, interpolate: bool) -> np.ndarray:
        """Product of T_parent_child from the last of `links` to the first."""
        T = np.eye(4)
        for link in links:
            step = link.static
            if step is None:
                step = link.moving.pose(stamp_ns, self.max_age_s, interpolate)
            if step is None:
                raise self._not_at_that_time(link, stamp_ns)
            T = step @ T
        return T

    def _not_at_that_time(self, link: _Link, stamp_ns: int) -> InputError:
        name, age_s = f"the transform '{link.parent}' -> '{link.child}'", link.moving.age_s(stamp_ns)
        same_clock = 'check that its publisher and the sensor use the same clock (use_sim_time)'
        if age_s is None:
            return InputError(TRANSFORM_MISSING, f'{name} has not come again since time went back.',
                              'check that its publisher runs; what is published once belongs on /tf_static.')
        if age_s < 0.0:
            return InputError(TRANSFORM_MISSING, f'{name} is not known before {-age_s:.1f} s after the sweep.',
                              f'{same_clock}.')
        if link.moving.moves and age_s <= self.max_age_s:
            return InputError(TRANSFORM_MISSING,
                              f'{name} moves, and was last published {age_s:.1f} s before the sweep.',
                              f'check that its publisher runs, and publish it more often; {same_clock}. Only a '
                              'transform that stands still holds up to tf_max_age.')
        return InputError(TRANSFORM_MISSING, f'{name} was last published {age_s:.1f} s before the sweep, and holds for '
                          f'{self.max_age_s:g} s (parameter tf_max_age).',
                          f'publish it on /tf_static or more often, or raise tf_max_age; {same_clock}.')

    def _known(self, *frames: str) -> str:
        parents = {link.parent for links in self._links.values() for link in links}
        unknown = [f for f in frames if f not in self._links and f not in parents]
        if not self._links:
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
