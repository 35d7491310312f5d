# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The way that a vehicle has driven, as a route to draw before it was driven."""

from __future__ import annotations

import math

import numpy as np

STEP_M = 1.0  # between the points of the line: a vehicle that stands still draws no knot
BEHIND_M = 40.0  # of the way that are kept behind the vehicle, for whoever draws


class DrivenWay:
    """A line through the places of a vehicle, and which part of it lies ahead at each of them."""

    def __init__(self, places: np.ndarray):
        """places: (N, 2) m in the local frame, in the order of driving."""
        kept: list[np.ndarray] = []
        index = np.zeros(len(places), int)
        for k, place in enumerate(places):
            if not kept or math.hypot(*(place - kept[-1])) >= STEP_M:
                kept.append(place)
            index[k] = len(kept) - 1
        self.xy = np.array(kept).reshape(-1, 2)
        self._s = np.append(0.0, np.cumsum(np.hypot(*np.diff(self.xy, axis=0).T)))
        self._index = index

    @property
    def length(self) -> float:
        """m."""
        return float(self._s[-1]) if len(self.xy) else 0.0

    def ahead(self, k: int, reach: float) -> np.ndarray | None:
        """(P, 2) m around place k: from a little behind to where the way is out of sight, None where it ends.

        A way that comes back to the same place later is not drawn there yet. reach: m to the farthest corner.
        """
        along = self._s[self._index[k]]
        first = int(np.searchsorted(self._s, along - BEHIND_M, side='right')) - 1
        last = int(np.searchsorted(self._s, along + math.pi * reach)) + 1
        part = self.xy[max(first, 0):last]
        return part if len(part) > 1 else None
