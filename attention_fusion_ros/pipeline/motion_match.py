# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How what stands still around the vehicle moved from one time to another, against what odometry tells.

For map images (`map_motion`) and sweeps (`sweep_motion`) alike: cells are matched at every shift by Fourier transforms,
and a contradiction is told once there are several.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import rotation_2d

CELL_M = 1.0
SIZE = 144  # of the transform: cells across, and the longest shift
MAX_SHIFT_M = 30.0  # that is looked for
MIN_CELLS = 60  # that hold something, at both times
PAIRS, CONTRADICTIONS = 4, 3  # of so many comparisons, so many have to contradict
WITHDRAWN = 8  # comparisons without a contradiction; straight ahead, what is mirrored moves as it should


@dataclass(frozen=True)
class Surroundings:
    """What a map image, or a sweep, holds around the vehicle, and where that was."""

    filled: np.ndarray  # (n, n) bool, row 0 farthest up, column 0 farthest left
    shown: np.ndarray  # (n, n) bool, where it would be seen
    T_odom_base: np.ndarray  # (4, 4) at its stamp


class Contradictions:
    """What comparisons, one after the other, say in the end."""

    def __init__(self) -> None:
        self._pairs: deque[bool] = deque(maxlen=PAIRS)  # whether they contradict
        self._agree = 0  # comparisons since the last one that does
        self.said = ''  # how things moved, as long as that is told

    def add(self, found: str) -> None:
        """One more comparison: how things moved, in words, where that contradicts odometry; '' otherwise."""
        self._pairs.append(bool(found))
        self._agree = 0 if found else self._agree + 1
        if found and sum(self._pairs) >= CONTRADICTIONS:
            self.said = found
        elif self._agree >= WITHDRAWN:
            self.said = ''


def words(shift: np.ndarray, turn: float) -> str:
    """A motion: shift (2,) in m, turn in rad."""
    return f'{round(shift[0])} m and {round(shift[1])} m, turned by {round(math.degrees(turn))} degrees'


def _turned(cells: np.ndarray, angle: float) -> np.ndarray:
    """(n, n) bool turned about its centre, left by `angle`."""
    n = len(cells)
    up, left = np.meshgrid(n // 2 - np.arange(n), n // 2 - np.arange(n), indexing='ij')
    source = rotation_2d(-angle) @ np.stack([up.ravel(), left.ravel()])
    row, column = np.rint(n // 2 - source).astype(int)
    inside = (0 <= row) & (row < n) & (0 <= column) & (column < n)
    turned = np.zeros(n * n, bool)
    turned[inside] = cells[row[inside], column[inside]]
    return turned.reshape(n, n)


def scores(before: Surroundings, after: Surroundings, angle: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How well each shift of the later one, turned by `angle`, brings what both hold together where both show.

    -> scores of 0..1 (cells held by both, by the mean of those held by either), and up and left of each shift in m.
    """
    filled, shown = _turned(after.filled, angle), _turned(after.shown, angle)
    size = SIZE
    a_filled, a_shown, b_filled, b_shown = (np.fft.rfft2(x.astype(np.float32), (size, size)) for x in (
        before.filled, before.shown, filled, shown))

    def meets(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        counts: np.ndarray = np.fft.irfft2(first * second.conj(), (size, size))
        return counts

    both = meets(a_filled, b_filled)
    either = meets(a_filled, b_shown) + meets(a_shown, b_filled)
    shift = np.fft.fftfreq(size, 1.0 / size)
    up, left = np.meshgrid(-shift * CELL_M, -shift * CELL_M, indexing='ij')
    near = (np.hypot(up, left) <= MAX_SHIFT_M) & (either >= 2 * MIN_CELLS)
    score = np.where(near, 2.0 * both / np.maximum(either, 1.0), 0.0)
    return score, up, left
