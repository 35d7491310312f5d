# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Work in several processes: never forked from this one, as torch's threads do not survive a fork."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

START_METHOD = 'forkserver' if 'forkserver' in multiprocessing.get_all_start_methods() else 'spawn'
PRELOADED = ['numpy', 'torch', 'attention_fusion_ros.network.model']  # imported once, for all processes
Value = TypeVar('Value')


@contextmanager
def process_pool(workers: int, initializer: Callable[..., object] | None = None,
                 arguments: tuple = ()) -> Iterator[ProcessPoolExecutor]:
    """Processes with one torch thread each; initializer(*arguments) runs first in each of them, see `with_own`.

    They start clean (forkserver, or spawn where there is none), with the environment variables of this process. When
    the block ends with an error or Ctrl-C, work that has not begun is dropped and the processes are ended. They
    themselves ignore Ctrl-C, which a terminal sends to all of them, and end when this process is killed.
    """
    context = multiprocessing.get_context(START_METHOD)
    start_quiet_tracker()
    if START_METHOD == 'forkserver':
        context.set_forkserver_preload(PRELOADED)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _begin, (dict(os.environ), initializer, arguments))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown()


@cache
def start_quiet_tracker() -> None:
    """Start Python's resource tracker, which outlives this process, without its warnings.

    What it finds gone or left over after Ctrl-C it would tell the user after the last word of this process. It still
    removes what is left.
    """
    if START_METHOD != 'forkserver':
        return
    from multiprocessing import resource_tracker
    name, before = 'PYTHONWARNINGS', os.environ.get('PYTHONWARNINGS')
    os.environ[name] = ','.join(filter(None, (before, 'ignore:resource_tracker')))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def quiet_when_interrupted() -> Iterator[None]:
    """When Ctrl-C or SIGTERM leaves the block, end the processes begun in it before the user is told.

    One that is still starting would else complain, after the last word of this process, that what it was given is gone.
    """
    start_quiet_tracker()
    before = set(multiprocessing.active_children())
    try:
        yield
    except KeyboardInterrupt as stop:
        traceback.clear_frames(stop.__traceback__)  # those who own processes end them as they should, if they can
        begun = set(multiprocessing.active_children()) - before
        for process in begun:
            process.kill()
        for process in begun:
            process.join()
        raise


_own: Any = None  # what the initializer of this process returned


def with_own(function: Callable[..., Value], *arguments: Any) -> Value:
    """In a process of a pool: `function` of what its initializer returned (a method: of that object)."""
    return function(_own, *arguments)


def _end_with_parent() -> None:
    """End this process when the one that it works for is gone: killed, it could not tell its processes to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _begin(environment: dict[str, str], initializer: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    import torch

    global _own
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()  # the server that processes are forked from has the variables of when it was started
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        _own = initializer(*arguments)
    torch.set_num_threads(1)  # last: the initializer may have set another number; every core has its own process
