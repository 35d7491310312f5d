# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Poses that are given in coordinates fixed to the earth -> the local frame: ENU, UTM, earth-centred (ECEF)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError, require
from attention_fusion_ros.geometry import yaw_of
from attention_fusion_ros.maps.frames import REACH_M, LocalFrame, Utm, check_degrees
from attention_fusion_ros.maps.settings import Degrees

Planar = tuple[float, float, float]  # m, m, rad


class Enu:
    """Metres east and north of the datum: the local frame itself."""

    def datum(self, T: np.ndarray) -> Degrees:
        """Never: it has to be given."""
        raise InputError('no_position', 'coordinates east and north of a datum need that datum.', 'set datum.')

    def pose(self, T: np.ndarray, frame: LocalFrame) -> Planar:
        """(4, 4) -> x, y [m], yaw [rad]. Raises InputError far_from_datum."""
        if not math.hypot(T[0, 3], T[1, 3]) <= REACH_M:
            raise InputError('far_from_datum', 'odometry lies more than '
                             f'{REACH_M / 1000:.0f} km from the datum.', 'check whether it is in UTM (position.'
                             'coordinates), and the datum.')
        return float(T[0, 3]), float(T[1, 3]), yaw_of(T)


class UtmGrid:
    """Easting and northing of a zone, yaw from grid east."""

    def __init__(self, utm: Utm):
        self._utm = utm

    def datum(self, T: np.ndarray) -> Degrees:
        """Where a (4, 4) pose is. Raises InputError: bad_fix, near_pole."""
        latitude, longitude = (float(v) for v in self._utm.to_degrees([T[0, 3], T[1, 3]]))
        check_degrees(latitude, longitude)
        return Degrees(latitude, longitude)

    def pose(self, T: np.ndarray, frame: LocalFrame) -> Planar:
        """As of `Enu`, with meridian convergence. Raises InputError: bad_fix, near_pole, far_from_datum."""
        return self._utm.pose_in(frame, float(T[0, 3]), float(T[1, 3]), yaw_of(T))


class Ecef:
    """Earth-centred, earth-fixed: the frame `earth` of REP-105."""

    def __init__(self) -> None:
        self._cart: Any = require('pyproj', 'converting earth-centred coordinates').Transformer.from_pipeline(
            '+proj=cart +ellps=WGS84')

    def _degrees(self, xyz: np.ndarray) -> Degrees:
        longitude, latitude, height = self._cart.transform(*map(float, xyz), direction='INVERSE')
        if not abs(height) < 1e5:
            raise InputError('bad_fix', f'an earth-centred pose lies {height / 1000:.0f} km above the ground.',
                             'check frames.earth and position.coordinates.')
        check_degrees(latitude, longitude)
        return Degrees(latitude, longitude, height)

    def datum(self, T: np.ndarray) -> Degrees:
        """Where a (4, 4) pose is. Raises InputError: bad_fix, near_pole."""
        return self._degrees(T[:3, 3])

    def pose(self, T: np.ndarray, frame: LocalFrame) -> Planar:
        """As of `Enu`. Raises InputError: bad_fix, near_pole, far_from_datum."""
        here, ahead = self._degrees(T[:3, 3]), self._degrees(T[:3, 3] + T[:3, 0])
        if frame.distance(here.latitude, here.longitude) > REACH_M:
            raise InputError('far_from_datum', 'an earth-centred pose lies '
                             f'{frame.distance(here.latitude, here.longitude) / 1000:.0f} km from the datum.',
                             'give a datum near the vehicle, or none.')
        places = frame.to_metres([here.latitude, ahead.latitude], [here.longitude, ahead.longitude])
        (x, y), (dx, dy) = places[0], places[1] - places[0]
        return float(x), float(y), math.atan2(dy, dx)


EarthFixed = Enu | UtmGrid | Ecef


def earth_fixed(coordinates: str, utm: Utm | None) -> EarthFixed:
    """By the words of the parameter position.coordinates."""
    if coordinates == 'utm':
        assert utm is not None  # see `settings.check`
        return UtmGrid(utm)
    return Ecef() if coordinates == 'ecef' else Enu()
