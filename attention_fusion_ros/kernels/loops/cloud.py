# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points as a message holds them to points as arrays: `decode.cloud` and `stream.deskew`, in loops."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.kernels.compiled import jit

ZERO = np.float32(0.0)
X, Y, Z = np.uint64(0), np.uint64(1), np.uint64(2)  # without a sign: none of them counts from the end


@jit('f4[raw]', 'f4[raw]', 'f4[raw]', 'f4[raw]', 'b1', 'f4[:,:]', 'f4[:]')
def unpack(x, y, z, intensity, has_intensity, xyz, strength):
    """Fields (rows, columns) over the bytes of a message, row by row to xyz (N, 3) and strength (N,)."""
    columns = x.shape[1]
    for row in range(x.shape[0]):
        first = row * columns
        for column in range(columns):
            xyz[first + column, 0] = x[row, column]
            xyz[first + column, 1] = y[row, column]
            xyz[first + column, 2] = z[row, column]
            if has_intensity:
                strength[first + column] = intensity[row, column]


@jit('f4[raw]', 'f4[raw1]', 'b1', 'f4', 'i8[:]', 'f4[:,:]')
def count_unmeasured(xyz, intensity, has_intensity, housing, counts, numbers):
    """How many points are not finite, how many of the others lie within the housing, and how many intensities are not.

    Written to counts (3,). numbers: (5, BLOCK) scratch. What is asked of a block is vectorised, getting it is not.
    """
    x, y, z, strength = numbers[0], numbers[1], numbers[2], numbers[3]
    block = x.shape[0]
    counts[:] = 0
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        for i in range(count):
            at = np.uint64(first + i)
            x[i], y[i], z[i] = xyz[at, X], xyz[at, Y], xyz[at, Z]
        unfinished, near = np.int32(0), np.int32(0)
        for i in range(count):
            # Infinity less infinity is NaN, which equals nothing.
            finite = (x[i] - x[i] == ZERO) & (y[i] - y[i] == ZERO) & (z[i] - z[i] == ZERO)
            within = (abs(x[i]) < housing) & (abs(y[i]) < housing) & (abs(z[i]) < housing)
            unfinished += np.int32(not finite)
            near += np.int32(finite & within)
        counts[0] += unfinished
        counts[1] += near
        if has_intensity:
            for i in range(count):
                strength[i] = intensity[np.uint64(first + i)]
            bad = np.int32(0)
            for i in range(count):
                bad += np.int32(not strength[i] - strength[i] == ZERO)
            counts[2] += bad


@jit('f4[raw]', 'f4', 'i8', 'f4[:,:]', 'f4[:,:]', 'i8[:]')
def keep_measured(xyz, housing, step, sample, measured, kept):
    """The finite points outside of the housing to measured (N, 3), their indices to kept; how many, how many sampled.

    sample: every step-th of the finite points is written to it, those within the housing left out.
    """
    found, finite, sampled, last = 0, 0, 0, 0
    for i in range(xyz.shape[0]):
        x, y, z = xyz[i, 0], xyz[i, 1], xyz[i, 2]
        if not ((x - x == ZERO) & (y - y == ZERO) & (z - z == ZERO)):
            continue
        in_sample = finite == last
        if in_sample:
            last += step
        finite += 1
        if (abs(x) < housing) & (abs(y) < housing) & (abs(z) < housing):
            continue
        if in_sample:
            sample[sampled, 0], sample[sampled, 1], sample[sampled, 2] = x, y, z
            sampled += 1
        measured[found, 0], measured[found, 1], measured[found, 2] = x, y, z
        kept[found] = i
        found += 1
    return found, sampled


@jit('f4[raw1]', 'i8[:]', 'b1', 'f4[:]')
def take_finite(values, kept, some, taken):
    """The values, of the indices kept where only some are wanted, to taken (N,); 0 for what is not finite."""
    for i in range(taken.shape[0]):
        value = values[kept[i] if some else i]
        taken[i] = value if value - value == ZERO else ZERO


@jit('f4[raw]', 'f4[:]', 'f8', 'f8', 'f4[:,:,:]', 'f4[:,:]', 'f4[:,:]')
def move_by_polynomial(xyz, offsets, middle, half, matrices, moved, numbers):
    """Each point by the polynomial of its own time, by Horner's scheme, to moved (N, 3): `stream.deskew`.

    matrices: (degree + 1, 3, 4), constant first, over times from -1 to 1. numbers: (5, BLOCK) scratch; points are taken
    in blocks, as in `loops.points`.
    """
    x, y, z, time, result = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    block = x.shape[0]
    for first in range(0, xyz.shape[0], block):
        count = min(block, xyz.shape[0] - first)
        for i in range(count):
            x[i], y[i], z[i] = xyz[first + i, 0], xyz[first + i, 1], xyz[first + i, 2]
            time[i] = np.float32(min(max((offsets[first + i] - middle) / half, -1.0), 1.0))
        for axis in range(3):
            for k in range(matrices.shape[0] - 1, -1, -1):
                a, b, c, d = matrices[k, axis, 0], matrices[k, axis, 1], matrices[k, axis, 2], matrices[k, axis, 3]
                if k == matrices.shape[0] - 1:
                    for i in range(count):
                        result[i] = a * x[i] + b * y[i] + c * z[i] + d
                else:
                    for i in range(count):
                        result[i] = result[i] * time[i] + (a * x[i] + b * y[i] + c * z[i] + d)
            for i in range(count):
                moved[first + i, axis] = result[i]
