# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A drawn route that the vehicle drives away from: the picture is upside down, or the route is an old one.

On a straight street a map image that is turned by 180 degrees moves with the vehicle as it should (see `map_motion`);
its route tells.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attention_fusion_ros.bev.map_image import pixel_size, vehicle_to_map_frame
from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import Finding, MapImage, Motion
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import planar_motion

ROUTE_BEHIND = 'route_behind'
STEP_M, MAX_STEP_M = 10.0, 40.0  # driven between two looks at the route; more, and odometry has started anew
STEPS = 2  # looks in a row at which it lies behind
REACH_M = 35.0  # of the route around the vehicle
NEAR_M = 7.0  # what is nearer says nothing: routes are drawn from some metres behind the vehicle on
LENGTH_M = 10.0  # of the route behind that
SAMPLE_M = 0.5
BRIGHT = 0.5


class RouteBehindCheck:
    """Looks at the route every few metres. Not thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: time has jumped, or odometry has another source."""
        self._at: np.ndarray | None = None  # (4, 4), where the route was looked at last
        self._behind_m: list[float] = []  # steps since it has lain behind

    def finding(self, image: MapImage, motion: Motion, layout: MapConfig) -> Finding | None:
        """What to say of a sweep with this image; None where some of the route lies ahead, or nothing tells.

        Ahead is where the vehicle drives, so that one that goes backwards is not told to be wrong. Occupancy grids,
        which hold no route, and sweeps without odometry say nothing.
        """
        T = motion.T_odom_base_map
        if image.placement is not None or T is None:
            return None
        if image.route is None:
            self._behind_m.clear()
            return None
        before = self._at
        driven = None if before is None else -planar_motion(T, before)[:2, 2]  # in base_link at the image's stamp
        if driven is None or math.hypot(*driven) >= STEP_M:
            self._at = T
            if driven is not None:
                self._look(image, motion, layout, driven)
        if len(self._behind_m) < STEPS:
            return None
        return Finding(ROUTE_BEHIND, 'map_image', 'the drawn route lies behind the vehicle, which has driven away '
                       f'from it for {sum(self._behind_m):.0f} m. Remedy: none where it is to turn round, or has '
                       'passed the goal; otherwise draw the route of now, and the image not upside down '
                       '(map.orientation).')

    def _look(self, image: MapImage, motion: Motion, layout: MapConfig, driven: np.ndarray) -> None:
        length = math.hypot(*driven)
        along = None if length > MAX_STEP_M else _along(image, motion, layout, driven / length)
        if along is None or (along > NEAR_M).any() or _extent(along[along < -NEAR_M]) < LENGTH_M:
            self._behind_m.clear()
        else:
            self._behind_m.append(length)


def _extent(along: np.ndarray) -> float:
    return float(np.ptp(along)) if len(along) else 0.0


def _along(image: MapImage, motion: Motion, layout: MapConfig, ahead: np.ndarray) -> np.ndarray | None:
    """(N,) m: how far ahead the bright cells of the route lie; None where the image cannot be placed.

    ahead: (2,) unit vector in base_link at the image's stamp.
    """
    assert image.route is not None
    try:  # at the image's own stamp it is turned, but not moved
        T = vehicle_to_map_frame(replace(motion, T_odom_base=motion.T_odom_base_map), layout.orientation)
    except InputError:
        return None
    height, width = image.route.shape
    pixel = pixel_size(image, layout)
    step = max(1, int(SAMPLE_M / pixel))
    centre = layout.anchor[1] * height, layout.anchor[0] * width
    reach = REACH_M / pixel
    (top, bottom), (left, right) = (
        np.clip((int(at - reach), int(at + reach) + 1), 0, size) for at, size in zip(centre, (height, width)))
    route = image.route[top:bottom, left:right]
    if step > 1 and route.size:  # a thin stroke lies between samples
        rows, columns = (np.arange(0, size, step) for size in route.shape)
        route = np.maximum.reduceat(np.maximum.reduceat(route, rows, axis=0), columns, axis=1)
    row, column = np.nonzero(route > BRIGHT)
    up = (centre[0] - top - (row + 0.5) * step) * pixel
    sideways = (centre[1] - left - (column + 0.5) * step) * pixel
    xy = T[:2, :2].T @ np.stack([up, sideways])
    found: np.ndarray = (ahead @ xy)[np.hypot(up, sideways) <= REACH_M]
    return found
