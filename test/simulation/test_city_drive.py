# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A drive through real roads: along its route, on the road, with a truth that fits to the degrees, and repeatable."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('osmium', reason='needs osmium')
pytest.importorskip('pyproj', reason='needs pyproj')

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import angle_between, rotation_2d
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.simulation.city_drive import CityDrive
from attention_fusion_ros.simulation.city_options import CityOptions
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.gnss import FIX
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors, ImuErrors, OdometryErrors
from attention_fusion_ros.simulation.world.drawing import Frame, surface_mask, vehicle_corners

pytestmark = pytest.mark.slow  # half a minute in all

ROUNDABOUT = CityOptions(start=(42.34779, -71.03860), goals=((42.34690, -71.03330),), imu=ImuErrors())
FAST = DriveOptions(seed=4, rate=1.0, lidar='vlp_16', with_map=False)
PLAIN = """<osm version="0.6"><bounds minlat="50.0" minlon="8.0" maxlat="50.02" maxlon="8.02"/>
<node id="1" lat="50.01" lon="8.002"/><node id="2" lat="50.01" lon="8.010"/><node id="3" lat="50.01" lon="8.018"/>
<node id="4" lat="50.018" lon="8.010"/><node id="5" lat="50.002" lon="8.0141"/><node id="6" lat="50.018" lon="8.0141"/>
<way id="1"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="residential"/></way>
<way id="2"><nd ref="4"/><nd ref="2"/><tag k="highway" v="tertiary"/><tag k="oneway" v="yes"/></way>
<way id="3"><nd ref="5"/><nd ref="6"/><tag k="highway" v="trunk"/>{}</way></osm>"""


@pytest.fixture(scope='module')
def drive():
    return CityDrive(FAST, ROUNDABOUT)


def true_poses(drive) -> list:
    return [(t, pose) for i in range(len(drive)) for t, pose in drive.poses(i)]


def test_it_follows_the_route_from_start_to_goal_on_the_road(drive):
    poses = np.array([pose for _, pose in true_poses(drive)])
    # As far aside of the middle as its lane.
    assert np.hypot(*(poses[0, :2] - drive.route.xy[0])) < 8 and np.hypot(*(poses[-1, :2] - drive.route.xy[-1])) < 8
    steps = np.diff(poses[:, :2], axis=0)
    assert np.hypot(*steps.T).sum() == pytest.approx(drive.route.length, rel=0.05)
    away = [min(np.hypot(*(drive.route.xy - p).T).min(), 99) for p in poses[::10, :2]]
    assert np.median(away) < 12
    moving = np.hypot(*steps.T) > 0.1
    heading = np.arctan2(steps[moving, 1], steps[moving, 0])
    assert angle_between(heading, poses[:-1][moving, 2]).max() < math.radians(12)
    for i in range(len(drive)):
        world, (x, y, _) = drive.world_at(i), drive.poses(i)[0][1]
        frame = Frame.aligned(x, y, 4.0, 0.1)
        column, row = np.rint(frame.pixels(np.array([x, y]))).astype(int)
        assert surface_mask(world, frame)[row, column], i


def test_nothing_stands_where_the_vehicle_drives(drive):
    for i in range(0, len(drive), 3):
        world, (x, y, _) = drive.world_at(i), drive.poses(i)[0][1]
        for vehicle in world.vehicles:
            assert np.hypot(vehicle.x - x, vehicle.y - y) > 1.6, (i, vehicle)
            assert np.hypot(*(vehicle_corners(vehicle) - (x, y)).T).min() > 0.8, (i, vehicle)
        assert all(np.hypot(p.x - x, p.y - y) > 1.5 for p in world.posts)
        assert world.walls and world.roads


def test_projecting_the_true_degrees_gives_the_true_pose(drive):
    for i in range(0, len(drive), 7):
        _, pose = drive.poses(i)[0]
        np.testing.assert_allclose(drive.frame.to_metres(*drive.degrees(pose)), pose[:2], atol=1e-3)
    assert drive.datum[:2] == pytest.approx(ROUNDABOUT.start)


