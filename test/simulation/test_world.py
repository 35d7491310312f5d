# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Generated worlds: repeatable, of the class asked for, nothing on the road that should not be there."""

import math
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.simulation.drive import demo_world, drive_poses
from attention_fusion_ros.simulation.world.drawing import box_corners, vehicle_corners
from attention_fusion_ros.simulation.world.generate import (
    OWN_LENGTH_M,
    OWN_WIDTH_M,
    SCENE_CLASSES,
    generate_world,
)
from attention_fusion_ros.simulation.world.polyline import (
    arc_length,
    clip_to_disc,
    distances,
    offset_curve,
    project,
    resample,
    substring,
)
from attention_fusion_ros.simulation.world.profile import CLASS_SHARES
from attention_fusion_ros.simulation.world.roads import Section, clothoid_bump, curved, random_section

CLASSES = list(CLASS_SHARES)
JUNCTIONS = ('t', 'x', 'y', 'skewed', 'staggered', 'roundabout', 'fork')


def _from_road(world, points):
    """Metres from each of (N, 2) points to the edge of the nearest road (buffered centre lines), negative on it."""
    points = np.atleast_2d(points)[:, None]
    nearest = np.full(len(points), np.inf)
    for road in world.roads:
        a, d = road.centre[:-1], np.diff(road.centre, axis=0)
        share = np.clip(((points - a) * d).sum(axis=2) / (d * d).sum(axis=1), 0, 1)
        away = np.sqrt(((a + share[..., None] * d - points) ** 2).sum(axis=2)).min(axis=1)
        nearest = np.minimum(nearest, away - road.width / 2)
    return nearest


def _samples(line, step=0.5):
    return resample(line, step) if len(line) > 1 else line


@pytest.mark.parametrize('scene_class', CLASSES)
def test_nothing_of_the_roadside_stands_on_a_road(scene_class):
    for seed in (1, 2):
        world = generate_world(seed, scene_class)
        assert world.scene_class == scene_class
        lines = [_samples(wall.line) for wall in world.walls] or [np.empty((0, 2))]
        thickness = np.repeat([w.thickness for w in world.walls], [len(x) for x in lines] if world.walls else 0)
        assert (_from_road(world, np.concatenate(lines)) > thickness / 2).all(), seed
        things = (*world.posts, *world.bushes)
        assert (_from_road(world, [(t.x, t.y) for t in things]) > [t.radius for t in things]).all(), seed


@pytest.mark.parametrize('scene_class', CLASSES)
def test_the_vehicle_stands_on_a_road_with_room_around_it(scene_class):
    for seed in range(3):
        world = generate_world(seed, scene_class)
        x, y, yaw = world.pose
        assert math.hypot(x, y) < 10 and -math.pi < yaw <= math.pi
        assert _from_road(world, (x, y)) < -0.4
        reach = max(np.abs(r.centre - (x, y)).max() for r in world.roads)
        assert reach > 70
        body = box_corners(x, y, yaw, OWN_LENGTH_M - 0.8, OWN_WIDTH_M - 0.4)  # less than the raster's cells
        inside = np.concatenate([_samples(body), _samples(body[::-1] * 0.5 + np.array([x, y]) * 0.5)])
        for vehicle in world.vehicles:
            c, s = math.cos(vehicle.yaw), math.sin(vehicle.yaw)
            local = (inside - (vehicle.x, vehicle.y)) @ np.array([[c, -s], [s, c]])
            assert not ((np.abs(local[:, 0]) < vehicle.length / 2 - 0.3)
                        & (np.abs(local[:, 1]) < vehicle.width / 2 - 0.3)).any(), (seed, vehicle)
        for wall in world.walls:
            local = (_samples(wall.line) - (x, y)) @ np.array([[math.cos(yaw), -math.sin(yaw)],
                                                               [math.sin(yaw), math.cos(yaw)]])
            assert (np.abs(local) > (OWN_LENGTH_M / 2 - 0.4, OWN_WIDTH_M / 2 - 0.4)).any(axis=1).all(), (seed, wall)


