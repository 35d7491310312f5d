# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Slow, independent versions of what the package computes with a library."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.geometry import angle_between


def match(predicted: np.ndarray, true: np.ndarray, tolerance: float) -> list[tuple[int, int]]:
    """`metrics.matching.match` by dynamic programming over sets of used true branches."""
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


def ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two (N,) arrays."""
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
