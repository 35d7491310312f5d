# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A direction that no error of the map brings near the drawn route is not the one to take: none is published.

Maps may be 8 m and 15 degrees off, so that a route crosses the ring some way from the branch that it means; beyond
MAX_MISFIT_RAD it means another one. Of 1,178 simulated maps, half of them up to that far off, none cost a right
direction; of branches more than 90 degrees from the one to take, 77 % would be told (59 % where the map is far off).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_fusion_ros.bev.coverage import drawn_bearings
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import ROUTE
from attention_fusion_ros.geometry import angle_between, bin_bearings
from attention_fusion_ros.pipeline.not_seen import sectors

MAX_MISFIT_RAD = math.radians(60.0)
PARTED_RAD = math.radians(30.0)  # a part of the route this far from wherever it crosses the ring leads elsewhere
WITHIN = (0.5, 0.7)  # of the ring's radius: where a route that ends inside the ring is met
OFF_ROUTE = 'off_route'


def route_bearings(map_grid: Any, grid: Grid, bins: int, ring: float) -> Any:
    """(K,) float32, 1 where the map (3, H, W), channels as in bev.map_image.CHANNELS, draws a route across the ring."""
    return drawn_bearings(map_grid[ROUTE:], grid, bins, ring)


def is_off_route(bearing: float, across: np.ndarray) -> bool:
    """Whether a branch at this bearing [rad] lies far from wherever the route crosses the ring.

    across: (K,), see `route_bearings`; False where the route does not reach the ring.
    """
    return _misfit(np.array([bearing]), _bearings(across)) > MAX_MISFIT_RAD


def goes_elsewhere(across: np.ndarray, within: list[np.ndarray]) -> bool:
    """Whether the route has a part inside the ring that leads to none of the places where it crosses it.

    Then it ends there: it lies behind a vehicle at its goal, for example, and says nothing about what is ahead.
    across, within: (K,) each, see `route_bearings`, of the ring and of those of WITHIN.
    """
    return any(_misfit(_middles(drawn), _bearings(across)) > PARTED_RAD for drawn in within)


def off_route(across: np.ndarray) -> str:
    """Why there is no direction: names where the route crosses the ring."""
    where = ' and '.join(f'{abs(round(b))} deg {"left" if b >= 0 else "right"}'
                         for b in np.degrees(_middles(across)).tolist())
    return (f'{OFF_ROUTE}: no branch found fits the drawn route, which crosses the ring {where} of ahead (check that '
            'the route is that of now, and map.anchor and map.orientation)')


def _bearings(drawn: np.ndarray) -> np.ndarray:
    found: np.ndarray = bin_bearings(len(drawn))[drawn > 0]
    return found


def _middles(drawn: np.ndarray) -> np.ndarray:
    """(N,) rad, of the sectors that are drawn: nearer than at the ring, the width of a route is many degrees."""
    return np.array([math.remainder(0.5 * (right + left), 2 * math.pi) for right, left in sectors(drawn > 0)])


def _misfit(bearings: np.ndarray, others: np.ndarray) -> float:
    """The largest angle [rad] from one of the bearings to the nearest of the others; 0 where there are none."""
    if not len(bearings) or not len(others):
        return 0.0
    return float(angle_between(bearings[:, None], others[None, :]).min(1).max())
