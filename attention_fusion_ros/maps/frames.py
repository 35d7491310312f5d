# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Degrees <-> metres: the local frame around a datum, and UTM with its meridian convergence. By PROJ (pyproj).

The local frame is topocentric (GeographicLib's LocalCartesian, what robot_localization calls local cartesian): x east
and y north at the datum, in the plane that touches the ellipsoid there. Points are taken at the height of the datum.
On that plane distances are short by 3 cm at 20 km; against the exact transformation nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError, require
from attention_fusion_ros.geometry import wrap

NORTHMOST_DEG, SOUTHMOST_DEG = 84.0, -80.0  # of UTM
REACH_M = 200e3  # of a local frame
EARTH_RADIUS_M = 6371008.8


def _pyproj() -> Any:
    return require('pyproj', 'converting degrees to metres')


def check_degrees(latitude: float, longitude: float) -> None:
    """Raises InputError: bad_fix (not finite, out of range), near_pole."""
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        raise InputError('bad_fix', f'the position is not finite: latitude {latitude}, longitude {longitude}.',
                         'check the receiver and its driver; a fix without a position is to have status -1 (no fix).')
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 360.0):
        raise InputError('bad_fix', f'{latitude}, {longitude} is no latitude and longitude in degrees.',
                         'check the order (latitude first) and the unit.')
    if not SOUTHMOST_DEG <= latitude <= NORTHMOST_DEG:
        raise InputError('near_pole', f'latitude {latitude:.3f} is beyond {NORTHMOST_DEG:.0f} degrees north or '
                         f'{-SOUTHMOST_DEG:.0f} south, where east and north mean little.',
                         'use the map source between these latitudes.')


