# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shortest paths and connected parts of a road graph: by scipy where it is installed, else in plain Python.

scipy is large (docs/light_install.md) and takes a tenth of the time: on the roads of a town both are fast enough.
"""

from __future__ import annotations

import functools
import heapq
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.utils.packages import is_installed

NOTHING_BEFORE = -9999  # as scipy has it


@dataclass(frozen=True)
class Links:
    """One-way links between nodes 0..N-1, by the node they lead from: those of node n are starts[n]..starts[n + 1]."""

    starts: np.ndarray  # (N + 1,) int32
    heads: np.ndarray  # (L,) int32, the nodes that they lead to
    costs: np.ndarray  # (L,) float64, above 0

    @classmethod
    def of(cls, tails: np.ndarray, heads: np.ndarray, costs: np.ndarray, nodes: int) -> Links:
        """tails, heads: (L,), from where to where, no pair twice; where they are in ascending order, it is kept."""
        order = np.lexsort((heads, tails))
        starts = np.searchsorted(tails[order], np.arange(nodes + 1))
        return cls(starts.astype(np.int32), heads[order].astype(np.int32), costs[order].astype(np.float64))

    def with_node(self, heads: Iterable[int], costs: Iterable[float]) -> Links:
        """The same, with one more node, N, and links from there to some of the others, none of them twice."""
        more = np.fromiter(heads, np.int32)
        return Links(np.append(self.starts, self.starts[-1] + len(more)).astype(np.int32),
                     np.append(self.heads, more), np.append(self.costs, np.fromiter(costs, np.float64)))

    def paths(self, source: int, limit: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
        """(N,) costs from a node to all, infinite beyond the limit, and (N,) the node before each on its way.

        Where there is none, NOTHING_BEFORE. Dijkstra's algorithm (Numerische Mathematik 1, 1959).
        """
        return _plain_paths(self, source, limit) if self._matrix is None else _scipy_paths(self, source, limit)

    @functools.cached_property
    def _matrix(self) -> Any:
        """As scipy takes it; None where that is not installed."""
        if not is_installed('scipy'):
            return None
        nodes = len(self.starts) - 1
        return importlib.import_module('scipy.sparse').csr_matrix((self.costs, self.heads, self.starts),
                                                                  shape=(nodes, nodes))

    @functools.cached_property
    def _lists(self) -> tuple[list[int], list[int], list[float]]:
        return self.starts.tolist(), self.heads.tolist(), self.costs.tolist()


def components(links: np.ndarray, nodes: int) -> np.ndarray:
    """(L, 2) links in both directions -> (N,) the same number for nodes that are connected."""
    label = np.arange(nodes)
    while True:  # each takes the least number of its neighbours, and of those that it was given before
        least = label[links].min(axis=1)
        found = label.copy()
        np.minimum.at(found, links.ravel(), np.repeat(least, 2))
        found = found[found]
        if np.array_equal(found, label):
            return label
        label = found


def _scipy_paths(links: Links, source: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    graph = importlib.import_module('scipy.sparse.csgraph')
    costs, before = graph.dijkstra(links._matrix, indices=source, return_predecessors=True, limit=limit)
    return costs, before


def _plain_paths(links: Links, source: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    starts, heads, costs = links._lists
    nodes = len(starts) - 1
    cost, before, done = [np.inf] * nodes, [NOTHING_BEFORE] * nodes, bytearray(nodes)
    cost[source] = 0.0
    queue = [(0.0, source)]
    while queue:
        so_far, node = heapq.heappop(queue)
        if done[node]:
            continue
        done[node] = True
        for k in range(starts[node], starts[node + 1]):
            reached, head = so_far + costs[k], heads[k]
            if reached < cost[head] and reached <= limit:
                cost[head], before[head] = reached, node
                heapq.heappush(queue, (reached, head))
    return np.array(cost), np.array(before, np.int32)
