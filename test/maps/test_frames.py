# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Datums anywhere, against formulas of our own; directions of north; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.frames import LocalFrame, Utm, in_bounds, utm_zone, web_mercator_to_degrees

pytest.importorskip('pyproj', reason='needs pyproj')

A, F = 6378137.0, 1 / 298.257223563  # WGS84
E2 = F * (2 - F)
latitudes, longitudes = st.floats(-79.9, 83.9), st.floats(-180.0, 180.0)
places = st.tuples(st.floats(-14e3, 14e3), st.floats(-14e3, 14e3))  # m: 20 km around


def earth(latitude: float, longitude: float, height: float) -> np.ndarray:
    """Earth-centred coordinates (3,)."""
    lat, lon = math.radians(latitude), math.radians(longitude)
    n = A / math.sqrt(1 - E2 * math.sin(lat)**2)
    return np.array([(n + height) * math.cos(lat) * math.cos(lon), (n + height) * math.cos(lat) * math.sin(lon),
                     (n * (1 - E2) + height) * math.sin(lat)])


def east_north(datum: tuple[float, float, float], latitude: float, longitude: float) -> np.ndarray:
    lat, lon = math.radians(datum[0]), math.radians(datum[1])
    d = earth(latitude, longitude, datum[2]) - earth(*datum)
    return np.array([-math.sin(lon) * d[0] + math.cos(lon) * d[1],
                     -math.sin(lat) * (math.cos(lon) * d[0] + math.sin(lon) * d[1]) + math.cos(lat) * d[2]])


@settings(deadline=None)
@given(latitudes, longitudes, st.floats(-400, 5000), places)
def test_metres_and_degrees_are_inverse_and_right_to_a_millimetre(latitude, longitude, height, place):
    frame = LocalFrame(latitude, longitude, height)
    lat, lon = frame.to_degrees(place)
    assert frame.to_metres(lat, lon) == pytest.approx(place, abs=1e-3)
    assert east_north((latitude, longitude, height), float(lat), float(lon)) == pytest.approx(place, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(latitudes, longitudes, places, st.floats(-3.1, 3.1))
def test_headings_in_utm_are_turned_by_the_convergence(latitude, longitude, place, yaw):
    """Against two points a metre apart, without any formula for the convergence."""
    zone, north = utm_zone(latitude, longitude)
    grid, frame = Utm(zone, north), LocalFrame(latitude, longitude)
    x, y = grid.to_metres(latitude, longitude) + place
    ahead = grid.to_degrees([x + math.cos(yaw), y + math.sin(yaw)])
    a, b = frame.to_metres(*grid.to_degrees([x, y])), frame.to_metres(*ahead)
    found = grid.pose_in(frame, x, y, yaw)
    assert found[:2] == pytest.approx(a, abs=1e-3)
    assert abs(wrap(found[2] - math.atan2(*(b - a)[::-1]))) < 1e-4


def test_the_convergence_is_what_the_issue_says_it_may_be():
    assert math.degrees(Utm(32).convergence(60.0, 12.0)) == pytest.approx(2.6, abs=0.02)
    assert math.degrees(Utm(32).convergence(60.0, 6.0)) == pytest.approx(-2.6, abs=0.02)
    assert Utm(32).convergence(60.0, 9.0) == 0.0


def test_true_north_turns_away_from_the_frame_with_the_distance():
    frame = LocalFrame(60.0, 10.0)
    latitude, longitude = frame.to_degrees([10e3, 0.0])
    expected = math.radians(float(longitude) - 10.0) * math.sin(math.radians(60.0))
    assert frame.convergence(float(latitude), float(longitude)) == pytest.approx(expected, rel=1e-3)
    assert math.degrees(expected) > 0.15


def test_a_frame_goes_on_across_the_antimeridian():
    frame = LocalFrame(-17.0, 179.999)
    x, y = frame.to_metres(-17.0, -179.999)
    assert (x, y) == pytest.approx((212.9, 0.0), abs=0.1)
    assert frame.distance(-17.0, -179.999) == pytest.approx(212.6, abs=1.0)
    box = (-18.0, 179.0, -16.0, -179.0)
    assert in_bounds(box, -17.0, 180.0) and not in_bounds(box, -17.0, 0.0)
    assert LocalFrame(-17.0, 181.0).longitude == -179.0


@pytest.mark.parametrize(('latitude', 'reason'), [(90.0, 'near_pole'), (84.5, 'near_pole'), (-81.0, 'near_pole'),
                                                  (math.nan, 'bad_fix'), (91.0, 'bad_fix'), (math.inf, 'bad_fix')])
def test_poles_and_nonsense_are_refused_by_name(latitude, reason):
    for make in (LocalFrame, utm_zone):
        with pytest.raises(InputError) as error:
            make(latitude, 7.0)
        assert error.value.reason == reason and error.value.remedy
        assert ('latitude first' in error.value.remedy) == (reason == 'bad_fix' and math.isfinite(latitude))
        assert ('is not finite' in error.value.cause) == (not math.isfinite(latitude))


def test_zones_with_the_exceptions_of_norway_and_svalbard():
    places = ((49.4, 7.8), (60.4, 5.3), (78.2, 15.6), (-33.9, 18.4), (1.3, 103.8), (0.0, 180.0))
    zones = [(32, True), (32, True), (33, True), (34, False), (48, True), (1, True)]
    assert [utm_zone(*place) for place in places] == zones


def test_places_far_from_the_datum_are_refused():
    frame = LocalFrame(49.0, 8.0)
    for call in (lambda: frame.to_degrees([3e5, 0.0]), lambda: frame.to_degrees([math.nan, 0.0]),
                 lambda: Utm(48).pose_in(frame, 4e5, 1e5, 0.0)):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.reason == 'far_from_datum'


def test_web_mercator():
    assert web_mercator_to_degrees(np.array([[20037508.342789244, 0.0], [0.0, 6446275.841]])) == pytest.approx(
        np.array([[180.0, 0.0], [0.0, 50.0]]), abs=1e-3)
