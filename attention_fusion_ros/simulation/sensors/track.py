# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way the simulated vehicle came, as its odometry tells it: in its lane along its route, with a little drift."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.simulation.sensors.past import CORNER_M
from attention_fusion_ros.simulation.world.polyline import (
    arc_length,
    distances,
    point_at,
    project,
    smoothed,
    tangents,
)
from attention_fusion_ros.simulation.world.world import Road, World, to_base

SPACING_M = 1.0
SHORTEST_M, LONGEST_M = 8.0, 60.0
WHOLE_SHARE = 0.6  # of the scenes, in which all of it is known; the rest have driven less since odometry began
NONE_SHARE = 0.08  # without odometry, or at the start of a drive
SHIFT_PER_SQRT_M, YAW_PER_SQRT_M = 0.015, math.radians(0.08)  # drift, as a random walk over the way
SCALE = 0.008  # standard deviation of the error of the distance driven
FROM_KERB_M = 1.0  # the vehicle's middle stays away
BLEND = 4  # places on both sides over which the distance aside is averaged
WANDER_M = 0.2  # amplitude by which drivers leave the middle of their lane
Track = np.ndarray


def driven_track(world: World, rng: np.random.Generator) -> Track:
    """(N, 3) float32 x, y [m], yaw [rad] in base_link now of where the vehicle was, a metre apart, newest first.

    The vehicle came along its route, as far aside of it as now; its present pose is exact, errors grow backwards. Its
    yaw is that of the way driven, whichever way base_link looks now. N is 0 without a route.
    """
    length = LONGEST_M if rng.random() < WHOLE_SHARE else float(rng.uniform(SHORTEST_M, LONGEST_M))
    none = rng.random() < NONE_SHARE
    phase, wavelength = rng.uniform(0, 2 * math.pi), rng.uniform(12, 40)
    if none or world.route is None:
        return np.zeros((0, 3), np.float32)
    line = smoothed(world.route, CORNER_M)
    along = arc_length(line)
    here, _ = project(line, world.pose[:2])
    back = np.arange(SPACING_M, min(length, here) + 1e-6, SPACING_M)
    if len(back) == 0:
        return np.zeros((0, 3), np.float32)
    way = _unit(point_at(tangents(line), here - np.concatenate([[0.0], back]), along))
    left = np.stack([-way[:, 1], way[:, 0]], axis=1)
    middle = point_at(line, here - np.concatenate([[0.0], back]), along)
    now_aside = float((np.array(world.pose[:2]) - middle[0]) @ left[0])
    aside = _aside(world, middle[1:], now_aside) + WANDER_M * (np.sin(back / wavelength + phase) - math.sin(phase))
    xy = to_base(middle[1:] + aside[:, None] * left[1:], world.pose)
    yaw = np.arctan2(way[1:, 1], way[1:, 0]) - world.pose[2]
    return _drifted(np.column_stack([xy, yaw]), rng).astype(np.float32)


def _aside(world: World, places: np.ndarray, now: float) -> np.ndarray:
    """(N,) m to the left of the centre lines at (N, 2) places on the way, newest first.

    As far aside as now, as far as there is a lane of the vehicle's direction; it changes smoothly.
    """
    near = [r for r in world.roads if np.abs(r.centre - places[0]).max(axis=1).min() < 2 * LONGEST_M]
    wanted = np.full(len(places), now)
    if near:
        for k in range(0, len(places), BLEND):
            road = near[int(np.argmin([distances(r.centre, places[k]).min() for r in near]))]
            low, high = _lanes(road, bool(world.extra.get('left_hand', False)))
            wanted[k:k + BLEND] = min(max(now, low), high)
    padded = np.concatenate([np.full(BLEND, now), wanted, np.full(BLEND, wanted[-1])])
    return np.convolve(padded, np.full(2 * BLEND + 1, 1 / (2 * BLEND + 1)), mode='valid')


def _lanes(road: Road, left_hand: bool) -> tuple[float, float]:
    """How far to the left of a road's centre line its traffic may drive, m."""
    edge = max(road.width / 2 - FROM_KERB_M, 0.0)
    if road.oneway or road.lanes < 2:
        return -edge, edge
    inner = min(road.median / 2 + FROM_KERB_M if road.median else 0.0, edge)
    return (inner, edge) if left_hand else (-edge, -inner)


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.maximum(np.hypot(v[:, 0], v[:, 1]), 1e-9)[:, None])


def _drifted(poses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The (N, 3) poses, newest first, as odometry has them: the farther back, the farther off."""
    step = math.sqrt(SPACING_M)
    turned = np.cumsum(rng.normal(0, YAW_PER_SQRT_M * step, len(poses)))
    moves = np.diff(np.vstack([np.zeros(2), poses[:, :2]]), axis=0) * (1 + rng.normal(0, SCALE))
    c, s = np.cos(turned), np.sin(turned)
    moves = np.stack([c * moves[:, 0] - s * moves[:, 1], s * moves[:, 0] + c * moves[:, 1]], axis=1)
    moves += rng.normal(0, SHIFT_PER_SQRT_M * step, moves.shape)
    return np.column_stack([np.cumsum(moves, axis=0), wrap(poses[:, 2] + turned)])
