# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the roads go from a pose: the branches on the ring and the one to take, exactly by definition.

A branch is a place where a centre line that is connected, inside the ring, to the road the vehicle is on crosses the
ring. Roads are connected at shared vertices (see `world.Road`); lines that cross without one pass over each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.simulation.world.polyline import TOUCH_M, clip_to_disc, distances
from attention_fusion_ros.simulation.world.world import Pose, Road, World, to_base

MERGE_RAD = math.radians(3.0)  # crossings nearer to each other than this are one branch
ACROSS_RAD = math.radians(80.0)  # a vehicle turned farther than this off its road looks along neither sense of it
STRAIGHT_ON_RAD = math.radians(60.0)  # an arm that turns more than this is no continuation
SIMILAR_RAD = math.radians(15.0)  # two arms whose turns differ by less are a fork
LOOK_M = 6.0  # of road on both sides of a junction that tell how much an arm turns


Nodes = dict[tuple[int, int], list[tuple[int, int]]]  # any (piece, vertex) of a node -> all of them there


@dataclass(frozen=True)
class Truth:
    """(bearing, heading) pairs in rad from the vehicle; branches ordered by bearing."""

    branches: tuple[tuple[float, float], ...]
    direction: tuple[float, float] | None  # one of the branches
    direction_reason: str  # why there is none, '' when there is one


@dataclass
class _Piece:
    """A stretch of a centre line inside the ring, in base_link."""

    line: np.ndarray  # (P, 2)
    road: int
    crosses: tuple[bool, bool]  # whether its first and last vertex lie on the ring
    oneway: bool


def truth(world: World, pose: Pose | None = None, lookahead: float = 20.0, route: bool = False) -> Truth:
    """Branches and direction for a vehicle at `pose` (x, y, yaw in the world; default: the world's own).

    route: a route is drawn in the map, so the direction is the branch that the world's route takes.
    """
    pose = world.pose if pose is None else pose
    pieces = _clip(world.roads, pose, lookahead)
    own, at = _own_road(pieces, world.roads)
    if own is None:
        return Truth((), None, 'no road within the ring')
    nodes = _nodes(pieces)
    branches = _branches(pieces, _connected(pieces, nodes, own))
    if route and world.route is not None:
        found, reason = _along_route(to_base(world.route, pose), lookahead)
    else:
        found, reason = _continuation(pieces, nodes, own, at)
    if found is None:
        return Truth(branches, None, reason)
    nearest = min(branches, key=lambda b: abs(wrap(b[0] - found)), default=None)
    if nearest is None or abs(wrap(nearest[0] - found)) > 2 * MERGE_RAD:
        return Truth(branches, None, 'the route leaves the roads')
    return Truth(branches, nearest, '')


def truths_of_turns(world: World, lookahead: float, turns: Sequence[float]) -> tuple[tuple[Truth, Truth], ...]:
    """(without, with a route drawn) for the world's pose turned to the right by each of `turns` [rad].

    The same as `truth` for each of these poses, but the roads are cut and joined only once.
    """
    pieces = _clip(world.roads, world.pose, lookahead)
    own, at = _own_road(pieces, world.roads)
    if own is None:
        nothing = Truth((), None, 'no road within the ring')
        return ((nothing, nothing),) * len(turns)
    nodes = _nodes(pieces)
    branches = _branches(pieces, _connected(pieces, nodes, own))
    routed = None if world.route is None else _along_route(to_base(world.route, world.pose), lookahead)
    found = []
    for turn in turns:
        without = _continuation(pieces, nodes, own, at, turn)
        found.append((_turned(branches, *without, turn), _turned(branches, *(routed or without), turn)))
    return tuple(found)


def _turned(branches: tuple[tuple[float, float], ...], found: float | None, reason: str, turn: float) -> Truth:
    nearest = None
    if found is not None:
        nearest = min(branches, key=lambda b: abs(wrap(b[0] - found)), default=None)
        if nearest is None or abs(wrap(nearest[0] - found)) > 2 * MERGE_RAD:
            nearest, reason = None, 'the route leaves the roads'
    pairs = [(wrap(b + turn), wrap(h + turn)) for b, h in branches]
    direction = None if nearest is None else (wrap(nearest[0] + turn), wrap(nearest[1] + turn))
    return Truth(tuple(sorted(pairs)), direction, reason)


