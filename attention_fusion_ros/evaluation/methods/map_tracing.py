# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""'Map alone': where the drawn roads cross the ring, read from the map's BEV grid as given, errors and all.

The drawn lines are thinned to one cell (Zhang and Suen, 1984, doi 10.1145/357994.358023), so that width, colour and
antialiasing do not matter. Of the skeleton inside the ring only the piece nearest to the vehicle counts: the road the
vehicle is on, by the map's word. Where it leaves the ring, a line fitted to a few metres of it gives the heading.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import CHANNELS
from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.geometry import angle_between, wrap

CONTINUE_M = 10.0  # m by which lines that leave the picture are continued: thinning eats open ends
FIT_M = 4.0  # m of line on either side of the ring that give the heading
STRAIGHT_M = 0.15  # m, root mean square distance from a straight line: what thinning alone makes of one
SAME_ROAD_RAD = math.radians(12.0)  # crossings nearer than this are lanes of one road, or one line thinned twice
CLOSE_GAPS_M = 1.0  # m, gaps between the drawn lanes of one road
FARTHEST_ROAD_M = 15.0  # m, a road drawn farther away than this is not the one the vehicle is on
STATED_STD_RAD = math.radians(10.0)  # what a map that is off by 2.5 m and 4 deg can promise
DRAWN = 0.4  # of the brightest cell


