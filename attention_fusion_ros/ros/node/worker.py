# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One thread for the slow work, with a mailbox that holds only the newest item."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Item = TypeVar('Item')
Value = TypeVar('Value')


class Worker(Generic[Item]):
    """Calls `work(item)` in its own thread. An item that arrives while another one waits replaces it.

    work must not raise. on_overrun is called, in the thread of `put`, once for each item that is replaced.
    """

    def __init__(self, work: Callable[[Item], None], on_overrun: Callable[[], None]):
        self._work, self._on_overrun = work, on_overrun
        self._condition = threading.Condition()
        self._waiting: deque[Item] = deque(maxlen=1)
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

    def put(self, item: Item) -> None:
        """Hand over an item; it is ignored while paused."""
        with self._condition:
            if not self._accepting:
                return
            replaced = bool(self._waiting)
            self._waiting.append(item)
            self._condition.notify()
        if replaced:
            self._on_overrun()

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
            with self._condition:
                self._condition.wait_for(lambda: self._closed or self._calls or self._waiting)
                call = self._calls.popleft() if self._calls else None
                if call is None and self._closed:
                    return
                item = self._waiting.popleft() if call is None else None
            if call is not None:
                _complete(*call)
                del call  # nor what it returned
            elif item is not None:
                self._work(item)
            del item  # a sweep is megabytes: do not hold it until the next one


def _complete(function: Callable[[], Any], outcome: Future[Any]) -> None:
    try:
        outcome.set_result(function())
    except BaseException as error:
        outcome.set_exception(error)
