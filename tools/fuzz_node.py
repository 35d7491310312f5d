#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Malformed and odd messages to a running node over DDS; prints a table of what it made of them.

    python tools/fuzz_node.py --messages 20000
    python tools/fuzz_node.py --messages 20000 --csv docs/reliability/fuzz_node.csv

Every input, parameters, and transitions of the lifecycle, in any order, from a seed. Meanwhile only documented reasons
may come out (docs/inputs.md), memory and file handles must not grow; afterwards good sweeps give results again without
any call, and once it was configured anew the node gives the answer that it gave before, bit by bit. Exit status 1 when
not.
"""
from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

T0_NS = 1_900_000_000 * 10**9  # of good messages: later than those of the fuzz, which may name any time
PERIOD_NS = 100_000_000
ANSWER_S = 30.0  # for a sweep; what has no answer by then was dropped
BATCH = 20  # messages, after which the node may catch up
LOST_S = 2.0  # for a sweep that may well be dropped: after the odd messages, until the clock is believed
TRIES = 5
SETTLE_S, PATIENCE_S = 0.5, 900.0  # the second for a machine with much else to do
GROWTH_MIB, GROWTH_FILES = 60.0, 4  # from a tenth of the messages to the end
STARTED = 0.1
SAMPLES = 20
COLUMNS = ('what', 'value')
SWEEPS_UNTIL_RESULT = 60  # a new clock is believed after some sweeps


def options_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=20_000, metavar='N')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--checkpoint', default='', help='default: a network of random weights, as small as one can be')
    parser.add_argument('--domain', type=int, help='ROS domain; default: one that nobody uses')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write the table here')
    parser.add_argument('--log', type=Path, metavar='FILE', help='keep the log of the node here')
    return parser


def checkpoint(folder: Path) -> Path:
    """A small network whose answers differ from sweep to sweep."""
    from fuzz import files
    meta, tensors = files.checkpoint()
    path = folder / 'small.safetensors'
    path.write_bytes(files.safetensors_file(meta, {
        name: 100.0 * t if name.startswith('head.') and name.endswith('weight') else t for name, t in tensors.items()}))
    return path


class Fuzz:
    """A node in a process of its own, and everything that talks to it."""

    def __init__(self, options: argparse.Namespace, folder: Path, domain: int):
        from sensor_msgs.msg import LaserScan

        from attention_fusion_ros.ros.clients.diagnostics_listener import DiagnosticsListener
        from attention_fusion_ros.ros.clients.node_process import NodeProcess
        from attention_fusion_ros.ros.clients.session import Session
        self.options, self.faults, self.domain = options, [], domain
        self.session = Session('fuzz', domain_id=domain)
        self.given = {'checkpoint': options.checkpoint or str(checkpoint(folder)), 'device': 'cpu', 'threads': 1,
                      'diagnostics.period': 0.2, 'diagnostics.log_throttle': 0.0}
        self.node = NodeProcess(self.session, self.given, {}, options.log or folder / 'node.log', domain)
        self.diagnostics = DiagnosticsListener(self.session.node)
        self.answers: dict[int, bytes] = {}
        self.session.node.create_subscription(LaserScan, '/attention_fusion/distribution', self._answer, 10)

    def _answer(self, message: Any) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.answers[stamp] = message.ranges.tobytes() + message.intensities.tobytes()

    def close(self) -> None:
        """End the node."""
        self.node.stop()
        self.session.close()

    # -- the steps -------------------------------------------------------------------------------------------------

    def good(self, feed: Any, first_ns: int, sweeps: int, answer_s: float = ANSWER_S, enough: int = 0) -> list[bytes]:
        """The answers to good messages; each sweep is sent once the answer to the one before is there, or lost.

        enough: answers after which no more is sent; 0: all sweeps are.
        """
        from fuzz import good
        self.wait(feed.is_heard, ANSWER_S)  # a node that was configured anew has new subscriptions
        self.wait(lambda: False, 2 * SETTLE_S)
        found: list[bytes] = []
        for i in range(sweeps):
            stamp = first_ns + i * PERIOD_NS
            if not i:
                feed.publish('/tf_static', good.mounting(first_ns))
            for at, x in ((stamp - PERIOD_NS // 2, 0.8 * i), (stamp, 0.8 * i + 0.4)):
                feed.publish('input/odometry', good.pose_message(at, x))
            for _ in range(TRIES if not i else 1):  # the first may come before the two have found each other
                before = self.diagnostics.number('map image', 'received')
                feed.publish('input/map_image', good.good_map(stamp))
                self.wait(lambda: False, SETTLE_S)
                if i or self.wait(lambda b=before: self.diagnostics.number('map image', 'received') != b, 2.0):
                    break
            feed.publish('input/pointcloud', good.good_cloud(stamp, i))
            if self.wait(lambda at=stamp: at in self.answers, answer_s):
                found.append(self.answers.pop(stamp))
                if len(found) == enough:
                    break
        return found

    def configure_anew(self, feed: Any) -> None:
        """Through the lifecycle, from whatever state; parameters are those of the start."""
        from lifecycle_msgs.msg import Transition
        for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
            self.answered(feed.transition(number))
        self.parameters_of_the_start(feed)
        for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self.answered(feed.transition(number))

    def parameters_of_the_start(self, feed: Any) -> None:
        """Set every parameter back that may be set in the node's state."""
        from rclpy.parameter import Parameter

        from attention_fusion_ros.config import parameters
        self.answered(feed.parameters([Parameter(info.name, value=self.given.get(info.name, info.default))
                                       for info in parameters() if not info.read_only]))

    def answered(self, future: Any) -> None:
        """Wait for the answer to a call."""
        if future is None or not self.wait(future.done, PATIENCE_S):
            self.faults.append('a call had no answer')

    def wait(self, condition: Any, seconds: float) -> bool:
        """Until it holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            self.node.check()
            time.sleep(0.01)
        return False

    def received(self) -> int:
        """Messages that the node says it has received."""
        return sum(int(float(value)) for name, value in self.diagnostics.values().items() if name.endswith('.received'))

    def odd(self, feed: Any) -> list[tuple[int, int]]:
        """Send everything; returns (memory, file handles) on the way."""
        usage = []
        every = max(1, self.options.messages // SAMPLES)
        for number in range(self.options.messages):
            feed.anything()
            if number % BATCH == BATCH - 1:
                self.node.check()
                before, feed_waits = self.received(), feed.unanswered()
                self.wait(lambda b=before: self.received() != b, 1.0)
                if feed_waits > 40:
                    self.wait(lambda: feed.unanswered() < 5, PATIENCE_S)
            if number % every == every - 1:
                usage.append((self.node.rss_bytes(), len(os.listdir(f'/proc/{self.node.pid}/fd'))))
                print(f'{number + 1} messages, {usage[-1][0] / 2**20:.0f} MiB, {usage[-1][1]} files', file=sys.stderr,
                      flush=True)
        if not self.wait(lambda: not feed.unanswered(), PATIENCE_S):
            self.faults.append(f'{feed.unanswered()} calls had no answer')
        return usage


def documented(fuzz: Fuzz) -> list[str]:
    """What came out that is not in docs/inputs.md: reasons of dropped messages, and lines of the log."""
    import re

    import reasons
    known = set(reasons.reasons()) | {'overrun'}
    found = []
    for name in fuzz.diagnostics.values():
        component, dot, reason = name.partition('.dropped.')
        if dot and reason not in known:
            found.append(f'dropped for {reason} by {component}')
    for alert in fuzz.diagnostics.alerts():
        if 'Traceback' in alert.message:
            found.append(f'in /diagnostics: {alert.message[:300]}')
    lines = fuzz.node.log_lines()
    for number, line in enumerate(lines):
        if line.startswith('Traceback') or re.match(r'\w+(Error|Exception|Warning): ', line):
            found.append('in the log: ' + ' / '.join(lines[max(0, number - 6) : number + 8])[:900])
    return found


def main(argv: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    options = options_parser().parse_args(argv)
    from contextlib import nullcontext

    from attention_fusion_ros.ros.clients.domains import ReservedDomain
    from attention_fusion_ros.utils.tables import Table
    domain = nullcontext(options.domain) if options.domain is not None else ReservedDomain()
    with TemporaryDirectory() as folder, domain as number:
        fuzz = Fuzz(options, Path(folder), number)
        try:
            rows = run(fuzz)
        finally:
            fuzz.close()
    print(Table('', COLUMNS, rows).markdown_grid())
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        from attention_fusion_ros.utils import atomic
        atomic.write_csv(options.csv, (COLUMNS, *rows))
    for fault in fuzz.faults:
        print(f'FAULT: {fault}', file=sys.stderr)
    return 1 if fuzz.faults else 0


def run(fuzz: Fuzz) -> list[tuple[str, str]]:
    """Good messages, odd ones, good ones; the rows of the table."""
    from fuzz.node_feed import Feed
    from lifecycle_msgs.msg import Transition

    from attention_fusion_ros.ros.clients.session import Session
    feed = Feed(fuzz.session.node, random.Random(0))
    fuzz.wait(feed.is_ready, PATIENCE_S)
    fuzz.node.activate()  # not a call of the fuzz: a node that cannot be used ends the run, with the end of its log
    if not fuzz.wait(feed.is_heard, PATIENCE_S):
        fuzz.faults.append('the node does not listen')
    before = fuzz.good(feed, T0_NS, 3)
    with Session('odd', domain_id=fuzz.domain) as session:
        odd = Feed(session.node, random.Random(fuzz.options.seed))
        fuzz.wait(odd.is_ready, PATIENCE_S)  # the answer to a call before that may be lost
        usage = fuzz.odd(odd)
        odd.close()  # else what it has latched on /tf_static would be heard again
    results = int(fuzz.diagnostics.number('pipeline', 'results'))
    drops = {name: int(value) for name, value in fuzz.diagnostics.values().items() if '.dropped.' in name}
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        fuzz.answered(feed.transition(transition))
    fuzz.parameters_of_the_start(feed)
    lines = len(fuzz.node.log_lines())
    again = fuzz.good(feed, T0_NS, SWEEPS_UNTIL_RESULT, LOST_S, enough=3)
    if not again:
        fuzz.faults.append('no result of good sweeps afterwards; the node said: '
                           + ' / '.join(dict.fromkeys(fuzz.node.log_lines()[lines:]))[-3000:])
    fuzz.configure_anew(feed)
    after = fuzz.good(feed, T0_NS, 3)
    fuzz.faults += documented(fuzz)
    kept = usage[int(STARTED * len(usage)):] or usage
    grown = (kept[-1][0] - kept[0][0]) / 2**20
    if not before or len(before) < 3:
        fuzz.faults.append(f'{len(before)} of 3 good sweeps had an answer at the start')
    if after != before:
        fuzz.faults.append(f'another answer than before ({len(after)} of {len(before)})')
    if grown > GROWTH_MIB or kept[-1][1] - kept[0][1] > GROWTH_FILES:
        fuzz.faults.append(f'memory grew by {grown:.0f} MiB, files by {kept[-1][1] - kept[0][1]}')
    sent = odd.sent
    same = sum(a == b for a, b in zip(after, before))
    return [('messages and calls sent', str(sum(sent.values()))),
            *((f'... {name}', str(n)) for name, n in sorted(sent.items())),
            ('kinds of refused parameters', str(len(odd.refusals))), ('results at the end', str(results)),
            ('reasons in /diagnostics at the end', ', '.join(sorted({n.partition('.dropped.')[2] for n in drops}))),
            ('memory of the node after a tenth [MiB]', f'{kept[0][0] / 2**20:.0f}'),
            ('memory of the node at the end [MiB]', f'{kept[-1][0] / 2**20:.0f}'),
            ('file handles after a tenth', str(kept[0][1])), ('file handles at the end', str(kept[-1][1])),
            ('good sweeps afterwards with a result', str(len(again))),
            ('answers as before, once configured anew', f'{same} of {len(before)}'), ('faults', str(len(fuzz.faults)))]


if __name__ == '__main__':
    sys.exit(main())
