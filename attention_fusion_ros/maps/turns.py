# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Restrictions of turns between ways -> turns between edges that are forbidden.

https://wiki.openstreetmap.org/wiki/Relation:restriction
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.tags import TURNS

STRAIGHT_RAD, BACK_RAD = math.radians(60.0), math.radians(120.0)  # at most, at least: whatever lies between is a bend
Arc = tuple[int, int]  # edge, and 1 along its vertices or 0 against them


def forbidden_turns(graph: RoadGraph, ways: np.ndarray, restrictions: np.ndarray) -> np.ndarray:
    """(T, 4) as `RoadGraph.turns`, in rising order.

    ways: (E,) number of the way of each edge. restrictions: (R, 4) number of the way from, of the node via in the
    graph, of the way to, and in `tags.TURNS`. A turn that is prescribed forbids all others there; of several that are
    prescribed for one edge, each is allowed. What no car can drive anyway (a way that does not come to the node, a
    oneway road the wrong way) is left out, and where such a turn is prescribed, nothing is forbidden.
    """
    at = _Junctions(graph, ways, restrictions[:, 1])
    forbidden: set[tuple[Arc, Arc]] = set()
    prescribed: dict[tuple[Arc, int], set[Arc]] = defaultdict(set)
    for origin, node, target, kind in restrictions.tolist():
        for turn in at.turns(origin, node, target, TURNS[kind]):
            if TURNS[kind].startswith('only_'):
                prescribed[turn[0], node].add(turn[1])
            else:
                forbidden.add(turn)
    for (arc, node), allowed in prescribed.items():
        forbidden |= {(arc, other) for other in at.leaving[node] if other not in allowed}
    return np.array(sorted((*a, *b) for a, b in forbidden), np.int32).reshape(-1, 4)


class _Junctions:
    """The roads that cars may drive to and from some nodes."""

    def __init__(self, graph: RoadGraph, ways: np.ndarray, nodes: np.ndarray):
        self._graph, self._ways = graph, ways
        self.leaving: dict[int, list[Arc]] = defaultdict(list)
        self._coming: dict[int, list[Arc]] = defaultdict(list)
        for edge in np.flatnonzero(graph.routable & np.isin(graph.ends, nodes).any(axis=1)).tolist():
            first, last = graph.ends[edge].tolist()
            self.leaving[first].append((edge, 1))
            self._coming[last].append((edge, 1))
            if not graph.oneway[edge]:
                self.leaving[last].append((edge, 0))
                self._coming[first].append((edge, 0))

    def turns(self, origin: int, node: int, target: int, what: str) -> list[tuple[Arc, Arc]]:
        """The turns at a node from one way to another.

        Where a way passes through the node there are several; of these, the ones that the word fits. From a way to
        itself the word always tells whether cars drive on or turn back.
        """
        found = [(a, b) for a in self._coming[node] if self._ways[a[0]] == origin
                 for b in self.leaving[node] if self._ways[b[0]] == target]
        if origin == target:
            found = [(a, b) for a, b in found if (a == (b[0], 1 - b[1])) == what.endswith('_u_turn')]
        return found if len(found) == 1 else [turn for turn in found if self._fits(*turn, what)]

    def _fits(self, a: Arc, b: Arc, what: str) -> bool:
        same = bool(self._ways[a[0]] == self._ways[b[0]])
        if what.endswith('_u_turn'):
            return same or abs(self._angle(a, b)) > BACK_RAD
        if what.endswith('_straight_on'):
            return abs(self._angle(a, b)) < STRAIGHT_RAD
        if what.endswith(('_left_turn', '_right_turn')):
            return (self._angle(a, b) > 0.0) == what.endswith('_left_turn')
        return not same  # no_entry, no_exit: no word about the angle

    def _angle(self, a: Arc, b: Arc) -> float:
        """rad from one road into the other, left positive."""
        return math.remainder(self._heading(*b, start=True) - self._heading(*a, start=False), 2 * math.pi)

    def _heading(self, edge: int, forward: int, start: bool) -> float:
        """rad from east, left positive, of an edge as it is driven, at its start or its end."""
        low, high = int(self._graph.first[edge]), int(self._graph.first[edge + 1]) - 1
        latitude, longitude = self._graph.latitudes, self._graph.longitudes
        segments = range(low, high) if bool(forward) == start else range(high - 1, low - 1, -1)  # from the node on
        k = next((k for k in segments if latitude[k] != latitude[k + 1] or longitude[k] != longitude[k + 1]),
                 segments[0])  # two nodes at one place have no direction
        east = math.remainder(longitude[k + 1] - longitude[k], 360.0) * math.cos(math.radians(latitude[k]))
        heading = math.atan2(latitude[k + 1] - latitude[k], east)
        return heading if forward else heading + math.pi
