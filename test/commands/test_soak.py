# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`benchmark --soak`: what is written as it goes can be read at any time, and growth is told from noise."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace

import numpy as np
import pytest

from attention_fusion_ros.benchmarking import soak
from attention_fusion_ros.benchmarking.reconfigure import PARAMETERS, SoakWatch
from attention_fusion_ros.benchmarking.soak import Minute
from attention_fusion_ros.commands import benchmark
from attention_fusion_ros.config import NodeConfig, parameters


def minutes(count=30, **changes):
    """Of a node that keeps everything; changes: what is added to a value in every minute."""
    values = {'rss_mb': 500.0, 'threads': 20, 'handles': 60, 'p99_ms': 40.0}
    return [Minute(number, results=1200, p50_ms=20.0, reconfigured='',
                   **{name: value + number * changes.get(name, 0) for name, value in values.items()})
            for number in range(1, count + 1)]


def verdicts(run):
    return [check.met for check in soak.checks(run)]


def test_a_node_that_keeps_everything_meets_the_limits():
    assert verdicts(minutes()) == [True] * 4
    start = [Minute(m.minute, 300.0 + 40 * m.minute, 10 + m.minute, 30 + m.minute, 0, math.nan, math.nan, '')
             for m in minutes(5)]  # what is built up in the first five minutes is not growth
    assert verdicts([*start, *minutes()[5:]])[:3] == [True] * 3


@pytest.mark.parametrize('change, index', [({'rss_mb': 1.0}, 0), ({'threads': 1}, 1), ({'handles': 1}, 2),
                                           ({'p99_ms': 0.4}, 3)])
def test_what_grows_is_found(change, index):
    assert verdicts(minutes(**change)) == [number != index for number in range(4)]


def test_less_memory_and_faster_answers_are_no_fault():
    assert verdicts(minutes(rss_mb=-2.0, p99_ms=-0.5)) == [True] * 4


def test_shared_memory_is_told_apart():
    """The segments of the middleware become resident page by page, up to their size, in every process that reads."""
    run = [replace(minute, shared_mb=10.0 + minute.minute) for minute in minutes(rss_mb=1.0)]
    memory = soak.checks(run)[0]
    assert memory.met and memory.found == '+0.00 % (+4.74 % with 16 to 40 MB that the middleware shares)'
    assert not soak.checks([replace(minute, shared_mb=10.0) for minute in run])[0].met


def test_files_of_before_shared_memory_was_told_are_read(tmp_path):
    path = tmp_path / 'soak.csv'
    path.write_text('minute,rss_mb,threads,handles,results,p50_ms,p99_ms,reconfigured\n1,360.0,16,26,1191,46.4,86.0,\n')
    minute, = soak.read(path)
    assert minute.own_mb == minute.rss_mb == 360.0


def test_a_short_run_tells_nothing():
    assert verdicts(minutes(3)) == [None] * 4 and verdicts(minutes(12)) == [True, True, True, None]
    assert verdicts([]) == [None] * 4


def test_lines_are_read_while_the_next_one_is_being_written(tmp_path):
    path, run = tmp_path / 'soak.csv', minutes(4)
    for minute in run:
        soak.append(path, minute)
    assert soak.read(path) == run
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert soak.read(path) == run[:3]
    path.write_text('stamp_ns,mode\n1,fused\n')
    with pytest.raises(ValueError, match='soak.csv'):
        soak.read(path)


def test_latencies_of_a_minute():
    minute = Minute.of(1, [10.0, 30.0, 20.0], 5, 6, list(np.arange(1, 101.0)))
    assert (minute.rss_mb, minute.results, minute.p50_ms) == (20.0, 100, 50.5) and 99 <= minute.p99_ms <= 100
    assert math.isnan(Minute.of(1, [10.0], 5, 6, []).p99_ms)


