# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A map that says itself where it lies (nav_msgs/OccupancyGrid), and where the vehicle is in its frame.

What is placed in a fixed frame has no age: nav2's map_server publishes its map once, and latches it. One that moves
with the vehicle (a rolling costmap) is as old as its stamp.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.sync.stamped_series import SECOND_NS
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

NOT_PLACED = 'map_not_placed'
Pose = Callable[[int], 'np.ndarray | None']  # stamp in ns -> T_odom_base


class PlacedMap:
    """The newest map with a placement. Not thread-safe."""

    def __init__(self, transforms: TransformBuffer):
        self._transforms = transforms
        self.image: MapImage | None = None

    def needs_transforms(self, base: str) -> bool:
        """Whether moving transforms may matter for it."""
        return self.image is not None and self.image.frame_id != base

    def match(self, stamp_ns: int, base: str, odom: str, pose: Pose, max_age_s: float
              ) -> tuple[MapImage | None, np.ndarray | None, str]:
        """The map, T_map_base (4, 4) at a sweep's stamp in its frame, and why there is none, '' when there is.

        odom: frame of odometry, '' when not known. pose: its poses of the base frame.
        """
        image = self.image
        if image is None:
            return None, None, 'no_map'
        if image.frame_id == base:
            return self._rolling(image, stamp_ns, pose, max_age_s)
        now = pose(stamp_ns)
        if now is not None and image.frame_id == odom:
            return image, now, ''
        try:
            return image, self._transforms.lookup(image.frame_id, base, stamp_ns), ''
        except InputError:
            pass
        if now is not None and odom:
            try:
                T: np.ndarray = self._transforms.lookup(image.frame_id, odom, stamp_ns) @ now
                return image, T, ''
            except InputError:
                pass
        return None, None, NOT_PLACED

    def _rolling(self, image: MapImage, stamp_ns: int, pose: Pose, max_age_s: float
                 ) -> tuple[MapImage | None, np.ndarray | None, str]:
        """A map in the base frame of its own time."""
        if abs(stamp_ns - image.stamp_ns) > max_age_s * SECOND_NS:
            return None, None, 'map_too_old'
        now, then = pose(stamp_ns), pose(image.stamp_ns)
        if now is None:
            return image, np.eye(4), ''
        if then is None:
            return None, None, 'no_odometry_at_map_stamp'
        moved: np.ndarray = inverse(then) @ now
        return image, moved, ''
