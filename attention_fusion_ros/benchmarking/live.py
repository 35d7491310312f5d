# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the lifecycle node in a process of its own, feeds it over DDS, and records what comes back and when."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.benchmarking.core import VARIETY
from attention_fusion_ros.benchmarking.reconfigure import MINUTE_S, SoakWatch
from attention_fusion_ros.benchmarking.soak import Minute
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.ros import transport
from attention_fusion_ros.ros.clients.diagnostics_listener import DiagnosticsListener
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.clients.load_generator import LoadGenerator
from attention_fusion_ros.ros.clients.node_process import NodeError, NodeProcess
from attention_fusion_ros.ros.clients.result_listener import ReceivedResult, ResultListener
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.ros.clients.stage_times import StageTimes
from attention_fusion_ros.stream.inputs import SWEEPS, default_topics, input_named, launch_remappings
from attention_fusion_ros.stream.recording import Recording

CONNECT_TIMEOUT_S = 60.0
SETTLE_S = 1.5  # between connecting and the first sweep: the node adapts to the QoS of its publishers
LAST_RESULT_TIMEOUT_S = 5.0  # after the last sweep
RECONFIGURED_TIMEOUT_S = 60.0  # what goes on when the time is over
REPORT_WAIT_S = 1.5  # the node publishes /diagnostics once a second
KEPT_RESULTS = 100  # of a recording, which may be played for hours
ERROR = 2  # of diagnostic_msgs/DiagnosticStatus
CLOUD = input_named(SWEEPS).component


@dataclass
class LiveResult:
    """What was measured: times in s from the first sweep, latencies in ms from just before publishing to arrival."""

    seconds: float = 0.0  # during which sweeps were sent
    rate: float = 0.0  # sweeps per second that were wanted
    sent: int | None = None  # None: a player sent them, uncounted
    sending: float = 0.0  # s from the first sweep to one period after the last one, 0 when a player sent them
    skipped: int = 0  # sweeps that the sender was too late for
    received: int = 0  # sweeps that reached the node, by its diagnostics
    results: int = 0  # by its diagnostics, from the start of `seconds` on
    answered: int | None = None  # sweeps whose result came back, None as above
    direction_ms: list[float] = field(default_factory=list)  # publish -> direction
    answer_ms: list[float] = field(default_factory=list)  # publish -> branches, which every result has
    node_p50_ms: float = 0.0  # inside the node, by its diagnostics
    node_p95_ms: float = 0.0
    mode: str = ''  # of the last result
    drops: dict[str, int] = field(default_factory=dict)  # reason -> sweeps, by its diagnostics
    errors: dict[str, int] = field(default_factory=dict)  # text -> how often, diagnostics at level ERROR
    restarts: int = 0  # of the network after a device error
    rss_seconds: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_cores: float = 0.0  # processor seconds of the node per second
    device: str = ''
    checkpoint: str = ''
    totals: Totals = field(default_factory=lambda: Totals(), repr=False)
    minutes: list[Minute] = field(default_factory=list)  # of a soak
    ended: str = ''  # why the run broke off, '' when it did not

    @property
    def results_per_second(self) -> float:
        """The rate that was kept up."""
        if self.answered is not None:
            return self.answered / self.sending if self.sending else 0.0
        return self.results / self.seconds if self.seconds else 0.0


