# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points that stand for 'no return': how drivers keep the place of a beam that hit nothing, beside NaN.

Most write (0, 0, 0), the sensor's origin, with is_dense true. Moved into the frame of the vehicle by the driver, it is
one point many times over, before or on the vehicle, and so is a greatest range that is written for every beam.
"""

from __future__ import annotations

import numpy as np

HOUSING_M = 0.05  # a LiDAR's housing reaches farther from its origin than this
REPEATED_SHARE, REPEATED_COUNT = 0.01, 64  # of all points, and at least so many, at exactly the same place
SAMPLED_POINTS = 2048  # among which a repeated point is looked for


def no_returns(xyz: np.ndarray) -> np.ndarray | None:
    """(N, 3) finite points -> which of them stand for 'no return', (N,) bool; None where none does."""
    x, y, z = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    found = []
    step = sample_step(len(xyz))
    sample = xyz[::step]
    near = np.abs(x) < HOUSING_M
    if near.any():  # otherwise y and z need not be asked
        near &= (np.abs(y) < HOUSING_M) & (np.abs(z) < HOUSING_M)
        found.append(near)
        sample = sample[~near[::step]]
    for place in frequent_places(sample):
        same = (x == place[0]) & (y == place[1]) & (z == place[2])
        if is_repeated(np.count_nonzero(same), len(xyz)):
            found.append(same)
    no_return: np.ndarray = np.logical_or.reduce(found) if found else np.zeros(1, bool)
    return no_return if no_return.any() else None


def sample_step(count: int) -> int:
    """How many of `count` points the sample goes on each time: odd, to reach every ring of an organised cloud."""
    return count // SAMPLED_POINTS | 1


def is_repeated(same: int, count: int) -> bool:
    """Whether so many of `count` points at one place are too many for measurements."""
    return same >= max(REPEATED_COUNT, REPEATED_SHARE * count)


def frequent_places(sample: np.ndarray) -> np.ndarray:
    """(n, 3) places that are frequent in a sample of the points: candidates, mostly none."""
    least = max(2.0, REPEATED_SHARE / 2 * len(sample))
    values, counts = np.unique(sample[:, 0], return_counts=True)  # one column first: rows take long to sort
    values = values[counts >= least]
    if not len(values):
        return np.empty((0, 3), np.float32)
    rows = sample[np.isin(sample[:, 0], values)]
    places, counts = np.unique(rows, axis=0, return_counts=True)
    frequent: np.ndarray = places[counts >= least]
    return frequent
