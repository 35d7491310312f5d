# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Loops compiled by numba, where it is there: single-threaded, without the GIL, and kept on disk.

The first process that needs them compiles them; afterwards they are loaded. What is kept lies beside the module where
that can be written, else in the user's cache folder; the environment variable NUMBA_CACHE_DIR names another place.
Where there is none, each start would compile anew, for many seconds: plain torch is used instead, with one warning.
"""

from __future__ import annotations

import functools
import importlib
import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

from attention_fusion_ros.utils.packages import is_installed as package_is_installed

logger = logging.getLogger(__name__)

LOOPS = ('cloud', 'ground', 'map', 'points')  # modules of `kernels.loops`
SLOW_S = 1.0  # loading takes less
Function = TypeVar('Function', bound=Callable[..., Any])


def is_installed() -> bool:
    """Whether numba is installed; it is not imported for that."""
    return package_is_installed('numba')


def jit(*signature: str) -> Callable[[Function], Function]:
    """Decorator: compile a function with numba, where that is installed; else leave it as it is.

    signature: types of the arguments, as `_numba_type` reads them; none for a function that others inline.
    """
    def compile_(function: Function) -> Function:
        if not is_installed():
            return function
        import numba
        options: dict[str, Any] = {'cache': True, 'nogil': True, 'error_model': 'numpy'}
        if not signature:
            return cast(Function, numba.njit(**options)(function))
        return cast(Function, numba.njit([tuple(map(_numba_type, signature))], **options)(function))
    return compile_


def _numba_type(text: str) -> Any:
    """'f4' -> a number; 'f4[:,:]' -> a contiguous array; read only and of any strides: 'f4[any2]', of two axes, and
    'f4[raw]', of two axes over the bytes of a message, where numbers may lie anywhere; 'f4[raw1]', of one axis.
    """
    from numba import types
    scalars = {'f4': types.float32, 'f8': types.float64, 'i4': types.int32, 'i8': types.int64, 'u1': types.uint8,
               'u8': types.uint64, 'b1': types.boolean}
    scalar, _, shape = text.partition('[')
    if not shape:
        return scalars[scalar]
    if shape.startswith('raw'):
        return types.Array(scalars[scalar], int(shape[3:-1] or 2), 'A', readonly=True, aligned=False)
    if shape.startswith('any'):
        return types.Array(scalars[scalar], int(shape[3:-1]), 'A', readonly=True)
    return types.Array(scalars[scalar], shape.count(':'), 'C')


@functools.cache
def loops() -> dict[str, ModuleType] | None:
    """The modules of `kernels.loops` by name, compiled; None, with one warning, where they cannot be.

    Where numba is not installed that is one line of the log, at level INFO.
    """
    if not is_installed():
        logger.info('numba is not installed: points are worked on by plain torch, which is slower. Remedy: pip install '
                    'numba')
        return None
    start = time.perf_counter()
    try:
        found = {name: importlib.import_module(f'{__package__}.loops.{name}') for name in LOOPS}
    # numba raises errors of many kinds: no place for its cache, a numpy it does not know, a broken llvmlite.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = ('name a folder that can be written in NUMBA_CACHE_DIR' if 'cache' in reason
                  else 'install a numba that fits this numpy, or uninstall it')
        logger.warning('the compiled loops over points cannot be used, plain torch is slower: %s. Remedy: %s, or set '
                       "the parameter `kernels` to 'plain'.", reason, remedy)
        return None
    seconds = time.perf_counter() - start
    if seconds > SLOW_S:
        logger.info('the loops over points were compiled in %.0f s; they are kept for the next start', seconds)
    return found


def available() -> bool:
    """Whether the loops can be used; compiles or loads them."""
    return loops() is not None
