# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The map source without ROS: what sensors say in, images and routes out, and a named reason for what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.map_kit import FRAME, START_NS
from support.vehicle_kit import Direct, Vehicle, street, write_block

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import LocalFrame, Utm
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.source import MapSource

HOUR_NS = 3600 * 10**9


@pytest.fixture(scope='module')
def block(tmp_path_factory):
    folder = tmp_path_factory.mktemp('block')
    return {'file': str(write_block(folder / 'block.geojson')), 'cache': str(folder / 'cache')}


def made(block, **values) -> MapSource:
    named = {name.replace('__', '.'): value for name, value in values.items()}
    return MapSource.from_file(from_flat({**block, **named}, MapSourceConfig))


def drive(source, seconds=None, poses=None, **errors):
    vehicle = Vehicle(Direct(source), LocalFrame(*FRAME), street() if poses is None else poses, **errors)
    if seconds is not None:
        vehicle.drive(seconds)
    return vehicle


def error_of(drawing, vehicle) -> tuple[float, float]:
    """How far the image lies from where it belongs: m, rad."""
    a = vehicle.truth_at(drawing.stamp_ns).relative(drawing.estimate.pose)
    return math.hypot(a.x, a.y), abs(a.yaw)


def degrees_of(x: float, y: float) -> str:
    latitude, longitude = LocalFrame(*FRAME).to_degrees(np.array([x, y]))
    return f'{float(latitude)!r}, {float(longitude)!r}'


DATUM = f'{FRAME[0]}, {FRAME[1]}'


# -- position ----------------------------------------------------------------------------------------------------------

def test_fixes_and_odometry_give_images_where_the_vehicle_is(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 20.0, scale=0.01)
    drawings = vehicle.sink.drawings
    assert len(drawings) > 100
    assert set(vehicle.sink.reasons) <= {'no_position', 'no_heading'}  # before it had driven some metres
    away, turned = error_of(drawings[-1], vehicle)
    assert away < 1.0 and turned < math.radians(2.0)
    assert drawings[-1].stamp_ns == vehicle.now_ns


def test_without_a_datum_the_first_fix_within_the_map_is_one(block):
    source = made(block)
    with pytest.raises(InputError) as far:
        source.add_fix(Fix(START_NS, 'gnss', 35.0, 139.0, 0.0, 1.0, True))
    assert far.value.reason == 'datum_far_from_map' and source.frame is None
    vehicle = drive(source, 8.0)
    assert source.frame is not None and vehicle.sink.drawings
    assert source.frame.distance(*FRAME) < 500.0


def test_a_datum_on_another_continent_is_refused_when_it_is_configured(block):
    with pytest.raises(ConfigurationError, match="'datum'.*nowhere near.*latitude first"):
        made(block, datum='35.0, 139.0')


@pytest.mark.parametrize('values, words', [
    ({'file': ''}, "'file' is empty"),
    ({'file': '/nowhere/city.osm.pbf'}, 'cannot be read'),
    ({'kinds': 'road, lane'}, 'lane'),
    ({'datum': '49.4'}, 'datum'),
    ({'datum': 'here, there'}, 'datum'),
    ({'datum': '89.5, 0.0'}, 'datum'),
    ({'goal': '49.4'}, 'goal'),
    ({'goal': '95.0, 7.7'}, 'latitude first'),
    ({'position.source': 'odometry'}, 'needs a datum'),
    ({'position.source': 'odometry', 'position.coordinates': 'utm'}, 'utm_zone'),
    ({'position.source': 'odometry', 'position.coordinates': 'utm', 'position.utm_zone': '61N'}, 'zone'),
    ({'position.source': 'odometry', 'position.coordinates': 'utm', 'position.utm_zone': 'N32'}, 'zone'),
    ({'position.source': 'odometry', 'position.coordinates': 'ecef'}, 'ecef|earth-centred'),
    ({'position.source': 'tf', 'datum': DATUM, 'use_tf': False}, 'use_tf'),
    ({'position.source': 'tf', 'datum': DATUM, 'publish_tf': True, 'frames.earth': 'map'}, 'publish_tf'),
])
def test_what_does_not_fit_together_is_named(block, values, words):
    with pytest.raises(ConfigurationError, match=words):
        MapSource.from_file(from_flat({**block, **values}, MapSourceConfig))


