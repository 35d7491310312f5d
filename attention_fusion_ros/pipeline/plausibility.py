# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is implausible about a sweep although it can be used: named, with the remedy, and nothing is withheld for it."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.bev.ground_level import level
from attention_fusion_ros.contracts import Finding
from attention_fusion_ros.pipeline.not_seen import REMEDY, describe_sectors, sectors

BLIND, GROUND_FAR, GROUND_ABOVE = 'blind_sector', 'ground_far_from_zero', 'ground_above_sensor'
MIN_BLIND_RAD = math.radians(20.0)  # narrower sectors without a return are poles and the vehicle's own body
MAX_GROUND_M = 1.0  # on 500 held-out simulated roads it was 0.8 m at most
ABOVE_SENSOR_M = 0.4  # the ground this far above the sensor: it looks the other way round


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


def mounting(levels: np.ndarray | None, sensor_height: float) -> Finding | None:
    """Ground that lies where it cannot: the transform of the sensor is wrong.

    levels: see `bev.ground_level`. sensor_height: m, z of the sensor in base_link.
    """
    height = None if levels is None else level(levels)
    if height is None:
        return None
    if height > sensor_height + ABOVE_SENSOR_M:
        return Finding(GROUND_ABOVE, 'transforms', f'the largest level surface lies {height - sensor_height:.1f} m '
                       'above the sensor, as if the sensor were upside down. Remedy: turn the roll of its transform to '
                       'base_link (tf or T_base_sensor) by 180 degrees.')
    if abs(height) > MAX_GROUND_M:
        return Finding(GROUND_FAR, 'transforms', f'the ground lies at z = {height:.1f} m of base_link, not near 0. '
                       'Remedy: the transform from the sensor to base_link (tf or T_base_sensor) must hold the height '
                       'of the sensor above the ground; the origin of base_link lies on the ground.')
    return None
