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
FIRST, SECOND, THIRD = np.uint64(0), np.uint64(1), np.uint64(2)  # indices
WORD_BITS, IN_WORD = np.uint64(6), np.uint64(WORD - 1)  # of a bit's number: those of its word, and within it
ROOT_HALF_BITS, MANTISSA_BITS = np.int32(0x3f3504f3), np.int32(23)  # of sqrt(1/2) as float32
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
L0, L1, L2, L3, L4, L5, L6, L7, L8 = map(np.float32, (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))
NOWHERE = np.int32(-1)  # instead of a cell
TOUCHED, USED = 0, 1  # of `counts`
TINY = np.float32(1e-30)  # m
QUARTER, TURN_HALF, TURN = np.float32(math.pi / 2), np.float32(math.pi), np.float32(2 * math.pi)
A1, A3, A5, A7, A9 = map(np.float32, (0.9998660, -0.3302995, 0.1801410, -0.0851330, 0.0208351))
EDGE = np.float32(0.01)  # of a sector, or less than what the approximation is off
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
    # Out of the message by themselves: numbers that lie apart keep the sums from being vectorised.
    for i in range(count):
        at = np.uint64(first + i)  # without a sign: with one, each index would be asked whether it counts from the end
        x[i], y[i], z[i] = xyz[at, FIRST], xyz[at, SECOND], xyz[at, THIRD]
    for i in range(count):
        px, py, pz = x[i], y[i], z[i]
        x[i] = px * t00 + py * t01 + pz * t02 + t03
        y[i] = px * t10 + py * t11 + pz * t12 + t13
        z[i] = px * t20 + py * t21 + pz * t22 + t23


@jit('f4[raw]', 'f4[:,:]', 'f4', 'f4', 'f4', 'i8', 'f4[:]', 'f4[:,:]', 'i4[:,:]')
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
def _with_rim(ground, coarse):
    """(coarse * coarse,) -> ((coarse + 1) ** 2,): the last row and column twice, so that all cells have a next one."""
    wide = np.empty((coarse + 1) * (coarse + 1), np.float32)
    for i in range(coarse + 1):
        for j in range(coarse + 1):
            wide[i * (coarse + 1) + j] = ground[min(i, coarse - 1) * coarse + min(j, coarse - 1)]
    return wide


@jit()
def _above_ground(x, y, z, count, extent, ground, coarse, height, across, place):
    """Heights above a surface, bilinear between the centres of its coarse * coarse cells, to height (BLOCK,).

    ground: see `_with_rim`. across: (BLOCK,) float32, place: (BLOCK,) int32, scratch.
    """
    per_metre, limit = HALF * np.float32(coarse) / extent, np.float32(coarse - 1)
    middle, stride = HALF * limit, np.int32(coarse + 1)
    for i in range(count):
        v = _within(middle - x[i] * per_metre, limit)
        u = _within(middle - y[i] * per_metre, limit)
        a, b = np.int32(v), np.int32(u)
        height[i], across[i] = v - np.float32(a), u - np.float32(b)
        place[i] = a * stride + b
    # Looking up is not vectorised, and would keep the rest from it.
    right, below = np.uint64(1), np.uint64(coarse + 1)
    for i in range(count):
        at, fu = np.uint64(place[i]), across[i]
        upper = ground[at] + fu * (ground[at + right] - ground[at])
        lower = ground[at + below] + fu * (ground[at + below + right] - ground[at + below])
        height[i] = z[i] - (upper + height[i] * (lower - upper))


