# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The last messages of an input by stamp, and which of them goes with a sweep: map images, and whatever comes alike."""

from __future__ import annotations

import bisect
from typing import Generic, Protocol, TypeVar

from attention_fusion_ros.sync.pose_buffer import JUMP_BACK_NS, SECOND_NS

HISTORY_NS = 2 * SECOND_NS  # how much older than the newest item a sweep still in work may be
MAX_ITEMS = 32


class Stamped(Protocol):
    """Anything decoded that carries its stamp."""

    @property
    def stamp_ns(self) -> int:
        """Stamp of the message in ns."""


Item = TypeVar('Item', bound=Stamped)


class StampedBuffer(Generic[Item]):
    """The last items by stamp. Not thread-safe.

    name: how reasons call the item (`no_map`, `map_too_old`, `map_from_future`).
    max_age_s, max_future_s: how much earlier or later than the sweep an item may be stamped.
    """

    def __init__(self, name: str, max_age_s: float, max_future_s: float = 0.0):
        self.name, self.max_age_s, self.max_future_s = name, max_age_s, max_future_s
        self._stamps: list[int] = []
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest item in ns, None without one."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forget every item."""
        self._stamps.clear()
        self._items.clear()

    def add(self, item: Item) -> None:
        """Add an item; a stamp far before the newest empties the buffer first (a bag that starts again)."""
        if self._stamps and item.stamp_ns < self._stamps[-1] - JUMP_BACK_NS:
            self.clear()
        at = bisect.bisect_left(self._stamps, item.stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == item.stamp_ns:
            self._items[at] = item
            return
        self._stamps.insert(at, item.stamp_ns)
        self._items.insert(at, item)
        # One item before the history stays: it is the one to use when they come rarely.
        old = max(0, bisect.bisect_right(self._stamps, self._stamps[-1] - HISTORY_NS) - 1,
                  len(self._stamps) - MAX_ITEMS)
        del self._stamps[:old], self._items[:old]

    def drop_after(self, stamp_ns: int) -> None:
        """Drop items later than this: they belong to a time that has not come again yet."""
        keep = bisect.bisect_right(self._stamps, stamp_ns)
        del self._stamps[keep:], self._items[keep:]

    def match(self, stamp_ns: int) -> tuple[Item | None, str]:
        """The newest item not later than the sweep, else the first one after it, within the gates.

        Returns (item, '') or (None, reason): `no_<name>`, `<name>_too_old`, `<name>_from_future`.
        """
        if not self._stamps:
            return None, f'no_{self.name}'
        after = bisect.bisect_right(self._stamps, stamp_ns)
        if after > 0 and stamp_ns - self._stamps[after - 1] <= self.max_age_s * SECOND_NS:
            return self._items[after - 1], ''
        if after < len(self._stamps) and self._stamps[after] - stamp_ns <= self.max_future_s * SECOND_NS:
            return self._items[after], ''
        return None, f'{self.name}_from_future' if after < len(self._stamps) else f'{self.name}_too_old'
