# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One thread for the slow work, with a mailbox that holds only the newest item, or the newest few."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from itertools import islice
from typing import Any, Generic, TypeVar

MAX_WAITING = 256  # items that are kept: packets of a LiDAR come 1000 times a second at most
Item = TypeVar('Item')
Value = TypeVar('Value')


class Worker(Generic[Item]):
    """Calls `work(item)` in its own thread. An item that arrives while others wait replaces them, see `put`.

    work must not raise. on_overrun is called, in the thread of `put`, once for each item that is replaced.
    due_s() may tell when, by the monotonic clock, on_due is to be called in the worker's thread if nothing comes
    before.
    """

    def __init__(self, work: Callable[[Item], None], on_overrun: Callable[[], None],
                 due_s: Callable[[], float | None] = lambda: None, on_due: Callable[[], None] = lambda: None):
        self._work, self._on_overrun, self._due_s, self._on_due = work, on_overrun, due_s, on_due
        self._condition = threading.Condition()
        self._waiting: deque[tuple[Hashable, Item]] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._accepting = self._closed = False
        self._thread = threading.Thread(target=self._run, name='sweeps', daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Accept items from now on."""
        with self._condition:
            self._accepting = True

    def pause(self) -> None:
        """Accept no more items and discard the waiting one; the current one is finished. Returns at once."""
        with self._condition:
            self._accepting = False
            self._waiting.clear()

    def put(self, item: Item, key: Hashable = None, keep: int = 0) -> None:
        """Hand over an item; it is ignored while paused.

        It replaces the waiting ones of the same key but for the newest `keep`. MAX_WAITING wait at most, of all keys.
        """
        with self._condition:
            if not self._accepting:
                return
            before = len(self._waiting)
            surplus = sum(waiting == key for waiting, _ in self._waiting) - keep
            if surplus > 0:
                same = (i for i, (waiting, _) in enumerate(self._waiting) if waiting == key)
                replaced_ones = set(islice(same, surplus))
                self._waiting = deque(entry for i, entry in enumerate(self._waiting) if i not in replaced_ones)
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
            replaced = before - len(self._waiting)
            self._waiting.append((key, item))
            self._condition.notify()
        for _ in range(replaced):
            self._on_overrun()

    @property
    def is_behind(self) -> bool:
        """Whether items wait."""
        return bool(self._waiting)

    def call(self, function: Callable[[], Value]) -> Value:
        """Run a function in the worker's thread, before any item; returns or raises what it does.

        Raises RuntimeError when the worker is closed. Not to be called from work.
        """
        outcome: Future[Value] = Future()
        with self._condition:
            if self._closed:
                raise RuntimeError('the worker is closed')
            self._calls.append((function, outcome))
            self._condition.notify()
        return outcome.result()

    def close(self) -> None:
        """Stop; returns when the current item is finished. May be repeated."""
        with self._condition:
            self._closed, self._accepting = True, False
            self._waiting.clear()
            self._condition.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            due_s = self._due_s()
            wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._calls or self._waiting, wait_s)
                call = self._calls.popleft() if self._calls else None
                if call is None and self._closed:
                    return
                item = self._waiting.popleft()[1] if call is None and self._waiting else None
            if call is not None:
                _complete(*call)
                del call  # nor what it returned
            elif item is not None:
                self._work(item)
            elif due_s is not None:
                self._on_due()
            del item  # a sweep is megabytes: do not hold it until the next one


def _complete(function: Callable[[], Any], outcome: Future[Any]) -> None:
    try:
        outcome.set_result(function())
    except BaseException as error:
        outcome.set_exception(error)