class Totals:
    """Sums of counts that a node starts again at zero when it is configured anew."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def add(self, name: str, count: int) -> int:
        """The sum so far, with what the node counts now."""
        if count < self._last.get(name, 0):
            self._before[name] = self._before.get(name, 0) + self._last[name]
        self._last[name] = count
        return self._before.get(name, 0) + count


OnProgress = Callable[[float, LiveResult], None]  # seconds, result so far


class SweepSource(Protocol):
    """Where sweeps come from."""

    def is_connected(self) -> bool:
        """Whether the node subscribes to it."""

    def tick(self) -> float:
        """Go on; returns the seconds until it wants to be called again. Raises NodeError when it has ended."""

    def stop(self) -> None:
        """No more sweeps."""


class SyntheticSource:
    """Made-up sweeps of `points` points."""

    def __init__(self, session: Session, rate: float, points: int):
        clouds = [sweeps.sweep(seed, points) for seed in range(VARIETY)]
        self.load = LoadGenerator(session.node, clouds, sweeps.FRAME, sweeps.map_picture(), rate)

    def is_connected(self) -> bool:
        """Whether the node subscribes to all topics."""
        return self.load.has_subscribers()

    def tick(self) -> float:
        """Publish what is due."""
        return self.load.tick()

    def stop(self) -> None:
        """Nothing to do: it publishes only in `tick`."""


class BagSource:
    """A recording, again and again, by the `play` command in a process of its own.

    pace: 2 plays twice as fast. environment: variables besides those of this process.
    """

    def __init__(self, bag: Path, pace: float, environment: Mapping[str, str]):
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments = [sys.executable, '-m', 'attention_fusion_ros', 'play', str(bag), '--loop', '--quiet',
                           '--wait', '60', '--rate', f'{pace:.6g}']
        self._environment = {**os.environ, **environment}

    def is_connected(self) -> bool:
        """True: the player waits by itself."""
        return True

    def tick(self) -> float:
        """Start the player, or check that it runs."""
        if self._process is None:
            self._process = subprocess.Popen(self._arguments, env=self._environment, start_new_session=True,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self._process.poll() is not None:
            raise NodeError(f'play ended with status {self._process.returncode}')
        return 0.2

    def stop(self) -> None:
        """Stop the player. May be repeated."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def remaps_and_pace(bag: Path, rate: float) -> tuple[dict[str, str], float]:
    """Remaps of the node for the topics of a recording, and the pace at which its sweeps come at `rate` Hz.

    Raises InputError when the recording cannot be used.
    """
    with Recording(bag) as recording:
        topics = recording.input_topics()
        cloud_topic = topics[SWEEPS]
        count = recording.topics[cloud_topic].count if cloud_topic is not None else 0
        if count < 2 or recording.duration <= 0:
            raise InputError('no_sweeps', f'{bag.name} holds {count} sweep(s).', 'Give --bag a longer recording.')
        return topics.remappings(), rate * recording.duration / (count - 1)


def run(parameters: dict[str, Any], seconds: float, rate: float, log: Path, bag: Path | None = None,
        points: int = sweeps.POINTS, sample: float = 2.0, progress: OnProgress | None = None,
        minutes: Path | None = None, reconfigures: bool = True, minute_s: float = MINUTE_S) -> LiveResult:
    """Start the node, feed it for `seconds` at `rate` sweeps per second, stop it.

    log: where the output of the node goes. bag: a recording to play instead of synthetic sweeps of `points` points.
    sample: seconds between two memory samples. minutes: a CSV file to which each minute (of `minute_s`) is written, see
    `soak`; the node is reconfigured at the end of each then, unless not `reconfigures`. progress(elapsed seconds,
    result so far) is called often.
    Raises NodeError when the node does not come up or does not connect; when it ends later, `ended` says why.
    """
    local = transport.local_only()
    remaps, pace = remaps_and_pace(bag, rate) if bag else (dict(launch_remappings(default_topics())), 1.0)
    result = LiveResult(rate=rate)
    with ExitStack() as stack:
        domain = stack.enter_context(ReservedDomain())
        session = stack.enter_context(Session('benchmark', domain_id=domain, environment=local))
        diagnostics = DiagnosticsListener(session.node)
        times = None if minutes is None else StageTimes(session.node)
        listener = ResultListener(session.node, shares=False, keep=0 if bag is None else KEPT_RESULTS)
        source: SweepSource = (BagSource(bag, pace, {**local, 'ROS_DOMAIN_ID': str(domain)}) if bag
                               else SyntheticSource(session, rate, points))
        node = stack.enter_context(NodeProcess(session, parameters, remaps, log, domain, local))
        stack.callback(source.stop)
        node.bring_up()
        _connect(session, source, node, diagnostics)
        before, errors_before = int(diagnostics.number('output', 'results')), _errors(diagnostics)
        watch = None
        if minutes is not None and times is not None:
            times.take()
            watch = SoakWatch(minutes, node, times.take, reconfigures, minute_s)
        try:
            _feed(session, source, node, diagnostics, result, seconds, sample, progress, watch)
        except NodeError as error:
            result.ended = str(error)
        if watch is not None:
            watch.join(RECONFIGURED_TIMEOUT_S)
            result.minutes = watch.minutes
        # Counted up to here: that the node misses its sweeps afterwards is no error.
        result.errors = dict(_errors(diagnostics) - errors_before)
        source.stop()
        if isinstance(source, SyntheticSource):
            if not result.ended:
                _wait_for_last_result(source.load, listener)
                time.sleep(REPORT_WAIT_S)
            _take_diagnostics(diagnostics, result)
            _take_latencies(source.load, listener.results(), result)
        result.results -= before
        return result


