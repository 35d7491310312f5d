# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of one or several LiDARs -> whole sweeps.

A LiDAR is a frame_id on an input: several may share a topic, or have one each. Every turn of the first of them (the
first in the table of inputs; on one topic, the first that was heard) gives one sweep, together with that turn of each
other one that is nearest in time. A turn of another LiDAR that is due within half a period is waited for; the sweep has
the stamp of its latest part. A LiDAR that falls silent is no longer waited for after a moment, and is named.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from attention_fusion_ros.stream.decoded import DecodedSweep
from attention_fusion_ros.stream.turns import Turn, TurnBuilder

SECOND_NS = 10**9
DEFAULT_PERIOD_NS = SECOND_NS // 10
# How old the latest turn of a LiDAR may be to be part of a sweep: three periods, within these bounds.
MIN_PATIENCE_NS, MAX_PATIENCE_NS = 300_000_000, SECOND_NS
FORGOTTEN_NS = 600 * SECOND_NS  # a LiDAR silent for that long does not belong to the vehicle any more
MARGIN_NS = 30_000_000  # on the way from a driver
MAX_WAIT_NS = 150_000_000
KEPT_TURNS = 3
APART_NS = SECOND_NS  # between the clocks of two LiDARs; messages are not later than that
LIDAR_SILENT, LIDAR_CLOCK = 'lidar_silent', 'lidar_clock'
NOTHING: Mapping[str, str] = MappingProxyType({})
Key = tuple[str, str]  # input name, frame_id


class _Lidar:
    """One LiDAR: its turns, and when they come."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.turns = TurnBuilder()
        self.done: deque[Turn] = deque(maxlen=KEPT_TURNS)
        self._periods: deque[int] = deque(maxlen=5)
        self.heard_ns = 0  # when its latest turn came, by the caller's clock
        self.last_stamp_ns = 0  # of its latest message

    def add(self, turn: Turn, now_ns: int) -> None:
        self.heard_ns = now_ns
        if self.done and turn.stamp_ns > self.done[-1].stamp_ns:
            self._periods.append(turn.stamp_ns - self.done[-1].stamp_ns)
        self.done.append(turn)

    @property
    def newest_ns(self) -> int | None:
        return self.done[-1].stamp_ns if self.done else None

    @property
    def begins(self) -> bool:
        """Whether its first turn is not complete yet."""
        return not self.done and self.turns.open_turn is not None

    @property
    def period_ns(self) -> int:
        """Time between two turns: the median of the latest."""
        return sorted(self._periods)[len(self._periods) // 2] if self._periods else DEFAULT_PERIOD_NS

    @property
    def _patience_ns(self) -> int:
        usual = min(max(3 * self.period_ns, MIN_PATIENCE_NS), MAX_PATIENCE_NS)
        return max(usual, 3 * self.period_ns // 2)

    def is_silent(self, stamp_ns: int) -> bool:
        """Whether nothing was heard of it for too long, at the stamp of a sweep."""
        return self.newest_ns is not None and stamp_ns - self.newest_ns > self._patience_ns

    def is_heard(self, now_ns: int) -> bool:
        """Whether a turn came a short time ago, whatever its stamp."""
        return self.newest_ns is not None and now_ns - self.heard_ns <= self._patience_ns

    def ahead_of_ns(self, other: _Lidar) -> int:
        """By how much its clock is ahead of another LiDAR's: their stamps, compared with when they came."""
        if self.newest_ns is None or other.newest_ns is None:
            return 0
        return (self.newest_ns - self.heard_ns) - (other.newest_ns - other.heard_ns)

    def misses_a_turn(self, stamp_ns: int) -> bool:
        """Whether a turn before this stamp has not come."""
        return self.newest_ns is None or stamp_ns - self.newest_ns > 3 * self.period_ns // 2

    def nearest(self, stamp_ns: int) -> Turn | None:
        """The turn nearest in time, where one is near. What is there of the first turn counts as one."""
        turns: Iterable[Turn | None] = self.done or [self.turns.open_turn]
        near = [turn for turn in turns if turn is not None and abs(turn.stamp_ns - stamp_ns) <= self._patience_ns]
        return min(near, key=lambda turn: abs(turn.stamp_ns - stamp_ns), default=None)