def skeletonise(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> skeleton, bool, 8-connected and one cell wide (Zhang and Suen, 1984)."""
    image = np.pad(mask.astype(bool), 1)
    while True:
        before = np.count_nonzero(image)
        for first in (True, False):
            # p2..p9: the neighbours clockwise from north, as in the paper.
            p = [np.roll(image, shift, (0, 1)) for shift in
                 ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))]
            neighbours = sum(q.astype(np.uint8) for q in p)
            rises = sum((~a & b).astype(np.uint8) for a, b in zip(p, p[1:] + p[:1], strict=True))
            north, east, south, west = p[0], p[2], p[4], p[6]
            if first:
                open_side = ~(north & east & south) & ~(east & south & west)
            else:
                open_side = ~(north & east & west) & ~(north & south & west)
            image = image & ~((neighbours >= 2) & (neighbours <= 6) & (rises == 1) & open_side)
        if np.count_nonzero(image) == before:
            return image[1:-1, 1:-1]


def trace_roads(road: np.ndarray, grid: Grid, lookahead: float) -> list[tuple[float, float]]:
    """Drawn roads (H, W) in 0..1 on `grid` -> [(bearing, heading), ...] rad where they cross the ring, outward.

    Empty when nothing is drawn within 15 m of the vehicle.
    """
    if not road.max() > 0:
        return []
    border = int(CONTINUE_M / grid.resolution)
    drawn = np.pad((road > DRAWN * road.max()).astype(np.uint8), border, mode='edge')
    size = 2 * int(round(CLOSE_GAPS_M / 2 / grid.resolution)) + 1
    drawn = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    rows, columns = np.nonzero(skeletonise(drawn))
    if not len(rows):
        return []
    x, y = grid.cells_to_metres(rows - border, columns - border)
    return _crossings(rows, columns, np.stack([x, y], axis=1), len(drawn), lookahead)


def _crossings(rows: np.ndarray, columns: np.ndarray, points: np.ndarray, size: int,
               lookahead: float) -> list[tuple[float, float]]:
    distance = np.hypot(points[:, 0], points[:, 1])
    nearest = int(np.argmin(distance))
    if distance[nearest] > min(FARTHEST_ROAD_M, lookahead):
        return []
    inside = np.zeros((size, size), np.uint8)
    within = distance <= lookahead
    inside[rows[within], columns[within]] = 1
    _, labels = cv2.connectedComponents(inside, connectivity=8)
    own = labels == labels[rows[nearest], columns[nearest]]
    # Outer cells that touch the own piece are its crossings; those that touch each other are one crossing.
    touching = cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    outer = np.zeros((size, size), np.uint8)
    leaving = ~within & touching[rows, columns]
    outer[rows[leaving], columns[leaving]] = 1
    count, groups = cv2.connectedComponents(outer, connectivity=8)
    found = []
    for group in range(1, count):
        at = points[leaving & (groups[rows, columns] == group)].mean(axis=0)
        crossing = _fit(rows, columns, points, size, at, lookahead)
        if crossing is not None:
            found.append(crossing)
    return _merge(found)


def _fit(rows: np.ndarray, columns: np.ndarray, points: np.ndarray, size: int, at: np.ndarray,
         lookahead: float) -> tuple[float, float] | None:
    """Line through the skeleton around `at`, cut with the ring -> (bearing, heading).

    Where the line bends at the ring (a junction just beyond it), the straighter of its inner and outer parts is taken.
    """
    near = np.hypot(*(points - at).T) <= 2 * FIT_M
    piece = np.zeros((size, size), np.uint8)
    piece[rows[near], columns[near]] = 1
    _, labels = cv2.connectedComponents(piece, connectivity=8)
    label = labels[rows, columns]
    line = points[near & (label == label[np.argmin(np.hypot(*(points - at).T))])]
    outward = np.hypot(line[:, 0], line[:, 1]) - lookahead
    both = line[np.hypot(*(line - at).T) <= FIT_M]
    if len(both) < 4:
        return None
    middle, direction, residual = _straight(both)
    if residual > STRAIGHT_M:
        parts = [part for part in (line[outward <= 0], line[outward >= 0]) if len(part) >= 4]
        middle, direction, _ = min([(middle, direction, residual), *map(_straight, parts)], key=lambda f: f[2])
    if direction @ at < 0:
        direction = -direction
    # |middle + t direction| = lookahead, the solution nearer to the crossing
    along = float((at - middle) @ direction)
    b, c = float(middle @ direction), float(middle @ middle) - lookahead ** 2
    if b * b < c:  # the fitted line misses the ring: a road that merely grazes it
        t = -b
    else:
        t = min((-b + s * math.sqrt(b * b - c) for s in (1, -1)), key=lambda t: abs(t - along))
    cross = middle + t * direction
    return math.atan2(cross[1], cross[0]), math.atan2(direction[1], direction[0])


def _straight(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Total least squares line through (N, 2) -> a point on it, unit direction, root mean square distance."""
    middle = points.mean(axis=0)
    _, spread, axes = np.linalg.svd(points - middle, full_matrices=False)
    return middle, axes[0], float(spread[1] / math.sqrt(len(points)))


def _merge(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Crossings of one road become one: the mean of neighbours that are nearer than SAME_ROAD_RAD to each other."""
    groups: list[list[tuple[float, float]]] = []
    for crossing in sorted(found):
        if groups and angle_between(crossing[0], groups[-1][-1][0]) < SAME_ROAD_RAD:
            groups[-1].append(crossing)
        else:
            groups.append([crossing])
    if len(groups) > 1 and angle_between(groups[0][0][0], groups[-1][-1][0]) < SAME_ROAD_RAD:
        groups[0] = groups.pop() + groups[0]
    return [(_circular_mean([b for b, _ in group]), _circular_mean([h for _, h in group])) for group in groups]


def _circular_mean(angles: list[float]) -> float:
    return math.atan2(float(np.mean(np.sin(angles))), float(np.mean(np.cos(angles))))


def map_branches(map_bev: np.ndarray, grid: Grid, lookahead: float) -> tuple[tuple[Branch, ...], Branch | None]:
    """(3, H, W) map BEV (road, route, valid) -> every branch of the drawn roads, and the one to take.

    The one to take is where the route leaves the ring, if one is drawn, else the branch most nearly ahead.
    """
    road, route = (map_bev[CHANNELS.index(name)] for name in ('road', 'route'))
    branches = tuple(Branch(wrap(b), wrap(h), 1.0, STATED_STD_RAD, STATED_STD_RAD)
                     for b, h in trace_roads(np.maximum(road, route), grid, lookahead))
    if not branches:
        return (), None
    goal = 0.0
    if route.max() > 0.5:
        leaving = [b for b, _ in trace_roads(route, grid, lookahead)]
        goal = min(leaving, key=abs, default=0.0)  # a route drawn from behind on crosses the ring there as well
    taken = min(branches, key=lambda branch: angle_between(branch.bearing, goal))
    return branches, taken if angle_between(taken.bearing, goal) < math.pi / 2 else None
