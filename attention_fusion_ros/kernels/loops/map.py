# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A map image to the grid of a sweep, only where it covers the grid: `bev.map_source` and `bev.map_image`, in loops."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.kernels.compiled import jit

ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)


@jit()
def _limits(start, step, size, cells):
    """The cells j with -1 <= start + step * j <= size + 1, first and last + 1, and one more to both sides."""
    low, high = 0.0, float(cells)
    if abs(step) < 1e-9:
        return (0, cells) if -1.0 <= start <= size + 1.0 else (0, 0)
    a, b = (-1.0 - start) / step, (size + 1.0 - start) / step
    low, high = max(low, min(a, b) - 1.0), min(high, max(a, b) + 2.0)
    return (int(low), int(high)) if high > low else (0, 0)


@jit()
def _at(plane, ix, iy):
    """Bilinear between pixels, 0 beyond the image: `grid_sample`, align_corners=False, padding_mode='zeros'."""
    rows, columns = plane.shape
    left, top = math.floor(ix), math.floor(iy)
    x0, y0 = int(left), int(top)
    fx, fy = ix - np.float32(left), iy - np.float32(top)
    total = ZERO
    if 0 <= y0 < rows:
        if 0 <= x0 < columns:
            total += plane[y0, x0] * (ONE - fx) * (ONE - fy)
        if 0 <= x0 + 1 < columns:
            total += plane[y0, x0 + 1] * fx * (ONE - fy)
    if 0 <= y0 + 1 < rows:
        if 0 <= x0 < columns:
            total += plane[y0 + 1, x0] * (ONE - fx) * fy
        if 0 <= x0 + 1 < columns:
            total += plane[y0 + 1, x0 + 1] * fx * fy
    return total


@jit('f4[:,:]', 'f4[:,:]', 'b1', 'f4[:]', 'f4[:,:]', 'f4', 'f4', 'f4', 'f4[:,:,:]')
def lay(road, route, has_route, centres, T, origin_column, origin_row, metres, layers):
    """Road, route and how much of a cell the image covers, to layers (3, H, W), which are 0: `MapSource.sample`.

    centres: (H,) m, of the cells along an axis. T: (3, 3) base_link -> metres up and left of the origin, which is given
    in pixels. metres: a pixel.
    """
    rows, columns = np.float32(road.shape[0]), np.float32(road.shape[1])
    cells, last_row, last_column = layers.shape[1], road.shape[0] - 1, road.shape[1] - 1
    places = np.empty((4, cells), np.float32)
    across, down, xs, ys = places[0], places[1], places[2], places[3]
    step = float(centres[1] - centres[0]) if cells > 1 else 1.0
    for i in range(cells):
        x = centres[i]
        # Along a row of the grid both positions change evenly: where the image covers it is an interval.
        first_column = float(origin_column - (T[1, 0] * x + T[1, 1] * centres[0] + T[1, 2]) / metres)
        first_row = float(origin_row - (T[0, 0] * x + T[0, 1] * centres[0] + T[0, 2]) / metres)
        begin, end = _limits(first_column, -float(T[1, 1]) * step / float(metres), float(columns), cells)
        begin_2, end_2 = _limits(first_row, -float(T[0, 1]) * step / float(metres), float(rows), cells)
        begin, end = max(begin, begin_2), min(end, end_2)
        for j in range(begin, end):
            y = centres[j]
            across[j] = origin_column - (T[1, 0] * x + T[1, 1] * y + T[1, 2]) / metres
            down[j] = origin_row - (T[0, 0] * x + T[0, 1] * y + T[0, 2]) / metres
        for j in range(begin, end):
            # As unit coordinates and back, in the steps of `grid_sample`: rounding is then the same.
            xs[j] = ((TWO * across[j] / columns - ONE) + ONE) * (columns / TWO) - HALF
            ys[j] = ((TWO * down[j] / rows - ONE) + ONE) * (rows / TWO) - HALF
        for j in range(begin, end):
            ix, iy = xs[j], ys[j]
            x0, y0 = np.int32(ix), np.int32(iy)
            if ix >= ZERO and iy >= ZERO and x0 < last_column and y0 < last_row:  # all four pixels are there
                fx, fy = ix - np.float32(x0), iy - np.float32(y0)
                a, b, c, d = (ONE - fx) * (ONE - fy), fx * (ONE - fy), (ONE - fx) * fy, fx * fy
                # Without a sign: with one, each index would be asked whether it counts from the end.
                here, below = np.uint64(y0), np.uint64(y0 + 1)
                first, second = np.uint64(x0), np.uint64(x0 + 1)
                layers[0, i, j] = (road[here, first] * a + road[here, second] * b + road[below, first] * c
                                   + road[below, second] * d)
                if has_route:
                    layers[1, i, j] = (route[here, first] * a + route[here, second] * b + route[below, first] * c
                                       + route[below, second] * d)
                layers[2, i, j] = ONE
                continue
            layers[0, i, j] = _at(road, ix, iy)
            if has_route:
                layers[1, i, j] = _at(route, ix, iy)
            u, v = across[j] - HALF, down[j] - HALF
            layers[2, i, j] = (min(max(min(u + ONE, columns - u), ZERO), ONE)
                               * min(max(min(v + ONE, rows - v), ZERO), ONE))


@jit('f4[:,:,:]', 'i8', 'f4', 'f4', 'f4[:,:]', 'f4[:,:]')
def widen(layers, reach, thin, faintest, rows_wide, wide):
    """Draw a thin route so many cells wider to every side, in place, and as road: `bev.map_image.with_wide_route`.

    rows_wide, wide: (H, W) scratch.
    """
    road, route = layers[0], layers[1]
    height, width = route.shape
    top, bottom, left, right = height, -1, width, -1
    for i in range(height):
        for j in range(width):
            if route[i, j] != ZERO:
                top, bottom = min(top, i), i
                left, right = min(left, j), max(right, j)
    if bottom < 0:
        return
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            if route[i, j] < thin:
                continue
            least = route[i, j]
            for a in range(max(0, i - 1), min(height, i + 2)):
                for b in range(max(0, j - 1), min(width, j + 2)):
                    least = min(least, route[a, b])
            if least >= thin:  # a wide route
                for a in range(top, bottom + 1):
                    for b in range(left, right + 1):
                        road[a, b] = max(road[a, b], route[a, b])
                return
    top, bottom = max(0, top - reach), min(height, bottom + 1 + reach)
    first, last = max(0, left - reach), min(width, right + 1 + reach)
    brightest = ZERO
    for i in range(top, bottom):
        for j in range(first, last):
            largest = ZERO
            for b in range(max(0, j - reach), min(width, j + reach + 1)):
                largest = max(largest, route[i, b])
            rows_wide[i, j] = largest
            brightest = max(brightest, largest)
    brightest = max(brightest, faintest)
    for i in range(top, bottom):
        for j in range(first, last):
            largest = ZERO
            for a in range(max(top, i - reach), min(bottom, i + reach + 1)):
                largest = max(largest, rows_wide[a, j])
            wide[i, j] = min(largest / brightest, ONE)
    for i in range(top, bottom):
        for j in range(first, last):
            route[i, j] = wide[i, j]
            road[i, j] = max(road[i, j], wide[i, j])
