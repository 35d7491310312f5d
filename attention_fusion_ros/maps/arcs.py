# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The road graph as routes see it: roads as they are driven, and the turns from one to the next.

Nodes are not enough: which turns are allowed depends on where one comes from, and a search from node to node would
drive past a junction and turn on the spot to get round what is forbidden there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from attention_fusion_ros.maps.roads import RoadGraph
from attention_fusion_ros.maps.shortest_paths import Links


class Begin(NamedTuple):
    """Where a way may begin: within an arc."""

    arc: int
    seconds: float  # until its end


class Reach:
    """The quickest ways from several beginnings to all arcs."""

    def __init__(self, seconds: np.ndarray, before: np.ndarray, first: dict[int, tuple[float, int]]):
        self.seconds = seconds  # (A,) to the end of each arc; infinite where no way leads
        self._before, self._first = before, first

    def way(self, arc: int) -> tuple[int, list[int]]:
        """Number of the beginning, and the arcs after it up to this one."""
        found = [arc]
        while (before := int(self._before[found[-1]])) < len(self.seconds):
            found.append(before)
        return self._first[found[-1]][1], found[::-1]


class Arcs:
    """A routable edges in the directions in which cars may drive them, and the turns that they may make.

    Nobody turns round on the spot at a node, nobody passes a barred one, and no turn is a forbidden one.
    """

    def __init__(self, graph: RoadGraph):
        free = np.flatnonzero(graph.routable)
        back = free[~graph.oneway[free]]
        edges, forward = np.append(free, back), np.append(np.ones(len(free), bool), np.zeros(len(back), bool))
        tails = np.where(forward, graph.ends[edges, 0], graph.ends[edges, 1])
        order = np.argsort(tails, kind='stable')
        self.edges, self.forward = edges[order], forward[order]  # (A,)
        self.seconds = (graph.lengths / graph.speeds)[self.edges].astype(np.float64)  # (A,)
        self._number = np.full((len(graph), 2), -1, np.int32)  # by edge and direction
        self._number[self.edges, self.forward.astype(int)] = np.arange(len(order))
        self._tails = tails[order]
        self._heads = graph.ends[self.edges, self.forward.astype(int)]
        self._barred = np.isin(self._heads, graph.barred)
        self._connect(graph)

    def _connect(self, graph: RoadGraph) -> None:
        leaving = np.searchsorted(self._tails, np.arange(graph.nodes + 1))  # arcs that leave a node are neighbours
        counts = np.where(self._barred, 0, np.diff(leaving)[self._heads])
        starts = np.append(0, np.cumsum(counts))
        shift = leaving[self._heads] - starts[:-1]  # from the number of a link to the arc that it leads to
        targets = np.arange(starts[-1]) + np.repeat(shift, counts)
        allowed = np.ones(len(targets), bool)
        back = self._number[self.edges, 1 - self.forward.astype(int)]
        turning = np.flatnonzero((back >= 0) & ~self._barred)
        allowed[back[turning] - shift[turning]] = False
        come, leave = (self._number[graph.turns[:, k], graph.turns[:, k + 1]] for k in (0, 2))
        known = (come >= 0) & (leave >= 0) & ~self._barred[come]
        allowed[leave[known] - shift[come[known]]] = False
        kept = np.append(0, np.cumsum(allowed))
        targets = targets[allowed]
        self._links = Links(kept[starts].astype(np.int32), targets.astype(np.int32), self.seconds[targets])

    def __len__(self) -> int:
        return len(self.edges)

    def of(self, edge: int) -> list[int]:
        """The arcs of an edge, that along its vertices first."""
        return [int(arc) for arc in self._number[edge, ::-1] if arc >= 0]

    def opposite(self, arc: int) -> int | None:
        """The same road in the other direction; None where that is not allowed."""
        number = int(self._number[self.edges[arc], 1 - int(self.forward[arc])])
        return number if number >= 0 else None

    def reach(self, begins: Iterable[Begin]) -> Reach:
        """The quickest ways; an arc in which one begins is reached when it is driven another time."""
        first: dict[int, tuple[float, int]] = {}  # seconds to the end of the second arc, and which beginning
        starts, heads = self._links.starts, self._links.heads
        for number, (arc, begun) in enumerate(begins):
            for other in heads[starts[arc]:starts[arc + 1]].tolist():
                total = begun + float(self.seconds[other])
                if other not in first or total < first[other][0]:
                    first[other] = total, number
        links = self._links.with_node(first.keys(), [total for total, _ in first.values()])
        seconds, before = links.paths(len(self))
        return Reach(seconds[:-1], before, first)