class LocalFrame:
    """Metres east and north of a datum. Crosses the antimeridian like any other line."""

    def __init__(self, latitude: float, longitude: float, height: float = 0.0):
        """latitude, longitude: degrees on WGS84; height: m above the ellipsoid.

        Raises InputError (bad_fix, near_pole), ConfigurationError without pyproj.
        """
        check_degrees(latitude, longitude)
        self.latitude, self.longitude = float(latitude), float((longitude + 180.0) % 360.0 - 180.0)
        self.height = float(height) if math.isfinite(height) else 0.0
        self._transformer = _pyproj().Transformer.from_pipeline(
            '+proj=pipeline +step +proj=cart +ellps=WGS84 +step +proj=topocentric +ellps=WGS84 '
            f'+lat_0={self.latitude!r} +lon_0={self.longitude!r} +h_0={self.height!r}')

    def to_metres(self, latitudes: Any, longitudes: Any) -> np.ndarray:
        """Degrees, (N,) each or numbers -> (N, 2) or (2,) float64 m, x east and y north."""
        lat, lon = np.asarray(latitudes, np.float64), np.asarray(longitudes, np.float64)
        x, y, _ = self._transformer.transform(lon, lat, np.full(lat.shape, self.height))
        return np.stack([np.asarray(x), np.asarray(y)], axis=-1)

    def to_degrees(self, xy: Any) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) or (2,) m -> latitudes and longitudes in degrees. Raises InputError far_from_datum."""
        xy = np.asarray(xy, np.float64)
        squared = (xy**2).sum(axis=-1)
        if not (squared <= REACH_M**2).all():  # NaN too
            raise InputError('far_from_datum', f'a position is more than {REACH_M / 1000:.0f} km from the datum.',
                             'give a datum near the vehicle.')
        up = -squared / (2 * EARTH_RADIUS_M)
        for _ in range(3):  # the plane is above the ground; how far, is known better each time
            lon, lat, height = self._transformer.transform(xy[..., 0], xy[..., 1], up, direction='INVERSE')
            up = up - (np.asarray(height) - self.height)
        return np.asarray(lat), np.asarray(lon)

    def distance(self, latitude: float, longitude: float) -> float:
        """Metres along the ground (sphere) from the datum, also to other continents."""
        a, b = math.radians(self.latitude), math.radians(latitude)
        across = math.radians(longitude - self.longitude)
        h = math.sin((b - a) / 2)**2 + math.cos(a) * math.cos(b) * math.sin(across / 2)**2
        return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))

    def convergence(self, latitude: float, longitude: float) -> float:
        """How far true north there points to the left of the frame's y axis [rad]; 0.15 deg 10 km off at 60 deg north.

        A yaw (from true east) there is this much larger in the frame.
        """
        step = 1e-5  # degrees: a metre
        south, north = self.to_metres([latitude - step, latitude + step], [longitude, longitude])
        return math.atan2(-(north[0] - south[0]), north[1] - south[1])


def utm_zone(latitude: float, longitude: float) -> tuple[int, bool]:
    """Zone, and whether it is on the northern hemisphere; with the exceptions of Norway and Svalbard.

    Raises InputError, see `check_degrees`.
    """
    check_degrees(latitude, longitude)
    longitude = (longitude + 180.0) % 360.0 - 180.0
    if 56.0 <= latitude < 64.0 and 3.0 <= longitude < 12.0:
        return 32, True
    if latitude >= 72.0 and 0.0 <= longitude < 42.0:
        return (31, 33, 35, 37)[sum(longitude >= edge for edge in (9.0, 21.0, 33.0))], True
    return int((longitude + 180.0) // 6.0) + 1, latitude >= 0.0


class Utm:
    """A zone of UTM on WGS84."""

    def __init__(self, zone: int, north: bool = True):
        """Raises InputError bad_fix for a zone that does not exist, ConfigurationError without pyproj."""
        if not 1 <= zone <= 60:
            raise InputError('bad_fix', f'there is no UTM zone {zone}.', 'give a zone from 1 to 60.')
        self.zone, self.north = zone, north
        self._proj = _pyproj().Proj(proj='utm', zone=zone, south=not north, ellps='WGS84')

    def to_metres(self, latitudes: Any, longitudes: Any) -> np.ndarray:
        """Degrees -> (N, 2) or (2,) easting and northing in m."""
        return np.stack([np.asarray(v) for v in self._proj(longitudes, latitudes)], axis=-1)

    def to_degrees(self, xy: Any) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) or (2,) m -> latitudes and longitudes in degrees."""
        xy = np.asarray(xy, np.float64)
        lon, lat = self._proj(xy[..., 0], xy[..., 1], inverse=True)
        return np.asarray(lat), np.asarray(lon)

    def convergence(self, latitude: float, longitude: float) -> float:
        """How far grid north points to the right of true north there [rad]; up to 2.6 deg at 60 deg north.

        A yaw (from grid east) is this much smaller from true east.
        """
        return math.radians(float(self._proj.get_factors(longitude, latitude).meridian_convergence))

    def pose_in(self, frame: LocalFrame, x: float, y: float, yaw: float) -> tuple[float, float, float]:
        """A pose in the zone (m, m, rad from grid east) -> in the local frame.

        Raises InputError: bad_fix, near_pole, far_from_datum.
        """
        latitude, longitude = (float(v) for v in self.to_degrees([x, y]))
        check_degrees(latitude, longitude)
        if frame.distance(latitude, longitude) > REACH_M:
            raise InputError('far_from_datum', f'a position in UTM zone {self.zone} lies '
                             f'{frame.distance(latitude, longitude) / 1000:.0f} km from the datum.',
                             'check the zone, the hemisphere and the datum.')
        east, north = frame.to_metres(latitude, longitude)
        true_yaw = yaw - self.convergence(latitude, longitude)
        return float(east), float(north), wrap(true_yaw + frame.convergence(latitude, longitude))


def web_mercator_to_degrees(xy: np.ndarray) -> np.ndarray:
    """(N, 2) m in EPSG:3857 -> longitudes and latitudes in degrees."""
    radius = 6378137.0  # of the sphere that EPSG:3857 is defined on
    with np.errstate(over='ignore'):  # infinitely far north is the pole
        return np.stack([np.degrees(xy[:, 0] / radius),
                         np.degrees(2 * np.arctan(np.exp(xy[:, 1] / radius)) - math.pi / 2)], axis=1)


def in_bounds(bounds: Sequence[float], latitude: float, longitude: float, margin: float = 0.05) -> bool:
    """Whether a place is within south, west, north, east and a margin, all in degrees; west > east over 180 deg."""
    south, west, north, east = bounds
    width = (east - west) % 360.0
    return south - margin <= latitude <= north + margin and (longitude - west + margin) % 360.0 <= width + 2 * margin