class Watched:
    """A node with the numbers that a test gives it."""

    def __init__(self):
        self.calls, self.fails, self.done = [], None, threading.Event()

    def rss_bytes(self):
        return 5e8

    def shared_bytes(self):
        return 2e7

    def threads(self):
        return [1, 2, 3]

    def handles(self):
        return 7

    def set_parameters(self, values):
        self.calls.append(values)

    def cycle(self):
        if self.fails is not None:
            raise self.fails
        self.calls.append('cycle')


def test_every_minute_is_a_line_and_a_reconfiguration_with_other_values(tmp_path):
    node, path = Watched(), tmp_path / 'soak.csv'
    watch = SoakWatch(path, node, lambda: [1.0, 2.0])
    for second in range(0, 191):
        watch.sample(float(second))
        watch.join()
    assert [m.minute for m in soak.read(path)] == [1, 2, 3]
    assert {(m.threads, m.handles, m.results, m.own_mb) for m in watch.minutes} == {(3, 7, 2, 480.0)}
    assert node.calls[1::2] == ['cycle'] * 3
    first, second, third = node.calls[::2]
    assert first.keys() == PARAMETERS.keys() and all(first[k] != second[k] and first[k] == third[k] for k in first)


def test_a_reconfiguration_that_fails_ends_the_soak(tmp_path):
    node = Watched()
    node.fails = RuntimeError('it did not come back')
    watch = SoakWatch(tmp_path / 'soak.csv', node, lambda: [])
    watch.sample(30.0)
    watch.sample(60.0)
    watch.join()
    with pytest.raises(RuntimeError, match='come back'):
        watch.sample(61.0)


def test_what_is_changed_can_be_changed_while_running():
    known = {info.name: info for info in parameters(NodeConfig)}
    for name, values in PARAMETERS.items():
        assert not known[name].read_only and all(known[name].low <= value <= known[name].high for value in values)


def test_counts_that_start_again_are_added_up():
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from attention_fusion_ros.benchmarking.live import Totals
    totals = Totals()
    assert [totals.add('results', n) for n in (3, 10, 2, 4, 0, 1)] == [3, 10, 12, 14, 14, 15]
    assert totals.add('received', 5) == 5


def test_the_report_of_a_run_that_goes_on(tmp_path, capsys):
    path = tmp_path / 'soak.csv'
    for minute in minutes(handles=1):
        soak.append(path, minute)
    assert benchmark.main(['--soak-report', str(path), '--out', str(tmp_path / 'out')]) == 1
    out = capsys.readouterr().out
    assert 'handles after the first five minutes' in out and '66 .. 90' in out and 'NO' in out
    assert (tmp_path / 'out/soak.png').read_bytes().startswith(b'\x89PNG')
    path.write_text('something else')
    assert benchmark.main(['--soak-report', str(path)]) == 2 and 'Remedy' in capsys.readouterr().err


@pytest.mark.slow
def test_the_node_is_watched_and_reconfigured_while_sweeps_come(tmp_path, monkeypatch):
    pytest.importorskip('rclpy', reason='needs ROS 2')
    monkeypatch.setitem(os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    from attention_fusion_ros.benchmarking import live, sweeps
    given = {'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu', 'threads': 1, 'use_tf': False,
             'T_base_sensor': sweeps.T_BASE_SENSOR.ravel().tolist()}
    result = live.run(given, 20.0, 5.0, tmp_path / 'node.log', points=5000, minutes=tmp_path / 'soak.csv', minute_s=6.0)
    assert not result.ended, result.ended
    run = soak.read(tmp_path / 'soak.csv')
    assert len(run) == 3 and run == result.minutes
    assert sum(m.results for m in run) > 0 and all(m.threads > 3 and m.handles > 3 and m.own_mb > 50 for m in run)
    assert all(0 < m.shared_mb < 80 for m in run)  # no more than some segments
    log = (tmp_path / 'node.log').read_text()
    assert log.count('configured: ') >= 3 and 'Traceback' not in log