@pytest.mark.parametrize('values', [{}, {'map__orientation': 'north_up', 'map__resolution': 0.5}])
def test_an_absolute_yaw_gives_an_image_at_a_standstill(block, values):
    source = made(block, datum=DATUM, **values)
    latitude, longitude = FRAME
    source.add_yaw(START_NS, math.radians(30.0), 0.02)
    source.add_fix(Fix(START_NS, 'gnss', latitude, longitude, 0.0, 1.0, True))
    source.add_yaw(START_NS + 1, math.radians(30.0), 0.02)
    drawing = source.draw()
    assert drawing.estimate.pose.yaw == pytest.approx(math.radians(30.0), abs=0.01)
    assert drawing.pixels.any()


def test_a_hundred_headings_a_second_are_not_worth_more_than_their_errors_allow(block):
    source = made(block, datum=DATUM)
    source.add_yaw(START_NS, 0.5, math.radians(1.0))
    source.add_fix(Fix(START_NS, 'gnss', *FRAME, 0.0, 1.0, True))
    for k in range(200):
        source.add_odometry(START_NS + k * 10_000_000, 0.0, 0.0, 0.0)
        source.add_yaw(START_NS + k * 10_000_000, 0.5, math.radians(1.0))
    assert math.radians(0.4) < source.estimate().heading_std <= math.radians(1.0)


