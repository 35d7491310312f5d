# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which roads are drawn where roads cross on bridges and in tunnels.

The vehicle is on one road, on one layer. Of the other layers, what is connected to its road within the window is drawn:
the bridge that it is about to drive onto, but not the motorway that crosses far above. What lies on its own layer is
always drawn, for the vehicle may be on the road beside the one that it seems to be on.
"""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.maps.local_roads import LocalRoads, Match
from attention_fusion_ros.maps.shortest_paths import components

STAY_M = 6.0  # how much nearer another road must seem than the road the vehicle came along


class RoadTracker:
    """The road that the vehicle is on: the nearest along its heading, preferably one that its last road leads to."""

    def __init__(self, roads: LocalRoads):
        self._roads = roads
        self._last: int | None = None

    def update(self, place: np.ndarray, heading: float) -> Match | None:
        """Match of the road, None where there is none within 50 m."""
        found = self._roads.matches(place, heading=heading)
        if not found:
            self._last = None
            return None
        ends = self._roads.graph.ends
        best = found[0]
        if self._last is not None:
            here = set(ends[self._last].tolist())
            following = [m for m in found if here & set(ends[m.edge].tolist())]

            def away(match: Match) -> float:
                turn = abs(float(angle_between(match.heading, heading)))
                return match.distance + 10.0 * abs(float(np.sin(turn)))
            if following:
                nearest = min(following, key=away)
                best = nearest if away(nearest) < away(best) + STAY_M else best
        self._last = best.edge
        return best

    def reset(self) -> None:
        """Forget the last road."""
        self._last = None


def drawn_edges(roads: LocalRoads, edges: np.ndarray, on: int | None) -> np.ndarray:
    """Of edges in a window, those to draw for a vehicle on edge `on`; all where it is on none."""
    graph = roads.graph
    if on is None or not len(edges) or on not in edges:
        return edges
    own = graph.layers[edges] == graph.layers[on]
    if own.all():
        return edges
    nodes, ends = np.unique(graph.ends[edges], return_inverse=True)
    ends = ends.reshape(-1, 2)
    label = components(ends, len(nodes))
    mine = label[ends[int(np.flatnonzero(edges == on)[0]), 0]]
    return np.asarray(edges[own | (label[ends[:, 0]] == mine)])
