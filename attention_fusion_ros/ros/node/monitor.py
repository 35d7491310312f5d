# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Counters, rates and problems of the node's inputs and results, for /diagnostics. Knows no message types.

`NodeMonitor` is written by the executor's thread and the worker; readers take a `snapshot`, which nobody changes.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from attention_fusion_ros.contracts import Finding, FusionResult, MapAlignment, SyncedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, input_named
from attention_fusion_ros.sync.synchronizer import TRANSFORMS

NETWORK, OUTPUT = 'network', 'output'
# The parts of the node that have a status of their own (diagnostic tasks in ROS's words).
COMPONENTS = (*(spec.component for spec in INPUTS), NETWORK, OUTPUT)
CLOUD, TRANSFORM = input_named(SWEEPS).component, input_named(TRANSFORMS).component
# Reasons to drop a sweep that are not the cloud's fault.
COMPONENT_OF_REASON = {'transform_missing': TRANSFORM, 'bad_transform': TRANSFORM, 'device_error': NETWORK,
                       'internal_error': NETWORK, 'not_finite': NETWORK, 'overrun': OUTPUT}
RATE_WINDOW_S = 5.0
RECENT_S = 3.0  # a problem is current for this long, and an input counts as silent after this long
LATENCY_SAMPLES = 200  # results, for percentiles


@dataclass(frozen=True)
class RateSnapshot:
    """An event rate at one moment."""

    count: int = 0  # events since the node was configured
    last_s: float | None = None  # clock time of the last event
    per_second: float = 0.0  # over the last RATE_WINDOW_S; 0 with fewer than two events in it


class Rate:
    """Events per second over the last RATE_WINDOW_S seconds. Not thread-safe."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._times: deque[float] = deque(maxlen=10_000)
        self._count = 0
        self._last_s: float | None = None

    def tick(self) -> None:
        """Count an event."""
        self._last_s = self._clock()
        self._count += 1
        self._times.append(self._last_s)

    def snapshot(self) -> RateSnapshot:
        """Count, time of the last event and rate as of now."""
        horizon = self._clock() - RATE_WINDOW_S
        while self._times and self._times[0] < horizon:
            self._times.popleft()
        rate = 0.0
        if len(self._times) >= 2:
            rate = (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])
        return RateSnapshot(self._count, self._last_s, rate)


@dataclass
class _Component:
    received: Rate
    dropped: Counter[str] = field(default_factory=Counter)
    problem: str = ''
    reason: str = ''
    problem_at_s: float | None = None


@dataclass(frozen=True)
class ComponentSnapshot:
    """One component of the node (a diagnostic task in ROS's words) at one moment."""

    received: RateSnapshot
    dropped: Mapping[str, int]  # by reason, since the node was configured
    problem: str = ''  # cause and remedy of the last drop
    reason: str = ''  # its short name
    problem_at_s: float | None = None  # clock time


@dataclass(frozen=True)
class LastResult:
    """What is kept of a result: everything but its arrays."""

    stamp_ns: int  # of the sweep
    mode: str
    reason: str
    direction_reason: str
    branches: int
    stage_ms: Mapping[str, float]
    map_age_s: float | None = None  # sweep minus map image
    alignment: MapAlignment | None = None
    map_warnings: tuple[str, ...] = ()  # what is doubtful about the map image
    odometry_extrapolation_s: float = 0.0  # how far the pose lies beyond the newest odometry
    transform_extrapolation_s: float = 0.0  # the same of the sensor's transform
    odometry_reason: str = ''  # why it had no odometry, '' where it had
    parts: int = 1  # messages that the sweep was put together from
    lidars: tuple[str, ...] = ()  # the frames of the sensors in it
    deskew: str = ''  # which time of the points was used, or why none was
    warnings: Mapping[str, str] = field(default_factory=dict)  # reason -> what was missing in the sweep, and the remedy
    findings: tuple[Finding, ...] = ()  # what is implausible about the sweep
    seen: float | None = None  # 0..1, mean share of the way to the ring that was looked at


@dataclass(frozen=True)
class MonitorSnapshot:
    """Everything the monitor knows at one moment. Immutable."""

    now_s: float
    components: Mapping[str, ComponentSnapshot]  # by name
    sweep_drops: Mapping[str, int]  # reason -> sweeps
    results: RateSnapshot
    last: LastResult | None = None
    latencies_ms: tuple[float, ...] = ()  # of the last LATENCY_SAMPLES results, message received to result published
    active_since_s: float | None = None

    def age_s(self, last_s: float | None) -> float | None:
        """Seconds since the last event, or since activation if that is later; None while none is expected."""
        since = max((t for t in (last_s, self.active_since_s) if t is not None), default=None)
        return None if since is None else self.now_s - since

    def recent_problem(self, component: str) -> str:
        """Reason, cause and remedy of a drop within the last RECENT_S; '' if there was none."""
        of = self.components[component]
        if of.problem_at_s is None or self.now_s - of.problem_at_s > RECENT_S:
            return ''
        return f'{of.reason}: {of.problem}'

    def problem_of_newest(self, component: str) -> str:
        """Reason, cause and remedy when the newest message was dropped, however long ago; '' if it was not."""
        of = self.components[component]
        if of.problem_at_s is None or (of.received.last_s is not None and of.problem_at_s < of.received.last_s):
            return ''
        return f'{of.reason}: {of.problem}'

    @property
    def results_flow(self) -> bool:
        """Whether there was a result within the last RECENT_S."""
        return self.results.last_s is not None and self.now_s - self.results.last_s < RECENT_S

    def latency_ms(self, quantile: float) -> float | None:
        """Nearest-rank quantile (0..1) of the latencies, None without any."""
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, max(0, math.ceil(quantile * len(ordered)) - 1))]