@jit()
def _count_block(x, y, height, count, cell, intensity, first, has_intensity, limits, cells, statistics, touched,
                 used_cell, used_value, counts):
    """Number, highest and lowest of the points of a block in their cells; see `fill_cells`."""
    extent, resolution, least, deepest, highest = limits[0], limits[1], limits[2], limits[3], limits[4]
    width, last = np.int32(cells), np.float32(cells - 1)
    for i in range(count):
        on_grid = (abs(x[i]) < extent) & (abs(y[i]) < extent) & (x[i] * x[i] + y[i] * y[i] >= least)
        useful = on_grid & (height[i] > deepest) & (height[i] < highest)
        row = (extent - x[i]) / resolution - HALF + ROUND - ROUND
        column = (extent - y[i]) / resolution - HALF + ROUND - ROUND
        row, column = _within(row, last), _within(column, last)
        cell[i] = np.int32(row) * width + np.int32(column) if useful else NOWHERE
    found, used = counts[TOUCHED], counts[USED]
    for i in range(count):
        at = cell[i]
        if at < 0:
            continue
        h = height[i]
        if statistics[at, COUNT] == ZERO:
            statistics[at, TOP] = h
            statistics[at, LOW] = h
            touched[found] = at
            found += 1
        else:
            statistics[at, TOP] = max(statistics[at, TOP], h)
            statistics[at, LOW] = min(statistics[at, LOW], h)
        statistics[at, COUNT] += ONE
        if has_intensity:
            used_cell[used] = at
            used_value[used] = intensity[first + i]
        used += 1
    counts[TOUCHED], counts[USED] = found, used


@jit()
def _exact_sector(dx, dy, tangents, guesses, eighths, sectors):
    """The sector that atan2 tells in double, found without it; see `sectors.edges`."""
    ax, ay = abs(dx), abs(dy)
    high = max(ax, ay)
    t = np.float64(min(ax, ay)) / np.float64(high) if high > ZERO else 0.0
    k = np.int64(guesses[np.int64(t * np.float64(guesses.shape[0] - 1)) if t <= 1.0 else 0])  # else NaN: infinitely far
    if t >= tangents[k + 1]:
        k += 1
    start = eighths[(SWAPPED if ay > ax else NONE) | (BACK if dx < ZERO else NONE) | (RIGHT if dy < ZERO else NONE)]
    if start >= 0:
        k += start
    elif t == 0.0 or t == 1.0:  # on an edge; no other can be hit
        k = -start - k
    else:
        k = -start - 1 - k
    return k - sectors if k >= sectors else k


@jit()
def _look_block(x, y, z, count, view, tangents, guesses, eighths, reach, distance, sector, doubtful):
    """The farthest useful return in every direction about a sensor, added to reach; see `fill_cells`.

    The angle is approximated (Abramowitz and Stegun 4.4.49, to 1e-5) and decides unless it lies next to an edge, where
    the sector is found exactly.
    """
    origin_x, origin_y, least, highest, deepest, slope = view[0], view[1], view[2], view[3], view[4], view[5]
    sectors = np.int32(reach.shape[0])
    last, scale = np.float32(reach.shape[0] - 1), np.float32(reach.shape[0] / (2 * math.pi))
    for i in range(count):
        dx, dy = x[i] - origin_x, y[i] - origin_y
        far = math.sqrt(dx * dx + dy * dy)
        widening = slope * far
        useful = ((z[i] < highest + widening) & (z[i] > deepest - widening)
                  & (math.sqrt(x[i] * x[i] + y[i] * y[i]) >= least))
        distance[i] = far if useful else ZERO
        ax, ay = abs(dx), abs(dy)
        high, low = max(ax, ay), min(ax, ay)
        t = low / (high if high > TINY else TINY)
        t2 = t * t
        angle = t * (A1 + t2 * (A3 + t2 * (A5 + t2 * (A7 + t2 * A9))))
        angle = QUARTER - angle if ay > ax else angle
        angle = TURN_HALF - angle if dx < ZERO else angle
        angle = TURN - angle if dy < ZERO else angle
        place = _within(angle * scale, last + HALF)
        whole = np.int32(place)
        rest = place - np.float32(whole)
        sector[i] = whole
        doubtful[i] = ONE if (rest < EDGE) | (rest > ONE - EDGE) | (place > last) else ZERO
    for i in range(count):
        far = distance[i]
        if not far > ZERO:
            continue
        k = np.int64(sector[i])
        if doubtful[i] != ZERO:
            k = _exact_sector(x[i] - origin_x, y[i] - origin_y, tangents, guesses, eighths, sectors)
        if far > reach[k]:  # rarely: the processor need not wait for what it wrote just now
            reach[k] = far