def _clip(roads: tuple[Road, ...], pose: Pose, radius: float) -> list[_Piece]:
    pieces = []
    for index, road in enumerate(roads):
        line = to_base(road.centre, pose)
        for run in clip_to_disc(line, radius):
            on = [abs(float(np.hypot(*p)) - radius) < 1e-6 for p in run[[0, -1]]]
            pieces.append(_Piece(run, index, (on[0], on[1]), road.oneway))
    return pieces


def _own_road(pieces: list[_Piece], roads: tuple[Road, ...]) -> tuple[int | None, int]:
    """(index of the piece the vehicle is on, its segment nearest to the vehicle)."""
    best, own, at = (math.inf, math.inf), None, 0
    for i, piece in enumerate(pieces):
        distance, segment = _nearest(piece.line)
        key = (max(distance - roads[piece.road].width / 2, 0.0), distance)
        if key < best:
            best, own, at = key, i, segment
    return own, at


def _nearest(line: np.ndarray) -> tuple[float, int]:
    """(distance of the origin from a polyline, index of the nearest segment)."""
    away = distances(line, (0.0, 0.0))
    k = int(np.argmin(away))
    return float(away[k]), k


def _nodes(pieces: list[_Piece]) -> Nodes:
    """Shared vertices: any (piece, vertex) of a node -> all (piece, vertex) there, itself included."""
    points = np.concatenate([p.line for p in pieces])
    owner = [(i, k) for i, p in enumerate(pieces) for k in range(len(p.line))]
    on_ring = np.concatenate([_ring_ends(p) for p in pieces])
    order = np.argsort(points[:, 0], kind='stable')
    groups: Nodes = {}
    for n, i in enumerate(order):
        for j in order[n + 1:]:
            if points[j, 0] - points[i, 0] > TOUCH_M:
                break
            if on_ring[i] or on_ring[j] or abs(points[j, 1] - points[i, 1]) > TOUCH_M:
                continue
            a, b = owner[i], owner[j]
            if a[0] == b[0] and abs(a[1] - b[1]) == 1:
                continue  # a short segment, not a meeting
            together = list(dict.fromkeys(groups.get(a, [a]) + groups.get(b, [b])))
            for member in together:
                groups[member] = together
    return groups


def _ring_ends(piece: _Piece) -> np.ndarray:
    on = np.zeros(len(piece.line), bool)
    on[0], on[-1] = piece.crosses
    return on


def _connected(pieces: list[_Piece], nodes: Nodes, own: int) -> set[int]:
    reached, waiting = {own}, [own]
    while waiting:
        piece = waiting.pop()
        for members in (m for key, m in nodes.items() if key[0] == piece):
            for other, _ in members:
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
    return reached


def _branches(pieces: list[_Piece], connected: set[int]) -> tuple[tuple[float, float], ...]:
    found = []
    for i in sorted(connected):
        line, (first, last) = pieces[i].line, pieces[i].crosses
        for crosses, point, inner in ((first, line[0], line[1]), (last, line[-1], line[-2])):
            if crosses:
                out = point - inner
                found.append((math.atan2(point[1], point[0]), math.atan2(out[1], out[0])))
    return merge(sorted(found))