class NodeMonitor:
    """Counters, rates and the last problem of each component. Thread-safe.

    clock: seconds that never run backwards. components: their names.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, components: Sequence[str] = COMPONENTS):
        self._lock = threading.Lock()
        self._clock, self._names = clock, components
        self.clear()

    def clear(self) -> None:
        """Start over (configure)."""
        with self._lock:
            self._components = {name: _Component(Rate(self._clock)) for name in self._names}
            self._sweep_drops: Counter[str] = Counter()
            self._results = Rate(self._clock)
            self._last: LastResult | None = None
            self._latencies_ms: deque[float] = deque(maxlen=LATENCY_SAMPLES)
            self._active_since_s: float | None = None

    def set_active(self, active: bool) -> None:
        """Remember since when input is expected."""
        with self._lock:
            self._active_since_s = self._clock() if active else None

    def received(self, component: str) -> None:
        """Count a message, good or bad."""
        with self._lock:
            self._components[component].received.tick()

    def dropped(self, component: str, error: InputError) -> None:
        """Count a dropped map image, odometry, transform or output."""
        with self._lock:
            self._drop(component, error)

    def sweep_dropped(self, error: InputError) -> None:
        """Count a dropped sweep under the component that is to blame."""
        with self._lock:
            self._sweep_drops[error.reason] += 1
            self._drop(COMPONENT_OF_REASON.get(error.reason, CLOUD), error)

    def result(self, result: FusionResult, sweep: SyncedSweep, stage_ms: Mapping[str, float]) -> None:
        """Count a result. stage_ms: durations by stage, `total` among them."""
        image = sweep.map_image
        last = LastResult(
            result.stamp_ns, result.mode.value, result.reason, result.direction_reason, len(result.branches),
            MappingProxyType(dict(stage_ms)), None if image is None else (result.stamp_ns - image.stamp_ns) / 1e9,
            result.alignment, () if image is None else image.warnings, sweep.odometry_extrapolation_s,
            sweep.transform_extrapolation_s, sweep.odometry_reason, len(sweep.sources),
            tuple(dict.fromkeys(part.frame_id for part in sweep.sources)), sweep.deskew,
            MappingProxyType(dict(sweep.warnings)), result.findings,
            None if result.coverage is None else float(result.coverage.seen.mean()))
        with self._lock:
            self._latencies_ms.append(stage_ms['total'])
            self._last = last
            self._results.tick()

    def made(self) -> None:
        """Count a result of which nothing else is kept."""
        with self._lock:
            self._results.tick()

    @property
    def last_result(self) -> LastResult | None:
        """The newest result, None without any."""
        return self._last

    def snapshot(self) -> MonitorSnapshot:
        """Everything as of now, consistent, and unaffected by what happens later."""
        with self._lock:
            components = {name: ComponentSnapshot(c.received.snapshot(), MappingProxyType(dict(c.dropped)), c.problem,
                                                  c.reason, c.problem_at_s) for name, c in self._components.items()}
            return MonitorSnapshot(self._clock(), MappingProxyType(components),
                                   MappingProxyType(Counter(self._sweep_drops)), self._results.snapshot(), self._last,
                                   tuple(self._latencies_ms), self._active_since_s)

    def _drop(self, component: str, error: InputError) -> None:
        of = self._components[component]
        of.dropped[error.reason] += 1
        of.problem, of.reason, of.problem_at_s = str(error), error.reason, self._clock()
