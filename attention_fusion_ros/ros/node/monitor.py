# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What happened to the inputs and results of the node, for /diagnostics. Thread-safe, knows no message types."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from attention_fusion_ros.contracts import FusionResult, MapAlignment
from attention_fusion_ros.errors import InputError

CLOUD, MAP, ODOMETRY, TRANSFORM, NETWORK, OUTPUT = (
    'input cloud', 'map image', 'odometry', 'transform', 'network', 'output')
ASPECTS = (CLOUD, MAP, ODOMETRY, TRANSFORM, NETWORK, OUTPUT)
# Reasons to drop a sweep that are not the cloud's fault.
ASPECT_OF_REASON = {'transform_missing': TRANSFORM, 'bad_transform': TRANSFORM, 'device_error': NETWORK,
                    'internal_error': NETWORK, 'overrun': OUTPUT}
WINDOW = 5.0  # s, for rates
LATENCIES = 200  # results, for percentiles


class Rate:
    """Events per second over the last WINDOW seconds."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._times = clock, deque(maxlen=10000)
        self.count = 0
        self.last: float | None = None  # clock time of the last event

    def tick(self) -> None:
        """An event."""
        self.last = self._clock()
        self.count += 1
        self._times.append(self.last)

    def per_second(self) -> float:
        """0 while there are less than two events in the window."""
        horizon = self._clock() - WINDOW
        while self._times and self._times[0] < horizon:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])


@dataclass
class Aspect:
    """One line of /diagnostics."""

    received: Rate
    dropped: Counter = field(default_factory=Counter)  # by reason, since the node was configured
    problem: str = ''  # text of the last drop: cause and remedy
    reason: str = ''
    problem_at: float | None = None  # clock time


@dataclass(frozen=True)
class LastResult:
    """What is remembered of a result, without its arrays."""

    stamp_ns: int  # of the sweep
    mode: str
    reason: str
    direction_reason: str
    branches: int
    stage_ms: dict[str, float]
    map_age: float | None  # s, sweep minus map image
    alignment: MapAlignment | None = None  # where the map belongs


class Health:
    """Counters, rates and the last problem of each aspect."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._lock = threading.Lock()
        self._clock = clock
        self._logged: dict[str, float] = {}
        self.clear()

    def clear(self) -> None:
        """Begin anew (configure)."""
        with self._lock:
            self.aspects = {name: Aspect(Rate(self._clock)) for name in ASPECTS}
            self.sweep_drops: Counter = Counter()
            self.results = Rate(self._clock)
            self.last: LastResult | None = None
            self.latencies: deque[float] = deque(maxlen=LATENCIES)
            self.active_since: float | None = None

    def activated(self, active: bool) -> None:
        """Remember since when input is expected."""
        with self._lock:
            self.active_since = self._clock() if active else None

    def received(self, aspect: str) -> None:
        """A message has come, good or bad."""
        with self._lock:
            self.aspects[aspect].received.tick()

    def dropped(self, aspect: str, error: InputError) -> None:
        """A message was dropped: a map image, odometry, a transform."""
        with self._lock:
            self._drop(aspect, error.reason, str(error))

    def sweep_dropped(self, error: InputError) -> None:
        """A sweep was dropped, for whatever reason."""
        with self._lock:
            self.sweep_drops[error.reason] += 1
            self._drop(ASPECT_OF_REASON.get(error.reason, CLOUD), error.reason, str(error))

    def result(self, result: FusionResult, stage_ms: dict[str, float], map_age: float | None) -> None:
        """A sweep became a result."""
        with self._lock:
            self.latencies.append(stage_ms['total'])
            self.last = LastResult(result.stamp_ns, result.mode.value, result.reason, result.direction_reason,
                                len(result.branches), dict(stage_ms), map_age, result.alignment)
            self.results.tick()

    def log_due(self, key: str, period: float) -> bool:
        """Whether a warning of this key should be logged now: at most once in `period` seconds."""
        with self._lock:
            now = self._clock()
            if now - self._logged.get(key, -1e9) < period:
                return False
            self._logged[key] = now
            return True

    def _drop(self, aspect: str, reason: str, text: str) -> None:
        line = self.aspects[aspect]
        line.dropped[reason] += 1
        line.problem, line.reason, line.problem_at = text, reason, self._clock()
