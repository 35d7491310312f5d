# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the vehicle is on its route, and whether it has left it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.maps.route import Route

OFF_ROUTE_M = 30.0  # beside the position's own deviation
OFF_ROUTE_S = 3.0  # how long, before a new route is wanted
ARRIVED_M = 15.0
LOOK_BACK_M, LOOK_AHEAD_M = 40.0, 250.0  # of the last place: routes that cross themselves are followed in order


@dataclass(frozen=True)
class Progress:
    """Where the vehicle is on the route."""

    along: float  # m from the start of the route
    left: float  # m to its end
    away: float  # m from the route
    off_route: bool  # for long enough, and farther than it may seem: plan again
    arrived: bool


class RouteFollower:
    """Follows one route."""

    def __init__(self, route: Route):
        self.route = route
        self._lengths = np.hypot(*np.diff(route.xy, axis=0).T)
        self._s = np.append(0.0, np.cumsum(self._lengths))
        self._along: float | None = None
        self.farthest = 0.0  # m from the start of the route that the vehicle came
        self._off_since_ns: int | None = None

    def update(self, stamp_ns: int, place: np.ndarray, position_std: float = 0.0,
               heading: float | None = None) -> Progress:
        """place: (2,) m in the local frame; position_std: m; heading: rad, to notice a vehicle driving back."""
        a, d = self.route.xy[:-1], np.diff(self.route.xy, axis=0)
        t = np.clip(((place - a) * d).sum(axis=1) / np.maximum(self._lengths**2, 1e-12), 0.0, 1.0)
        distances = np.hypot(*(a + t[:, None] * d - place).T)
        along = self._s[:-1] + t * self._lengths
        limit = OFF_ROUTE_M + 3.0 * position_std
        candidates: np.ndarray = np.arange(len(distances))
        if self._along is not None:
            near = np.flatnonzero((along > self._along - LOOK_BACK_M) & (along < self._along + LOOK_AHEAD_M))
            if len(near) and distances[near].min() <= limit:
                candidates = near
        k = int(candidates[distances[candidates].argmin()])
        away = float(distances[k])
        backwards = heading is not None and abs(float(angle_between(np.arctan2(d[k, 1], d[k, 0]), heading))) > 2.6
        off = away > limit or (backwards and along[k] < self.farthest - 10.0)
        if not off:
            self._off_since_ns = None
            self._along = float(along[k])
            self.farthest = max(self.farthest, self._along)
        elif self._off_since_ns is None or stamp_ns < self._off_since_ns:
            self._off_since_ns = stamp_ns
        for_long = self._off_since_ns is not None and stamp_ns - self._off_since_ns >= OFF_ROUTE_S * 1e9
        left = float(self._s[-1] - along[k])
        return Progress(float(along[k]), left, away, off and for_long, not off and left <= ARRIVED_M)
