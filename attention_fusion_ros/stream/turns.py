# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of one LiDAR -> complete turns: which of them are parts of a turn is told from the directions they cover.

A turn ends when a message covers again what the turn has covered already. From the second turn on it is known what a
turn covers, and the message that completes it is not waited beyond. A message that covers the whole circle, or the same
part of it each time, is a turn by itself and is never held back, except the very first of a LiDAR that covers a part.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.stream.decoded import DecodedSweep

SECTORS = 72  # of 5 degrees
SAMPLE = 4096  # points whose direction is looked at
MIN_POINTS = 50  # fewer say nothing about directions
WHOLE = 0.8  # share of the circle that makes a message a turn by itself
ALIKE = 0.6  # of the directions that two messages cover, those in common
COVERED = 0.8  # of the directions of a message, those that the turn has covered already
MAX_TURN_NS = 250_000_000  # LiDARs turn at 5 to 20 Hz
HOLD_NS = 250_000_000  # how long an incomplete turn waits for its next part
REMEMBERED_TURNS = 3
MAX_SHIFTED_PARTS = 4  # more parts come so often that a pause is a lost message


def covered_sectors(xyz: np.ndarray) -> np.ndarray | None:
    """(N, 3) points in the sensor frame -> (SECTORS,) bool, the directions they cover; None: too few to tell."""
    if len(xyz) < MIN_POINTS:
        return None
    some = xyz[::max(1, len(xyz) // SAMPLE) | 1]  # an odd step: channels come in powers of two
    sector = ((np.arctan2(some[:, 1], some[:, 0]) + np.pi) * (SECTORS / (2 * np.pi))).astype(np.int64)
    covered: np.ndarray = np.bincount(sector % SECTORS, minlength=SECTORS) > 0
    return covered


@dataclass(frozen=True)
class Turn:
    """A complete turn of one LiDAR, or what there is of it."""

    parts: tuple[DecodedSweep, ...]

    @property
    def stamp_ns(self) -> int:
        """The stamp of the latest part."""
        return max(part.cloud.stamp_ns for part in self.parts)


class TurnBuilder:
    """Puts the messages of one LiDAR together to turns. Not thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._open: list[tuple[DecodedSweep, np.ndarray | None]] = []
        self._opened_ns = 0  # by the caller's clock
        self._turns: deque[tuple[int, np.ndarray]] = deque(maxlen=REMEMBERED_TURNS)  # messages, what they covered
        self._previous: np.ndarray | None = None  # what the previous message covered, while each is a turn by itself
        self._different = 0  # messages in a row that did not cover what the previous one did
        self._last_stamp_ns: int | None = None  # of the latest turn

    @property
    def parts_per_turn(self) -> int:
        """How many messages make a turn, 0 while that is not known."""
        return max((count for count, _ in self._turns), default=0)

    @property
    def open_turn(self) -> Turn | None:
        """The parts of the turn that is not complete."""
        return Turn(tuple(part for part, _ in self._open)) if self._open else None

    @property
    def due_ns(self) -> int | None:
        """When, by the caller's clock, the open turn is given up; None without one."""
        return self._opened_ns + HOLD_NS if self._open else None

    def add(self, part: DecodedSweep, now_ns: int) -> list[Turn]:
        """Take in a message; returns the turns that it completes. now_ns: by the clock of `due_ns`."""
        covered = covered_sectors(part.cloud.xyz)
        if covered is None and self.parts_per_turn <= 1 and not self._open:
            return [Turn((part,))]  # nothing to go by
        done: list[Turn] = []
        if self.parts_per_turn == 1 and not self._open and covered is not None:
            if self._is_turn_by_itself(covered):
                return [Turn((part,))]
            self._turns.clear()  # the driver sends something else now
        whole = covered is not None and covered.mean() >= WHOLE
        if self._open and (whole or self._is_over(part, covered)):
            done += self._close(now_ns)
        if not self._open:
            self._opened_ns = now_ns
        self._open.append((part, covered))
        if whole or self._is_complete():
            done += self._close(now_ns)
        return done

    def due(self, now_ns: int) -> list[Turn]:
        """The open turn, when it has waited for too long."""
        return self._close(now_ns) if self._open and now_ns >= self._opened_ns + HOLD_NS else []

    def flush(self, now_ns: int) -> list[Turn]:
        """The open turn, for nothing comes any more."""
        return self._close(now_ns) if self._open else []

    def _is_turn_by_itself(self, covered: np.ndarray) -> bool:
        """Of a LiDAR whose messages were turns by themselves so far: two that cover something else end that."""
        if covered.mean() < WHOLE and self._previous is not None and not _alike(covered, self._previous):
            self._different += 1
        else:
            self._different = 0
        self._previous = covered
        return self._different < 2

    def _is_over(self, part: DecodedSweep, covered: np.ndarray | None) -> bool:
        """Whether the open turn ends before this part."""
        stamps = [other.cloud.stamp_ns for other, _ in self._open]
        if abs(part.cloud.stamp_ns - stamps[0]) > MAX_TURN_NS:
            return True
        known = [other for _, other in self._open if other is not None]
        if covered is None or not known:
            return False
        in_common = (covered & np.any(known, axis=0)).sum()
        return bool(in_common > COVERED * covered.sum()) or any(_alike(covered, other) for other in known)

    def _is_complete(self) -> bool:
        """Whether the open turn covers what the latest turns did, but for a fraction of its narrowest part."""
        known = [covered for _, covered in self._open if covered is not None]
        if not self._turns or not known:
            return False
        expected = np.any([covered for _, covered in self._turns], axis=0)
        missing = (expected & ~np.any(known, axis=0)).sum()
        return bool(missing <= min(covered.sum() for covered in known) // 4)

    def _close(self, now_ns: int) -> list[Turn]:
        parts, self._open, self._opened_ns = self._open, [], now_ns
        known = [covered for _, covered in parts if covered is not None]
        self._turns.append((len(parts), np.any(known, axis=0) if known else np.zeros(SECTORS, bool)))
        self._previous, self._different = (known[-1] if known else None), 0
        turn = Turn(tuple(part for part, _ in parts))
        self._shift_phase(parts)
        self._last_stamp_ns = turn.stamp_ns
        return [turn]

    def _shift_phase(self, parts: list[tuple[DecodedSweep, np.ndarray | None]]) -> None:
        """Parts belong together that follow each other closely: a turn begins after the longest pause."""
        stamps = [part.cloud.stamp_ns for part, _ in parts]
        if not 2 <= len(parts) <= MAX_SHIFTED_PARTS or self._last_stamp_ns is None:
            return
        pauses = np.diff(stamps)
        longest = int(pauses.argmax())
        if pauses[longest] > 1.5 * abs(stamps[0] - self._last_stamp_ns):
            self._open = parts[longest + 1:]


def _alike(some: np.ndarray, others: np.ndarray) -> bool:
    return bool((some & others).sum() > ALIKE * (some | others).sum())
