# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/NavSatFix -> Fix, duck-typed; what receivers leave out is filled in with honest numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.decode.message import attribute, malformed, stamp_and_frame
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.frames import check_degrees

NO_FIX = -1  # sensor_msgs/NavSatStatus.STATUS_NO_FIX; -2 (unknown) counts as a fix if the position is one
USUAL_STD_M = 4.0  # of receivers that do not say
MIN_STD_M, MAX_STD_M = 0.02, 100.0


@dataclass(frozen=True)
class Fix:
    """One position of the antenna."""

    stamp_ns: int
    frame_id: str
    latitude: float  # degrees, WGS84
    longitude: float
    altitude: float  # m above the ellipsoid; nan when the receiver gives none
    std: float  # m, of each horizontal axis
    std_known: bool  # whether the receiver said so


def fix_from_message(msg: Any, usual_std: float = USUAL_STD_M) -> Fix:
    """Raises InputError: malformed_message, stamp_zero, no_fix, bad_fix, near_pole."""
    stamp_ns, frame_id = stamp_and_frame(msg)
    try:
        status = int(attribute(attribute(msg, 'status'), 'status'))
        latitude, longitude, altitude = (float(attribute(msg, name)) for name in ('latitude', 'longitude', 'altitude'))
        kind = int(attribute(msg, 'position_covariance_type'))
        covariance = np.asarray(attribute(msg, 'position_covariance'), np.float64).ravel()
    except (TypeError, ValueError, OverflowError) as error:
        malformed(f'The {type(msg).__name__} cannot be read: {error}.')
    if status == NO_FIX:
        raise InputError('no_fix', 'the receiver says that it has no position.',
                         'check the antenna and its view of the sky.')
    if latitude == 0.0 and longitude == 0.0:
        raise InputError('no_fix', 'the receiver sends 0, 0, which drivers send before there is a fix.',
                         'check the antenna and its view of the sky.')
    check_degrees(latitude, longitude)
    std = math.nan
    if kind > 0 and len(covariance) == 9:  # 0 is COVARIANCE_TYPE_UNKNOWN
        variance = (covariance[0] + covariance[4]) / 2
        std = math.sqrt(variance) if variance > 0 else math.nan
    known = math.isfinite(std)
    return Fix(stamp_ns, frame_id.lstrip('/'), latitude, longitude, altitude,
               min(max(std, MIN_STD_M), MAX_STD_M) if known else usual_std, known)
