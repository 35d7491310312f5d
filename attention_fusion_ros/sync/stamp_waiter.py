# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Waiting, briefly, for the map image and the odometry that carry the stamp of a sweep.

Recordings and simulators stamp them alike and publish them together, but topics overtake each other on the way: without
a wait, chance would decide whether a sweep meets its own map image or the one before. Topics whose messages do not
carry stamps of sweeps are not worth waiting for: the first sweep waits for everybody, later ones only where most of the
last sweeps had a companion. Several waits in vain would cost sweeps at the start: each takes about their period.
"""

from __future__ import annotations

import threading
import time
from collections import deque

PATIENCE = 0.1  # s
JUDGED = 4  # sweeps
REMEMBERED = 16  # stamps of messages


class StampWaiter:
    """Arrivals on a few named topics. Thread-safe; one caller waits at a time."""

    def __init__(self, *topics: str):
        self._condition = threading.Condition()
        self._waiting_for: int | None = None  # stamp of the sweep
        self._stamps = {topic: deque(maxlen=REMEMBERED) for topic in topics}
        self._met = {topic: deque(maxlen=JUDGED) for topic in topics}  # the newest sweeps, [stamp, had a companion]

    def arrived(self, topic: str, stamp_ns: int) -> None:
        """A message of the topic has been taken in."""
        with self._condition:
            stamps = self._stamps[topic]
            if stamps and stamp_ns < stamps[-1]:
                stamps.clear()  # a recording starts again: what was later says nothing any more
            stamps.append(stamp_ns)
            for sweep in self._met[topic]:
                sweep[1] |= sweep[0] == stamp_ns  # late, but one of those that do come
            self._condition.notify_all()

    def wait(self, stamp_ns: int, patience: float = PATIENCE) -> float:
        """Wait until the companions of a sweep are there, or seem not to come; returns the seconds waited."""
        start = time.monotonic()
        with self._condition:
            self._waiting_for = stamp_ns
            self._condition.wait_for(lambda: not self._missing(stamp_ns), patience)
            for topic, stamps in self._stamps.items():
                self._met[topic].append([stamp_ns, stamp_ns in stamps])
        return time.monotonic() - start

    def _missing(self, stamp_ns: int) -> bool:
        """A later stamp means that this one will not come any more."""
        return any(self._expected(topic) and not any(s >= stamp_ns for s in stamps)
                   for topic, stamps in self._stamps.items())

    def _expected(self, topic: str) -> bool:
        met = self._met[topic]
        return 2 * sum(had for _, had in met) > len(met) or not met
