# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Roads as a graph of flat arrays: what is read once, cached, drawn from and routed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RoadGraph:
    """Edges are stretches of road between the nodes where roads meet or end; V vertices, E edges, N nodes.

    Edge e runs over the vertices `first[e]` .. `first[e + 1] - 1`, from node `ends[e, 0]` to `ends[e, 1]`. A oneway
    edge is always driven that way.

    A row of `turns` is a turn that cars may not make: the edge that they come along, 1 if they drive it along its
    vertices and 0 if against them, and the same of the edge that they would leave on.
    """

    latitudes: np.ndarray  # (V,) float64, degrees
    longitudes: np.ndarray  # (V,)
    first: np.ndarray  # (E + 1,) int64
    ends: np.ndarray  # (E, 2) int32 number of the node at both ends
    lengths: np.ndarray  # (E,) float32, m
    speeds: np.ndarray  # (E,) float32, m/s
    widths: np.ndarray  # (E,) float32, m
    kinds: np.ndarray  # (E,) uint8, numbers in the order of `kinds.KINDS`
    oneway: np.ndarray  # (E,) bool
    routable: np.ndarray  # (E,) bool; False: drawn, but closed to cars or reversible
    roundabout: np.ndarray  # (E,) bool
    layers: np.ndarray  # (E,) int8
    names: np.ndarray  # (E,) int32, number in `name_list`
    name_list: np.ndarray  # (K,) str; the first is ''
    nodes: int
    barred: np.ndarray  # (B,) int32 nodes that no car can pass: a bollard, a closed gate
    turns: np.ndarray  # (T, 4) int32

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """South, west, north, east of the vertices in degrees; west > east across the antimeridian."""
        west, east = float(self.longitudes.min()), float(self.longitudes.max())
        if east - west > 180.0:
            eastern = self.longitudes >= 0
            west, east = float(self.longitudes[eastern].min()), float(self.longitudes[~eastern].max())
        return float(self.latitudes.min()), west, float(self.latitudes.max()), east

    def name(self, edge: int) -> str:
        """Name of an edge, '' without one."""
        return str(self.name_list[self.names[edge]])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `from_arrays`."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RoadGraph:
        """Inverse of `arrays`. Raises KeyError when one is missing, ValueError when they contradict each other."""
        values: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls)}
        graph = cls(**{**values, 'nodes': int(values['nodes'])})
        edges = [len(values[name]) for name in ('ends', 'lengths', 'speeds', 'widths', 'kinds', 'oneway', 'routable',
                                                'roundabout', 'layers', 'names')]
        if set(edges) != {len(graph.first) - 1} or graph.first[-1] != len(graph.latitudes) != 0:
            raise ValueError('the arrays of the road graph do not fit together')
        if not graph._turns_meet():
            raise ValueError('the forbidden turns of the road graph do not lead from one of its edges to the next')
        return graph

    def _turns_meet(self) -> bool:
        """Whether each forbidden turn is one between edges that are there and meet."""
        if self.turns.ndim != 2 or self.turns.shape[1] != 4:
            return False
        edges, ways = self.turns[:, ::2], self.turns[:, 1::2]
        if not ((edges >= 0) & (edges < len(self)) & (ways >= 0) & (ways <= 1)).all():
            return False
        return np.array_equal(self.ends[edges[:, 0], ways[:, 0]], self.ends[edges[:, 1], 1 - ways[:, 1]])
