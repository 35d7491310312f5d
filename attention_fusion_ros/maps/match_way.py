# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map matching: which roads a way that was measured runs along.

A hidden Markov model over places some metres apart, whose states are the roads nearby: a road is more probable near a
place, and a step where it is as long along the roads as it was driven. Newson and Krumm, Hidden Markov map matching
through noise and sparseness, ACM SIGSPATIAL GIS 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.maps.local_roads import LocalRoads, Match
from attention_fusion_ros.maps.shortest_paths import Links

RADIUS_M = 25.0  # from a place to its road
PLACE_STD_M = 6.0  # of places, lanes beside the centre line of wide roads included
STEP_SCALE_M = 4.0  # by which steps along the roads differ from those driven
DETOUR_M = 40.0  # by which they may be longer at most
CANDIDATES = 6
ACROSS = 8.0  # cost of a road that runs across the way
MARGIN_M = 150.0  # around the way: roads farther off play no part
EXTENDED_M = 80.0  # by which the way goes on where it ends, as long as there is no choice


@dataclass(frozen=True)
class Stretch:
    """A part of a way: along roads, or as it was measured where there are none.

    first: number of its first place. line: (P, 2) m. along: (K,) m along the line of its places.
    """

    first: int
    line: np.ndarray
    along: np.ndarray
    on_roads: bool


def match_way(roads: LocalRoads, places: np.ndarray) -> list[Stretch]:
    """(N, 2) m, a few metres apart in the order of driving -> stretches that hold all places, in order."""
    network = _Network(roads, places)
    headings = _headings(places)
    states: list[list[Match]] = [network.candidates(p, h) for p, h in zip(places, headings)]
    found: list[Stretch] = []
    start = 0
    while start < len(places):
        if not states[start]:
            stop = next((k for k in range(start, len(places)) if states[k]), len(places))
            line = places[start:stop]
            found.append(Stretch(start, line, np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))), False))
        else:
            chosen = _viterbi(network, states, places, headings, start)
            stop = start + len(chosen)
            found.append(network.stretch(start, chosen, last=stop == len(places), heading=headings[stop - 1]))
        start = stop
    return found


def _headings(places: np.ndarray) -> np.ndarray:
    if len(places) < 2:
        return np.zeros(len(places))
    d = np.gradient(places, axis=0)
    headings: np.ndarray = np.arctan2(d[:, 1], d[:, 0])
    return headings


def _viterbi(network: _Network, states: list[list[Match]], places: np.ndarray, headings: np.ndarray, start: int
             ) -> list[Match]:
    """The most probable roads from a place on, as far as they hang together."""
    cost = np.array([_unlikely(m, headings[start]) for m in states[start]])
    back: list[np.ndarray] = []
    k = start + 1
    while k < len(states) and states[k]:
        driven = float(np.hypot(*(places[k] - places[k - 1])))
        steps = np.abs(network.distances(states[k - 1], states[k], driven + DETOUR_M) - driven) / STEP_SCALE_M
        total = cost[:, None] + steps
        before = total.argmin(axis=0)
        new = total[before, np.arange(len(before))] + [_unlikely(m, headings[k]) for m in states[k]]
        if not np.isfinite(new).any():
            break
        back.append(before)
        cost = new
        k += 1
    at = int(cost.argmin())
    chosen = [states[k - 1][at]]
    for number in range(len(back) - 1, -1, -1):
        at = int(back[number][at])
        chosen.append(states[start + number][at])
    return chosen[::-1]


def _unlikely(match: Match, heading: float) -> float:
    return (match.distance / PLACE_STD_M)**2 / 2 + ACROSS * math.sin(match.heading - heading)**2


