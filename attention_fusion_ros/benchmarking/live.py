# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the lifecycle node in a process of its own, feeds it over DDS, and takes down what comes back and when."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.benchmarking.core import VARIETY
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.ros.clients.load_generator import INPUTS, Load, SelfReport
from attention_fusion_ros.ros.clients.node_process import NodeError, NodeProcess
from attention_fusion_ros.ros.clients.result_listener import Answer, Collector
from attention_fusion_ros.ros.clients.session import Session, free_domain
from attention_fusion_ros.stream.inputs import SWEEPS
from attention_fusion_ros.stream.recording import Recording

CONNECTED_WITHIN = 60.0  # s
SETTLE = 1.5  # s between connecting and the first sweep: the node follows the QoS of its publishers
LAST_ANSWERS_WITHIN = 5.0  # s after the last sweep
REPORTED_WITHIN = 1.5  # s: the node speaks of itself once a second
ERROR = 2  # of diagnostic_msgs/DiagnosticStatus


@dataclass
class LiveResult:
    """What was seen. Times in seconds from the first sweep, latencies in ms from just before publishing to arrival."""

    seconds: float = 0.0  # that sweeps were sent
    rate: float = 0.0  # sweeps a second that were wanted
    sent: int | None = None  # None: a player sent them, uncounted
    sending: float = 0.0  # s from the first sweep to one period after the last one, 0 when a player sent them
    skipped: int = 0  # sweeps that the sender was too late for
    received: int = 0  # sweeps that reached the node, as it says
    results: int = 0  # as the node says, from the start of `seconds` on
    answered: int | None = None  # sweeps whose answer came back, None as above
    direction_ms: list[float] = field(default_factory=list)  # publish -> direction
    answer_ms: list[float] = field(default_factory=list)  # publish -> branches, which every result has
    node_p50_ms: float = 0.0  # inside the node, as it says
    node_p95_ms: float = 0.0
    mode: str = ''  # of the last result
    drops: dict[str, int] = field(default_factory=dict)  # reason -> sweeps, as the node says
    errors: dict[str, int] = field(default_factory=dict)  # text -> how often, diagnostics at level ERROR
    restarts: int = 0  # of the network after a device error
    rss_seconds: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_cores: float = 0.0  # processor seconds of the node per second
    device: str = ''
    checkpoint: str = ''
    ended: str = ''  # why the run broke off, '' when it did not

    @property
    def results_per_second(self) -> float:
        """Rate that was kept."""
        if self.answered is not None:
            return self.answered / self.sending if self.sending else 0.0
        return self.results / self.seconds if self.seconds else 0.0


class Source(Protocol):
    """Where sweeps come from."""

    def listened_to(self) -> bool:
        """Whether the node has found it."""

    def tick(self) -> float:
        """Go on; returns the seconds until it wants to be called again. Raises NodeError when it has ended."""

    def stop(self) -> None:
        """No more sweeps."""


class Synthetic:
    """Made-up sweeps of `points` points."""

    def __init__(self, session: Session, rate: float, points: int):
        self.load = Load(session.node, [sweeps.sweep(seed, points) for seed in range(VARIETY)], sweeps.FIELDS,
                         sweeps.FRAME, sweeps.map_picture(), rate)

    def listened_to(self) -> bool:
        return self.load.listened_to()

    def tick(self) -> float:
        return self.load.tick()

    def stop(self) -> None:
        pass


