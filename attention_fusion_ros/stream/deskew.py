# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points measured one after the other -> where they would have been seen at one time.

The vehicle's motion during a sweep is sampled from odometry every few milliseconds and fitted by a polynomial, by which
all points are moved at once.
"""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.kernels import operation

KNOT_S = 0.005  # between two poses of the fit
MAX_DEGREE = 5
TOLERANCE_M = 0.005  # of the fit, at FAR_M
FAR_M = 40.0
BLOCK = 8192  # points


def knots_s(offsets_s: np.ndarray) -> np.ndarray:
    """(K,) times at which the motion is sampled: evenly from the first point to the last, both included."""
    low, high = float(offsets_s.min()), float(offsets_s.max())
    return np.linspace(low, high, max(2, int(np.ceil((high - low) / KNOT_S)) + 1))


def move_points(xyz: np.ndarray, offsets_s: np.ndarray, knots: np.ndarray, motions: np.ndarray) -> np.ndarray:
    """Each point by the motion at its own time.

    xyz: (N, 3) float32. offsets_s: (N,). knots: (K,) ascending times, motions: (K, 4, 4) at them. Times beyond the
    knots count as the nearest one. Returns (N, 3) float32.
    """
    if len(knots) == 1:
        return np.ascontiguousarray(transform_points(motions[0].astype(np.float32), xyz))
    middle, half = (knots[0] + knots[-1]) / 2, max((knots[-1] - knots[0]) / 2, 1e-9)
    scaled = (knots - middle) / half
    values = motions[:, :3, :].reshape(len(knots), 12)
    for degree in range(1, min(MAX_DEGREE, len(knots) - 1) + 1):
        coefficients = np.polynomial.polynomial.polyfit(scaled, values, degree)  # (degree + 1, 12)
        residual = np.abs(np.polynomial.polynomial.polyval(scaled, coefficients).T - values).reshape(-1, 3, 4).max(0)
        if (residual[:, :3].sum(1) * FAR_M + residual[:, 3]).max() <= TOLERANCE_M:
            return by_polynomial(xyz, offsets_s, middle, half, coefficients.reshape(-1, 3, 4))
    return _piecewise(xyz, offsets_s, knots, motions)


@operation('by_polynomial')
def by_polynomial(xyz: np.ndarray, offsets_s: np.ndarray, middle: float, half: float,
                  coefficients: np.ndarray) -> np.ndarray:
    """Each point (N, 3) float32 by the polynomial of motions at its own time (N,) -> (N, 3) float32.

    middle, half: s, of the times that the polynomial is about; others count as the nearest. coefficients:
    (degree + 1, 3, 4), constant first, over -1..1. Horner's scheme, in blocks that stay in the cache.
    """
    time = np.clip((offsets_s - middle) / half, -1.0, 1.0).astype(np.float32)
    matrices = coefficients.astype(np.float32)
    moved = np.empty((len(xyz), 3), np.float32)
    for first in range(0, len(xyz), BLOCK):
        block = slice(first, first + BLOCK)
        points = np.ones((4, len(xyz[block])), np.float32)
        points[:3] = xyz[block].T
        result = matrices[-1] @ points
        for matrix in matrices[-2::-1]:
            result *= time[block]
            result += matrix @ points
        moved[block] = result.T
    return moved


def _piecewise(xyz: np.ndarray, offsets_s: np.ndarray, knots: np.ndarray, motions: np.ndarray) -> np.ndarray:
    """Linear between two knots: for motion that no polynomial follows, such as odometry with jumps."""
    time = np.clip(offsets_s, knots[0], knots[-1])
    first = np.clip(np.searchsorted(knots, time, side='right') - 1, 0, len(knots) - 2)
    fraction = ((time - knots[first]) / (knots[first + 1] - knots[first])).astype(np.float32)[:, None]
    moved = np.empty_like(xyz, dtype=np.float32)
    for k in np.unique(first):
        here = np.flatnonzero(first == k)
        start, end = motions[k].astype(np.float32), motions[k + 1].astype(np.float32)
        points, f = xyz.take(here, axis=0), fraction.take(here, axis=0)
        moved[here] = ((1 - f) * (points @ start[:3, :3].T + start[:3, 3])
                       + f * (points @ end[:3, :3].T + end[:3, 3]))
    return moved
