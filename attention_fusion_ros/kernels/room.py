# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays that are written to while a sweep is worked on, and kept for the next one."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

BLOCK = 256  # points that loops look at together: what they need of them stays in the nearest cache


class Room(threading.local):
    """Arrays by name, of each thread its own. They grow with the largest sweep and are never given back."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An array of this shape with whatever is in it; until the next call with this name."""
        size = math.prod(shape)
        found = self._arrays.get(name)
        if found is None or found.size < size or found.dtype != dtype:
            found = self._arrays[name] = np.empty(size, dtype)
        return found[:size].reshape(shape)

    def numbers(self) -> np.ndarray:
        """(5, BLOCK) float32 for a block of points."""
        return self('numbers', (5, BLOCK))

    def ratios(self) -> np.ndarray:
        """(BLOCK,) float64 for a block of points."""
        return self('ratios', (BLOCK,), np.float64)

    def places(self) -> np.ndarray:
        """(2, BLOCK) int32 for a block of points."""
        return self('places', (2, BLOCK), np.int32)


room = Room()
