# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays that are written to while a sweep is worked on, and kept for the next one."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

MOST_LENT = 8  # arrays of one name that are kept; more sweeps at a time are rare
BLOCK = 256  # points that loops look at together: what they need of them stays in the nearest cache


def _holders(arrays: list[np.ndarray], k: int) -> int:
    """How often an array is referred to. Views of an array, and tensors that share its memory, refer to it."""
    return sys.getrefcount(arrays[k])


UNLENT = _holders([np.empty(0)], 0)  # by the list alone; how the interpreter counts has changed before


class Room(threading.local):
    """Arrays by name, of each thread its own. They grow with the largest sweep and are never given back."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._lent: dict[str, list[np.ndarray]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array of this shape with whatever is in it; until the next call with this name."""
        size = math.prod(shape)
        found = self._arrays.get(name)
        if found is None or found.size < size or found.dtype != dtype:
            found = self._arrays[name] = np.empty(size, dtype)
        return found[:size].reshape(shape)

    @contextmanager
    def zeros(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> Iterator[np.ndarray]:
        """An array of zeros. Whoever writes to it makes them zero again; where an error comes between, it is lost."""
        size = math.prod(shape)
        found = self._arrays.pop(name, None)
        if found is None or found.size < size or found.dtype != dtype:
            found = np.zeros(size, dtype)
        yield found[:size].reshape(shape)
        self._arrays[name] = found

    def lent(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array of this shape with whatever is in it, for as long as the caller, or anybody else, holds it.

        Its memory is lent again when nobody does any more: a sweep that lives on keeps its own.
        """
        size, known = math.prod(shape), self._lent.setdefault(name, [])
        for k in range(len(known)):
            if known[k].size >= size and known[k].dtype == dtype and _holders(known, k) == UNLENT:
                return known[k][:size].reshape(shape)
        made = np.empty(size, dtype)
        known.append(made)
        if len(known) > MOST_LENT or size > known[0].size:
            del known[0]
        return made.reshape(shape)

    def numbers(self) -> np.ndarray:
        """(5, BLOCK) float32 for a block of points."""
        return self('numbers', (5, BLOCK))

    def places(self) -> np.ndarray:
        """(2, BLOCK) int32 for a block of points."""
        return self('places', (2, BLOCK), np.int32)


room = Room()
