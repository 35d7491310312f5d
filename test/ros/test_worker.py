# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The thread that processes sweeps, and its mailbox."""

from __future__ import annotations

import threading
import time

import pytest

from attention_fusion_ros.ros.node.worker import Worker


def test_worker_processes_the_newest_and_counts_the_rest():
    done, overruns, gate, entered = [], [], threading.Event(), threading.Event()

    def work(item):
        entered.set()
        gate.wait(30.0)
        done.append(item)

    worker = Worker(work, lambda: overruns.append(1))
    worker.put('too early')
    worker.open()
    worker.put(0)
    assert entered.wait(30.0)
    for i in range(1, 6):
        worker.put(i)
    gate.set()
    end = time.monotonic() + 30.0
    while len(done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert done == [0, 5] and len(overruns) == 4
    worker.close()
    worker.close()
    worker.put(6)
    assert done == [0, 5]


def test_worker_calls_functions_in_its_own_thread():
    items = []
    worker = Worker(lambda item: items.append(threading.get_ident()), lambda: None)
    ident = worker.call(threading.get_ident)
    assert ident != threading.get_ident()
    with pytest.raises(ValueError, match='as it was raised'):
        worker.call(lambda: (_ for _ in ()).throw(ValueError('as it was raised')))
    worker.open()
    worker.put(0)
    end = time.monotonic() + 30.0
    while not items and time.monotonic() < end:
        time.sleep(0.01)
    assert items == [ident]  # the same thread, still alive
    worker.close()
    with pytest.raises(RuntimeError, match='closed'):
        worker.call(lambda: None)