class SweepAssembler:
    """Puts messages together to sweeps. Thread-safe.

    inputs: {name of an input: its topic} of all inputs with clouds, in their order. Times called now_ns are of any
    clock that the caller keeps to.
    """

    def __init__(self, inputs: dict[str, str]):
        self._topics = inputs
        self._order = {name: i for i, name in enumerate(inputs)}
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget every message and every LiDAR."""
        with self._lock:
            self._lidars: dict[Key, _Lidar] = {}
            self._waiting: tuple[_Lidar, Turn, int] | None = None  # first LiDAR, its turn, since when
            self._last_sweep_ns = 0
            self._now_ns = 0

    @property
    def frames(self) -> set[str]:
        """The frames of the LiDARs that were heard."""
        with self._lock:
            return {frame for _, frame in self._lidars}

    @property
    def assembles(self) -> bool:
        """Whether sweeps consist of several messages, so that every message counts; or that is not known yet."""
        with self._lock:
            return len(self._lidars) > 1 or any(lidar.turns.parts_per_turn > 1 or lidar.turns.open_turn is not None
                                                for lidar in self._lidars.values())

    @property
    def sends_parts(self) -> bool:
        """Whether some LiDAR sends parts of turns, or several send on one topic: messages that come close together."""
        with self._lock:
            inputs = [name for name, _ in self._lidars]
            return len(set(inputs)) < len(inputs) or any(lidar.turns.parts_per_turn > 1
                                                         for lidar in self._lidars.values())

    @property
    def due_ns(self) -> int | None:
        """When `due` has something to do; None while nothing waits."""
        with self._lock:
            times = [due for lidar in self._lidars.values() if (due := lidar.turns.due_ns) is not None]
            if self._waiting is not None:
                times.append(self._waiting[2] + self._max_wait_ns(self._waiting[0]))
            return min(times, default=None)

    def add(self, message: DecodedSweep, now_ns: int) -> list[DecodedSweep]:
        """Take in a message; returns the sweeps that are complete with it."""
        with self._lock:
            stamp_ns = message.cloud.stamp_ns
            key = message.input_name, message.cloud.frame_id
            # Of one LiDAR: the clocks of two need not agree.
            if key in self._lidars and stamp_ns < self._lidars[key].last_stamp_ns - SECOND_NS:
                self.reset()  # a recording starts again
            if key not in self._lidars:
                self._lidars[key] = _Lidar(key)
                # By table and by the time they were first heard: sorting is stable.
                self._lidars = dict(sorted(self._lidars.items(), key=lambda item: self._order.get(item[0][0], 0)))
            lidar = self._lidars[key]
            lidar.last_stamp_ns = max(stamp_ns, lidar.last_stamp_ns)
            found: list[DecodedSweep] = []
            for turn in lidar.turns.add(message, now_ns):
                found += self._turn(lidar, turn, now_ns)
            return found

    def due(self, now_ns: int) -> list[DecodedSweep]:
        """The sweeps that have waited for long enough."""
        with self._lock:
            found: list[DecodedSweep] = []
            self._now_ns = now_ns
            for lidar in list(self._lidars.values()):
                for turn in lidar.turns.due(now_ns):
                    found += self._turn(lidar, turn, now_ns)
            if self._waiting is not None and now_ns - self._waiting[2] >= self._max_wait_ns(self._waiting[0]):
                found += self._finish()
            return found

    def flush(self, now_ns: int) -> list[DecodedSweep]:
        """Everything that waits: no message will come any more."""
        with self._lock:
            found: list[DecodedSweep] = []
            for lidar in list(self._lidars.values()):
                for turn in lidar.turns.flush(now_ns):
                    found += self._turn(lidar, turn, now_ns)
            return found + self._finish()

    def _turn(self, lidar: _Lidar, turn: Turn, now_ns: int) -> list[DecodedSweep]:
        self._now_ns = now_ns
        lidar.add(turn, now_ns)
        if len(self._lidars) == 1:
            return [_sweep(turn.parts)]
        found: list[DecodedSweep] = []
        if abs(lidar.ahead_of_ns(self._reference(lidar))) > APART_NS:
            return found  # named with the next sweep
        if lidar is self._first(turn.stamp_ns):
            found += self._finish()
            self._waiting = lidar, turn, now_ns
        if self._waiting is not None and not self._is_worth_waiting(*self._waiting[:2]):
            found += self._finish()
        return found

    def _reference(self, lidar: _Lidar) -> _Lidar:
        """The LiDAR whose clock counts: the first one that is heard; default the given one."""
        return next((other for other in self._lidars.values() if other.is_heard(self._now_ns)), lidar)

    def _first(self, stamp_ns: int) -> _Lidar | None:
        """The LiDAR whose turns give the sweeps: the first one that sends any."""
        return next((lidar for lidar in self._lidars.values()
                     if lidar.begins or not lidar.misses_a_turn(stamp_ns)), None)

    def _is_worth_waiting(self, first: _Lidar, turn: Turn) -> bool:
        """Whether a turn of another LiDAR, nearer to this one than those that are there, is due soon."""
        half_ns = first.period_ns // 2
        for lidar in self._lidars.values():
            newest_ns = lidar.newest_ns
            if lidar is not first and lidar.begins:
                return True
            if lidar is first or newest_ns is None or newest_ns >= turn.stamp_ns or lidar.is_silent(turn.stamp_ns):
                continue
            if newest_ns + lidar.period_ns <= turn.stamp_ns + half_ns:
                return True
        return False

    def _max_wait_ns(self, first: _Lidar) -> int:
        return min(first.period_ns // 2 + MARGIN_NS, MAX_WAIT_NS)

    def _finish(self) -> list[DecodedSweep]:
        """The sweep that waits, with what there is of the other LiDARs."""
        if self._waiting is None:
            return []
        (first, turn, _), self._waiting = self._waiting, None
        parts, silent, apart = list(turn.parts), [], []
        for key, lidar in list(self._lidars.items()):
            if lidar is first:
                continue
            near = lidar.nearest(turn.stamp_ns)
            newest_ns = lidar.newest_ns
            ahead_ns = lidar.ahead_of_ns(first)
            is_late = newest_ns is not None and lidar.is_silent(turn.stamp_ns)
            if lidar.is_heard(self._now_ns) and (abs(ahead_ns) > APART_NS or is_late):
                apart.append(f"'{key[1]}' on {self._topics.get(key[0], key[0])}, {abs(ahead_ns) / SECOND_NS:.1f} s "
                             f'{"ahead" if ahead_ns > 0 else "behind"}')
            elif newest_ns is not None and is_late:
                if turn.stamp_ns - newest_ns > FORGOTTEN_NS:
                    del self._lidars[key]
                else:
                    silent.append(f"'{key[1]}' on {self._topics.get(key[0], key[0])} for "
                                  f'{(turn.stamp_ns - newest_ns) / SECOND_NS:.1f} s (since '
                                  f'{newest_ns / SECOND_NS:.3f})')
            elif near is not None:
                parts += near.parts
        warnings = {}
        if silent:
            warnings[LIDAR_SILENT] = (f"no cloud of LiDAR {' and '.join(silent)}: sweeps go on without it. Remedy: "
                                      'check the driver and its cable.')
        if apart:
            warnings[LIDAR_CLOCK] = (
                f"sweeps go on without LiDAR {' and '.join(apart)}: that is how it is stamped against "
                f"'{first.key[1]}', by when they come. Remedy: synchronise the sensors (PTP, all with or without "
                'the UTC offset), or let all drivers stamp with ROS time.')
        sweep = _sweep(parts, several=True, warnings=warnings)
        if 0 <= self._last_sweep_ns - sweep.stamp_ns < APART_NS:
            return []  # the LiDAR that sweeps go by has changed: this turn was part of another one's sweep
        self._last_sweep_ns = sweep.stamp_ns
        return [sweep]


def _sweep(parts: Sequence[DecodedSweep], several: bool = False, warnings: Mapping[str, str] = NOTHING) -> DecodedSweep:
    first, *others = parts
    if not others and not several:
        return first
    return dataclasses.replace(first, others=tuple(others), several=several, warnings=warnings)
