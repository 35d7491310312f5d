# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Things in order of their stamps: what the buffers of poses and of messages have in common."""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

SECOND_NS = 10**9
# Stamps that step back by more are a bag that starts again; by less, messages that overtook each other.
JUMP_BACK_NS = SECOND_NS

Value = TypeVar('Value')


class StampedSeries(Generic[Value]):
    """Values by stamp. A stamp more than JUMP_BACK_NS before the newest empties it first: time starts again.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: list[Value] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest value in ns, None when empty."""
        return self._stamps[-1] if self._stamps else None

    @property
    def oldest_ns(self) -> int | None:
        """Stamp of the oldest value in ns, None when empty."""
        return self._stamps[0] if self._stamps else None

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._values.clear()

    def drop_after(self, stamp_ns: int) -> None:
        """Drop what is later than this: it belongs to a time that has not come again yet."""
        keep = bisect.bisect_right(self._stamps, stamp_ns)
        del self._stamps[keep:], self._values[keep:]

    def _insert(self, stamp_ns: int, value: Value) -> bool:
        """Put a value in its place; False when it replaces one of the same stamp."""
        if self._stamps and stamp_ns < self._stamps[-1] - JUMP_BACK_NS:
            self.clear()
        at = bisect.bisect_left(self._stamps, stamp_ns)
        if at < len(self._stamps) and self._stamps[at] == stamp_ns:
            self._values[at] = value
            return False
        self._stamps.insert(at, stamp_ns)
        self._values.insert(at, value)
        return True

    def _drop_first(self, count: int) -> None:
        del self._stamps[:count], self._values[:count]
