# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The quickest way to a goal over the road graph; oneway roads and bollards are respected."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.local_roads import LocalRoads, Match
from attention_fusion_ros.maps.shortest_paths import Links

SNAP_M = 100.0  # from a goal to its road
START_SNAP_M = 60.0
BESIDE_M = 15.0  # how much farther than the nearest road the right one may be: two carriageways, a bad fix
CANDIDATES = 8  # roads near start and goal that are tried
U_TURN_S = 120.0  # what turning round at the start may cost before another way is taken
ACCESS_SPEED = 1.0  # m/s between a place and its road: the nearer road is preferred
Point = Sequence[float] | np.ndarray  # (2,) m
TURN_AWAY_RAD = math.radians(100.0)


@dataclass(frozen=True)
class Route:
    """A way to drive."""

    xy: np.ndarray  # (P, 2) m in the local frame
    latitudes: np.ndarray  # (P,) degrees
    longitudes: np.ndarray
    edges: tuple[int, ...]  # of the road graph, in driving order; () for a path that was given
    forward: tuple[bool, ...]  # whether each is driven along its vertices
    seconds: float  # at the usual speeds; nan for a path that was given
    names: tuple[str, ...] = ()  # of the streets, in order
    u_turn: bool = False  # it starts against the heading of the vehicle

    @property
    def length(self) -> float:
        """m."""
        return float(np.hypot(*np.diff(self.xy, axis=0).T).sum())

    def geojson(self) -> str:
        """As a GeoJSON Feature (RFC 7946), longitude first."""
        places = zip(self.longitudes.tolist(), self.latitudes.tolist())
        coordinates = [[round(lon, 8), round(lat, 8)] for lon, lat in places]
        return json.dumps({'type': 'Feature', 'geometry': {'type': 'LineString', 'coordinates': coordinates},
                           'properties': {'length_m': round(self.length, 1), 'names': list(self.names),
                                          'seconds': None if math.isnan(self.seconds) else round(self.seconds, 1)}})


class _End(NamedTuple):
    """A way off or onto the network: on an edge, in one direction, with what it costs to get there."""

    match: Match
    forward: bool
    seconds: float
    u_turn: bool


