# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one signature of engines, and the plain one: a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar('Item')
Value = TypeVar('Value')
LOCAL = 'local'  # as the address of a cluster: one on this machine, for as long as the work takes


@dataclass(frozen=True)
class Lost:
    """In place of a value: the process that worked on it died, however often it was begun again."""

    message: str


class Engine(Protocol):
    """Runs a function on many items."""

    name: str

    def run(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[tuple[int, Value | Lost]]:
        """(Number of the item, what the function returned for it), as they are done.

        function: one that can be imported, for it may run in another process on another machine, more than once where
        that dies; what it raises ends the run.

        Raises what the function raises; ConfigurationError where it cannot be run at all.
        """


@dataclass(frozen=True)
class Resources:
    """What each item takes of a cluster, and how often it is begun again where its process dies."""

    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3


DEFAULT = Resources()


class Sequential:
    """One after the other, in this process."""

    name = 'one process'

    def run(self, function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[tuple[int, Value | Lost]]:
        """As `Engine.run`; in order, and nothing is ever lost."""
        for number, item in enumerate(items):
            yield number, function(item)


_own: tuple[str, Any] | None = None  # what this process has made last


def own(make: Callable[[Item], Value], setup: Item) -> Value:
    """`make(setup)`, made once in each process that works, as long as the setup (compared by its repr) is the same."""
    global _own
    name = f'{make.__module__}.{make.__qualname__} {setup!r}'
    if _own is None or _own[0] != name:
        _own = name, make(setup)
    value: Value = _own[1]
    return value


def engine_at(address: str | None, resources: Resources = DEFAULT) -> AbstractContextManager[Engine]:
    """The engine for an address, to be entered: None is this process, `local` a cluster here, else that of a cluster.

    Raises ConfigurationError, on entering, where Ray is missing.
    """
    if address is None:
        return nullcontext(Sequential())
    from attention_fusion_ros.engines.ray_engine import RayEngine
    return RayEngine(address, resources)
