# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ground under a sweep from the lowest points of its cells: `bev.ground`, in loops."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.kernels.compiled import jit

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
INFINITE = np.float32(np.inf)
REACH = 3  # cells around a cell that fill it


@jit()
def _collect(minima, coarse, sub, values, rows, columns, starts):
    """The cells (coarse * sub, coarse * sub) that are not empty, block by block: values, rows and columns of the cells.

    starts: (coarse * coarse + 1,) where each block begins.
    """
    found = 0
    for i in range(coarse):
        for j in range(coarse):
            starts[i * coarse + j] = found
            for a in range(i * sub, (i + 1) * sub):
                for b in range(j * sub, (j + 1) * sub):
                    if minima[a, b] < INFINITE:
                        values[found], rows[found], columns[found] = minima[a, b], a, b
                        found += 1
    starts[coarse * coarse] = found


@jit()
def _low_of_blocks(values, starts, low, known, share, smallest):
    """The value that is greater than `share` of each block's, 0 where it has none: `bev.ground._coarse_low`.

    low, known: (G, G), filled. smallest: scratch, as long as a block has cells.
    """
    coarse = low.shape[0]
    for i in range(coarse):
        for j in range(coarse):
            first, last = starts[i * coarse + j], starts[i * coarse + j + 1]
            known[i, j] = last > first
            low[i, j] = ZERO
            if last == first:
                continue
            wanted = int(share * np.float32(last - first)) + 1
            kept = 0
            for k in range(first, last):
                value = values[k]
                if kept == wanted:
                    if value >= smallest[kept - 1]:
                        continue
                    kept -= 1
                at = kept
                while at > 0 and smallest[at - 1] > value:
                    smallest[at] = smallest[at - 1]
                    at -= 1
                smallest[at] = value
                kept += 1
            low[i, j] = smallest[wanted - 1]


@jit()
def _weighted_quantile(values, weights, share):
    """The first of the values, in ascending order, up to which their weights are `share` of all. Sorts both (Shell)."""
    count, total = values.shape[0], 0.0
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            value, weight = values[i], weights[i]
            at = i
            while at >= gap and values[at - gap] > value:
                values[at], weights[at] = values[at - gap], weights[at - gap]
                at -= gap
            values[at], weights[at] = value, weight
        gap //= 3
    for k in range(count):
        total += weights[k]
    cumulated = 0.0
    for k in range(count):
        cumulated += weights[k]
        if cumulated >= share * total:
            return values[k]
    return values[count - 1]


@jit()
def _fit_plane(low, known, centres, extent, start_share, prior, scales, plane):
    """Offset and slopes of the ground, written to plane (3,): `bev.ground._fit_plane`."""
    coarse = low.shape[0]
    count = 0
    for i in range(coarse):
        for j in range(coarse):
            if known[i, j]:
                count += 1
    x, y, z = np.empty(count), np.empty(count), np.empty(count)
    near = np.empty(count)
    k = 0
    for i in range(coarse):
        for j in range(coarse):
            if known[i, j]:
                x[k], y[k], z[k] = centres[i], centres[j], low[i, j]
                near[k] = math.exp(-math.sqrt(x[k] * x[k] + y[k] * y[k]) / (0.5 * extent))
                k += 1
    start = _weighted_quantile(z.copy(), near.copy(), start_share)
    plane[0], plane[1], plane[2] = start, 0.0, 0.0
    for scale in scales:
        a00, a01, a02, a11, a12, a22 = prior[0], 0.0, 0.0, prior[1], 0.0, prior[2]
        b0, b1, b2 = 0.0, 0.0, 0.0
        for k in range(count):
            r = z[k] - (plane[0] + plane[1] * x[k] + plane[2] * y[k])
            if r > 0:
                r = 2 * r
            weight = near[k] / (1 + (r / scale) ** 2)
            wx, wy = weight * x[k], weight * y[k]
            a00 += weight
            a01 += wx
            a02 += wy
            a11 += wx * x[k]
            a12 += wx * y[k]
            a22 += wy * y[k]
            b0 += weight * z[k]
            b1 += wx * z[k]
            b2 += wy * z[k]
        # Cholesky's decomposition: positive definite thanks to the prior.
        l00 = math.sqrt(a00)
        l10, l20 = a01 / l00, a02 / l00
        l11 = math.sqrt(a11 - l10 * l10)
        l21 = (a12 - l20 * l10) / l11
        l22 = math.sqrt(a22 - l20 * l20 - l21 * l21)
        y0 = b0 / l00
        y1 = (b1 - l10 * y0) / l11
        y2 = (b2 - l20 * y0 - l21 * y1) / l22
        plane[2] = y2 / l22
        plane[1] = (y1 - l21 * plane[2]) / l11
        plane[0] = (y0 - l10 * plane[1] - l20 * plane[2]) / l00