class Played:
    """A recording, again and again, by the `play` command in a process of its own."""

    def __init__(self, bag: Path, pace: float, domain: int):
        self._process: subprocess.Popen | None = None
        self._arguments = [sys.executable, '-m', 'attention_fusion_ros', 'play', str(bag), '--loop', '--quiet',
                           '--wait', '60', '--rate', f'{pace:.6g}']
        self._environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}

    def listened_to(self) -> bool:
        return True  # it waits by itself

    def tick(self) -> float:
        if self._process is None:
            self._process = subprocess.Popen(self._arguments, env=self._environment, start_new_session=True,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self._process.poll() is not None:
            raise NodeError(f'play ended with status {self._process.returncode}')
        return 0.2

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def of_recording(bag: Path, rate: float) -> tuple[dict[str, str], float]:
    """Remaps of the node for the topics of a recording, and the pace at which its sweeps come at `rate` Hz.

    Raises InputError when the recording cannot be used.
    """
    with Recording(bag) as recording:
        topics = recording.input_topics()
        count = recording.topics[topics[SWEEPS]].count
        if count < 2 or recording.duration <= 0:
            raise InputError('no_sweeps', f'{bag.name} holds {count} sweep(s).', 'Give --bag a longer recording.')
        return topics.remappings(), rate * recording.duration / (count - 1)


def run(parameters: dict[str, Any], seconds: float, rate: float, log: Path, bag: Path | None = None,
        points: int = sweeps.POINTS, sample: float = 2.0,
        progress: Callable[[float, LiveResult], None] = lambda elapsed, result: None) -> LiveResult:
    """Start the node, feed it for so long, stop it.

    log: where the output of the node goes. bag: a recording to play instead of made-up sweeps. sample: seconds between
    two looks at the memory. progress(elapsed, result so far) is called often.
    Raises NodeError when the node does not come up or finds no connection; when it ends later, `ended` says so.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')  # nobody else is to be troubled
    domain = free_domain()
    remaps, pace = of_recording(bag, rate) if bag else (INPUTS, 1.0)
    result = LiveResult(rate=rate)
    with ExitStack() as stack:
        session = stack.enter_context(Session('benchmark', domain_id=domain))
        says = SelfReport(session.node)
        collector = Collector(session.node, shares=False, keep=0 if bag is None else 100)
        source: Source = Played(bag, pace, domain) if bag else Synthetic(session, rate, points)
        node = stack.enter_context(NodeProcess(session, parameters, remaps, log, domain))
        stack.callback(source.stop)
        node.bring_up()
        _connect(session, source, node, says)
        before, errors_before = int(says.number('output', 'results')), _errors(collector)
        try:
            _feed(session, source, node, says, result, seconds, sample, progress)
        except NodeError as error:
            result.ended = str(error)
        # Counted up to here: that the node misses its sweeps afterwards is no error of its.
        result.errors = dict(_errors(collector) - errors_before)
        source.stop()
        if isinstance(source, Synthetic):
            if not result.ended:
                _last_answers(source.load, collector)
                time.sleep(REPORTED_WITHIN)
            _self_report(says, result)
            _compare(source.load, collector.answers(), result)
        result.results -= before
        return result


def _errors(collector: Collector) -> Counter[str]:
    """Texts without their numbers, which change from message to message."""
    found: Counter[str] = Counter()
    for complaint, count in collector.complaints().items():
        if complaint.level == ERROR:
            found[f"{complaint.name}: {re.sub(r'[0-9]+([.][0-9]+)?', '#', complaint.message)}"] += count
    return found


def _connect(session: Session, source: Source, node: NodeProcess, says: SelfReport) -> None:
    """Wait until the node and its source have found each other; a player starts, which takes it a while."""
    end = time.monotonic() + CONNECTED_WITHIN
    while not (source.listened_to() and session.node.count_publishers('/attention_fusion/branches/scored')
               and (isinstance(source, Synthetic) or says.number('input cloud', 'received'))):
        node.check()
        if isinstance(source, Played):
            source.tick()
        if time.monotonic() > end:
            raise NodeError(f'no connection to the node within {CONNECTED_WITHIN:g} s. Its last words:\n'
                            f'{node.last_words()}')
        time.sleep(0.05)
    time.sleep(SETTLE)


def _feed(session: Session, source: Source, node: NodeProcess, says: SelfReport, result: LiveResult, seconds: float,
          sample: float, progress: Callable[[float, LiveResult], None]) -> None:
    start, cpu, next_sample = time.monotonic(), node.cpu_seconds(), 0.0
    while session.ok() and (elapsed := time.monotonic() - start) < seconds:
        wait = source.tick()
        result.seconds = elapsed
        if elapsed >= next_sample:
            node.check()
            result.rss_seconds.append(elapsed)
            result.rss_mb.append(node.rss_bytes() / 1e6)
            result.cpu_cores = (node.cpu_seconds() - cpu) / max(elapsed, 1e-9)
            _self_report(says, result)
            progress(elapsed, result)
            next_sample += sample
        time.sleep(min(wait, 0.2))
    result.seconds = time.monotonic() - start


def _last_answers(load: Load, collector: Collector) -> None:
    """Give the node time for what it still has in hand."""
    end = time.monotonic() + LAST_ANSWERS_WITHIN
    while time.monotonic() < end:
        last = collector.answer(next(reversed(load.sent), 0))
        if last is not None and last.branches_at is not None:
            return
        time.sleep(0.05)


def _compare(load: Load, answers: Sequence[Answer], result: LiveResult) -> None:
    result.sent, result.skipped = len(load.sent), load.skipped
    at = list(load.sent.values())
    result.sending = at[-1] - at[0] + 1 / result.rate if at else 0.0
    answers = [a for a in answers if a.stamp_ns in load.sent]
    result.answered = sum(a.branches_at is not None for a in answers)
    result.answer_ms = [1e3 * (a.branches_at - load.sent[a.stamp_ns]) for a in answers if a.branches_at is not None]
    result.direction_ms = [1e3 * (a.direction_at - load.sent[a.stamp_ns]) for a in answers
                           if a.direction_at is not None]


def _self_report(says: SelfReport, result: LiveResult) -> None:
    result.received = int(says.number('input cloud', 'received'))
    result.results = int(says.number('output', 'results'))
    result.node_p50_ms = says.number('output', 'total_p50_ms')
    result.node_p95_ms = says.number('output', 'total_p95_ms')
    result.mode, result.drops = says.text('output', 'mode'), says.drops('input cloud')
    result.restarts = int(says.number('network', 'restarts'))
    result.device, result.checkpoint = says.text('network', 'device'), says.text('network', 'checkpoint')
