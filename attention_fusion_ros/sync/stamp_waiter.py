# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Waiting, briefly, for the map image and the odometry that carry the stamp of a sweep.

Recordings and simulators stamp them alike and publish them together, but topics overtake each other on the way: without
a wait, chance would decide whether a sweep meets its own map image or the one before. Topics whose messages do not
carry stamps of sweeps are not worth waiting for: the first sweep waits for everybody, later ones only where most of the
last sweeps had a companion. Waits in vain would cost sweeps at the start, so there is one, and it ends when the next
sweep comes. Companions that come later than that are waited for from when most of the last sweeps had one; two periods
late or more, as 90 ms at 25 Hz, they are not: each sweep would be lost that came meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from attention_fusion_ros.sync.stamped_series import JUMP_BACK_NS

MAX_WAIT_S = 0.1  # the longest a sweep waits for what belongs to it, in the node and (in recorded time) elsewhere
JUDGED_SWEEPS = 4
KEPT_STAMPS = 16


def _nothing_else() -> bool:
    return True


class StampWaiter:
    """Arrivals on a few named topics. Thread-safe; one caller waits at a time."""

    def __init__(self, *topics: str):
        self._condition = threading.Condition()
        self._waiting_for_ns: int | None = None
        self._newest_sweep_ns: int | None = None
        self._stamps: dict[str, deque[int]] = {topic: deque(maxlen=KEPT_STAMPS) for topic in topics}
        # The newest sweeps by topic: [stamp, whether it had a companion].
        self._met: dict[str, deque[tuple[int, bool]]] = {topic: deque(maxlen=JUDGED_SWEEPS) for topic in topics}

    @property
    def waiting_for_ns(self) -> int | None:
        """Stamp of the sweep that waits now, None when none does."""
        return self._waiting_for_ns

    def on_message(self, topic: str, stamp_ns: int) -> None:
        """A message of the topic has been taken in."""
        with self._condition:
            stamps, met = self._stamps[topic], self._met[topic]
            if stamps and stamp_ns < max(stamps) - JUMP_BACK_NS:
                stamps.clear()  # a recording starts again: later stamps say nothing any more
            stamps.append(stamp_ns)
            for i, (sweep_ns, had_companion) in enumerate(met):
                met[i] = sweep_ns, had_companion or sweep_ns == stamp_ns  # late, but one of those that do come
            self._condition.notify_all()

    def on_sweep(self, stamp_ns: int) -> None:
        """A sweep has arrived, and will be waited for in its turn."""
        with self._condition:
            self._newest_sweep_ns = stamp_ns
            self._condition.notify_all()

    def drop_after(self, stamp_ns: int) -> None:
        """The clock was set back to this time: later stamps say nothing any more."""
        with self._condition:
            self._newest_sweep_ns = None
            for topic, stamps in self._stamps.items():
                self._stamps[topic] = deque((s for s in stamps if s <= stamp_ns), maxlen=KEPT_STAMPS)

    def notify(self) -> None:
        """Something else has changed that a wait may depend on."""
        with self._condition:
            self._condition.notify_all()

    def missing(self, stamp_ns: int) -> bool:
        """Whether a companion of the sweep is still expected; a later stamp means that it will not come any more."""
        with self._condition:
            return self._missing(stamp_ns)

    def wait(self, stamp_ns: int, max_wait_s: float = MAX_WAIT_S, ready: Callable[[], bool] = _nothing_else) -> float:
        """Wait until the companions of a sweep are there and `ready` is true, or time is up; returns seconds waited."""
        start = time.monotonic()
        with self._condition:
            self._waiting_for_ns = stamp_ns
            self._condition.wait_for(lambda: not self._missing(stamp_ns) and ready(), max_wait_s)
            self._waiting_for_ns = None
            self.judge(stamp_ns)
        return time.monotonic() - start

    def judge(self, stamp_ns: int) -> None:
        """The wait for a sweep is over: remember which topics had a companion for it. `wait` does so itself."""
        with self._condition:
            for topic, stamps in self._stamps.items():
                self._met[topic].append((stamp_ns, stamp_ns in stamps))

    def _missing(self, stamp_ns: int) -> bool:
        return any(self._expected(topic, stamp_ns) and not any(s >= stamp_ns for s in stamps)
                   for topic, stamps in self._stamps.items())

    def _expected(self, topic: str, stamp_ns: int) -> bool:
        met = self._met[topic]
        if met:
            return 2 * sum(had for _, had in met) > len(met)
        return self._newest_sweep_ns is None or self._newest_sweep_ns <= stamp_ns
