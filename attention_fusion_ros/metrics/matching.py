# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which predicted branch answers which true one: the matching that every branch metric rests on."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.geometry import angle_between


def match(predicted, true, tolerance: float) -> list[tuple[int, int]]:
    """Match bearings one to one: as many pairs as possible, and among those the least sum of errors.

    predicted: (P,) rad; true: (T,) rad; tolerance: rad, pairs farther apart (strictly) are not allowed.
    Returns [(index into predicted, index into true), ...] in order of the predicted index.

    The optimum is exact (dynamic programming over sets of used true branches). A greedy choice of the nearest pair can
    lose a pair: predictions at 0 and 8 deg, truth at -5 and 3 deg, tolerance 6 deg.
    """
    predicted, true = np.asarray(predicted, dtype=np.float64).ravel(), np.asarray(true, dtype=np.float64).ravel()
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError('bearings must be finite')
    if not len(predicted) or not len(true):
        return []
    error = angle_between(predicted[:, None], true[None, :])
    # State: set of used true branches (bits) -> (pairs made, sum of errors, the pairs). Only states within the
    # tolerance are ever reached, which keeps the table tiny for branches that are further apart than the tolerance.
    best: dict[int, tuple[int, float, tuple]] = {0: (0, 0.0, ())}
    for i in range(len(predicted)):
        candidates = [j for j in range(len(true)) if error[i, j] <= tolerance]
        following = dict(best)  # leaving prediction i unmatched
        for used, (pairs, cost, chosen) in best.items():
            for j in candidates:
                if used >> j & 1:
                    continue
                key, value = used | 1 << j, (pairs + 1, cost + error[i, j], chosen + ((i, j),))
                old = following.get(key)
                if old is None or (value[0], -value[1]) > (old[0], -old[1]):
                    following[key] = value
        best = following
    return list(max(best.values(), key=lambda v: (v[0], -v[1]))[2])


def nearest(bearing: float, candidates, tolerance: float) -> int | None:
    """Index of the candidate bearing ((P,) rad) nearest to `bearing` [rad]; None when none is within `tolerance`."""
    candidates = np.asarray(candidates, dtype=np.float64).ravel()
    if not len(candidates):
        return None
    error = angle_between(candidates, bearing)
    best = int(np.argmin(error))
    return best if error[best] <= tolerance else None
