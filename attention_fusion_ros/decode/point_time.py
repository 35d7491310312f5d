# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The time that a driver gives each point -> seconds after the stamp in the header.

Drivers agree on neither name, type, unit nor origin: see the table in docs/lidars.md. The name says that it is a time;
type and range say the unit and what it counts from; and what is no time of a sweep (constant, longer than a second, in
no order) is refused by name. Nothing is read until somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from attention_fusion_ros.errors import InputError

# Best known first.
TIME_NAMES = ('t', 'time', 'timestamp', 'time_stamp', 'offset_time', 'time_offset', 'relative_time', 'ts')
SECONDS, MICROSECONDS, NANOSECONDS = 1.0, 1e-6, 1e-9
UNIT_NAMES = {SECONDS: 's', MICROSECONDS: 'us', NANOSECONDS: 'ns'}
UNITS = {'f4': (SECONDS,), 'f8': (SECONDS, NANOSECONDS), 'u4': (NANOSECONDS, MICROSECONDS),
         'i4': (NANOSECONDS, MICROSECONDS), 'u8': (NANOSECONDS, MICROSECONDS), 'i8': (NANOSECONDS, MICROSECONDS)}
MAX_SPREAD_S = 1.0  # between the first and the last point: no LiDAR turns slower than that
# Whole numbers that span less than this in nanoseconds are microseconds: a tenth of a turn at 20 Hz takes 5 ms.
MIN_SPREAD_S = 1e-3
NEAR_S = 1.5  # from the stamp in the header: more is another clock
SAMPLE = 4096  # points from which the kind of time is told
MAX_DISORDER = 0.1  # of the spread, from one point to the next; 1/3 for times drawn at random
SECTORS = 72  # in which points of organised clouds are in order, row by row


@dataclass(frozen=True)
class PointTimes:
    """The time of every point, as the driver sent it."""

    name: str  # of the field
    dtype: str  # numpy code without byte order: 'f4'
    raw: np.ndarray  # any shape, in the order of the points; may be a view over the message
    keep: np.ndarray | None = None  # (N,) int indices of the points that were kept, None: all

    @property
    def what(self) -> str:
        """The field in words: `t (uint32)`."""
        return f'{self.name} ({np.dtype(self.dtype).name})'

    def values(self) -> np.ndarray:
        """(N,) in the field's own type and unit."""
        flat = self.raw.reshape(-1)
        return flat if self.keep is None else flat.take(self.keep)

    def offsets_s(self, stamp_ns: int, xyz: np.ndarray) -> tuple[np.ndarray, str]:
        """When each point was measured, in seconds after the stamp in the header, (N,) float32; and how it was read.

        xyz: (N, 3) the points, in whose order or by whose direction times must be in order.
        Raises InputError `implausible_time`.
        """
        values = np.ascontiguousarray(self.values())
        if not len(values):
            return np.zeros(0, np.float32), f'{self.what}, no points'
        step = _step(len(values))
        unit, zero, note = self._reading(values, stamp_ns)
        with np.errstate(invalid='ignore', over='ignore'):
            if values.dtype.kind in 'iu':  # before the difference loses digits
                offsets = (values.astype(np.int64) - int(zero)).astype(np.float32) * np.float32(unit)
            elif zero:
                offsets = ((values.astype(np.float64) - zero) * unit).astype(np.float32)
            else:
                offsets = values.astype(np.float32) * np.float32(unit)
            if not np.isfinite(offsets.sum()):
                offsets = np.where(np.isfinite(offsets), offsets, np.float32(0.0))
        _check_order(self, offsets, xyz, step)
        return offsets, f'{self.what} in {UNIT_NAMES[unit]} {note}'

    def _reading(self, values: np.ndarray, stamp_ns: int) -> tuple[float, float, str]:
        """Unit in seconds, the value that stands for the stamp in the header, and the same in words."""
        if values.dtype.kind == 'f':
            with np.errstate(invalid='ignore', over='ignore'):  # both infinities
                every_one = np.isfinite(values.sum(dtype=np.float64))
            finite = values if every_one else values[np.isfinite(values)]
            if not len(finite):
                self._refuse('no value is finite')
        else:
            finite = values
        low, high = finite.min().item(), finite.max().item()
        if low == high:
            self._refuse(f'every point has {low:g}')
        units = [unit for unit in UNITS[self.dtype] if self._is_plausible((high - low) * unit, unit)]
        if not units:
            readings = ' or '.join(f'{(high - low) * unit:.3g} s read as {UNIT_NAMES[unit]}'
                                   for unit in UNITS[self.dtype])
            self._refuse(f'it spans {readings}, and a sweep takes {MAX_SPREAD_S:g} s at most')
        for unit in units:
            in_stamp = round(unit / NANOSECONDS)  # nanoseconds in one unit
            if abs((low + high) / 2 * unit - stamp_ns / 1e9) < NEAR_S:
                return unit, stamp_ns // in_stamp if isinstance(low, int) else stamp_ns / in_stamp, 'since the epoch'
        unit = units[0]
        if max(abs(low), abs(high)) * unit <= NEAR_S:
            return unit, 0, 'after the stamp'
        return unit, low, 'of another clock: the first point is taken to be at the stamp'

    @staticmethod
    def _is_plausible(spread_s: float, unit: float) -> bool:
        """Whether a sweep may take so long; what is shorter than MIN_SPREAD_S may be of a coarser unit."""
        return spread_s <= MAX_SPREAD_S and (unit == SECONDS or spread_s >= MIN_SPREAD_S)

    def _refuse(self, why: str) -> NoReturn:
        refuse_time(self.what, why)


def refuse_time(what: str, why: str) -> NoReturn:
    """Raise InputError `implausible_time`."""
    raise InputError('implausible_time', f"field '{what}' is not used as the time of the points: {why}.",
                     'fill it in with the time of each point, leave the field out, or set cloud.deskew to off.')


def _step(count: int) -> int:
    """An odd step through `count` points that leaves about SAMPLE of them; odd, for channels come in powers of two."""
    return max(1, count // SAMPLE) | 1


def _check_order(times: PointTimes, offsets: np.ndarray, xyz: np.ndarray, step: int) -> None:
    """Times of a sweep follow the order of the points, or, in organised clouds, that of their directions."""
    spread = float(np.ptp(offsets))
    some = np.arange(0, len(offsets) - 1, step)
    if not len(some) or np.mean(np.abs(offsets[some + 1] - offsets[some])) <= MAX_DISORDER * spread:
        return
    x, y = xyz[some, 0], xyz[some, 1]
    sector = ((np.arctan2(y, x) + np.pi) * (SECTORS / (2 * np.pi))).astype(np.int64).clip(0, SECTORS - 1)
    order = np.lexsort((offsets[some], sector))
    sector, sorted_offsets = sector[order], offsets[some][order]
    starts = np.flatnonzero(np.diff(sector, prepend=-1))
    ends = np.append(starts[1:], len(sector))
    # The middle half of each sector: where a turn begins and ends, one sector holds both.
    width = sorted_offsets[starts + 3 * (ends - 1 - starts) // 4] - sorted_offsets[starts + (ends - 1 - starts) // 4]
    if np.median(width) > MAX_DISORDER * spread:
        refuse_time(times.what, 'it follows neither the order of the points nor their directions')