class RoutePlanner:
    """Routes over the roads around a datum."""

    def __init__(self, roads: LocalRoads):
        self.roads = roads
        graph = roads.graph
        self._seconds = graph.lengths / graph.speeds
        free = np.flatnonzero(graph.routable)
        back = free[~graph.oneway[free]]
        tails = np.append(graph.ends[free, 0], graph.ends[back, 1])
        heads = np.append(graph.ends[free, 1], graph.ends[back, 0])
        edges, forward = np.append(free, back), np.append(np.ones(len(free), bool), np.zeros(len(back), bool))
        self._barred = frozenset(graph.barred.tolist())
        onward = ~np.isin(tails, graph.barred)  # to a bollard one may drive, and away from it, but not past it
        tails, heads, edges, forward = tails[onward], heads[onward], edges[onward], forward[onward]
        seconds = self._seconds[edges].astype(np.float64)
        order = np.lexsort((seconds, heads, tails))  # of parallel roads the quickest comes first, and stays
        tails, heads = tails[order], heads[order]
        new = np.ones(len(order), bool)
        new[1:] = (tails[1:] != tails[:-1]) | (heads[1:] != heads[:-1])
        tails, heads, order = tails[new], heads[new], order[new]
        self._links = Links.of(tails, heads, seconds[order], graph.nodes)
        self._keys = tails.astype(np.int64) * graph.nodes + heads
        self._edges, self._forward = edges[order], forward[order]

    def to_degrees(self, latitude: float, longitude: float, start: Point, heading: float | None = None) -> Route:
        """To a goal in degrees. Raises InputError, see `plan`."""
        return self.plan([self.place(latitude, longitude)], start, heading)

    def place(self, latitude: float, longitude: float) -> np.ndarray:
        """(2,) m of a goal in degrees. Raises InputError: goal_malformed, goal_off_network far from the datum."""
        frame = self.roads.frame
        if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 360):
            raise InputError('goal_malformed', f'{latitude}, {longitude} is no latitude and longitude in degrees.',
                             'give a goal as latitude, longitude.')
        away = frame.distance(latitude, longitude)
        if away > 200e3:
            raise InputError('goal_off_network', f'the goal is {away / 1000:.0f} km away, outside the map.',
                             'check the order (latitude first), or give a nearer goal.')
        return frame.to_metres(latitude, longitude)

    def plan(self, goals: Sequence[Point], start: Point, heading: float | None = None) -> Route:
        """The quickest way from a place through waypoints to the last of them.

        goals: places (2,) m in the local frame. start: (2,) m. heading: of the vehicle [rad]; with it, the route does
        not start with a turn on the spot unless the other way is two minutes longer, or there is none.
        Raises InputError: goal_malformed, start_off_network, goal_off_network, goal_unreachable.
        """
        points = [np.asarray(goal, np.float64) for goal in goals]
        if not points or any(p.shape != (2,) or not np.isfinite(p).all() for p in points):
            raise InputError('goal_malformed', 'a goal is not two finite numbers.', 'give x and y in metres.')
        legs, at, way = [], np.asarray(start, np.float64), heading
        for number, goal in enumerate(points):
            starts = self._starts(at, way)
            if not starts:
                raise InputError('start_off_network', f'no road that a route may use is within {START_SNAP_M:.0f} m of '
                                 f"{'the vehicle' if not number else f'waypoint {number}'}.",
                                 'drive to a road, or let more kinds of highway count.')
            leg = self._leg(starts, self._goals(goal))
            legs.append(leg)
            last = leg[0][-1] - leg[0][-2]
            at, way = leg[0][-1], math.atan2(last[1], last[0])
        xy = np.vstack([legs[0][0], *[leg[0] for leg in legs[1:]]])
        xy = xy[np.append(True, np.hypot(*np.diff(xy, axis=0).T) > 1e-6)]
        steps = [(e, f) for leg in legs for e, f in zip(leg[1], leg[2])]
        steps = [s for k, s in enumerate(steps) if not k or s != steps[k - 1]]  # a waypoint in the middle of an edge
        edges = tuple(e for e, _ in steps)
        names: list[str] = []
        for edge in edges:
            name = self.roads.graph.name(edge)
            if name and (not names or names[-1] != name):
                names.append(name)
        latitudes, longitudes = self.roads.frame.to_degrees(xy)
        return Route(xy, latitudes, longitudes, edges, tuple(f for _, f in steps),
                     sum(leg[3] for leg in legs), tuple(names), legs[0][4])

    def _near(self, place: np.ndarray, radius: float, heading: float | None) -> list[Match]:
        found = self.roads.matches(place, radius, heading, routable=True, limit=CANDIDATES)
        return [m for m in found if m.distance <= min(n.distance for n in found) + BESIDE_M]

    def _starts(self, place: np.ndarray, heading: float | None) -> list[_End]:
        found = []
        for match in self._near(place, START_SNAP_M, heading):
            for forward in (True,) if self.roads.graph.oneway[match.edge] else (True, False):
                way = match.heading if forward else match.heading + math.pi
                against = heading is not None and abs(float(angle_between(way, heading))) > TURN_AWAY_RAD
                found.append(_End(match, forward, match.distance / ACCESS_SPEED + against * U_TURN_S, against))
        return found

    def _goals(self, place: np.ndarray) -> list[_End]:
        found = [_End(match, forward, match.distance / ACCESS_SPEED, False)
                 for match in self._near(place, SNAP_M, None)
                 for forward in ((True,) if self.roads.graph.oneway[match.edge] else (True, False))]
        if not found:
            raise InputError('goal_off_network', f'no road that a route may use is within {SNAP_M:.0f} m of the goal '
                             f'({place[0]:.0f} m east, {place[1]:.0f} m north of the datum).',
                             'give a goal nearer to a road, or let more kinds of highway count.')
        return found

    def _leg(self, starts: list[_End], goals: list[_End]) -> tuple[np.ndarray, list[int], list[bool], float, bool]:
        """Line, edges, directions, seconds, whether it starts with a turn."""
        graph = self.roads.graph
        best: tuple[float, _End, _End, bool, np.ndarray] | None = None
        for s in starts:
            seconds, before = self._from(s)
            rest = self._part(s.match, s.forward)
            for g in goals:
                tail = int(graph.ends[g.match.edge, 0 if g.forward else 1])
                turns = s.match.edge == g.match.edge and s.forward != g.forward and not seconds[tail]
                cost = (turns * U_TURN_S + s.seconds + rest + seconds[tail] + self._part(g.match, not g.forward)
                        + g.seconds)
                past = tail in self._barred and not turns  # one may turn round in front of a bollard
                options = [(math.inf if past else float(cost), False)]
                if s.match.edge == g.match.edge and s.forward == g.forward:
                    along = (g.match.at - s.match.at) * (1 if s.forward else -1)
                    if along >= 0:
                        options.append((s.seconds + along / float(graph.speeds[s.match.edge]) + g.seconds, True))
                for option, direct in options:
                    if math.isfinite(option) and (best is None or option < best[0]):
                        best = option, s, g, direct, before
        if best is None:
            raise InputError('goal_unreachable', 'no way leads to the goal along the roads of the map in their allowed '
                             'directions.', 'give another goal; roads that are closed to cars, a bollard, or the edge '
                             'of the file may be in between.')
        total, s, g, direct, before = best
        if direct:
            edges, forward = [s.match.edge], [s.forward]
            lines = [self._cut(s.match.edge, s.match.at, g.match.at)]
        else:
            start_node = int(graph.ends[s.match.edge, 1 if s.forward else 0])
            goal_node = int(graph.ends[g.match.edge, 0 if g.forward else 1])
            middle = self._between(before, start_node, goal_node)
            edges = [s.match.edge, *[e for e, _ in middle], g.match.edge]
            forward = [s.forward, *[f for _, f in middle], g.forward]
            lines = [self._cut(s.match.edge, s.match.at, self.roads.length(s.match.edge) if s.forward else 0.0),
                     *[self.roads.line(e) if f else self.roads.line(e)[::-1] for e, f in middle],
                     self._cut(g.match.edge, 0.0 if g.forward else self.roads.length(g.match.edge), g.match.at)]
        line = np.vstack(lines)
        if len(line) < 2 or np.hypot(*np.ptp(line, axis=0)) < 1e-6:  # the goal is where the vehicle is
            way = s.match.heading if s.forward else s.match.heading + math.pi
            line = np.stack([s.match.place, s.match.place + 0.01 * np.array([math.cos(way), math.sin(way)])])
        turned = len(edges) > 1 and edges[0] == edges[1] and forward[0] != forward[1]
        return line, edges, forward, total - s.seconds - g.seconds - turned * U_TURN_S, s.u_turn or turned

    def _from(self, start: _End) -> tuple[np.ndarray, np.ndarray]:
        """Seconds to every node from the end of the first edge, and the node before each; turning round there costs."""
        ends = self.roads.graph.ends[start.match.edge]
        node, other = (int(n) for n in (ends[::-1] if start.forward else ends))
        links = self._links
        k = int(np.searchsorted(self._keys, node * self.roads.graph.nodes + other))
        if k < len(self._keys) and self._edges[k] == start.match.edge and node != other:
            links = links.dearer(k, U_TURN_S)
        return links.paths(node)

    def _part(self, match: Match, to_end: bool) -> float:
        """Seconds from a place on an edge to its last vertex, or from its first vertex to the place."""
        whole = max(self.roads.length(match.edge), 1e-6)
        share = min(match.at / whole, 1.0)
        return float(self._seconds[match.edge]) * (1.0 - share if to_end else share)

    def _between(self, before: np.ndarray, start: int, goal: int) -> list[tuple[int, bool]]:
        found = []
        node = goal
        while node != start:
            last = int(before[node])
            k = int(np.searchsorted(self._keys, last * self.roads.graph.nodes + node))
            found.append((int(self._edges[k]), bool(self._forward[k])))
            node = last
        return found[::-1]

    def _cut(self, edge: int, start: float, stop: float) -> np.ndarray:
        """The line of an edge from one distance along it to another, which may be smaller."""
        line = self.roads.line(edge)
        s = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
        low, high = min(start, stop), max(start, stop)
        inner = line[(s > low + 1e-9) & (s < high - 1e-9)]
        ends = np.stack([[np.interp(v, s, line[:, 0]), np.interp(v, s, line[:, 1])] for v in (low, high)])
        part = np.vstack([ends[:1], inner, ends[1:]])
        return part if start <= stop else part[::-1]


def route_from_path(points: np.ndarray, frame: LocalFrame) -> Route:
    """A path (P, 2) m in the local frame that somebody else planned. Raises InputError path_too_short."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points):
        points = points[np.append(True, np.hypot(*np.diff(points, axis=0).T) > 1e-3)]
    if len(points) < 2:
        raise InputError('path_too_short', 'the path has fewer than two different points.', 'send a longer path.')
    return Route(points, *frame.to_degrees(points), (), (), math.nan)
