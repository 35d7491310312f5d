# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points to everything that a sweep's grid is made of, in two passes: `bev.sweep`, in loops.

The first pass looks for the lowest point of every cell, from which the ground follows; the second counts everything
else. Both go through the points in blocks that stay in the cache: what can be computed for many points at once comes
first, in loops without branches, which the compiler vectorises; then cells are written to, one point after the other.
"""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.kernels.compiled import jit

ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
COUNT, TOP, LOW, TOTAL = 0, 1, 2, 3  # columns of the statistics of a cell
ROUND = np.float32(1.5 * 2 ** 23)  # added and subtracted: rounds half to even
WORD = 64  # bits
ONE_BIT = np.uint64(1)
NOWHERE = np.int32(-1)  # instead of a cell
NONE, SWAPPED, BACK, RIGHT = np.int32(0), np.int32(1), np.int32(2), np.int32(4)  # eighths of the circle, as bits


@jit()
def _within(value, limit):
    """The nearest value in 0..limit; 0 for NaN, so that it may always become an index."""
    value = value if value > ZERO else ZERO
    return value if value < limit else limit


@jit()
def _place(xyz, first, count, T, x, y, z):
    """Points first..first + count, by T (3, 4), to x, y, z (BLOCK,)."""
    t00, t01, t02, t03 = T[0, 0], T[0, 1], T[0, 2], T[0, 3]
    t10, t11, t12, t13 = T[1, 0], T[1, 1], T[1, 2], T[1, 3]
    t20, t21, t22, t23 = T[2, 0], T[2, 1], T[2, 2], T[2, 3]
    for i in range(count):
        px, py, pz = xyz[first + i, 0], xyz[first + i, 1], xyz[first + i, 2]
        x[i] = px * t00 + py * t01 + pz * t02 + t03
        y[i] = px * t10 + py * t11 + pz * t12 + t13
        z[i] = px * t20 + py * t21 + pz * t22 + t23


@jit('f4[any2]', 'f4[:,:]', 'f4', 'f4', 'f4', 'i8', 'f4[:]', 'f4[:,:]', 'i4[:,:]')
def lowest_in_cells(xyz, T, extent, least, per_metre, cells, minima, numbers, places):
    """First pass: the lowest point of every cell, added to minima (cells * cells,); the number of points on the grid.

    xyz: (N, 3). T: (3, 4) places them. least: m2, square of the least range. per_metre: cells a metre. numbers, places:
    (k, BLOCK) scratch.
    """
    x, y, z, cell = numbers[0], numbers[1], numbers[2], places[0]
    block, width, last = x.shape[0], np.int32(cells), np.float32(cells - 1)
    inside = 0
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        _place(xyz, first, count, T, x, y, z)
        for i in range(count):
            on_grid = (abs(x[i]) < extent) & (abs(y[i]) < extent) & (x[i] * x[i] + y[i] * y[i] >= least)
            row = np.int32(_within((extent - x[i]) * per_metre, last))
            column = np.int32(_within((extent - y[i]) * per_metre, last))
            cell[i] = row * width + column if on_grid else NOWHERE
        for i in range(count):
            at = cell[i]
            if at >= 0:
                inside += 1
                if z[i] < minima[at]:
                    minima[at] = z[i]
    return inside


@jit()
def _above_ground(x, y, z, count, extent, ground, coarse, height):
    """Heights above a surface (coarse * coarse,), bilinear between the centres of its cells, to height (BLOCK,)."""
    per_metre, limit = HALF * np.float32(coarse) / extent, np.float32(coarse - 1)
    middle, stride, last = HALF * limit, np.int32(coarse), np.int32(coarse - 1)
    for i in range(count):
        v = _within(middle - x[i] * per_metre, limit)
        u = _within(middle - y[i] * per_metre, limit)
        a, b = np.int32(v), np.int32(u)
        fv, fu = v - np.float32(a), u - np.float32(b)
        row, next_row = a * stride, min(a + np.int32(1), last) * stride
        next_column = min(b + np.int32(1), last)
        upper = ground[row + b] + fu * (ground[row + next_column] - ground[row + b])
        lower = ground[next_row + b] + fu * (ground[next_row + next_column] - ground[next_row + b])
        height[i] = z[i] - (upper + fv * (lower - upper))


@jit('f4[any2]', 'f4[any1]', 'b1', 'f4[:,:]', 'f4', 'i8', 'f4', 'f4', 'f4[:]', 'i8', 'f4', 'f4', 'f4[:,:]', 'i4[:]',
     'f4[:]', 'i8', 'f4[:,:]', 'i4[:,:]')
def fill_cells(xyz, intensity, has_intensity, T, extent, cells, resolution, least, ground, coarse, deepest, highest,
               statistics, used_cell, used_value, used, numbers, places):
    """Second pass: number, highest and lowest of every cell's points, added to statistics (cells * cells, 4).

    ground: (coarse * coarse,) m. deepest, highest: m above the ground. Where there are intensities, those of the points
    that are used, and their cells, are put into used_value and used_cell from `used` on. Returns the new `used`.
    """
    x, y, z, height, cell = numbers[0], numbers[1], numbers[2], numbers[3], places[0]
    block, width, last = x.shape[0], np.int32(cells), np.float32(cells - 1)
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        _place(xyz, first, count, T, x, y, z)
        _above_ground(x, y, z, count, extent, ground, coarse, height)
        for i in range(count):
            on_grid = (abs(x[i]) < extent) & (abs(y[i]) < extent) & (x[i] * x[i] + y[i] * y[i] >= least)
            useful = on_grid & (height[i] > deepest) & (height[i] < highest)
            row = (extent - x[i]) / resolution - HALF + ROUND - ROUND
            column = (extent - y[i]) / resolution - HALF + ROUND - ROUND
            row, column = _within(row, last), _within(column, last)
            cell[i] = np.int32(row) * width + np.int32(column) if useful else NOWHERE
        for i in range(count):
            at = cell[i]
            if at < 0:
                continue
            h = height[i]
            if statistics[at, COUNT] == ZERO:
                statistics[at, TOP] = h
                statistics[at, LOW] = h
            else:
                statistics[at, TOP] = max(statistics[at, TOP], h)
                statistics[at, LOW] = min(statistics[at, LOW], h)
            statistics[at, COUNT] += ONE
            if has_intensity:
                used_cell[used] = at
                used_value[used] = intensity[first + i]
            used += 1
    return used


@jit('f4[any2]', 'f4[:,:]', 'f4', 'f4', 'f4', 'f4', 'f4', 'f4', 'f8[:]', 'i4[:]', 'i4[:]', 'f4[:]', 'f4[:,:]',
     'i4[:,:]', 'f8[:]')
def look_around(xyz, T, origin_x, origin_y, least, highest, deepest, slope, tangents, guesses, eighths, reach, numbers,
                places, ratio):
    """The farthest return in every direction about a sensor, added to reach (A,): `bev.coverage.view`.

    least: m, from the vehicle's origin. highest, deepest: m, limits of the height at the sensor, which widen by slope.
    The sector of a direction is the one that atan2 tells, found without it. tangents: (E + 2,) of the sectors' edges
    from 0 to 45 degrees, then infinite. guesses: (G + 1,) the last edge that k / G does not exceed. eighths: (8,) the
    sector at which each eighth of the circle begins, or, of those that run backwards, the negative of where it ends.
    """
    x, y, z, distance, eighth = numbers[0], numbers[1], numbers[2], numbers[3], places[0]
    block, steps, sectors = x.shape[0], np.float64(guesses.shape[0] - 1), reach.shape[0]
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        _place(xyz, first, count, T, x, y, z)
        for i in range(count):
            dx, dy = x[i] - origin_x, y[i] - origin_y
            far = math.sqrt(dx * dx + dy * dy)
            widening = slope * far
            useful = ((z[i] < highest + widening) & (z[i] > deepest - widening)
                      & (math.sqrt(x[i] * x[i] + y[i] * y[i]) >= least))
            distance[i] = far if useful else ZERO
            ax, ay = abs(dx), abs(dy)
            high = max(ax, ay)
            ratio[i] = np.float64(min(ax, ay)) / np.float64(high) if high > ZERO else 0.0
            eighth[i] = ((SWAPPED if ay > ax else NONE) | (BACK if dx < ZERO else NONE)
                         | (RIGHT if dy < ZERO else NONE))
        for i in range(count):
            far = distance[i]
            if not far > ZERO:
                continue
            t = ratio[i]
            k = guesses[np.int32(t * steps) if t <= 1.0 else 0]  # else NaN, of what is infinitely far
            k += np.int32(t >= tangents[k + 1])
            start = eighths[eighth[i]]
            if start >= 0:
                k += start
            elif t == 0.0 or t == 1.0:  # on an edge; no other can be hit
                k = -start - k
            else:
                k = -start - 1 - k
            if k >= sectors:
                k -= sectors
            if far > reach[k]:  # rarely: the processor need not wait for what it wrote just now
                reach[k] = far


@jit('f4[any2]', 'f4[:,:]', 'f4', 'f4', 'f4', 'f4', 'f4', 'i8', 'i8', 'u8[:,:]', 'f4[:,:]', 'i4[:,:]')
def mark_voxels(xyz, T, near, least, edge, highest, slab, columns, slabs, voxels, numbers,
                places):
    """Which voxels near the vehicle hold a point, as bits of voxels (columns * columns, 2): `bev.ground_level`.

    near, least: m, farthest and least range. edge: m, of a column. slab: m, height of a voxel; slabs: how many of them
    from -highest to highest.
    """
    x, y, z, column, level = numbers[0], numbers[1], numbers[2], places[0], places[1]
    block, width, last, top = x.shape[0], np.int32(columns), np.float32(columns - 1), np.float32(slabs - 1)
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        _place(xyz, first, count, T, x, y, z)
        for i in range(count):
            distance = math.sqrt(x[i] * x[i] + y[i] * y[i])
            useful = (distance < near) & (distance > least) & (abs(z[i]) < highest)
            row = np.int32(_within((x[i] + near) / edge, last))
            column[i] = (row * width + np.int32(_within((y[i] + near) / edge, last)) if useful else NOWHERE)
            level[i] = np.int32(_within((z[i] + highest) / slab, top))
        for i in range(count):
            if column[i] >= 0:
                voxels[column[i], level[i] // WORD] |= ONE_BIT << np.uint64(level[i] % WORD)


@jit('f4[any2]', 'f4[any1]', 'b1', 'f4[:,:]', 'f4', 'f4[:,:]', 'f4[:]')
def place_outside(xyz, intensity, has_intensity, T, least, placed, placed_intensity):
    """The points outside of the vehicle's own body, placed: `bev.place.outside_own_body`. Returns how many."""
    kept = 0
    for i in range(xyz.shape[0]):
        px, py, pz = xyz[i, 0], xyz[i, 1], xyz[i, 2]
        x = px * T[0, 0] + py * T[0, 1] + pz * T[0, 2] + T[0, 3]
        y = px * T[1, 0] + py * T[1, 1] + pz * T[1, 2] + T[1, 3]
        if not x * x + y * y >= least:
            continue
        placed[kept, 0], placed[kept, 1] = x, y
        placed[kept, 2] = px * T[2, 0] + py * T[2, 1] + pz * T[2, 2] + T[2, 3]
        if has_intensity:
            placed_intensity[kept] = intensity[i]
        kept += 1
    return kept