def _errors(diagnostics: DiagnosticsListener) -> Counter[str]:
    """Texts without their numbers, which change from message to message."""
    found: Counter[str] = Counter()
    for alert, count in diagnostics.alerts().items():
        if alert.level == ERROR:
            found[f"{alert.name}: {re.sub(r'[0-9]+([.][0-9]+)?', '#', alert.message)}"] += count
    return found


def _connect(session: Session, source: SweepSource, node: NodeProcess, diagnostics: DiagnosticsListener) -> None:
    """Wait until the node and its source have found each other; a player starts, which takes it a while."""
    end = time.monotonic() + CONNECT_TIMEOUT_S
    while not (source.is_connected() and session.node.count_publishers('/attention_fusion/branches/scored')
               and (isinstance(source, SyntheticSource) or diagnostics.number(CLOUD, 'received'))):
        node.check()
        if isinstance(source, BagSource):
            source.tick()
        if time.monotonic() > end:
            raise NodeError(f'no connection to the node within {CONNECT_TIMEOUT_S:g} s. The end of its log:\n'
                            f'{node.log_tail()}')
        time.sleep(0.05)
    time.sleep(SETTLE_S)


def _feed(session: Session, source: SweepSource, node: NodeProcess, diagnostics: DiagnosticsListener,
          result: LiveResult, seconds: float, sample: float, progress: OnProgress | None,
          watch: SoakWatch | None = None) -> None:
    start, cpu, next_sample = time.monotonic(), node.cpu_seconds(), 0.0
    while session.ok() and (elapsed := time.monotonic() - start) < seconds:
        wait = source.tick()
        result.seconds = elapsed
        if watch is not None:
            node.check()
            watch.sample(elapsed)
        if elapsed >= next_sample:
            node.check()
            result.rss_seconds.append(elapsed)
            result.rss_mb.append(node.rss_bytes() / 1e6)
            result.cpu_cores = (node.cpu_seconds() - cpu) / max(elapsed, 1e-9)
            _take_diagnostics(diagnostics, result)
            if progress is not None:
                progress(elapsed, result)
            next_sample += sample
        time.sleep(min(wait, 0.2))
    result.seconds = time.monotonic() - start
    if watch is not None:
        watch.sample(result.seconds)


def _wait_for_last_result(load: LoadGenerator, listener: ResultListener) -> None:
    """Give the node time for the sweep that it is working on."""
    end = time.monotonic() + LAST_RESULT_TIMEOUT_S
    while time.monotonic() < end:
        last = listener.result(next(reversed(load.sent), 0))
        if last is not None and last.branches_at_s is not None:
            return
        time.sleep(0.05)


def _take_latencies(load: LoadGenerator, received: Sequence[ReceivedResult], result: LiveResult) -> None:
    result.sent, result.skipped = len(load.sent), load.skipped
    at_s = list(load.sent.values())
    result.sending = at_s[-1] - at_s[0] + 1 / result.rate if at_s else 0.0
    mine = [(r, load.sent[r.stamp_ns]) for r in received if r.stamp_ns in load.sent]
    result.answer_ms = [1e3 * (r.branches_at_s - sent_s) for r, sent_s in mine if r.branches_at_s is not None]
    result.direction_ms = [1e3 * (r.direction_at_s - sent_s) for r, sent_s in mine if r.direction_at_s is not None]
    result.answered = len(result.answer_ms)


def _take_diagnostics(diagnostics: DiagnosticsListener, result: LiveResult) -> None:
    totals = result.totals
    result.received = totals.add('received', int(diagnostics.number(CLOUD, 'received')))
    result.results = totals.add('results', int(diagnostics.number('output', 'results')))
    result.node_p50_ms = diagnostics.number('output', 'total_p50_ms')
    result.node_p95_ms = diagnostics.number('output', 'total_p95_ms')
    result.mode = diagnostics.text('output', 'mode')
    for reason, count in diagnostics.drops(CLOUD).items():
        result.drops[reason] = totals.add(f'dropped {reason}', count)
    result.restarts = int(diagnostics.number('network', 'restarts'))
    result.device, result.checkpoint = diagnostics.text('network', 'device'), diagnostics.text('network', 'checkpoint')
