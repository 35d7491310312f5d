# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The bodies of vehicles and people as boxes of different height with cut corners: what a LiDAR sees of them."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.simulation.world.world import Vehicle

LOSS = (0.02, 0.1, 0.5)  # share of returns lost on bright, normal and dark paint
LOSS_UP_TO = (0.5, 0.85, 1.0)  # cumulated share of vehicles


def vehicle_parts(vehicles: list[Vehicle], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Boxes with cut corners of which vehicles consist, later ones over earlier ones.

    Returns outlines (N, 8, 2) in the world, the vehicle each box belongs to (N,), its height above the ground (N,) [m],
    and for each vehicle the share of returns that it swallows.
    """
    rows, losses = [], []
    for i, v in enumerate(vehicles):
        luck = _luck(v, seed)
        rows += [(i, v.x, v.y, v.yaw, *box) for box in _boxes(v, luck)]
        losses.append(LOSS[int(np.searchsorted(LOSS_UP_TO, luck[0]))])
    i, x, y, yaw, ahead, length, width, height, cut = np.array(rows).reshape(-1, 9).T  # none in sight
    c, s, cut = np.cos(yaw)[:, None], np.sin(yaw)[:, None], np.maximum(cut, 0.02)[:, None]
    along = ahead[:, None] + length[:, None] * OCTAGON[:, 0] / 2 + cut * OCTAGON[:, 2]
    left = width[:, None] * OCTAGON[:, 1] / 2 + cut * OCTAGON[:, 3]
    corners = np.stack([x[:, None] + c * along - s * left, y[:, None] + s * along + c * left], axis=-1)
    return corners, i.astype(int), height, losses


# Corner ahead, corner left, and the steps of the cut from that corner.
OCTAGON = np.array([[1, 1, 0, -1], [1, 1, -1, 0], [-1, 1, 1, 0], [-1, 1, 0, -1],
                    [-1, -1, 0, 1], [-1, -1, 1, 0], [1, -1, -1, 0], [1, -1, 0, 1]])


def _luck(v: Vehicle, seed: int) -> list[float]:
    """Uniform numbers that depend on the vehicle itself, not on how many others there are."""
    state = (hash((round(v.x * 1e3), round(v.y * 1e3), round(v.length * 1e3))) ^ seed) & 0xFFFFFFFF
    numbers = []
    for _ in range(5):  # xorshift-multiply
        state = (state ^ (state >> 16)) * 0x45D9F3B & 0xFFFFFFFF
        state = (state ^ (state >> 16)) * 0x45D9F3B + 0x9E3779B9 & 0xFFFFFFFF
        numbers.append(state / 2**32)
    return numbers


def _boxes(v: Vehicle, luck: list[float]) -> list[tuple[float, float, float, float, float]]:
    """(centre ahead of the vehicle's, length, width, height, corner cut) of each box, metres."""
    core = (0.0, 0.2, 0.2, v.height, 0.0)  # never lost between two cells
    if v.kind == 'car':
        hood, belt = 0.62 + 0.2 * luck[1], 0.85 + 0.17 * luck[4]
        cabin, shift = v.length * (0.45 + 0.2 * luck[2]), -0.12 * v.length * luck[3]
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