def test_fixes_are_where_the_vehicle_was_but_for_the_errors_that_were_asked_for():
    exact = CityOptions(start=ROUNDABOUT.start, goals=ROUNDABOUT.goals, odometry=OdometryErrors(0.0, 0.0, 0.0),
                        gnss=GnssErrors(rate=4.0, noise=0.0, bias=0.0, losses=0.0, jumps=0.0))
    found = CityDrive(FAST, exact)
    fixes = [f for i in range(len(found)) for f in found.fixes(i)]
    assert [f.stamp_ns for f in fixes] == [k * 250_000_000 for k in range(len(fixes))]
    assert all(i == f.stamp_ns // 10**9 for i in range(len(found)) for f in found.fixes(i))
    for fix in fixes[::9]:
        np.testing.assert_allclose(found.frame.to_metres(fix.latitude, fix.longitude), found.pose_at(fix.stamp_ns)[:2],
                                   atol=1e-3)
    # Exact odometry is the same way, seen from the first pose.
    x, y, yaw = found.poses(0)[0][1]
    for i in range(0, len(found), 5):
        for (t, true), (u, said) in zip(found.poses(i), found.odometry(i)):
            assert t == u
            np.testing.assert_allclose((np.array(true[:2]) - (x, y)) @ rotation_2d(yaw), said[:2], atol=1e-6)


def test_odometry_drifts_and_fixes_scatter(drive):
    poses = np.array([pose for _, pose in true_poses(drive)])
    said = np.array([pose for i in range(len(drive)) for _, pose in drive.odometry(i)])
    assert len(said) == len(poses)
    length = [np.hypot(*np.diff(p[:, :2], axis=0).T).sum() for p in (said, poses)]
    assert length[0] / length[1] == pytest.approx(1.01, abs=0.004)
    fixes = [f for i in range(len(drive)) for f in drive.fixes(i)]
    away = [np.hypot(*(drive.frame.to_metres(f.latitude, f.longitude) - drive.pose_at(f.stamp_ns)[:2]))
            for f in fixes if f.status == FIX]
    assert 0.3 < np.median(away) < 8.0
    readings = [r for i in range(len(drive)) for r in drive.imu(i)]
    assert len(readings) == len(poses) and drive.has_imu


def test_the_truth_leads_along_the_drive(drive):
    poses = np.array([pose for _, pose in true_poses(drive)])
    starts = [20 * i for i in range(len(drive))]
    turned = []
    for i, at in enumerate(starts):
        truth = drive.truth(i, 20.0)
        if truth.direction is None:
            assert truth.direction_reason == 'the route ends within the ring' and i > len(drive) - 8
            continue
        x, y, yaw = poses[at]
        later = (poses[at:, :2] - (x, y)) @ rotation_2d(yaw)
        beyond = np.flatnonzero(np.hypot(*later.T) >= 20.0)
        if len(beyond):
            crossing = later[beyond[0]]
            turned.append(angle_between(math.atan2(crossing[1], crossing[0]), truth.direction[0]))
    assert len(turned) > 0.8 * len(drive)
    # Within the lane, and what corners cut off.
    assert np.median(turned) < math.atan2(3.5, 20.0) and max(turned) < math.atan2(8.0, 20.0)
    assert max(len(drive.truth(i, 20.0).branches) for i in range(len(drive))) >= 3


def test_equal_options_give_equal_sweeps_whatever_was_asked_for_before(drive):
    again = CityDrive(FAST, ROUNDABOUT)
    middle = len(drive) // 2
    drive.sweep(0)
    for i in (middle, 0):
        first, second = drive.sweep(i), again.sweep(i)
        np.testing.assert_array_equal(first.cloud.xyz, second.cloud.xyz)
        assert first.truth == second.truth and first.pose == second.pose
    assert [f.stamp_ns for f in drive.fixes(3)] == [f.stamp_ns for f in again.fixes(3)]
    assert drive.odometry(5) == again.odometry(5)
    other = CityDrive(DriveOptions(seed=5, rate=1.0, lidar='vlp_16', with_map=False), ROUNDABOUT)
    assert other.odometry(5) != drive.odometry(5) and other.poses(5)[0][1][:2] != (0.0, 0.0)
    assert not np.array_equal(other.sweep(0).cloud.xyz, drive.sweep(0).cloud.xyz)


def test_the_world_does_not_change_while_the_vehicle_drives(drive):
    """What is in sight from both of two places is the same from both."""
    a, b = drive.world_at(5), drive.world_at(7)
    def posts(world):
        return {(p.x, p.y) for p in world.posts
                if all(np.hypot(p.x - w.pose[0], p.y - w.pose[1]) < 60 for w in (a, b))}
    assert posts(a) == posts(b) and len(posts(a)) > 5


def test_traffic_keeps_to_the_side_that_it_should():
    sides = []
    for left_hand in (False, True):
        found = CityDrive(FAST, CityOptions(start=(42.34660, -71.03180), goals=((42.34650, -71.02690),),
                                            left_hand=left_hand))
        x, y, yaw = found.poses(len(found) // 2)[0][1]
        route = found.world_at(len(found) // 2).route
        k = int(np.hypot(*(route - (x, y)).T).argmin())
        sides.append(float((route[k] - (x, y)) @ (-math.sin(yaw), math.cos(yaw))))  # of the middle, to the left
    assert sides[0] > 0.5 and sides[1] < -0.5


def city(tmp_path, tags: str = '') -> CityOptions:
    path = tmp_path / 'plain.osm'
    path.write_text(PLAIN.format(tags))
    return CityOptions(path, (50.01, 8.003), ((50.01, 8.017),))


@pytest.mark.parametrize('tags', ['', '<tag k="bridge" v="yes"/><tag k="layer" v="1"/>'])
def test_what_crosses_the_route_without_a_junction_is_no_road_there(tmp_path, monkeypatch, tags):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    found = CityDrive(FAST, city(tmp_path, tags))
    for i in range(len(found)):
        world = found.world_at(i)
        x, _, _ = world.pose
        assert len(world.roads) <= 3 and all(np.abs(r.centre[:, 0] - 796).max() > 5 for r in world.roads), x
        # A straight road with one side road: never more than three ways.
        assert len(found.truth(i, 20.0).branches) <= 3


def test_goals_that_cannot_be_reached_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    good = city(tmp_path)
    cases = ((None, (10.0, 10.0), 'goal_off_network'), (good.start, (10.0, 10.0), 'goal_off_network'),
             ((-33.0, 151.0), good.goals[0], 'start_off_network'), (good.start, (50.0142, 8.0), 'goal_off_network'),
             (None, (50.0142, 8.0), 'goal_off_network'), (good.start, (50.016, 8.0100), 'goal_unreachable'),
             (None, (50.016, 8.0100), 'goal_unreachable'), (good.start, (50.016, 8.0141), 'goal_unreachable'))
    for start, goal, reason in cases:
        with pytest.raises(InputError) as caught:
            CityDrive(FAST, CityOptions(good.osm, start, (goal,)))
        assert caught.value.reason == reason, (start, goal, caught.value)
    with pytest.raises(ConfigurationError, match='at least 40 m'):
        CityDrive(FAST, CityOptions(good.osm, good.start, ((50.01, 8.0031),)))
    with pytest.raises(ConfigurationError, match='turns on the spot'):
        CityDrive(FAST, CityOptions(good.osm, good.start, (good.goals[0], good.start)))
    (tmp_path / 'none.osm').write_text('<osm version="0.6"/>')
    with pytest.raises(ConfigurationError, match='holds no roads'):
        CityDrive(FAST, CityOptions(tmp_path / 'none.osm'))


def test_without_places_the_seed_chooses_some_and_a_goal_alone_is_enough():
    chosen = [CityDrive(DriveOptions(seed=seed, rate=1.0, lidar='vlp_16', with_map=False), CityOptions())
              for seed in (0, 1)]
    assert all(350 <= d.route.length <= 1500 for d in chosen)
    assert chosen[0].degrees(chosen[0].poses(0)[0][1]) != chosen[1].degrees(chosen[1].poses(0)[0][1])
    goal = CityDrive(FAST, CityOptions(goals=ROUNDABOUT.goals))
    end = goal.poses(len(goal) - 1)[-1][1]
    assert isinstance(goal.roads, LocalRoads)
    assert np.hypot(*(np.array(end[:2]) - goal.frame.to_metres(*ROUNDABOUT.goals[0]))) < 20
