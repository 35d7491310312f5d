# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Clouds out of their messages, and their points to where they belong, in compiled loops on one core of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_fusion_ros.decode.cloud import (
    no_finite_points,
    no_points_returned,
    unpack_points,
    without_no_returns,
)
from attention_fusion_ros.decode.no_returns import HOUSING_M, frequent_places, is_repeated, sample_step
from attention_fusion_ros.kernels import fast_version
from attention_fusion_ros.kernels.compiled import available, loops
from attention_fusion_ros.kernels.room import room
from attention_fusion_ros.stream.deskew import by_polynomial

VERSION = 'numba'
NOTHING = np.zeros((1, 1), np.float32)
NO_INDICES = np.zeros(1, np.int64)
f4 = np.dtype(np.float32)


@fast_version('unpack_points', VERSION, devices=('cpu',), differentiable=False, available=available)
def _unpack_points(x: np.ndarray, y: np.ndarray, z: np.ndarray, intensity: np.ndarray | None
                   ) -> tuple[np.ndarray, np.ndarray | None]:
    if not x.dtype == y.dtype == z.dtype == f4:  # float64, or the other byte order
        return unpack_points.plain(x, y, z, intensity)
    xyz, strength = room.lent('xyz', (x.size, 3)), None if intensity is None else room.lent('intensity', (x.size,))
    in_loop = intensity is not None and intensity.dtype == f4
    if strength is not None and intensity is not None and not in_loop:
        with np.errstate(over='ignore', invalid='ignore'):
            strength.reshape(intensity.shape)[:] = intensity
    _loops().unpack(x, y, z, intensity if in_loop else NOTHING, in_loop, xyz, strength if in_loop else NOTHING[0])
    return xyz, strength


@fast_version('without_no_returns', VERSION, devices=('cpu',), differentiable=False, available=available)
def _without_no_returns(xyz: np.ndarray, intensity: np.ndarray | None
                        ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    if xyz.dtype != f4 or not xyz.dtype.isnative or not (intensity is None or intensity.dtype == f4):
        return without_no_returns.plain(xyz, intensity)
    count, counts = len(xyz), np.zeros(3, np.int64)
    housing = f4.type(HOUSING_M)
    _loops().count_unmeasured(xyz, NOTHING[0] if intensity is None else intensity, intensity is not None, housing,
                              counts, room.numbers())
    not_finite, near, bad_intensities = counts.tolist()
    if count and not_finite == count:
        raise no_finite_points(count)
    finite = count - not_finite
    kept: np.ndarray | None = None
    step = sample_step(finite)
    sample = xyz[::step]
    if not_finite or near:
        measured, indices = room.lent('xyz', (count, 3)), room.lent('indices', (count,), np.int64)
        sample = np.empty((-(-finite // step), 3), f4)
        found, sampled = _loops().keep_measured(xyz, housing, step, sample, measured, indices)
        xyz, kept, sample = measured[:found], indices[:found], sample[:sampled]
        if not found:
            raise no_points_returned(count)
    repeated: np.ndarray | None = None
    for place in frequent_places(sample):
        same = (xyz == place).all(1)
        if is_repeated(np.count_nonzero(same), finite):
            repeated = same if repeated is None else repeated | same
    if repeated is not None:
        keep = np.flatnonzero(~repeated)
        if not len(keep):
            raise no_points_returned(count)
        xyz, kept = xyz.take(keep, axis=0), keep if kept is None else kept.take(keep)
    if intensity is not None and (kept is not None or bad_intensities):
        wanted = room.lent('intensity', (len(xyz),))
        _loops().take_finite(intensity, NO_INDICES if kept is None else kept, kept is not None, wanted)
        intensity = wanted
    return xyz, intensity, kept


@fast_version('by_polynomial', VERSION, devices=('cpu',), differentiable=False, available=available)
def _by_polynomial(xyz: np.ndarray, offsets_s: np.ndarray, middle: float, half: float,
                   coefficients: np.ndarray) -> np.ndarray:
    if xyz.dtype != f4 or not xyz.dtype.isnative or offsets_s.dtype != f4:
        return by_polynomial.plain(xyz, offsets_s, middle, half, coefficients)
    moved = room.lent('xyz', (len(xyz), 3))
    _loops().move_by_polynomial(xyz, np.ascontiguousarray(offsets_s), float(middle), float(half),
                                np.ascontiguousarray(coefficients, dtype=f4), moved, room.numbers())
    return moved


def _loops() -> Any:
    found = loops()
    assert found is not None
    return found['cloud']
