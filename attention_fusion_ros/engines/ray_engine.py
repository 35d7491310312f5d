# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The same on a Ray cluster (optional: pip install 'attention_fusion_ros[fleet]').

Tasks, places and retries are Ray's (https://docs.ray.io/en/latest/ray-core/fault_tolerance/tasks.html). What is added:
a worker with other code than the caller's is refused, and so is one that does not see the caller's folders.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from attention_fusion_ros.engines.engine import DEFAULT, LOCAL, Item, Lost, Resources, Value
from attention_fusion_ros.errors import ConfigurationError, InputError, require
from attention_fusion_ros.utils.digest import digest, source_files

OBJECT_STORE_BYTES = 100 * 2**20  # of a cluster on this machine: only rows of tables go through it
# Tasks handed to Ray at a time: enough for a cluster that grows with what waits, few enough to be waited for
# (https://docs.ray.io/en/latest/ray-core/patterns/limit-pending-tasks.html).
MAX_PENDING = 1000
# How long a busy machine may take to start workers and the processes beside them; Ray gives up after a minute.
PATIENCE = {'RAY_worker_register_timeout_seconds': '300', 'RAY_agent_register_timeout_ms': '300000'}
CONNECT_S = 5.0  # Ray itself asks an address at which nobody answers for minutes
INSTALL = "python -m pip install 'ray>=2.9'"


@dataclass(frozen=True)
class _Caller:
    """What workers are compared with."""

    code: str
    folder: str  # the working directory, which relative paths start from


@dataclass(frozen=True)
class _Raised:
    """An exception of the function, as text: not every exception survives being sent."""

    message: str
    known: bool  # one that names cause and remedy


@lru_cache
def code_digest() -> str:
    """A name for the code of this package."""
    return digest(source_files())


class RayEngine:
    """To be entered; connected from the first work on until it is left.

    Raises ConfigurationError, on entering, where Ray is missing, and with the first work where it does not answer.

    address: `local` starts a cluster on this machine, of as many CPUs as this process may use; `auto`, `HOST:PORT` and
    `ray://HOST:PORT` are clusters that run. A connection that this process has already is used and left open.
    """

    def __init__(self, address: str, resources: Resources = DEFAULT):
        self.name = f'Ray at {address}'
        self._address, self._resources = address, resources
        self._ray: Any = None
        self._own = False

    def __enter__(self) -> RayEngine:
        try:
            self._ray = require('ray', '--ray', 'ray')
        except ConfigurationError as error:
            raise ConfigurationError(str(error).partition(' Remedy: ')[0] + f' Remedy: {INSTALL}') from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._own:
            self._ray.shutdown()  # ends what still runs

    def _connect(self) -> None:
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
        settings: dict[str, Any] = {'log_to_driver': False, 'logging_level': 'warning'}
        if self._address == LOCAL:
            for name, value in PATIENCE.items():
                os.environ.setdefault(name, value)
            cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
            settings |= {'num_cpus': cores, 'object_store_memory': OBJECT_STORE_BYTES, 'include_dashboard': False}
        try:
            self._knock()
            self._ray.init(address=self._address, **settings)
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            raise ConfigurationError(f'no Ray cluster answers at {self._address}: {_first_line(error)}. Remedy: start '
                                     "one ('ray start --head', see docs/fleet.md), or give --ray local") from error

    def _knock(self) -> None:
        """Raise OSError where the address is one of a host and port, and nobody answers there."""
        host, colon, port = self._address.rpartition('://')[2].rpartition(':')
        if colon and port.isdigit():
            socket.create_connection((host.strip('[]'), int(port)), timeout=CONNECT_S).close()

    def run(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[tuple[int, Value | Lost]]:
        """As `Engine.run`; in the order in which they are done. Relative paths in items mean the same as here."""
        if not items:
            return  # a cluster need not be started, nor be there, for what has been done
        ray = self._ray
        if not ray.is_initialized():
            self._connect()
            self._own = True
        self._check_resources()
        caller = ray.put(_Caller(code_digest(), os.getcwd()))
        remote = ray.remote(num_cpus=self._resources.cpus, num_gpus=self._resources.gpus,
                            max_retries=self._resources.retries)(_call)
        remote = remote.options(name=getattr(function, '__name__', 'work'))
        waiting: dict[Any, int] = {}
        numbers = iter(range(len(items)))
        try:
            while True:
                while len(waiting) < MAX_PENDING and (number := next(numbers, None)) is not None:
                    waiting[remote.remote(function, items[number], caller)] = number
                if not waiting:
                    return
                done, _ = ray.wait(list(waiting), timeout=1.0)  # s; not for ever, so that Ctrl-C is heard
                for reference in done:
                    yield waiting.pop(reference), self._value(reference)
        finally:
            for reference in waiting:  # after an error, or nobody asks any more
                ray.cancel(reference, force=True)

    def _check_resources(self) -> None:
        there = self._ray.cluster_resources()
        for name, wanted in (('CPU', self._resources.cpus), ('GPU', self._resources.gpus)):
            if wanted and not there.get(name):
                raise ConfigurationError(f'the Ray cluster at {self._address} has no {name}, and each piece of work is '
                                         f'to take {wanted:g}. Remedy: add nodes that have, or change '
                                         f'--ray-{name.lower()}s')

    def _value(self, reference: Any) -> Any:
        """What a finished task returned, or that it is lost. Raises ConfigurationError for what no retry mends."""
        errors = self._ray.exceptions
        try:
            value = self._ray.get(reference)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError,
                errors.LocalRayletDiedError) as error:
            return Lost(f'its worker died, and {self._resources.retries} more after it: {_first_line(error)}')
        except errors.RayError as error:
            raise ConfigurationError(f'a Ray worker cannot run this: {_last_line(error)}. Remedy: install the same '
                                     'attention_fusion_ros on every node, and start Ray there in that environment'
                                     ) from error
        if isinstance(value, _Raised):
            raise ConfigurationError(value.message) if value.known else RuntimeError(value.message)
        return value


def _call(function: Callable[[Any], Any], item: Any, caller: _Caller) -> Any:
    """On a worker."""
    import traceback
    try:
        _check(caller)
        return function(item)
    except ValueError as error:
        return _Raised(str(error), isinstance(error, (ConfigurationError, InputError)))
    except Exception:
        return _Raised(traceback.format_exc(), False)


def _check(caller: _Caller) -> None:
    here = f'{socket.gethostname()} (a Ray worker, {sys.executable})'
    if code_digest() != caller.code:
        raise ConfigurationError(f'{here} has another attention_fusion_ros than the machine that asks. Remedy: install '
                                 'the same version on all nodes, and start Ray again there')
    if not Path(caller.folder).is_dir():
        raise ConfigurationError(f"{here} has no folder '{caller.folder}'. Remedy: work in a folder that all nodes see "
                                 'under the same path (a shared file system)')
    os.chdir(caller.folder)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip('.')


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip('.')
