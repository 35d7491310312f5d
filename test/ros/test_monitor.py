# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Counters and ages that /diagnostics are made of."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from support.node_parts import TRUNCATED, Ticks, some_results

from attention_fusion_ros.ros.node.monitor import NodeMonitor, Rate


def test_rate_is_of_the_last_seconds():
    clock = Ticks()
    rate = Rate(clock)
    assert rate.snapshot().per_second == 0.0
    for _ in range(100):
        clock.now += 0.1
        rate.tick()
    assert rate.snapshot().per_second == pytest.approx(10.0)
    clock.now += 60.0
    assert rate.snapshot().per_second == 0.0 and rate.snapshot().count == 100


def test_no_input_is_expected_while_the_node_is_not_active():
    clock = Ticks()
    monitor = NodeMonitor(clock)
    assert monitor.snapshot().age_s(None) is None
    monitor.set_active(True)
    clock.now += 2.0
    assert monitor.snapshot().age_s(None) == 2.0
    monitor.set_active(False)
    assert monitor.snapshot().active_since_s is None and monitor.snapshot().age_s(None) is None


def test_a_snapshot_does_not_change_any_more():
    clock = Ticks()
    monitor = NodeMonitor(clock)
    monitor.set_active(True)
    monitor.received('map image')
    before = monitor.snapshot()
    seen = repr(before)
    clock.now += 1.0
    monitor.received('map image')
    monitor.dropped('map image', TRUNCATED)
    monitor.sweep_dropped(TRUNCATED)
    some_results(monitor, 1)
    assert repr(before) == seen and repr(monitor.snapshot()) != seen
    with pytest.raises(TypeError):
        before.components['map image'].dropped['truncated_data'] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.results.count = 7


def test_a_snapshot_is_consistent_while_others_write():
    """Worker and executor count at the same time; what belongs together is seen together."""
    monitor, stop, failures = NodeMonitor(), threading.Event(), []

    def write():
        while not stop.is_set():
            monitor.received('input cloud')
            monitor.sweep_dropped(TRUNCATED)
            some_results(monitor, 1)

    def read():
        while not stop.is_set():
            seen = monitor.snapshot()
            drops = seen.components['input cloud'].dropped.get('truncated_data', 0)
            if drops != seen.sweep_drops['truncated_data'] or len(seen.latencies_ms) != min(seen.results.count, 200):
                failures.append(seen)

    threads = [threading.Thread(target=target) for target in (write, write, read, read)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert monitor.snapshot().results.count == monitor.snapshot().sweep_drops['truncated_data'] > 0
