"""Waiting, briefly, for the map image and the odometry that carry the stamp of a sweep.

Recordings and simulators stamp them alike and publish them together, but topics overtake each other on the way: without
a wait, chance would decide whether a sweep meets its own map image or the one before. A topic whose messages do not
carry stamps of sweeps is waited for three times, then no more until one does.
"""

from __future__ import annotations

import threading
import time
from collections import deque

PATIENCE = 0.1  # s
MISSES = 3
REMEMBERED = 16  # stamps of sweeps and of messages


class Companions:
    """Arrivals on a few named topics. Thread-safe; one caller waits at a time."""

    def __init__(self, *topics: str):
        self._condition = threading.Condition()
        self._sweeps: deque[int] = deque(maxlen=REMEMBERED)
        self._stamps = {topic: deque(maxlen=REMEMBERED) for topic in topics}
        self._misses = dict.fromkeys(topics, 0)

    def arrived(self, topic: str, stamp_ns: int) -> None:
        """A message of the topic has been taken in."""
        with self._condition:
            stamps = self._stamps[topic]
            if stamps and stamp_ns < stamps[-1]:
                stamps.clear()  # a recording starts again: what was later says nothing any more
            stamps.append(stamp_ns)
            if stamp_ns in self._sweeps:
                self._misses[topic] = 0
            self._condition.notify_all()

    def wait(self, stamp_ns: int, patience: float = PATIENCE) -> float:
        """Wait until the companions of a sweep are there, or seem not to come; returns the seconds waited."""
        start = time.monotonic()
        with self._condition:
            self._sweeps.append(stamp_ns)
            self._condition.wait_for(lambda: not self._missing(stamp_ns), patience)
            for topic, stamps in self._stamps.items():
                self._misses[topic] = 0 if stamp_ns in stamps else self._misses[topic] + 1
        return time.monotonic() - start

    def _missing(self, stamp_ns: int) -> bool:
        """A later stamp means that this one will not come any more."""
        return any(self._misses[topic] < MISSES and not any(s >= stamp_ns for s in stamps)
                   for topic, stamps in self._stamps.items())
