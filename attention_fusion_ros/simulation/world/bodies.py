# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The bodies of vehicles and people as boxes of different height with cut corners: what a LiDAR sees of them."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.simulation.world.world import Vehicle

LOSS = (0.02, 0.1, 0.5)  # share of returns lost on bright, normal and dark paint
LOSS_UP_TO = (0.5, 0.85, 1.0)  # cumulated share of vehicles
BITS_64 = (1 << 64) - 1
XXH64 = (11400714785074694791, 14029467366897019727, 2870177450012600261)  # three of its primes


def vehicle_parts(vehicles: list[Vehicle], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Boxes with cut corners of which vehicles consist, later ones over earlier ones.

    Returns outlines (N, 8, 2) in the world, the vehicle each box belongs to (N,), its height above the ground (N,) [m],
    and for each vehicle the share of returns that it swallows.
    """
    rows, losses = [], []
    for i, v in enumerate(vehicles):
        draws = _uniform_numbers(v, seed)
        rows += [(i, v.x, v.y, v.yaw, *box) for box in _boxes(v, draws)]
        losses.append(LOSS[int(np.searchsorted(LOSS_UP_TO, draws[0]))])
    owner, x, y, yaw, ahead, length, width, height, cut = np.array(rows).reshape(-1, 9).T  # none in sight
    c, s, cut = np.cos(yaw)[:, None], np.sin(yaw)[:, None], np.maximum(cut, 0.02)[:, None]
    along = ahead[:, None] + length[:, None] * OCTAGON[:, 0] / 2 + cut * OCTAGON[:, 2]
    left = width[:, None] * OCTAGON[:, 1] / 2 + cut * OCTAGON[:, 3]
    corners = np.stack([x[:, None] + c * along - s * left, y[:, None] + s * along + c * left], axis=-1)
    return corners, owner.astype(int), height, losses


# Corner ahead, corner left, and the steps of the cut from that corner.
OCTAGON = np.array([[1, 1, 0, -1], [1, 1, -1, 0], [-1, 1, 1, 0], [-1, 1, 0, -1],
                    [-1, -1, 0, 1], [-1, -1, 1, 0], [1, -1, -1, 0], [1, -1, 0, 1]])


def _uniform_numbers(v: Vehicle, seed: int) -> list[float]:
    """Uniform numbers that depend on the vehicle itself, not on how many others there are."""
    state = (_digest(round(v.x * 1e3), round(v.y * 1e3), round(v.length * 1e3)) ^ seed) & 0xFFFFFFFF
    numbers = []
    for _ in range(5):  # xorshift-multiply
        state = (state ^ (state >> 16)) * 0x45D9F3B & 0xFFFFFFFF
        state = (state ^ (state >> 16)) * 0x45D9F3B + 0x9E3779B9 & 0xFFFFFFFF
        numbers.append(state / 2**32)
    return numbers


def _digest(*numbers: int) -> int:
    """64 bits of some whole numbers, the same in every Python.

    It is what `hash` gives for a tuple of them in 64-bit CPython 3.8 to 3.14 (xxHash, Y. Collet), which no version of
    Python promises: scenes must not change with the interpreter.
    """
    total = XXH64[2]
    for number in numbers:
        lane = -2 if number == -1 else number  # as int.__hash__ does; the numbers are far below 2**61
        total = (total + lane * XXH64[1]) & BITS_64
        total = (total << 31 | total >> 33) & BITS_64
        total = total * XXH64[0] & BITS_64
    return (total + (len(numbers) ^ XXH64[2] ^ 3527539)) & BITS_64


def _boxes(v: Vehicle, draws: list[float]) -> list[tuple[float, float, float, float, float]]:
    """(centre ahead of the vehicle's, length, width, height, corner cut) of each box, metres."""
    core = (0.0, 0.2, 0.2, v.height, 0.0)  # never lost between two cells
    if v.kind == 'car':
        hood, belt = 0.62 + 0.2 * draws[1], 0.85 + 0.17 * draws[4]
        cabin, shift = v.length * (0.45 + 0.2 * draws[2]), -0.12 * v.length * draws[3]
        return [(0.0, v.length, v.width, hood, 0.3), (shift, cabin * 1.15, v.width, belt, 0.1),
                (shift, cabin, v.width * 0.88, 0.4 * belt + 0.6 * v.height, 0.1),
                (shift, cabin * 0.72, v.width * 0.78, v.height, 0.1)]
    if v.kind == 'van':
        return [(0.0, v.length, v.width, v.height, 0.15), (v.length * 0.42, v.length * 0.16, v.width, 1.1, 0.2)]
    if v.kind == 'truck':
        return [(0.0, v.length, v.width, v.height, 0.0), (v.length / 2 - 2.4, 0.5, v.width, 1.0, 0.0),
                (v.length / 2 - 1.05, 2.1, v.width, min(v.height, 2.9), 0.1)]
    if v.kind == 'cyclist':
        return [(0.0, v.length, max(v.width, 0.3), 1.0, 0.0), (0.0, 0.5, max(v.width, 0.5), v.height, 0.0), core]
    return [(0.0, v.length, v.width, v.height, 0.1), core]