def merge(found: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """(bearing, heading) pairs with those nearer than MERGE in bearing replaced by their mean."""
    groups: list[list[tuple[float, float]]] = []
    for pair in found:
        if groups and abs(wrap(pair[0] - groups[-1][-1][0])) < MERGE_RAD:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    if len(groups) > 1 and abs(wrap(groups[0][0][0] - groups[-1][-1][0])) < MERGE_RAD:
        groups[0] = groups.pop() + groups[0]
    return tuple(sorted((_mean_angle([p[0] for p in g]), _mean_angle([p[1] for p in g])) for g in groups))


def _mean_angle(angles: list[float]) -> float:
    return math.atan2(sum(math.sin(a) for a in angles), sum(math.cos(a) for a in angles))


def _along_route(line: np.ndarray, radius: float) -> tuple[float | None, str]:
    """Bearing at which the route, followed from its point nearest to the vehicle, leaves the ring."""
    distance, k = _nearest(line)
    if distance >= radius:
        return None, 'the route does not come near'
    squared = (line * line).sum(axis=1)
    outside = np.flatnonzero(squared[k + 1:] > radius * radius)
    if len(outside) == 0:
        return None, 'the route ends within the ring'
    j = k + 1 + int(outside[0])
    d = line[j] - line[j - 1]
    A, B, C = d @ d, line[j - 1] @ d, line[j - 1] @ line[j - 1] - radius * radius
    p = line[j - 1] + d * ((-B + math.sqrt(max(B * B - A * C, 0.0))) / A)
    return math.atan2(p[1], p[0]), ''


def _continuation(pieces: list[_Piece], nodes: Nodes, own: int, segment: int,
                  turn: float = 0.0) -> tuple[float | None, str]:
    """Bearing at which the road ahead leaves the ring, going straight on at junctions; else why it does not.

    'Ahead' is the sense of the vehicle's own road that is nearer to its heading, once it has turned right by `turn`.
    """
    line = pieces[own].line
    tangent = line[segment + 1] - line[segment]
    angle = math.atan2(tangent[1], tangent[0])
    angle = wrap(angle + turn) if turn else angle
    if min(abs(angle), math.pi - abs(angle)) > ACROSS_RAD:
        return None, 'the vehicle stands across the road'
    step = 1 if abs(angle) <= math.pi / 2 else -1
    piece, vertex = own, segment + (1 if step > 0 else 0)
    passed: set[tuple[int, int]] = set()
    while True:
        line = pieces[piece].line
        at_end = vertex == (len(line) - 1 if step > 0 else 0)
        if at_end and pieces[piece].crosses[1 if step > 0 else 0]:
            return math.atan2(line[vertex][1], line[vertex][0]), ''
        if (piece, vertex) in passed:
            return None, 'the road ahead leads in a circle'
        passed.add((piece, vertex))
        arms = _arms(pieces, nodes, piece, vertex, step)
        if len(arms) == 0:
            return None, 'the road ahead ends within the ring'
        if len(arms) == 1:
            _, piece, vertex, step = arms[0]
        else:
            if abs(arms[0][0]) > STRAIGHT_ON_RAD:
                return None, 'no road goes straight on at the junction ahead'
            if abs(arms[1][0]) < STRAIGHT_ON_RAD and abs(arms[1][0]) - abs(arms[0][0]) < SIMILAR_RAD:
                return None, 'the road ahead forks'
            _, piece, vertex, step = arms[0]
        vertex += step


def _arms(pieces: list[_Piece], nodes: Nodes, piece: int, vertex: int, step: int) -> list[tuple[float, int, int, int]]:
    """Ways on from a vertex: (turn [rad], piece, vertex, step), least turn first; never back the way we came."""
    came = _heading(pieces[piece].line[::-step], len(pieces[piece].line) - 1 - vertex if step > 0 else vertex)
    found = []
    for other, k in nodes.get((piece, vertex), [(piece, vertex)]):
        line = pieces[other].line
        for sense in (1, -1):
            if (other, k, sense) == (piece, vertex, -step) or not 0 <= k + sense < len(line):
                continue
            out = _heading(line[::sense], k if sense > 0 else len(line) - 1 - k)
            found.append((float(wrap(out - came - math.pi)), other, k, sense))
    return sorted(found, key=lambda arm: abs(arm[0]))


def _heading(line: np.ndarray, k: int) -> float:
    """Direction from vertex k to the point LOOK metres on, or to the end."""
    start, rest = line[k], line[k + 1:]
    distance = np.hypot(*(rest - start).T)
    far = np.flatnonzero(distance >= LOOK_M)
    end = rest[int(far[0])] if len(far) else rest[-1]
    if len(far):  # at LOOK exactly, however long the segment
        previous = line[k + int(far[0])]
        reach = np.hypot(*(previous - start))
        end = previous + (end - previous) * (LOOK_M - reach) / max(distance[far[0]] - reach, 1e-9)
    return math.atan2(end[1] - start[1], end[0] - start[0])