def test_equal_seeds_give_equal_worlds():
    def flat(world):
        return repr({k: (v.tolist() if isinstance(v, np.ndarray) else v) for k, v in asdict(world).items()})
    for seed in (3, 4):
        assert flat(generate_world(seed)) == flat(generate_world(seed))
    assert flat(generate_world(3)) != flat(generate_world(4))


@pytest.mark.slow
def test_classes_and_poses_are_spread():
    worlds = [generate_world(seed) for seed in range(90)]
    classes = Counter(w.scene_class for w in worlds)
    assert len(classes) >= 9 and 'osm' not in classes
    assert sum(classes[c] for c in JUNCTIONS) >= 0.45 * len(worlds)
    # About half of the vehicles look along the road, the others anywhere.
    off = []
    for w in worlds:
        s, _ = project(w.route, w.pose[:2])
        a, b = (np.stack([np.interp(v, arc_length(w.route), w.route[:, k]) for k in (0, 1)]) for v in (s - 1, s + 1))
        off.append(float(angle_between(math.atan2(b[1] - a[1], b[0] - a[0]), w.pose[2])))
    along = np.mean(np.array(off) < math.radians(24))
    assert 0.45 < along < 0.75
    assert max(off) > math.radians(150)
    assert {len(w.vehicles) > 0 for w in worlds} == {True, False}
    sides = {w.extra['left_hand'] for w in worlds}
    assert sides == {True, False}
    lanes = {r.lanes for w in worlds for r in w.roads}
    assert lanes >= {1, 2, 3, 4, 6}
    kinds = {wall.kind for w in worlds for wall in w.walls}
    assert kinds == {'facade', 'wall', 'fence', 'hedge', 'rail'}
    assert {p.kind for w in worlds for p in w.posts} >= {'lamp', 'tree', 'bollard'}
    assert {v.kind for w in worlds for v in w.vehicles} >= {'car', 'van', 'truck', 'bus', 'pedestrian', 'cyclist'}
    assert any(w.terrain.kerb < 0 for w in worlds) and any(w.terrain.kerb > 0.1 for w in worlds)


def test_the_route_runs_along_centre_lines_past_the_vehicle():
    for scene_class in CLASSES:
        world = generate_world(11, scene_class)
        for point in resample(world.route, 5.0):
            assert min(distances(r.centre, point).min() for r in world.roads) < 0.3
        _, aside = project(world.route, world.pose[:2])
        assert aside == pytest.approx(abs(world.extra['lane_offset']), abs=0.5)


def test_vehicles_do_not_stand_in_each_other():
    for seed in range(10):
        world = generate_world(seed, 'x')
        boxes = [(v, vehicle_corners(v)) for v in world.vehicles]
        for i, (a, _) in enumerate(boxes):
            for b, corners in boxes[i + 1:]:
                c, s = math.cos(a.yaw), math.sin(a.yaw)
                local = (np.vstack([corners, [[b.x, b.y]]]) - (a.x, a.y)) @ np.array([[c, -s], [s, c]])
                deep = (np.abs(local[:, 0]) < a.length / 2 - 0.45) & (np.abs(local[:, 1]) < a.width / 2 - 0.45)
                assert not deep.any(), (seed, a, b)


def test_without_vehicles_only_they_are_gone():
    world = generate_world(5, 'x')
    bare = world.without_vehicles()
    assert bare.vehicles == () and bare.walls == world.walls and bare.roads == world.roads


@pytest.mark.parametrize('scene_class', ['osm', 'motorway'])
def test_classes_that_cannot_be_made_are_named(scene_class):
    with pytest.raises(ConfigurationError, match='osm' if scene_class == 'osm' else "'motorway'.*straight"):
        generate_world(0, scene_class)
    assert 'osm' in SCENE_CLASSES


@given(seed=st.integers(0, 10**6), minor=st.booleans())
@settings(max_examples=60, deadline=None)
def test_sections_are_roads(seed, minor):
    section = random_section(np.random.default_rng(seed), minor)
    assert 1 <= section.lanes <= 6 and 2.6 <= section.lane_width <= 4.6
    for left_hand in (False, True):
        lanes = section.forward_lanes(left_hand)
        assert len(lanes) >= 1 and set(lanes) <= set(range(section.lanes))
        offsets = [section.lane_offset(k) for k in lanes]
        assert all(abs(o) + section.lane_width / 2 <= section.width / 2 + 1e-9 for o in offsets)
        if section.lanes % 2 == 0 and section.parking == (0.0, 0.0):
            assert all((o > 0) == left_hand for o in offsets)  # traffic keeps to its side
    assert section.reversed().lane_offset(0) == pytest.approx(-section.lane_offset(section.lanes - 1))


