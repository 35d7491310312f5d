# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Operation name -> plain torch version and fast versions, and the choice between them. See the package's docstring."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

AUTO, PLAIN = 'auto', 'plain'
EVERY_OPERATION = '*'
FOR_ARRAYS = ('numba_', 'numpy_')  # how the names of modules in `kernels.fast` begin that need no torch
ENVIRONMENT_VARIABLE = 'ATTENTION_FUSION_KERNELS'

P = ParamSpec('P')
R = TypeVar('R')
Function = TypeVar('Function', bound=Callable[..., Any])
Values: TypeAlias = 'Tensor | np.ndarray'


@dataclass(frozen=True)
class Version:
    """A fast version of an operation."""

    name: str
    function: Callable[..., Any]
    devices: tuple[str, ...]  # torch device types
    differentiable: bool  # whether gradients flow through it
    available: Callable[[], bool]
    arrays_only: bool = False


_operations: dict[str, Operation[..., Any]] = {}
_versions: dict[str, dict[str, Version]] = {}  # operation -> name -> version
_chosen: ContextVar[dict[str, str]] = ContextVar('chosen_versions', default={})  # noqa: B039 - never written to


class Operation(Generic[P, R]):
    """A function in plain torch that may have fast versions; called like the function."""

    def __init__(self, name: str, plain: Callable[P, R]):
        self.name, self.plain = name, plain
        self._warned: set[str] = set()  # versions asked for in vain, which has been said
        functools.update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the version chosen for these arguments."""
        result: R = self.choose(*args, **kwargs)(*args, **kwargs)
        return result

    @property
    def versions(self) -> tuple[Version, ...]:
        """The fast versions, in order of registration."""
        _import_fast_modules(_is_loaded('torch'))
        return tuple(_versions.get(self.name, {}).values())

    def choose(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """The function that a call with these arguments runs.

        While torch.compile or torch.export trace it, the plain version: a graph is made of torch's own operations.
        """
        # torch is not imported for what needs arrays only.
        if _is_loaded('torch') and sys.modules['torch'].compiler.is_compiling():
            return self.plain
        tensors = _tensors((*args, *kwargs.values()))
        wanted = _wanted(self.name)
        if wanted == PLAIN or not tensors:
            return self.plain
        if wanted == AUTO:
            return next((v.function for v in self.versions if not _obstacle(v, tensors)), self.plain)
        version = next((v for v in self.versions if v.name == wanted), None)
        obstacle = 'there is no such version' if version is None else _obstacle(version, tensors)
        if version is not None and not obstacle:
            return version.function
        if wanted not in self._warned:
            self._warned.add(wanted)
            logger.warning("operation '%s' runs in plain torch instead of as '%s': %s", self.name, wanted, obstacle)
        return self.plain

    def forget_warning(self, version: str) -> None:
        """Warn again when the version called `version` is asked for in vain."""
        self._warned.discard(version)


def operation(name: str) -> Callable[[Callable[P, R]], Operation[P, R]]:
    """Decorator: make a function in plain torch an operation called `name`. Raises ValueError when there is one."""
    def register(plain: Callable[P, R]) -> Operation[P, R]:
        if name in _operations:
            raise ValueError(f"there is an operation '{name}' already")
        _operations[name] = made = Operation(name, plain)
        return made
    return register


def fast_version(of: str, name: str, *, devices: tuple[str, ...] = ('cuda',), differentiable: bool = True,
                 available: Callable[[], bool] = lambda: True, arrays_only: bool = False
                 ) -> Callable[[Function], Function]:
    """Decorator: register a fast version called `name` of the operation `of`.

    devices: the torch device types it is made for. differentiable: whether gradients flow through it. available:
    whether it can run here, asked once. arrays_only: it is for arrays, of which the plain version makes nothing.
    Raises ValueError when the operation has a version of that name.
    """
    def register(function: Function) -> Function:
        if name in (AUTO, PLAIN) or name in _versions.setdefault(of, {}):
            raise ValueError(f"operation '{of}' has a version '{name}' already")
        _versions[of][name] = Version(name, function, devices, differentiable, functools.cache(available), arrays_only)
        return function
    return register


def remove_version(of: str, name: str) -> None:
    """Undo `fast_version`. Raises KeyError when there is no such version."""
    del _versions[of][name]
    if of in _operations:
        _operations[of].forget_warning(name)


def operations() -> dict[str, Operation[..., Any]]:
    """Every operation whose module has been imported, by name."""
    return dict(_operations)


@contextmanager
def use(version: str, of: str = EVERY_OPERATION) -> Iterator[None]:
    """Within this block, and thread, run the version called `version` (or `auto`, `plain`) of the operation `of`."""
    token = _chosen.set({**_chosen.get(), of: version})
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen(version: str) -> AbstractContextManager[None]:
    """As the parameter `kernels` says: `use` the version, or leave the choice as it is for `auto`."""
    return nullcontext() if version == AUTO else use(version)


def _wanted(name: str) -> str:
    """The version asked for: by `use`, else by the environment variable, else `auto`."""
    for choice in (_chosen.get(), _from_environment(os.environ.get(ENVIRONMENT_VARIABLE, ''))):
        if name in choice or EVERY_OPERATION in choice:
            return choice.get(name, choice.get(EVERY_OPERATION, AUTO))
    return AUTO


@functools.lru_cache(maxsize=8)
def _from_environment(text: str) -> dict[str, str]:
    pairs = (part.rpartition('=') for part in text.split(',') if part.strip())
    return {of.strip() or EVERY_OPERATION: version.strip() for of, _, version in pairs}


def _tensors(arguments: Iterable[Any]) -> list[Values]:
    """The tensors and arrays among the arguments, those in tuples and lists included."""
    found: list[Values] = []
    for argument in arguments:
        if isinstance(argument, (tuple, list)):
            found += _tensors(argument)
        elif isinstance(argument, np.ndarray) or _is_tensor(argument):
            found.append(argument)
    return found


def _is_tensor(value: Any) -> bool:
    return _is_loaded('torch') and isinstance(value, sys.modules['torch'].Tensor)


def _device(values: Values) -> str:
    return 'cpu' if isinstance(values, np.ndarray) else values.device.type


def _obstacle(version: Version, tensors: list[Values]) -> str:
    """Why a version cannot run with these arguments, '' when it can."""
    other = next((_device(t) for t in tensors if _device(t) not in version.devices), None)
    if other is not None:
        return f'it is made for {", ".join(version.devices)}, not for {other}'
    if version.arrays_only and any(map(_is_tensor, tensors)):
        return 'it is made for arrays'
    if not version.differentiable and any(map(_wants_gradient, tensors)):
        return 'it has no gradient'
    return '' if version.available() else 'it is not available here'


def _wants_gradient(values: Values) -> bool:
    return bool(getattr(values, 'requires_grad', False)) and sys.modules['torch'].is_grad_enabled()


@functools.cache
def _import_fast_modules(with_torch: bool) -> None:
    """Import every module of `kernels.fast`, once. One that cannot be imported costs its versions, and a warning.

    with_torch: or only those that need no torch, whose names begin with one of FOR_ARRAYS.
    """
    from attention_fusion_ros.kernels import fast
    for module in pkgutil.iter_modules(fast.__path__):
        if not with_torch and not module.name.startswith(FOR_ARRAYS):
            continue
        try:
            importlib.import_module(f'{fast.__name__}.{module.name}')
        except ImportError as error:
            logger.warning('fast kernels in %s cannot be used: %s', module.name, error)


def _is_loaded(package: str) -> bool:
    return sys.modules.get(package) is not None