@jit()
def _voxel_block(x, y, z, count, sizes, columns, slabs, voxels, column, level):
    """Which voxels near the vehicle hold a point of a block, as bits; see `fill_cells`."""
    near, least, edge, highest, slab = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    width, last, top = np.int32(columns), np.float32(columns - 1), np.float32(slabs - 1)
    for i in range(count):
        distance = math.sqrt(x[i] * x[i] + y[i] * y[i])
        useful = (distance < near) & (distance > least) & (abs(z[i]) < highest)
        row = np.int32(_within((x[i] + near) / edge, last))
        column[i] = (row * width + np.int32(_within((y[i] + near) / edge, last)) if useful else NOWHERE)
        level[i] = np.int32(_within((z[i] + highest) / slab, top))
    for i in range(count):
        if column[i] >= 0:
            at = np.uint64(level[i])
            voxels[np.uint64(column[i]), at >> WORD_BITS] |= ONE_BIT << (at & IN_WORD)


@jit('f4[raw]', 'f4[raw1]', 'b1', 'f4[:,:]', 'f4[:]', 'i8', 'f4[:]', 'i8', 'f4[:,:]', 'i4[:]', 'i4[:]', 'f4[:]',
     'i8[:]', 'b1', 'f4[:]', 'f8[:]', 'i4[:]', 'i4[:]', 'f4[:]', 'b1', 'f4[:]', 'i8', 'i8', 'u8[:,:]', 'f4[:,:]',
     'i4[:,:]')
def fill_cells(xyz, intensity, has_intensity, T, limits, cells, ground, coarse, statistics, touched, used_cell,
               used_value, counts, looks, view, tangents, guesses, eighths, reach, marks, sizes, columns, slabs, voxels,
               numbers, places):
    """Second pass: everything but the ground, of points (N, 3) that T (3, 4) places.

    Cells: number, highest and lowest of each one's points are added to statistics (cells * cells, 4), those that were
    empty to touched; where there are intensities, those of the points that are used, and their cells, to used_value and
    used_cell. counts (2,): of touched and of used. limits: extent, resolution, square of the least range, heights of
    the deepest and the highest point, m. ground: (coarse * coarse,) m.

    looks: the farthest return in every direction about a sensor, added to reach (A,): `bev.coverage.view`. view: x and
    y of the sensor, least range from the vehicle's origin, m; limits of the height at the sensor, which widen by a
    slope. tangents: (E + 2,) of the sectors' edges from 0 to 45 degrees, then infinite. guesses: (G + 1,) the last edge
    that k / G does not exceed. eighths: (8,) the sector at which each eighth of the circle begins, or, of those that
    run backwards, the negative of where it ends.

    marks: which voxels near the vehicle hold a point, as bits of voxels (columns * columns, 2): `bev.ground_level`.
    sizes: m, farthest and least range, edge of a column, greatest height, height of a voxel; slabs: of a column.

    numbers, places: (k, BLOCK) scratch.
    """
    x, y, z, height, spare = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    block, surface = x.shape[0], _with_rim(ground, coarse)
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        _place(xyz, first, count, T, x, y, z)
        _above_ground(x, y, z, count, limits[0], surface, coarse, height, spare, places[0])
        _count_block(x, y, height, count, places[0], intensity, first, has_intensity, limits, cells, statistics,
                     touched, used_cell, used_value, counts)
        if looks:
            _look_block(x, y, z, count, view, tangents, guesses, eighths, reach, height, places[0], spare)
        if marks:
            _voxel_block(x, y, z, count, sizes, columns, slabs, voxels, places[0], places[1])


