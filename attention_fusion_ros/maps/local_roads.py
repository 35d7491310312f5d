# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The road graph in metres of a local frame, with an index: nearest road, roads within a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.maps.frames import REACH_M, LocalFrame
from attention_fusion_ros.maps.roads import RoadGraph

CELL_M = 100.0  # of the index
MATCH_RADIUS_M = 50.0
SIDEWAYS_M = 15.0  # how much farther a road may seem that runs across the heading of the vehicle


@dataclass(frozen=True)
class Match:
    """A place on a road."""

    edge: int
    distance: float  # m from the place that was asked for
    at: float  # m along the edge, in the direction of its vertices
    place: np.ndarray  # (2,) m
    heading: float  # rad, of the edge there, along its vertices


class LocalRoads:
    """Roads within 200 km of the datum. S segments between neighbouring vertices."""

    def __init__(self, graph: RoadGraph, frame: LocalFrame):
        """Raises InputError datum_far_from_map when no road is within reach of the datum."""
        self.graph, self.frame = graph, frame
        self.xy = frame.to_metres(graph.latitudes, graph.longitudes)  # (V, 2)
        self.edge_of_vertex = np.repeat(np.arange(len(graph)), np.diff(graph.first))
        near = np.isfinite(self.xy).all(axis=1) & (np.abs(graph.latitudes - frame.latitude) < 3.0)
        near &= (np.abs(self.xy) < REACH_M).all(axis=1)
        if not near.any():
            south, west, north, east = graph.bounds
            raise InputError('datum_far_from_map', f'the datum {frame.latitude:.4f}, {frame.longitude:.4f} is nowhere '
                             f'near the roads of the map ({south:.4f} to {north:.4f} north, {west:.4f} to '
                             f'{east:.4f} east).',
                             'give the file of the region that the vehicle is in, or check the datum (latitude first).')
        inner = self.edge_of_vertex[1:] == self.edge_of_vertex[:-1]
        self.segments = np.flatnonzero(inner & near[1:] & near[:-1])  # (S,) first vertex of each
        self._index()

    def _index(self) -> None:
        """Segments by the cells that their boxes touch, sorted by cell: columns of cells are runs."""
        columns, rows = self.xy.T
        self._origin = np.array([columns[self.segments].min(), rows[self.segments].min()])
        self._origin = np.minimum(self._origin, [columns[self.segments + 1].min(), rows[self.segments + 1].min()])
        cells = ((self.xy - self._origin) / CELL_M).astype(np.int32)
        a, b = cells[self.segments], cells[self.segments + 1]
        low, high = np.minimum(a, b), np.maximum(a, b)
        self._rows = int(high[:, 1].max()) + 1
        keys = low[:, 0].astype(np.int64) * self._rows + low[:, 1]
        several = np.flatnonzero((low != high).any(axis=1))  # most lie in one cell
        size = (high[several] - low[several] + 1).astype(np.int64)
        counts = size.prod(axis=1)
        number = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        more = keys[several][number] + step // size[number, 1] * self._rows + step % size[number, 1]
        first = step > 0  # the first cell of each is there already
        keys = np.concatenate([keys, more[first]])
        numbers = np.concatenate([np.arange(len(low), dtype=np.int32), several[number[first]].astype(np.int32)])
        order = np.argsort(keys, kind='stable')
        self._keys, self._numbers = keys[order], numbers[order]

    def segments_in(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Numbers in `segments` of those whose box comes near a box from low (2,) to high (2,) [m]; no false miss."""
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return np.zeros(0, np.int32)
        first = np.floor((np.maximum(low, self._origin - 1.0) - self._origin) / CELL_M).astype(int)
        last = np.floor((np.minimum(high, self._origin + 4 * REACH_M) - self._origin) / CELL_M).astype(int)
        rows = max(int(first[1]), 0), min(int(last[1]), self._rows - 1)
        columns = np.arange(max(int(first[0]), 0), int(last[0]) + 1)
        if rows[0] > rows[1] or not len(columns):
            return np.zeros(0, np.int32)
        starts = np.searchsorted(self._keys, columns * self._rows + rows[0])
        stops = np.searchsorted(self._keys, columns * self._rows + rows[1], side='right')
        return np.asarray(np.unique(np.concatenate([self._numbers[a:b] for a, b in zip(starts, stops)])))

    def edges_in(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Edges that may come into a box, each once and rising."""
        return np.asarray(np.unique(self.edge_of_vertex[self.segments[self.segments_in(low, high)]]))

    def line(self, edge: int) -> np.ndarray:
        """(P, 2) m of an edge."""
        return self.xy[self.graph.first[edge]:self.graph.first[edge + 1]]

    def matches(self, place: np.ndarray, radius: float = MATCH_RADIUS_M, heading: float | None = None,
                routable: bool = False, limit: int = 12) -> list[Match]:
        """The nearest place of each edge within a radius, best first.

        heading: of the vehicle [rad]; roads that run across it, and oneway roads against it, count as farther away.
        routable: only roads that routes may use. limit: how many at most.
        """
        place = np.asarray(place, np.float64)
        numbers = self.segments_in(place - radius, place + radius)
        if routable:
            numbers = numbers[self.graph.routable[self.edge_of_vertex[self.segments[numbers]]]]
        vertex = self.segments[numbers]
        a, d = self.xy[vertex], self.xy[vertex + 1] - self.xy[vertex]
        squared = np.maximum((d**2).sum(axis=1), 1e-12)
        t = np.clip(((place - a) * d).sum(axis=1) / squared, 0.0, 1.0)
        nearest = a + t[:, None] * d
        distances = np.hypot(*(nearest - place).T)
        headings = np.arctan2(d[:, 1], d[:, 0])
        edges = self.edge_of_vertex[vertex]
        score = distances.copy()
        if heading is not None:
            turn = np.abs(angle_between(headings, heading))
            turn = np.where(self.graph.oneway[edges], turn, np.minimum(turn, math.pi - turn))
            score += SIDEWAYS_M * (1.0 - np.cos(turn)) / 2
        order = np.argsort(score, kind='stable')
        order = order[distances[order] <= radius]
        _, best = np.unique(edges[order], return_index=True)
        found = []
        for k in order[np.sort(best)[:limit]]:
            line = self.xy[self.graph.first[edges[k]]:vertex[k] + 1]
            before = float(np.hypot(*np.diff(line, axis=0).T).sum())
            found.append(Match(int(edges[k]), float(distances[k]), before + float(t[k] * math.sqrt(squared[k])),
                               nearest[k], float(headings[k])))
        return found

    def nearest(self, place: np.ndarray, radius: float = 500.0, heading: float | None = None) -> Match:
        """The best match. Raises InputError no_roads_near."""
        for reach in (MATCH_RADIUS_M, radius):
            found = self.matches(place, min(reach, radius), heading)
            if found:
                return found[0]
        raise InputError('no_roads_near', f'no road of the map is within {radius:.0f} m of the vehicle.',
                         'check the position, the file, and the kinds of highway that count.')

    def length(self, edge: int) -> float:
        """m in the local frame."""
        return float(np.hypot(*np.diff(self.line(edge), axis=0).T).sum())
