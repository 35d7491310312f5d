# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The quickest way to a goal over the road graph; oneway roads, forbidden turns and bollards are respected."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.maps.arcs import Arcs, Begin, Reach
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.local_roads import LocalRoads, Match

SNAP_M = 100.0  # from a goal to its road
START_SNAP_M = 60.0
BESIDE_M = 15.0  # how much farther than the nearest road the right one may be: two carriageways, a bad fix
CANDIDATES = 8  # roads near start and goal that are tried
U_TURN_S = 120.0  # what turning round at the start may cost before another way is taken
ACCESS_SPEED = 1.0  # m/s between a place and its road: the nearer road is preferred
AT_END_M = 1.0  # of a road, or by which another is nearer, and not the same place
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
    """A way off or onto the network: within an arc, with what it costs to come there."""

    match: Match
    arc: int
    seconds: float
    u_turn: bool = False
    goal: int = 0  # number of the goal of the leg before, which it goes on from


class _Leg(NamedTuple):
    """All that may become the way from one waypoint to the next."""

    starts: list[_End]
    goals: list[_End]
    seconds: list[float]  # to each goal, with what came before; infinite where no way leads
    direct: list[int | None]  # the start from which a goal is only farther along the same arc
    reach: Reach

    def way(self, goal: int) -> tuple[_End, list[int]]:
        """Where the way to a goal starts, and its arcs."""
        number, end = self.direct[goal], self.goals[goal]
        if number is not None:
            return self.starts[number], [end.arc]
        number, arcs = self.reach.way(end.arc)
        return self.starts[number], [self.starts[number].arc, *arcs]


