# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The last map images by stamp, and which of them goes with a sweep."""

from __future__ import annotations

import bisect

from attention_fusion_ros.contracts import MapImage
from attention_fusion_ros.sync.pose_buffer import JUMP_BACK_NS, SECOND

MAP_HISTORY_NS = 2 * SECOND  # how much older than the newest map image a sweep still in work may be
MAX_MAPS = 32


class MapBuffer:
    """The last map images by stamp."""

    def __init__(self):
        self._stamps: list[int] = []
        self._images: list[MapImage] = []

    def clear(self) -> None:
        """Forget every image."""
        self._stamps.clear()
        self._images.clear()

    @property
    def newest(self) -> int | None:
        """Stamp of the newest image in ns, None without one."""
        return self._stamps[-1] if self._stamps else None

    def add(self, image: MapImage) -> None:
        """Add an image; a stamp far before the newest empties the buffer first (bag loop)."""
        if self._stamps and image.stamp_ns < self._stamps[-1] - JUMP_BACK_NS:
            self.clear()
        at = bisect.bisect_left(self._stamps, image.stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == image.stamp_ns:
            self._images[at] = image
            return
        self._stamps.insert(at, image.stamp_ns)
        self._images.insert(at, image)
        # One image before the history stays: it is the one to use when images come rarely.
        old = max(0, bisect.bisect_right(self._stamps, self._stamps[-1] - MAP_HISTORY_NS) - 1,
                  len(self._stamps) - MAX_MAPS)
        del self._stamps[:old], self._images[:old]

    def drop_after(self, stamp_ns: int) -> None:
        """Drop images later than this."""
        keep = bisect.bisect_right(self._stamps, stamp_ns)
        del self._stamps[keep:], self._images[keep:]

    def choose(self, stamp_ns: int, max_age: float, max_future: float) -> tuple[MapImage | None, str]:
        """The newest image not later than the sweep, else the first one after it; gates in seconds.

        Returns (image, '') or (None, reason): `no_map`, `map_too_old`, `map_from_future`.
        """
        if not self._stamps:
            return None, 'no_map'
        after = bisect.bisect_right(self._stamps, stamp_ns)
        if after > 0 and stamp_ns - self._stamps[after - 1] <= max_age * SECOND:
            return self._images[after - 1], ''
        if after < len(self._stamps) and self._stamps[after] - stamp_ns <= max_future * SECOND:
            return self._images[after], ''
        return None, 'map_from_future' if after < len(self._stamps) else 'map_too_old'
