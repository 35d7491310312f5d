# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The last messages of an input by stamp, and which of them goes with a sweep: map images, and whatever comes alike."""

from __future__ import annotations

import bisect
from typing import Protocol, TypeVar

from attention_fusion_ros.sync.stamped_series import SECOND_NS, StampedSeries

HISTORY_NS = 2 * SECOND_NS  # how much older than the newest item a sweep still in work may be
MAX_ITEMS = 32
MAX_BYTES = 512 * 2**20  # of items that know their size, but two are kept: a map image may have 288 MB


class Stamped(Protocol):
    """Anything decoded that carries its stamp."""

    @property
    def stamp_ns(self) -> int:
        """Stamp of the message in ns."""


Item = TypeVar('Item', bound=Stamped)


class StampedBuffer(StampedSeries[Item]):
    """The last items by stamp. Not thread-safe.

    name: how reasons call the item (`no_map`, `map_too_old`, `map_from_future`).
    max_age_s, max_future_s: how much earlier or later than the sweep an item may be stamped.
    """

    def __init__(self, name: str, max_age_s: float, max_future_s: float = 0.0):
        super().__init__()
        self.name, self.max_age_s, self.max_future_s = name, max_age_s, max_future_s

    def add(self, item: Item) -> None:
        """Add an item; a stamp far before the newest empties the buffer first (a bag that starts again)."""
        if self._insert(item.stamp_ns, item):
            # One item before the history stays: it is the one to use when they come rarely.
            self._drop_first(max(0, bisect.bisect_right(self._stamps, self._stamps[-1] - HISTORY_NS) - 1,
                                 len(self._stamps) - MAX_ITEMS))
            while len(self._stamps) > 2 and sum(getattr(item, 'nbytes', 0) for item in self._values) > MAX_BYTES:
                self._drop_first(1)

    def match(self, stamp_ns: int) -> tuple[Item | None, str]:
        """The newest item not later than the sweep, else the first one after it, within the gates.

        Returns (item, '') or (None, reason): `no_<name>`, `<name>_too_old`, `<name>_from_future`.
        """
        if not self._stamps:
            return None, f'no_{self.name}'
        after = bisect.bisect_right(self._stamps, stamp_ns)
        if after > 0 and stamp_ns - self._stamps[after - 1] <= self.max_age_s * SECOND_NS:
            return self._values[after - 1], ''
        if after < len(self._stamps) and self._stamps[after] - stamp_ns <= self.max_future_s * SECOND_NS:
            return self._values[after], ''
        return None, f'{self.name}_from_future' if after < len(self._stamps) else f'{self.name}_too_old'