def test_a_curve_turns_by_the_integral_of_its_curvature():
    s = np.arange(0, 100, 0.25)
    line = curved((1.0, 2.0), 0.3, s, clothoid_bump(s, 30, 20, 1 / 25))
    d = np.diff(line, axis=0)
    heading = np.unwrap(np.arctan2(d[:, 1], d[:, 0]))
    assert heading[0] == pytest.approx(0.3, abs=1e-9) and heading[-1] == pytest.approx(0.3 + 20 / 25, abs=1e-3)
    assert np.abs(np.diff(heading)).max() < math.radians(2.1)  # fine enough to read headings off
    assert arc_length(line)[-1] == pytest.approx(s[-1], rel=1e-3)


def test_polylines():
    line = np.array([[0.0, 0], [10, 0], [10, 10]])
    assert project(line, (12.0, 5.0)) == pytest.approx((15.0, 2.0))
    assert substring(line, 5, 15) == pytest.approx(np.array([[5, 0], [10, 0], [10, 5]]))
    assert offset_curve(line, 1.0) == pytest.approx(np.array([[0, 1], [9, 1], [9, 10]]))
    assert [r.tolist() for r in clip_to_disc(np.array([[-9.0, 3], [9, 3]]), 5.0)] == [[[-4, 3], [4, 3]]]
    twice = clip_to_disc(np.array([[-9.0, 0], [9, 0], [9, 1], [-9, 1]]), 5.0)
    assert len(twice) == 2 and twice[1][0] == pytest.approx([math.sqrt(24), 1])
    assert clip_to_disc(np.array([[-9.0, 6], [9, 6]]), 5.0) == []


def test_roads_of_one_lane_are_driven_in_the_middle():
    assert Section(1, 3.5).lane_offset(0) == 0.0
    assert Section(2, 3.0, (2.0, 0.0)).lane_offset(0) == pytest.approx(-2.5)


def test_a_drive_follows_its_route():
    world = demo_world(3)
    stamps, poses = drive_poses(world, speed=8.0, rate_hz=5.0)
    assert poses.shape == (len(stamps), 3) and (np.diff(stamps) == 200_000_000).all() and stamps[0] > 0
    steps = np.hypot(*np.diff(poses[:, :2], axis=0).T)
    assert steps.max() < 8.0 / 5.0 * 1.02 and steps.sum() > 300
    turns = np.abs(angle_between(poses[1:, 2], poses[:-1, 2]))
    assert turns.max() < math.radians(25) and turns.sum() > 2 * math.pi * 0.6
    for x, y in poses[::10, :2]:
        assert _from_road(world, (x, y)) < 0
        assert not any(np.hypot(v.x - x, v.y - y) < 1.2 for v in world.vehicles)
    assert demo_world(3).walls[0].line.tolist() == world.walls[0].line.tolist()
    with pytest.raises(ValueError, match='positive'):
        drive_poses(world, speed=0.0)


@pytest.mark.slow
def test_scenes_from_openstreetmap(shared_folder):
    from attention_fusion_ros.simulation.truth.branches import truth
    extract = shared_folder / 'data/osm/kaiserslautern.osm.gz'
    counts = Counter()
    for seed in range(10):
        world = generate_world(seed, 'osm', osm=extract)
        assert world.scene_class == 'osm' and _from_road(world, world.pose[:2]) < 0
        counts[len(truth(world).branches)] += 1
        assert (_from_road(world, [(p.x, p.y) for p in world.posts]) > [p.radius for p in world.posts]).all()
    assert sum(n for branches, n in counts.items() if branches > 2) >= 3
    assert 'osm' in {generate_world(seed, osm=extract).scene_class for seed in range(16)}