class RoutePlanner:
    """Routes over the roads around a datum."""

    def __init__(self, roads: LocalRoads):
        self.roads = roads
        graph = roads.graph
        self._arcs = Arcs(graph)
        self._restricted = frozenset(graph.ends[graph.turns[:, 0], graph.turns[:, 1]].tolist())  # nodes

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
        not start with a turn on the spot unless the other way is two minutes longer, or there is none. That goes for
        waypoints as well. Nowhere else does it turn on the spot.
        Raises InputError: goal_malformed, start_off_network, goal_off_network, goal_unreachable.
        """
        points = [np.asarray(goal, np.float64) for goal in goals]
        if not points or any(p.shape != (2,) or not np.isfinite(p).all() for p in points):
            raise InputError('goal_malformed', 'a goal is not two finite numbers.', 'give x and y in metres.')
        ends = self._starts(np.asarray(start, np.float64), heading)
        if not ends:
            raise InputError('start_off_network', f'no road that a route may use is within {START_SNAP_M:.0f} m of the '
                             'vehicle.', 'drive to a road, or let more kinds of highway count.')
        legs: list[_Leg] = []
        for goal in points:
            legs.append(self._leg(ends, self._goals(goal)))
            ends = self._onward(legs[-1])
        return self._route(legs)

    def _near(self, place: np.ndarray, radius: float, heading: float | None) -> list[Match]:
        found = self.roads.matches(place, radius, heading, routable=True, limit=CANDIDATES)
        found = [m for m in found if m.distance <= min(n.distance for n in found) + BESIDE_M]
        ahead: set[int] = set()
        for match in sorted(found, key=lambda m: m.distance):
            if self._is_ahead(match, found, ahead):
                ahead.add(match.edge)
        return [m for m in found if m.edge not in ahead]

    def _is_ahead(self, match: Match, others: list[Match], ahead: set[int]) -> bool:
        """Whether a road only begins where one that is nearer ends, and turns are forbidden there.

        A route that starts or ends on it would have made a turn before it begins, or leave one out. So it would on a
        road that begins behind such a one, as behind the few metres between two carriageways. ahead: nearer edges of
        which that is known.
        """
        for node in self._at_nodes(match):
            nearer = [o for o in others if o.distance < match.distance and node in self.roads.graph.ends[o.edge]]
            if nearer and all(o.edge in ahead for o in nearer):
                return True
            if node in self._restricted and any(o.distance < match.distance - AT_END_M for o in nearer):
                return True
        return False

    def _at_nodes(self, match: Match) -> list[int]:
        """The nodes at the ends of a road where a place is: none in its middle, both of a very short road."""
        first, last = self.roads.graph.ends[match.edge].tolist()
        found = [first] if match.at <= AT_END_M else []
        return found + ([last] if match.at >= self.roads.length(match.edge) - AT_END_M else [])

    def _starts(self, place: np.ndarray, heading: float | None) -> list[_End]:
        found = []
        for match in self._near(place, START_SNAP_M, heading):
            for arc in self._arcs.of(match.edge):
                against = heading is not None and abs(float(angle_between(self._way(match, arc), heading))
                                                      ) > TURN_AWAY_RAD
                found.append(_End(match, arc, match.distance / ACCESS_SPEED + against * U_TURN_S, against))
        return found

    def _goals(self, place: np.ndarray) -> list[_End]:
        found = [_End(match, arc, match.distance / ACCESS_SPEED) for match in self._near(place, SNAP_M, None)
                 for arc in self._arcs.of(match.edge)]
        if not found:
            raise InputError('goal_off_network', f'no road that a route may use is within {SNAP_M:.0f} m of the goal '
                             f'({place[0]:.0f} m east, {place[1]:.0f} m north of the datum).',
                             'give a goal nearer to a road, or let more kinds of highway count.')
        return found

    def _onward(self, leg: _Leg) -> list[_End]:
        """Where the next leg may start: where this one ends, in the same direction or with a turn on the spot.

        But not with one in the middle of a junction where turns are forbidden: it would be a way round that.
        """
        found = []
        for number, (goal, seconds) in enumerate(zip(leg.goals, leg.seconds)):
            found.append(_End(goal.match, goal.arc, seconds, goal=number))
            back = self._arcs.opposite(goal.arc)
            if back is not None and not self._restricted.intersection(self._at_nodes(goal.match)):
                found.append(_End(goal.match, back, seconds + U_TURN_S, True, number))
        return [end for end in found if math.isfinite(end.seconds)]

    def _leg(self, starts: list[_End], goals: list[_End]) -> _Leg:
        """Raises InputError goal_unreachable."""
        whole = self._arcs.seconds
        driven = [self._share(s) for s in starts]
        reach = self._arcs.reach([Begin(s.arc, s.seconds + (1.0 - share) * float(whole[s.arc]))
                                  for s, share in zip(starts, driven)])
        seconds, direct = [], []
        for goal in goals:
            share = self._share(goal)
            best: tuple[float, int | None] = float(reach.seconds[goal.arc] - (1.0 - share) * whole[goal.arc]), None
            for number, start in enumerate(starts):
                if start.arc == goal.arc and driven[number] <= share:
                    along = start.seconds + (share - driven[number]) * float(whole[goal.arc])
                    best = (along, number) if along < best[0] else best
            seconds.append(best[0] + goal.seconds)
            direct.append(best[1])
        if not any(map(math.isfinite, seconds)):
            raise InputError('goal_unreachable', 'no way leads to the goal along the roads of the map in their allowed '
                             'directions.', 'give another goal; roads that are closed to cars, forbidden turns, a '
                             'bollard, or the edge of the file may be in between.')
        return _Leg(starts, goals, seconds, direct, reach)

    def _route(self, legs: list[_Leg]) -> Route:
        """The best way through all legs, from its end on."""
        number = int(np.argmin(legs[-1].seconds))
        arcs: list[int] = []
        lines: list[np.ndarray] = []
        seconds, u_turn = 0.0, False
        for leg in reversed(legs):
            start, way = leg.way(number)
            parts = [[0.0, 1.0] for _ in way]
            parts[0][0], parts[-1][1] = self._share(start), self._share(leg.goals[number])
            lines[:0] = [self._line(arc, *part) for arc, part in zip(way, parts)]
            driven = sum((b - a) * float(self._arcs.seconds[arc]) for arc, (a, b) in zip(way, parts))
            seconds += driven
            u_turn = start.u_turn or (u_turn and not driven)  # the first waypoint may be where the vehicle is
            arcs = way + (arcs[1:] if arcs[:1] == way[-1:] else arcs)  # a waypoint in the middle of an edge
            number = start.goal
        xy = np.vstack(lines)
        xy = xy[np.append(True, np.hypot(*np.diff(xy, axis=0).T) > 1e-6)]
        if len(xy) < 2:  # the goal is where the vehicle is
            heading = self._way(start.match, start.arc)
            xy = np.vstack([xy, xy + 0.01 * np.array([math.cos(heading), math.sin(heading)])])
        edges = tuple(self._arcs.edges[arcs].tolist())
        names = [name for name in map(self.roads.graph.name, edges) if name]
        names = [name for k, name in enumerate(names) if not k or name != names[k - 1]]
        return Route(xy, *self.roads.frame.to_degrees(xy), edges, tuple(self._arcs.forward[arcs].tolist()), seconds,
                     tuple(names), u_turn)

    def _way(self, match: Match, arc: int) -> float:
        """rad, the heading of a vehicle there."""
        return match.heading if self._arcs.forward[arc] else match.heading + math.pi

    def _share(self, end: _End) -> float:
        """How much of its arc lies before a place."""
        share = min(end.match.at / max(self.roads.length(end.match.edge), 1e-6), 1.0)
        return share if self._arcs.forward[end.arc] else 1.0 - share

    def _line(self, arc: int, start: float, stop: float) -> np.ndarray:
        """(P, 2) m of a part of an arc, from one share of it to another."""
        edge = int(self._arcs.edges[arc])
        if (start, stop) == (0.0, 1.0):
            return self.roads.line(edge) if self._arcs.forward[arc] else self.roads.line(edge)[::-1]
        whole = self.roads.length(edge)
        if not self._arcs.forward[arc]:
            start, stop = 1.0 - start, 1.0 - stop
        return self._cut(edge, start * whole, stop * whole)

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
