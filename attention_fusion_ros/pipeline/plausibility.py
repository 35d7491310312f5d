# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is implausible about a sweep: named, with the remedy.

The only thing for which results are withheld is ground above the sensor: upside down, left is taken for right.
"""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.bev.ground_level import level, surfaces
from attention_fusion_ros.contracts import Finding
from attention_fusion_ros.pipeline.not_seen import REMEDY, describe_sectors, sectors

BLIND, GROUND_FAR, GROUND_ABOVE = 'blind_sector', 'ground_far_from_zero', 'ground_above_sensor'
MAP_SHORT = 'map_short_of_ring'
MIN_RING_SHARE = 0.4  # of the ring; a map of what lies ahead alone, with the vehicle at its lower edge, shows half
MIN_BLIND_RAD = math.radians(20.0)  # narrower sectors without a return are poles and the vehicle's own body
MAX_GROUND_M = 1.0  # on 500 held-out simulated roads it was 0.8 m at most
ABOVE_SENSOR_M = 0.4  # the ground this far above the sensor: it looks the other way round
# Of the area above, below the sensor: then that is the ground, and the other one a ceiling (tunnel, bridge, car park).
# Of held-out simulated sweeps upside down none had more than 0.06.
FLOOR_SHARE = 0.2


def blind(own_reach: np.ndarray | None) -> Finding | None:
    """Whole sectors from which nothing returned at all; what is merely hidden by a wall or a vehicle is not named.

    own_reach: (K,) `Coverage.reach` of the sweep alone: a sensor that is dirty for good is not excused by what earlier
    sweeps saw from elsewhere.
    """
    if own_reach is None:
        return None
    found = [s for s in sectors(own_reach <= 0.0) if s[1] - s[0] >= MIN_BLIND_RAD]
    if not found:
        return None
    return Finding(BLIND, 'pointcloud', f'nothing returned {describe_sectors(found)}: what is there is not known. '
                   f'Remedy: {REMEDY}')


def short_map(ring_share: float, lookahead: float) -> Finding | None:
    """A map image that ends before the ring on which branches are sought. ring_share: of the ring, what it covers."""
    if ring_share >= MIN_RING_SHARE:
        return None
    return Finding(MAP_SHORT, 'map_image', f'the map image covers {100 * ring_share:.0f} % of the ring of '
                   f'{lookahead:g} m on which branches are sought, and says nothing about the rest. Remedy: check '
                   'map.resolution and map.anchor, or draw more of the surroundings.')


def mounting(levels: np.ndarray | None, sensor_height: float) -> Finding | None:
    """Ground that lies where it cannot: the transform of the sensor is wrong.

    levels: see `bev.ground_level`. sensor_height: m, z of the sensor in base_link.
    """
    height = None if levels is None else level(levels)
    if levels is None or height is None:
        return None
    if height > sensor_height + ABOVE_SENSOR_M and (floor := _floor(levels, sensor_height)) is not None:
        height = floor
    if height > sensor_height + ABOVE_SENSOR_M:
        return Finding(GROUND_ABOVE, 'transforms', f'the largest level surface lies {height - sensor_height:.1f} m '
                       'above the sensor, as if the sensor were upside down: no branch is published. Remedy: turn '
                       'the roll of its transform to base_link (tf or T_base_sensor) by 180 degrees.')
    if abs(height) > MAX_GROUND_M:
        return Finding(GROUND_FAR, 'transforms', f'the ground lies at z = {height:.1f} m of base_link, not near 0. '
                       'Remedy: the transform from the sensor to base_link (tf or T_base_sensor) must hold the height '
                       'of the sensor above the ground; the origin of base_link lies on the ground.')
    return None


def _floor(levels: np.ndarray, sensor_height: float) -> float | None:
    """Height in metres of the largest level surface below the sensor; None where it is small beside that above."""
    heights, areas = surfaces(levels)
    below = np.where(heights <= sensor_height + ABOVE_SENSOR_M, areas, 0.0)
    return float(heights[below.argmax()]) if below.max() >= FLOOR_SHARE * areas.max() else None