@jit('u8[:,:]', 'i8', 'f4[:]')
def count_thin(voxels, thin, levels):
    """Columns with 1 to `thin` filled voxels, by voxel and all together, written to levels (slabs + 1,)."""
    slabs = levels.shape[0] - 1
    levels[:] = ZERO
    for column in range(voxels.shape[0]):
        filled = 0
        for word in range(voxels.shape[1]):
            rest = voxels[column, word]
            while rest != 0 and filled <= thin:
                rest &= rest - ONE_BIT
                filled += 1
        if filled == 0 or filled > thin:
            continue
        levels[slabs] += ONE
        for at in range(slabs):
            if (voxels[column, at // WORD] >> np.uint64(at % WORD)) & ONE_BIT:
                levels[at] += ONE


@jit()
def _partition(values, first, last, wanted):
    """Hoare's quickselect: afterwards values[wanted] is what it would be if values[first:last + 1] were sorted."""
    while first < last:
        pivot = values[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            last = j
        elif wanted >= i:
            first = i
        else:
            return


@jit('f4[:]', 'i8', 'i8', 'f4', 'f4[:]', 'f4[:]', 'f4[:]')
def quantiles(values, count, step, limit, shares, sample, found):
    """Quantiles, between neighbours linear, of every step-th of values[:count], limited to +-limit -> found.

    shares: ascending. sample: scratch, at least as long as the sample.
    """
    size = 0
    for i in range(0, count, step):
        sample[size] = min(max(values[i], -limit), limit)
        size += 1
    first = 0
    for k in range(shares.shape[0]):
        rank = shares[k] * np.float32(size - 1)
        below = int(rank)
        _partition(sample, first, size - 1, below)
        value = sample[below]
        weight = rank - np.float32(below)
        if below + 1 < size:
            above = sample[below + 1]
            for i in range(below + 2, size):
                above = min(above, sample[i])
            # As torch.lerp: from the nearer end, so that equal ends give themselves.
            value = value + weight * (above - value) if weight < HALF else above - (above - value) * (ONE - weight)
        found[k] = value
        first = below


@jit('f4[:,:]', 'i4[:]', 'f4[:]', 'i8', 'f4', 'f4', 'f4')
def add_intensities(statistics, used_cell, used_value, used, limit, middle, spread):
    """The sum of the normalised intensities of every cell, added to statistics (cells, 4)."""
    for i in range(used):
        value = (min(max(used_value[i], -limit), limit) - middle) / spread
        statistics[used_cell[i], TOTAL] += min(max(value, -ONE), ONE)


@jit()
def _compressed(height, unit, full):
    value = np.float32(math.log1p(abs(height) / unit)) / full
    return -value if height < ZERO else value


@jit('f4[:,:]', 'f4', 'f4', 'f4', 'f4[:]', 'f4[:,:]')
def write_channels(statistics, unit, full, dense, densities, channels):
    """statistics (cells, 4) -> channels (5, cells): top, low, span, density, intensity; 0 where a cell is empty.

    unit: m, of the compression. full, dense: what heights and densities are divided by. densities: that of 0, 1, ...
    points, as far as there are so many.
    """
    for cell in range(statistics.shape[0]):
        count = statistics[cell, COUNT]
        if count == ZERO:
            for k in range(channels.shape[0]):
                channels[k, cell] = ZERO
            continue
        top, low = statistics[cell, TOP], statistics[cell, LOW]
        channels[0, cell] = _compressed(top, unit, full)
        channels[1, cell] = channels[0, cell] if top == low else _compressed(low, unit, full)
        channels[2, cell] = ZERO if top == low else _compressed(top - low, unit, full)
        number = int(count)
        if number < densities.shape[0]:
            channels[3, cell] = densities[number]
        else:
            channels[3, cell] = np.float32(math.log1p(count)) / dense
        channels[4, cell] = statistics[cell, TOTAL] / count