class _Network:
    """The roads around a way as a graph of few nodes, driven in both directions: what was driven could be driven."""

    def __init__(self, roads: LocalRoads, places: np.ndarray):
        self.roads = roads
        low, high = places.min(axis=0) - MARGIN_M, places.max(axis=0) + MARGIN_M
        edges = roads.edges_in(low, high)
        nodes, ends = np.unique(roads.graph.ends[edges], return_inverse=True)
        self._ends = {int(e): (int(a), int(b)) for e, (a, b) in zip(edges, ends.reshape(-1, 2))}
        self._length = {int(e): roads.length(int(e)) for e in edges}
        self._edge: dict[tuple[int, int], int] = {}
        self._at: dict[int, list[int]] = {}
        for edge, (a, b) in self._ends.items():
            for pair in ((a, b), (b, a)):
                if pair not in self._edge or self._length[edge] < self._length[self._edge[pair]]:
                    self._edge[pair] = edge
            self._at.setdefault(a, []).append(edge)
            self._at.setdefault(b, []).append(edge)
        pairs = np.array(list(self._edge), int).reshape(-1, 2)
        lengths = np.array([max(self._length[e], 1e-3) for e in self._edge.values()])
        self._links = Links.of(pairs[:, 0], pairs[:, 1], lengths, len(nodes))

    def candidates(self, place: np.ndarray, heading: float) -> list[Match]:
        """The roads that a place may be on."""
        found = self.roads.matches(place, RADIUS_M, heading, limit=CANDIDATES)
        return [m for m in found if m.edge in self._ends]

    def distances(self, a: list[Match], b: list[Match], limit: float) -> np.ndarray:
        """(A, B) m along the roads from each to each; inf beyond the limit."""
        sources = sorted({node for m in a for node in self._ends[m.edge]})
        between = {node: self._links.paths(node, limit)[0] for node in sources}
        found = np.full((len(a), len(b)), np.inf)
        for i, m in enumerate(a):
            for j, n in enumerate(b):
                if m.edge == n.edge:
                    found[i, j] = abs(n.at - m.at)
                for from_end, off in self._off(m):
                    for to_end, on in self._off(n):
                        found[i, j] = min(found[i, j], off + between[from_end][to_end] + on)
        return np.where(found <= limit, found, np.inf)

    def _off(self, match: Match) -> tuple[tuple[int, float], tuple[int, float]]:
        """Both ends of a road, and how far they are from a place on it."""
        a, b = self._ends[match.edge]
        return (a, match.at), (b, self._length[match.edge] - match.at)

    def stretch(self, first: int, chosen: list[Match], last: bool, heading: float) -> Stretch:
        """The line through places on roads. last: the way ends here, and goes on while there is no choice."""
        lines = [chosen[0].place[None]]
        along, total = [0.0], 0.0
        for m, n in zip(chosen, chosen[1:]):
            line = self._between(m, n)
            total += float(np.hypot(*np.diff(line, axis=0).T).sum())
            lines.append(line)
            along.append(total)
        if last:
            lines.append(self._on(chosen, heading))
        return Stretch(first, np.vstack(lines), np.array(along), True)

    def _between(self, m: Match, n: Match) -> np.ndarray:
        """(P, 2) m from one place to another along the roads, the shortest way."""
        best, way = (abs(n.at - m.at), None) if m.edge == n.edge else (math.inf, None)
        ends: tuple[int, int] | None = None
        sources = [node for node, _ in self._off(m)]
        found = [self._links.paths(node, 2e3) for node in sources]
        for i, (_, off) in enumerate(self._off(m)):
            for to_end, on in self._off(n):
                cost = off + found[i][0][to_end] + on
                if cost < best:
                    best, ends, way = cost, (sources[i], to_end), found[i][1]
        if ends is None or way is None:
            return self._cut(m.edge, m.at, n.at) if m.edge == n.edge else np.stack([m.place, n.place])
        nodes = [ends[1]]
        while nodes[-1] != ends[0]:
            nodes.append(int(way[nodes[-1]]))
        nodes.reverse()
        lines = [self._cut(m.edge, m.at, self._end_at(m.edge, ends[0], m.at))]
        for a, b in zip(nodes, nodes[1:]):
            edge = self._edge[a, b]
            line = self.roads.line(edge)
            lines.append(line if self._ends[edge][0] == a else line[::-1])
        lines.append(self._cut(n.edge, self._end_at(n.edge, ends[1], n.at), n.at))
        return np.vstack(lines)

    def _end_at(self, edge: int, node: int, at: float) -> float:
        """How far along an edge a node at its end is; of a loop, the end that is nearer to a place."""
        a, b = self._ends[edge]
        length = self._length[edge]
        if a == b:
            return 0.0 if at <= length - at else length
        return 0.0 if node == a else length

    def _on(self, chosen: list[Match], heading: float) -> np.ndarray:
        """(P, 2) m from the last place on to the next junction."""
        m = chosen[-1]
        forward = math.cos(m.heading - heading) >= 0.0
        edge, at, left = m.edge, m.at, EXTENDED_M
        lines = []
        for _ in range(20):
            stop = self._length[edge] if forward else 0.0
            stop = min(stop, at + left) if forward else max(stop, at - left)
            lines.append(self._cut(edge, at, stop))
            left -= abs(stop - at)
            node = self._ends[edge][1 if forward else 0]
            others = [e for e in self._at[node] if e != edge]
            if left <= 0.0 or len(others) != 1:
                break
            edge = others[0]
            forward = self._ends[edge][0] == node
            at = 0.0 if forward else self._length[edge]
        return np.vstack(lines)

    def _cut(self, edge: int, start: float, stop: float) -> np.ndarray:
        """The line of an edge from one distance along it to another."""
        line = self.roads.line(edge)
        s = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
        low, high = min(start, stop), max(start, stop)
        inner = line[(s > low + 1e-9) & (s < high - 1e-9)]
        ends = np.stack([[np.interp(v, s, line[:, 0]), np.interp(v, s, line[:, 1])] for v in (low, high)])
        part = np.vstack([ends[:1], inner, ends[1:]])
        return part if start <= stop else part[::-1]
