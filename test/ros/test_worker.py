# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The thread that processes sweeps, and its mailbox."""

from __future__ import annotations

import threading
import time

import pytest

from attention_fusion_ros.ros.node.worker import MAX_WAITING, Worker


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


def held():
    """A worker that is open and does nothing until the gate is set; what it has done, the gate, and its overruns."""
    done, gate, overruns = [], threading.Event(), []
    worker = Worker(lambda item: (gate.wait(10), done.append(item)), lambda: overruns.append(1))
    worker.open()
    return worker, done, gate, overruns


def test_items_of_another_key_and_those_to_be_kept_are_not_replaced():
    worker, done, gate, overruns = held()
    worker.put('first')
    wait_for(lambda: not worker.is_behind)
    worker.put('a1', 'a')
    worker.put('b1', 'b')
    worker.put('a2', 'a')
    worker.put('a3', 'a', keep=MAX_WAITING)
    worker.put('b2', 'b', keep=MAX_WAITING)
    assert worker.is_behind
    gate.set()
    wait_for(lambda: len(done) == 5)
    worker.close()
    assert done == ['first', 'b1', 'a2', 'a3', 'b2'] and len(overruns) == 1


def test_some_wait_beside_the_newest_and_the_oldest_of_its_key_are_replaced():
    worker, done, gate, overruns = held()
    worker.put('first')
    wait_for(lambda: not worker.is_behind)
    worker.put('b1', 'b')
    for item in ('a1', 'a2', 'a3', 'a4', 'a5'):
        worker.put(item, 'a', keep=2)
    assert len(overruns) == 2
    gate.set()
    wait_for(lambda: len(done) == 5)
    worker.close()
    assert done == ['first', 'b1', 'a3', 'a4', 'a5'] and len(overruns) == 2


def test_no_more_wait_than_there_is_room_for():
    worker, done, gate, overruns = held()
    worker.put(-1)
    wait_for(lambda: not worker.is_behind)
    for item in range(MAX_WAITING + 3):
        worker.put(item, keep=MAX_WAITING)
    gate.set()
    wait_for(lambda: len(done) == MAX_WAITING + 1)
    worker.close()
    assert done == [-1, *range(3, MAX_WAITING + 3)] and len(overruns) == 3


def test_what_is_due_is_done_when_nothing_comes():
    due, done, called = [time.monotonic() + 0.05], [], threading.Event()

    def on_due():
        done.append(time.monotonic() >= due[0])
        due[0] = None
        called.set()

    worker = Worker(done.append, lambda: None, lambda: due[0], on_due)
    assert called.wait(30)
    worker.close()
    assert done == [True]


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
