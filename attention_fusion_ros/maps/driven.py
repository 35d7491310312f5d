# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way that a vehicle has driven, as a route to draw before it was: along the roads, as a planner draws it."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.match_way import match_way

STEP_M = 1.0  # between the points of the way: a vehicle that stands still draws no knot
SAMPLE_M = 8.0  # between the places that are looked for on the roads
BEHIND_M = 40.0  # of the way that are kept behind the vehicle, for whoever draws


class DrivenWay:
    """A line, and where along it the vehicle was at each of its places.

    on_roads: share of the way that runs along roads of the map; the rest is as it was driven.
    """

    def __init__(self, places: np.ndarray, roads: LocalRoads | None = None):
        """places: (N, 2) m in the local frame, in the order of driving. roads: to put the way on."""
        kept: list[int] = []
        index = np.zeros(len(places), int)
        for k, place in enumerate(places):
            if not kept or math.hypot(*(place - places[kept[-1]])) >= STEP_M:
                kept.append(k)
            index[k] = len(kept) - 1
        self.xy = places[kept]
        self._s = _lengths(self.xy)
        self._along = self._s[index] if len(kept) else np.zeros(0)
        self.on_roads = 0.0
        if roads is not None and len(kept) > 1:
            self._put_on(roads)

    @property
    def length(self) -> float:
        """m."""
        return float(self._s[-1]) if len(self._s) else 0.0

    def ahead(self, k: int, reach: float) -> np.ndarray | None:
        """(P, 2) m around place k: from a little behind to where the way is out of sight, None where it ends.

        A way that comes back to the same place later is not drawn there yet. reach: m to the farthest corner.
        """
        along = self._along[k]
        first = int(np.searchsorted(self._s, along - BEHIND_M, side='right')) - 1
        last = int(np.searchsorted(self._s, along + math.pi * reach)) + 1
        part = self.xy[max(first, 0):last]
        return part if len(part) > 1 else None

    def _put_on(self, roads: LocalRoads) -> None:
        at = np.arange(0.0, self._s[-1], SAMPLE_M)
        samples = np.stack([np.interp(at, self._s, c) for c in self.xy.T], axis=1)
        lines: list[np.ndarray] = []
        driven, along, total, matched = [], [], 0.0, 0
        for stretch in match_way(roads, samples):
            if lines and len(lines[-1]) and len(stretch.line):  # the gap between two stretches counts as well
                total += math.hypot(*(stretch.line[0] - lines[-1][-1]))
            lines.append(stretch.line)
            driven.append(at[stretch.first:stretch.first + len(stretch.along)])
            along.append(total + stretch.along)
            total += float(_lengths(stretch.line)[-1])
            matched += stretch.on_roads * len(stretch.along)
        line = np.vstack(lines)
        new = np.append(True, np.hypot(*np.diff(line, axis=0).T) > 1e-6)
        self.on_roads = matched / len(samples)
        self._along = np.interp(self._along, np.concatenate(driven), np.concatenate(along))
        self.xy = line[new]
        self._s = _lengths(self.xy)


def _lengths(line: np.ndarray) -> np.ndarray:
    """(P,) m along a line (P, 2)."""
    return np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T))) if len(line) else np.zeros(0)