@jit('f4[raw]', 'f4[raw1]', 'b1', 'f4[:,:]', 'f4', 'f4[:,:]', 'f4[:]')
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


@jit('f4[:]', 'f4[:]', 'i4[:]', 'f4', 'f4[:]')
def count_rings(density, top, rings, standing, counts):
    """Cells with returns by distance, and last those of them whose top is lower than standing, added to counts (D,).

    density, top: (H * W,) channels. rings: (H * W,) index of each cell in counts.
    """
    level = 0
    for i in range(density.shape[0]):
        if density[i] > ZERO:
            counts[np.uint64(rings[i])] += ONE
            level += 1 if top[i] < standing else 0
    counts[counts.shape[0] - 1] += np.float32(level)


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
        for word in range(voxels.shape[1]):
            rest = voxels[column, word]
            at = word * WORD
            while rest != 0:
                levels[at] += ONE if rest & ONE_BIT else ZERO
                rest >>= ONE_BIT
                at += 1


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
def _logarithms(values, count, bits, mantissa):
    """values (BLOCK,), positive and finite, replaced by their natural logarithms, to 1e-7.

    bits: the memory of the values as int32; mantissa: (BLOCK,) int32 and float32, likewise of one memory. Written for
    whole blocks at a time, as Cephes' logf computes it (S. Moshier, netlib.org/cephes).
    """
    mantissa_bits, mantissa_value = mantissa
    for i in range(count):
        exponent = (bits[i] - ROOT_HALF_BITS) >> MANTISSA_BITS
        mantissa_bits[i] = bits[i] - (exponent << MANTISSA_BITS)
        bits[i] = exponent
    for i in range(count):
        exponent = np.float32(bits[i])
        m = mantissa_value[i] - ONE
        square = m * m
        p = L0
        p = p * m + L1
        p = p * m + L2
        p = p * m + L3
        p = p * m + L4
        p = p * m + L5
        p = p * m + L6
        p = p * m + L7
        p = p * m + L8
        values[i] = m + (m * square * p + exponent * LN2_LOW - HALF * square) + exponent * LN2_HIGH


@jit('f4[:,:]', 'i4[:]', 'i8', 'f4', 'f4', 'f4', 'f4[:]', 'f4[:,:]', 'f4[:,:]', 'i4[:,:]')
def write_channels(statistics, touched, count, unit, full, dense, densities, channels, numbers, places):
    """statistics (cells, 4) of the touched cells -> channels (5, cells): top, low, span, density, intensity.

    The other cells of the channels are 0 already. The statistics are 0 again afterwards. unit: m, of the compression.
    full, dense: what heights and densities are divided by. densities: that of 0, 1, ... points, as far as there are so
    many. numbers, places: (k, BLOCK) scratch.
    """
    block = numbers.shape[1]
    values, bits = numbers[0], numbers[0].view(np.int32)
    mantissa = places[0], places[0].view(np.float32)
    for first in range(0, count, block):
        size = min(block, count - first)
        for k in range(3):
            for i in range(size):
                at = touched[first + i]
                top, low = statistics[at, TOP], statistics[at, LOW]
                height = top if k == 0 else (low if k == 1 else top - low)
                values[i] = abs(height) / unit + ONE
            _logarithms(values, size, bits, mantissa)
            for i in range(size):
                at = touched[first + i]
                value = values[i] / full
                height = statistics[at, TOP] if k == 0 else (statistics[at, LOW] if k == 1 else ZERO)
                channels[k, at] = -value if height < ZERO else value
        for i in range(size):
            at = touched[first + i]
            number = statistics[at, COUNT]
            known = int(number)
            if known < densities.shape[0]:
                channels[3, at] = densities[known]
            else:
                channels[3, at] = np.float32(math.log1p(number)) / dense
            channels[4, at] = statistics[at, TOTAL] / number
            statistics[at, COUNT], statistics[at, TOP] = ZERO, ZERO
            statistics[at, LOW], statistics[at, TOTAL] = ZERO, ZERO