def absolute(coordinates: str, pose: Pose2, frame: LocalFrame) -> np.ndarray:
    """(4, 4) of a pose in the local frame, in other coordinates."""
    import pyproj
    T = np.eye(4)
    if coordinates == 'enu':
        T[:2, 3], yaw = pose[:2], pose.yaw
    elif coordinates == 'utm':
        latitude, longitude = frame.to_degrees(np.array(pose[:2]))
        utm = Utm(32)
        T[:2, 3] = utm.to_metres(latitude, longitude)
        yaw = pose.yaw + utm.convergence(float(latitude), float(longitude))
    else:
        cart = pyproj.Transformer.from_pipeline('+proj=pipeline +step +proj=topocentric +inv +ellps=WGS84 '
                                                f'+lat_0={frame.latitude} +lon_0={frame.longitude} +h_0=0')
        here = np.array(cart.transform(*pose[:2], 0.0))
        ahead = np.array(cart.transform(pose.x + math.cos(pose.yaw), pose.y + math.sin(pose.yaw), 0.0))
        up = np.array(cart.transform(*pose[:2], 1.0)) - here
        T[:3, 0], T[:3, 2], T[:3, 3] = ahead - here, up, here
        T[:3, 1] = np.cross(T[:3, 2], T[:3, 0])
        return T
    T[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    return T


@pytest.mark.parametrize('source_of, coordinates, zone', [
    ('odometry', 'enu', ''), ('odometry', 'utm', '32N'), ('tf', 'utm', '32 n'), ('tf', 'ecef', '')])
@pytest.mark.parametrize('datum', [True, False])
def test_a_position_in_earth_fixed_coordinates_is_all_that_is_needed(block, source_of, coordinates, zone, datum):
    if coordinates == 'enu' and not datum:
        return
    source = made(block, position__source=source_of, position__coordinates=coordinates, position__utm_zone=zone,
                  datum=DATUM if datum else '')
    frame, pose = LocalFrame(*FRAME), Pose2(120.0, -200.0, 0.7)
    source.add_absolute(START_NS, absolute(coordinates, pose, frame), 0.5, 0.01)
    drawing = source.draw()
    assert drawing.pixels.any()
    latitude, longitude = source.frame.to_degrees(np.array(drawing.estimate.pose[:2]))
    assert np.hypot(*(frame.to_metres(latitude, longitude) - pose[:2])) < 0.02
    assert abs(wrap(drawing.estimate.pose.yaw - pose.yaw)) < math.radians(0.05)


def test_fifty_poses_a_second_are_not_worth_more_than_their_errors_allow(block):
    stated = {}
    for rate in (1, 50):
        source = made(block, position__source='odometry', position__coordinates='enu', datum=DATUM)
        T = absolute('enu', Pose2(120.0, -200.0, 0.7), LocalFrame(*FRAME))
        for k in range(10 * rate + 1):
            source.add_absolute(START_NS + k * 10**9 // rate, T, 1.0, 0.02)
        stated[rate] = source.estimate()
    assert stated[50].position_std == pytest.approx(stated[1].position_std, rel=0.3)
    assert stated[50].heading_std == pytest.approx(stated[1].heading_std, rel=0.3)


# -- map alignments ----------------------------------------------------------------------------------------------------

def align(vehicle: Vehicle, wrong: tuple[float, float, float] = (0.0, 0.0, 0.0)):
    """The stand-in for the fusion node: after each image, the true alignment with noise."""
    rng = np.random.default_rng(5)
    drawings = vehicle.sink.drawings

    def step(ns: int, truth: Pose2):
        if drawings and drawings[-1].stamp_ns == ns:
            a = truth.then(Pose2(*wrong)).relative(drawings[-1].estimate.pose)
            noise = rng.normal(0, (0.4, 0.4, math.radians(1.0)))
            try:
                vehicle.sink.source.add_alignment(ns, a.x + noise[0], a.y + noise[1], a.yaw + noise[2],
                                                  np.diag([0.16, 0.16, math.radians(1.0)**2]))
            except InputError as error:
                vehicle.sink.reasons.append(error.reason)
    vehicle.on_step = step


def errors_in(vehicle: Vehicle, start: float, stop: float) -> np.ndarray:
    """(N, 2) m, rad of the images drawn from `start` to `stop` seconds."""
    return np.array([error_of(d, vehicle) for d in vehicle.sink.drawings
                     if start <= (d.stamp_ns - START_NS) * 1e-9 < stop])


def laps(seconds: float) -> np.ndarray:
    """Round a block of the streets, with rounded corners."""
    corner = [(-200.0, 0.0), (200.0, 0.0), (200.0, 200.0), (-200.0, 200.0), (-200.0, 0.0)]
    line = np.array(corner * 20, float)
    s = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
    at = np.arange(0.0, 9.0 * seconds, 0.9)
    xy = np.stack([np.interp(at, s, line[:, k]) for k in range(2)], axis=1)
    smooth = np.stack([np.convolve(np.pad(c, 6, 'edge'), np.ones(13) / 13, 'valid') for c in xy.T], axis=1)
    d = np.gradient(smooth, axis=0)
    return np.column_stack([smooth, np.unwrap(np.arctan2(d[:, 1], d[:, 0]))])


@pytest.mark.parametrize('seed', range(4))
def test_alignments_bring_the_map_to_where_it_belongs(block, seed):
    source = made(block, datum=DATUM)
    vehicle = drive(source, poses=laps(70.0), seed=seed, fix_std=4.0, scale=0.01, drift=math.radians(0.004))
    align(vehicle)
    vehicle.drive(60.0)
    away, turned = np.median(errors_in(vehicle, 30.0, 60.0), axis=0)
    assert away < 1.0 and turned < math.radians(1.0)


def test_alignments_may_be_switched_off_and_wrong_ones_lead_nowhere(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, poses=laps(70.0), seed=1, fix_std=2.0, scale=0.01)
    align(vehicle, wrong=(0.0, 15.0, 0.0))  # the parallel road, so to speak
    vehicle.drive(60.0)
    away, _ = np.median(errors_in(vehicle, 30.0, 60.0), axis=0)
    assert away < 6.0
    assert {'alignment_out_of_bounds', 'alignment_gated'} & set(vehicle.sink.reasons)


@pytest.mark.parametrize('aligned, limit', [(True, 2.0), (False, 3.0)])
def test_a_minute_without_fixes_is_bridged_by_odometry(block, aligned, limit):
    source = made(block, datum=DATUM)
    vehicle = drive(source, poses=laps(140.0), seed=2, fix_std=0.5, scale=0.01, drift=math.radians(0.002))
    if aligned:
        align(vehicle)
    vehicle.drive(60.0)
    vehicle.drive(60.0, fixes=False)
    away, _ = np.median(errors_in(vehicle, 60.0, 120.0), axis=0)
    assert away < limit
    assert vehicle.sink.drawings[-1].stamp_ns == vehicle.now_ns
    vehicle.drive(10.0)
    assert errors_in(vehicle, 129.0, 130.0)[:, 0].max() < 2.0


# -- what is wrong with inputs -----------------------------------------------------------------------------------------

def recovers(vehicle: Vehicle, seconds: float = 8.0):
    """Good messages give images again, where they belong."""
    vehicle.sink.drawings.clear()
    vehicle.drive(seconds)
    assert vehicle.sink.drawings, vehicle.sink.reasons[-5:]
    away, turned = error_of(vehicle.sink.drawings[-1], vehicle)
    assert away < 3.0 and turned < math.radians(5.0)


def test_fixes_of_another_continent_are_named_and_forgotten(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 5.0)
    for k in range(20):
        with pytest.raises(InputError) as error:
            source.add_fix(Fix(vehicle.now_ns + k, 'gnss', -33.9, 151.2, 0.0, 1.0, True))
        assert error.value.reason == 'far_from_datum'
    recovers(vehicle)


def test_a_recording_of_another_city_gets_another_datum(block, tmp_path):
    """Where the datum is not given."""
    other = (FRAME[0] + 4.0, FRAME[1] + 3.0)
    here, there = write_block(tmp_path / 'here.geojson'), write_block(tmp_path / 'there.geojson', other)
    import json
    both = tmp_path / 'both.geojson'
    features = [f for path in (here, there) for f in json.loads(path.read_text())['features']]
    both.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    source = made({**block, 'file': str(both)})
    drive(source, 8.0)
    vehicle = Vehicle(Direct(source), LocalFrame(*other), street(), start_ns=START_NS + HOUR_NS)
    vehicle.drive(20.0)
    assert vehicle.sink.drawings and 'far_from_datum' in vehicle.sink.reasons
    assert source.frame.distance(*other) < 1000.0


@pytest.mark.parametrize('back_ns', [30 * 10**9, 2 * HOUR_NS])
def test_a_recording_that_starts_again_gives_images_again(block, back_ns):
    source = made(block, datum=DATUM)
    drive(source, 30.0)
    vehicle = Vehicle(Direct(source), LocalFrame(*FRAME), street(), start_ns=START_NS + 30 * 10**9 - back_ns)
    vehicle.drive(1.0)
    recovers(vehicle, 10.0)


@pytest.mark.parametrize('jump_ns', [HOUR_NS, -HOUR_NS, 5 * 10**9])
def test_a_clock_that_jumps_and_comes_back_costs_some_images(block, jump_ns):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 10.0)
    vehicle.start_ns += jump_ns
    vehicle.drive(3.0)
    vehicle.start_ns -= jump_ns
    vehicle.drive(5.0)
    recovers(vehicle, 10.0)


def test_fixes_by_another_clock_are_named(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 5.0)
    for _ in range(3):
        vehicle.drive(1.0, fixes=False)
        fix = Fix(vehicle.now_ns - HOUR_NS, 'gnss', *FRAME, 0.0, 1.0, True)
        with pytest.raises(InputError) as error:
            source.add_fix(fix)
        assert error.value.reason == 'fix_at_another_time'
    recovers(vehicle)


def test_where_there_are_no_roads_there_is_no_image_but_a_reason(block):
    source = made(block, datum=DATUM)
    away = street() + (0.0, 5000.0, 0.0)
    vehicle = drive(source, 10.0, poses=away)
    assert not vehicle.sink.drawings and 'no_roads_near' in vehicle.sink.reasons
    near = Vehicle(Direct(source), LocalFrame(*FRAME), street() + (0.0, 550.0, 0.0), start_ns=START_NS + HOUR_NS)
    near.drive(10.0)
    assert near.sink.drawings


def test_an_uncertain_position_gives_no_image(block):
    source = made(block, datum=DATUM, position__max_std=0.9)
    vehicle = drive(source, 10.0, fix_std=3.0)
    assert not vehicle.sink.drawings and 'position_uncertain' in vehicle.sink.reasons


# -- route -------------------------------------------------------------------------------------------------------------

def red(drawing) -> np.ndarray:
    """(rows, columns) bool, where the route is drawn."""
    r, g, b = (drawing.pixels[..., k].astype(int) for k in range(3))
    return (r > 150) & (g < 80) & (b < 80)


def test_the_goal_of_the_parameter_is_driven_to(block):
    source = made(block, datum=DATUM, goal=degrees_of(200.0, 380.0))
    vehicle = drive(source, 10.0, poses=street())
    guidance = source.guide.guidance
    assert guidance.state == 'driving' and guidance.route.names[-1] == 'avenue 1'
    rows, columns = np.nonzero(red(vehicle.sink.drawings[-1]))
    assert len(rows) and abs(columns.mean() - 240) < 12 and rows.max() < 300  # up, from a little behind the vehicle


def test_when_the_vehicle_leaves_the_route_there_is_another_one(block):
    source = made(block, datum=DATUM, goal=degrees_of(0.0, 380.0))
    vehicle = drive(source, 10.0, poses=street())  # the route turns left at x = 0; the vehicle goes straight on
    first = source.guide.route
    vehicle.drive(40.0)
    assert source.guide.replanned > 0 and source.guide.route is not first
    assert source.guide.guidance.state == 'driving'


def test_at_the_goal_the_route_ends(block):
    source = made(block, datum=DATUM, goal=degrees_of(0.0, 0.0))
    vehicle = drive(source, 45.0, poses=street())
    assert source.guide.guidance.state == 'arrived' and source.guide.route is None
    assert not red(vehicle.sink.drawings[-1]).any()


def test_waypoints_are_passed_in_order_and_not_driven_back_to(block):
    source = made(block, datum=DATUM, goal=f'{degrees_of(-200.0, 0.0)}; {degrees_of(200.0, -380.0)}')
    vehicle = drive(source, 10.0, poses=street())
    route = source.guide.route
    assert np.hypot(*(route.xy - (-200.0, 0.0)).T).min() < 1.0
    assert np.hypot(*(route.xy[-1] - (200.0, -380.0))) < 1.0
    vehicle.drive(55.0)  # past the waypoint, past the turn at x = 200, until the route is another one
    assert source.guide.replanned > 0
    assert source.guide.route.length < 800.0


@pytest.mark.parametrize('goal, reason', [
    (degrees_of(0.0, 3000.0), 'goal_off_network'), ('35.0, 139.0', 'goal_off_network')])
def test_a_goal_that_cannot_be_reached_is_named_and_the_next_one_counts(block, goal, reason):
    source = made(block, datum=DATUM, goal=goal)
    vehicle = drive(source, 10.0, poses=street())
    guidance = source.guide.guidance
    assert guidance.state == 'no_route' and guidance.problem.reason == reason
    assert vehicle.sink.drawings  # images come all the same
    source.update(from_flat({**block, 'datum': DATUM, 'goal': degrees_of(300.0, 0.0)}, MapSourceConfig))
    vehicle.drive(1.0)
    assert source.guide.guidance.state == 'driving'
    source.update(from_flat({**block, 'datum': DATUM}, MapSourceConfig))
    vehicle.drive(1.0)
    assert source.guide.guidance.state == 'none' and not red(vehicle.sink.drawings[-1]).any()


def test_a_goal_that_oneway_roads_do_not_lead_to_is_named_and_tried_again(tmp_path):
    """Two streets that only lead to each other by a oneway road: from the far one there is no way back."""
    import json
    line = [(0.0, 0.0), (100.0, 0.0), (200.0, 0.0), (300.0, 0.0)]
    latitudes, longitudes = LocalFrame(*FRAME).to_degrees(np.array(line))
    places = np.stack([longitudes, latitudes], axis=1).tolist()
    features = [{'type': 'Feature', 'properties': {'highway': 'residential', **tags},
                 'geometry': {'type': 'LineString', 'coordinates': places[k:k + 2]}}
                for k, tags in enumerate(({}, {'oneway': 'yes'}, {}))]
    path = tmp_path / 'oneway.geojson'
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    source = made({'file': str(path), 'cache': str(tmp_path / 'cache')}, datum=DATUM, goal=degrees_of(20.0, 0.0))
    source.add_yaw(START_NS, 0.0, 0.01)
    source.add_fix(Fix(START_NS, 'gnss', *LocalFrame(*FRAME).to_degrees(np.array([250.0, 0.0])), 0.0, 0.5, True))
    source.add_yaw(START_NS + 1, 0.0, 0.01)
    source.follow()
    guidance = source.guide.guidance
    assert guidance.state == 'no_route' and guidance.problem.reason == 'goal_unreachable'
    source.guide.set_goals([np.array([290.0, 0.0])])
    source.follow()
    assert source.guide.guidance.state == 'driving'


def test_a_given_path_is_drawn_and_followed(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 10.0, poses=street())
    source.guide.set_path(np.array([(-300.0, 0.0), (0.0, 0.0), (0.0, 200.0)]), source.roads)
    vehicle.drive(1.0)
    assert source.guide.guidance.state == 'driving' and red(vehicle.sink.drawings[-1]).any()
    with pytest.raises(InputError) as error:
        source.guide.set_path(np.array([(0.0, 0.0)]), source.roads)
    assert error.value.reason == 'path_too_short'


def test_a_recording_that_starts_again_is_routed_again(block):
    source = made(block, datum=DATUM, goal=degrees_of(0.0, 0.0))
    drive(source, 45.0)
    assert source.guide.guidance.state == 'arrived'
    drive(source, 10.0)
    assert source.guide.guidance.state == 'driving'


def test_of_a_route_that_comes_back_only_the_first_pass_is_drawn(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 10.0, poses=street())
    around = [(-400.0, 0.0), (200.0, 0.0), (200.0, 400.0), (-200.0, 400.0), (-200.0, -400.0)]
    source.guide.set_path(np.array(around), source.roads)
    vehicle.drive(6.0)  # at x = -220: the second pass crosses here, north to south
    rows, columns = np.nonzero(red(vehicle.sink.drawings[-1]))
    assert len(rows) and abs(columns - 240).max() < 15


# -- when images come --------------------------------------------------------------------------------------------------

def test_images_come_when_the_vehicle_has_moved_and_seldom_otherwise(block):
    source = made(block, datum=DATUM)
    vehicle = drive(source, 10.0)
    still = np.repeat(vehicle.poses[vehicle.at:vehicle.at + 1], 110, axis=0)
    vehicle.poses = np.vstack([vehicle.poses[:vehicle.at + 1], still])
    vehicle.drive(2.0, fixes=False)
    vehicle.sink.drawings.clear()
    vehicle.drive(8.0, fixes=False)
    assert 7 <= len(vehicle.sink.drawings) <= 10  # max_period
    assert not source.image_due(vehicle.sink.drawings[-1].stamp_ns + 300_000_000)
    assert source.image_due(vehicle.now_ns + 1_000_000_000, wanted=False)
