# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which predicted branch belongs to which true one: the matching that every branch metric is based on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attention_fusion_ros.errors import require
from attention_fusion_ros.geometry import angle_between

NOT_ALLOWED_RAD = 1e4  # cost of a pair beyond the tolerance: more than all errors together


def match(predicted: ArrayLike, true: ArrayLike, tolerance: float) -> list[tuple[int, int]]:
    """Match bearings one to one: as many pairs as possible, and among those the least sum of errors.

    predicted: (P,) rad; true: (T,) rad; tolerance: rad, pairs farther apart (strictly) are not allowed.
    Returns [(index into predicted, index into true), ...] in order of the predicted index. Where two matchings are
    equally good, it is not specified which is returned. Raises ValueError when a bearing is not finite, and
    ConfigurationError without scipy.

    The optimum is exact (rectangular assignment, Crouse 2016, doi 10.1109/TAES.2016.140952). A greedy choice of the
    nearest pair can lose a pair: predictions at 0 and 8 deg, truth at -5 and 3 deg, tolerance 6 deg.
    """
    predicted, true = np.asarray(predicted, dtype=np.float64).ravel(), np.asarray(true, dtype=np.float64).ravel()
    if not (np.isfinite(predicted).all() and np.isfinite(true).all()):
        raise ValueError('bearings must be finite')
    if not len(predicted) or not len(true):
        return []
    error = angle_between(predicted[:, None], true[None, :])
    allowed = error <= tolerance
    optimize = require('scipy.optimize', 'matching branches')
    rows, columns = optimize.linear_sum_assignment(np.where(allowed, error, NOT_ALLOWED_RAD))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def nearest(bearing: float, candidates: ArrayLike, tolerance: float) -> int | None:
    """Index of the candidate bearing ((P,) rad) nearest to `bearing` [rad]; None when none is within `tolerance`."""
    candidates = np.asarray(candidates, dtype=np.float64).ravel()
    if not len(candidates):
        return None
    error = angle_between(candidates, bearing)
    best = int(np.argmin(error))
    return best if error[best] <= tolerance else None
