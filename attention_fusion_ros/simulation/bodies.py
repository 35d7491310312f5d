"""The bodies of vehicles and people as boxes of different height: what a LiDAR sees of them."""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.simulation.world import Vehicle

LOSS = (0.02, 0.1, 0.5)  # share of returns lost on bright, normal and dark paint
LOSS_UP_TO = (0.5, 0.85, 1.0)  # cumulated share of vehicles


def vehicle_parts(vehicles: list[Vehicle], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Boxes of which vehicles consist, later ones over earlier ones.

    Returns corners (N, 4, 2) in the world, the vehicle each box belongs to (N,), its height above the ground (N,) [m],
    and for each vehicle the share of returns that it swallows.
    """
    rows, losses = [], []
    for i, v in enumerate(vehicles):
        luck = _luck(v, seed)
        rows += [(i, v.x, v.y, v.yaw, *box) for box in _boxes(v, luck)]
        losses.append(LOSS[int(np.searchsorted(LOSS_UP_TO, luck[0]))])
    i, x, y, yaw, ahead, length, width, height = np.array(rows).reshape(-1, 8).T  # none within sight: no rows
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    along = ahead[:, None] + length[:, None] * (0.5, -0.5, -0.5, 0.5)
    left = width[:, None] * (0.5, 0.5, -0.5, -0.5)
    corners = np.stack([x[:, None] + c * along - s * left, y[:, None] + s * along + c * left], axis=-1)
    return corners, i.astype(int), height, losses


def _luck(v: Vehicle, seed: int) -> list[float]:
    """Four uniform numbers that depend on the vehicle itself, not on how many others there are."""
    state = (hash((round(v.x * 1e3), round(v.y * 1e3), round(v.length * 1e3))) ^ seed) & 0xFFFFFFFF
    numbers = []
    for _ in range(4):  # xorshift-multiply (Marsaglia 2003)
        state = (state ^ (state >> 16)) * 0x45D9F3B & 0xFFFFFFFF
        state = (state ^ (state >> 16)) * 0x45D9F3B + 0x9E3779B9 & 0xFFFFFFFF
        numbers.append(state / 2**32)
    return numbers


def _boxes(v: Vehicle, luck: list[float]) -> list[tuple[float, float, float, float]]:
    """(centre ahead of the vehicle's, length, width, height) of each box, metres."""
    core = (0.0, 0.2, 0.2, v.height)  # never lost between two cells
    if v.kind == 'car':
        body, cabin, shift = 0.68 + 0.24 * luck[1], v.length * (0.42 + 0.18 * luck[2]), -0.12 * v.length * luck[3]
        return [(0.0, v.length, v.width, body), (shift, cabin, v.width * 0.86, (body + v.height) / 2),
                (shift, cabin * 0.75, v.width * 0.76, v.height)]
    if v.kind == 'van':
        return [(0.0, v.length, v.width, v.height), (v.length * 0.42, v.length * 0.16, v.width, 1.1)]
    if v.kind == 'truck':
        return [(0.0, v.length, v.width, v.height), (v.length / 2 - 2.4, 0.5, v.width, 1.0),
                (v.length / 2 - 1.05, 2.1, v.width, min(v.height, 2.9))]
    if v.kind == 'cyclist':
        return [(0.0, v.length, max(v.width, 0.3), 1.0), (0.0, 0.5, max(v.width, 0.5), v.height), core]
    return [(0.0, v.length, v.width, v.height), core]