@jit()
def _fill_smoothly(low, known, gate, kernel, weak, filled, along, share):
    """Weighted mean of the cells within the gate around each cell, written to filled: `bev.ground._fill_smoothly`.

    kernel: (2 * REACH + 1,) weights along one axis, and then along the other. weak: weight of the plane itself.
    along, share: (G, G) scratch.
    """
    coarse = low.shape[0]
    for i in range(coarse):
        for j in range(coarse):
            weighted, total = ZERO, ZERO
            for b in range(max(0, j - REACH), min(coarse, j + REACH + 1)):
                if known[i, b] and abs(low[i, b]) < gate:
                    weight = kernel[b - j + REACH]
                    weighted += weight * low[i, b]
                    total += weight
            along[i, j], share[i, j] = weighted, total
    for i in range(coarse):
        for j in range(coarse):
            weighted, total = ZERO, ZERO
            for a in range(max(0, i - REACH), min(coarse, i + REACH + 1)):
                weight = kernel[a - i + REACH]
                weighted += weight * along[a, j]
                total += weight * share[a, j]
            filled[i, j] = weighted / (total + weak)


@jit()
def _subtract_stretched(values, rows, columns, count, coarse_values, sub):
    """Subtract (G, G) from the values of cells of a grid `sub` times as fine, bilinear between the coarse centres."""
    coarse = coarse_values.shape[0]
    for k in range(count):
        v = max((np.float32(rows[k]) + HALF) / np.float32(sub) - HALF, ZERO)
        u = max((np.float32(columns[k]) + HALF) / np.float32(sub) - HALF, ZERO)
        i, j = int(v), int(u)
        below, right = v - np.float32(i), u - np.float32(j)
        i1, j1 = min(i + 1, coarse - 1), min(j + 1, coarse - 1)
        upper = (ONE - right) * coarse_values[i, j] + right * coarse_values[i, j1]
        lower = (ONE - right) * coarse_values[i1, j] + right * coarse_values[i1, j1]
        values[k] -= (ONE - below) * upper + below * lower


@jit('f4[:,:]', 'f4[:,:]', 'i8', 'f4', 'f8', 'f8', 'f8[:]', 'f8[:]', 'f4[:]', 'f4[:]', 'f4', 'f4[:]', 'f4[:]', 'f4[:]',
     'i4[:]', 'i4[:]')
def ground_surface(minima, height, sub, low_share, extent, start_share, prior, scales, gates, kernel, weak,
                   coarse_centres, fine_centres, values, rows, columns):
    """Lowest points (G * sub, G * sub), infinite where empty -> height (G, G), filled: `bev.ground.estimate_ground`.

    The centres along an axis, m. values, rows, columns: (G * sub * G * sub,) scratch.
    """
    coarse = height.shape[0]
    starts = np.empty(coarse * coarse + 1, np.int64)
    low = np.empty((coarse, coarse), np.float32)
    known = np.empty((coarse, coarse), np.bool_)
    filled, along = np.empty((coarse, coarse), np.float32), np.empty((coarse, coarse), np.float32)
    share = np.empty((coarse, coarse), np.float32)
    smallest, plane = np.empty(sub * sub, np.float32), np.empty(3)
    _collect(minima, coarse, sub, values, rows, columns, starts)
    count = starts[coarse * coarse]
    _low_of_blocks(values, starts, low, known, low_share, smallest)
    _fit_plane(low, known, coarse_centres, extent, start_share, prior, scales, plane)
    offset, slope_x, slope_y = np.float32(plane[0]), np.float32(plane[1]), np.float32(plane[2])
    for i in range(coarse):
        for j in range(coarse):
            height[i, j] = offset + slope_x * coarse_centres[i] + slope_y * coarse_centres[j]
    for k in range(count):
        values[k] -= offset + slope_x * fine_centres[rows[k]] + slope_y * fine_centres[columns[k]]
    for gate in gates:
        _low_of_blocks(values, starts, low, known, low_share, smallest)
        _fill_smoothly(low, known, gate, kernel, weak, filled, along, share)
        _subtract_stretched(values, rows, columns, count, filled, sub)
        for i in range(coarse):
            for j in range(coarse):
                height[i, j] += filled[i, j]
