# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Profiles: v1 stays what the published tables are made of, v2 has what LiDARs take for roads, with the right truth."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import numpy as np
import pytest

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets import held_out
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.sensors.raster import Label, rasterise
from attention_fusion_ros.simulation.truth.branches import truth, truths_of_turns
from attention_fusion_ros.simulation.truth.masks import masks
from attention_fusion_ros.simulation.world.boulevards import ACUTE_DEG, acute
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.medians import gaps_between
from attention_fusion_ros.simulation.world.polyline import distances
from attention_fusion_ros.simulation.world.profile import V2, WorldProfile, profile_of
from attention_fusion_ros.simulation.world.roads import Section
from attention_fusion_ros.simulation.world.world import Apron, Island, Road, Terrain, World

# Of the worlds of evaluation seeds as they were before there were profiles: what stands where, to the millimetre.
WORLDS = {20000000: '0e2476095e6e6549',
          20000003: '5d36db6edef935dc',
          20000007: 'a5dea10048be9f56',
          20000011: '2ac6af2ccc6caa2c',
          20000016: '3c24db0cb04c12a2'}
# seed -> points of its sweep, and how many cells of its masks road, roadside structure, vehicles and view cover.
SCENES = {20000001: (15194, 12264, 3928, 978, 20983), 20000002: (113277, 10164, 9641, 0, 31811)}


def everything(world: World) -> str:
    numbers = [world.pose, *(r.centre for r in world.roads), *(w.line for w in world.walls), world.route,
               [(p.x, p.y, p.height, p.crown_radius) for p in world.posts],
               [(b.x, b.y, b.radius, b.height) for b in world.bushes],
               [(v.x, v.y, v.yaw, v.length) for v in world.vehicles],
               [(w.height, w.thickness, w.porosity) for w in world.walls], [(r.width, r.lanes) for r in world.roads],
               [world.terrain.kerb, world.terrain.sidewalk, world.terrain.crown, world.terrain.slope_x]]
    flat = np.concatenate([np.asarray(n, np.float64).ravel() for n in numbers if n is not None])
    return hashlib.sha256(np.rint(flat * 1000).astype(np.int64).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize('seed', WORLDS)
def test_worlds_of_the_published_tables_stay_as_they_are(seed):
    world = generate_world(seed)
    assert everything(world) == WORLDS[seed]
    assert not world.islands and not world.aprons and world.terrain.lawn == world.terrain.ditch_depth == 0.0


@pytest.mark.parametrize('seed', SCENES)
def test_scenes_of_the_published_tables_stay_as_they_are(seed):
    scene = held_out.make_scene(seed)
    points, *cells = SCENES[seed]
    assert len(scene.cloud.xyz) == pytest.approx(points, rel=1e-3)  # rays at the edge of things differ by platform
    assert [int(scene.cells[name].sum()) for name in held_out.MASKS] == pytest.approx(cells, rel=2e-3, abs=3)


def test_a_profile_is_asked_for_by_its_name():
    assert profile_of('v2') is V2
    with pytest.raises(ConfigurationError, match="'v3'.*v1, v2, v1-city"):
        profile_of('v3')


def test_a_city_gives_all_roads(shared_folder):
    city, twin = profile_of('v2-city'), profile_of('v1-city')
    assert (city.class_shares, city.faults) == (V2.class_shares, True) and not twin.faults
    extract = shared_folder / 'data/osm/pit.osm.gz'
    for seed in range(3):
        world = generate_world(seed, osm=extract, profile=twin)
        assert world.scene_class == generate_world(seed, osm=extract, profile=city).scene_class == 'osm'
        assert not world.islands and not world.aprons
    with pytest.raises(ConfigurationError, match="'v1-city'.*--osm"):
        generate_world(0, profile=twin)


def only(**shares: float) -> WorldProfile:
    return WorldProfile('test', **shares)


def road_at(world: World, xy: np.ndarray) -> np.ndarray:
    """(N,) bool: whether each of (N, 2) world points lies on a road's buffered centre line, islands or not."""
    return np.array([any(distances(r.centre, p).min() < r.width / 2 for r in world.roads) for p in xy])


@pytest.mark.parametrize('seed', range(4))
def test_a_street_drawn_as_one_way_has_its_median_in_the_middle_and_no_road_there(seed):
    for attempt in range(40):
        world = generate_world(100 * seed + attempt, 'boulevard', profile=V2)
        if world.islands:
            break
    raster, found = rasterise(world, world.pose), masks(world, world.pose, Grid())
    for island in world.islands:
        middle = island.line[len(island.line) // 2]
        assert min(distances(r.centre, middle).min() for r in world.roads if r.median > 0) < 1.0
        column, row = np.rint(raster.frame.pixels(middle)).astype(int)
        if 2 < column < raster.road.shape[1] - 2 and 2 < row < raster.road.shape[0] - 2:
            assert raster.road[row, column] == 0 and raster.label[row, column] != int(Label.ROAD)
    assert road_at(world, np.array([world.pose[:2]])).all()
    assert found.road[125:131, 125:131].mean() > 0.5  # the vehicle stands in a lane, not on the median
    answer = truth(world)
    assert 2 <= len(answer.branches) <= 5


def test_an_island_is_raised_and_an_apron_is_flush():
    roads = (Road(np.array([[-80.0, 0.0], [80.0, 0.0]]), 16.0, 4, median=3.0),)
    terrain = Terrain(kerb=0.12, roughness=0.0, crown=0.0, lawn=0.0)
    bare = World('test', roads, terrain)
    world = World('test', roads, terrain, islands=(Island(np.array([[-30.0, 0.0], [30.0, 0.0]]), 3.0),),
                  aprons=(Apron(np.array([[20.0, 7.0], [20.0, 20.0]]), 5.0),))
    raster, without = (rasterise(w, (0.0, 0.0, 0.0)) for w in (world, bare))

    def height(of, x: float, y: float) -> float:
        column, row = np.rint(of.frame.pixels(np.array([x, y]))).astype(int)
        return float(of.ground[row, column])
    assert height(raster, 10.0, 0.0) > 0.015 > height(without, 10.0, 0.0) == 0.0
    assert height(raster, 20.0, 12.0) == pytest.approx(0.0, abs=1e-3) and height(without, 20.0, 12.0) > 0.015
    found = masks(world, (0.0, 0.0, 0.0), Grid())
    row, column = (int(round(v)) for v in Grid().metres_to_cells(20.0, 12.0))
    assert not found.road[row, column]  # a driveway is no road
    assert len(truth(world).branches) == 2  # nor a branch


def test_a_driveway_crosses_the_ditch_level():
    roads = (Road(np.array([[-80.0, 0.0], [80.0, 0.0]]), 8.0),)
    terrain = Terrain(kerb=0.0, roughness=0.0, crown=0.0, sidewalk=1.0, ditch_depth=0.6, ditch_width=4.0)
    world = World('test', roads, terrain, aprons=(Apron(np.array([[20.0, 3.0], [20.0, 20.0]]), 5.0),))
    raster = rasterise(world, (0.0, 0.0, 0.0))
    over, beside = (raster.ground[tuple(np.rint(raster.frame.pixels(np.array([x, 7.0]))).astype(int)[::-1])]
                    for x in (20.0, 10.0))
    assert over == pytest.approx(0.0, abs=1e-3) and beside == pytest.approx(-0.6, abs=0.02)


def test_driveways_and_car_parks_begin_at_a_road_and_lie_off_it():
    made = 0
    for seed in range(12):
        world = generate_world(seed, profile=only(driveways=1.0, car_parks=1.0))
        made += len(world.aprons)
        for apron in world.aprons:
            a, b = apron.line[0], apron.line[-1]
            beyond = a + (b - a) / np.linalg.norm(b - a) * 1.8
            if np.linalg.norm(b - a) > 3:
                assert not road_at(world, np.array([(beyond + b) / 2, b]))[1], seed
        walls = np.concatenate([w.line for w in world.walls])
        for apron in world.aprons:  # nothing is built across the mouth
            t = apron.line[-1] - apron.line[0]
            length = float(np.hypot(*t))
            local = (walls - apron.line[0]) @ np.stack([t, [-t[1], t[0]]], axis=1) / length
            across = (local[:, 0] > 1.5) & (local[:, 0] < length - 0.7) & (np.abs(local[:, 1]) < apron.width / 2 - 0.5)
            assert not across.any(), seed
    assert made > 40


def test_rows_of_parked_cars_stand_along_the_kerb():
    for seed in range(6):
        plain, rows = (generate_world(seed, 'straight', profile=p) for p in (only(), only(parked_rows=1.0)))
        kerbside = []
        for world in (plain, rows):
            from_kerb = [min(abs(distances(r.centre, (v.x, v.y)).min() - r.width / 2) for r in world.roads)
                         for v in world.vehicles if v.parked]
            kerbside.append(int((np.array(from_kerb) < 1.6).sum()))
        assert kerbside[1] > max(8, 0.9 * kerbside[0])
        assert truth(rows).branches == truth(plain).branches


def test_verges_and_ditches_change_the_ground_and_nothing_else():
    for seed in range(40):
        world = generate_world(seed, 'straight', profile=only(lawn=1.0, ditch=1.0))
        assert 1.0 <= world.terrain.lawn < world.terrain.sidewalk
        if world.terrain.ditch_depth > 0.3:
            break
    level, dug = (rasterise(World('test', world.roads, Terrain(kerb=0.0, roughness=0.0, ditch_depth=d, sidewalk=2.0,
                                                               ditch_width=4.0)), world.pose) for d in (0.0, 0.5))
    assert (dug.ground - level.ground).min() == pytest.approx(-0.5, abs=0.02)
    assert np.array_equal(dug.road, level.road) and (dug.ground == level.ground)[dug.road > 0].all()


def test_gaps_between_carriageways_are_found_in_the_middle():
    there = np.stack([np.arange(-60.0, 61.0, 5.0), np.full(25, -5.0)], axis=1)
    back = there[::-1] * (1, -1)
    roads = [Road(line, 6.0, 2, True, 'carriageway') for line in (there, back)]
    (line, width), = gaps_between(roads)
    assert width == pytest.approx(4.0) and np.abs(line[:, 1]).max() < 1e-9 and np.ptp(line[:, 0]) > 100
    assert gaps_between([roads[0], Road(there * (1, -1), 6.0, 2, True)]) == []  # both lead the same way


def test_medians_between_lanes():
    section = Section(4, 3.0, (2.0, 2.0), median=5.0)
    assert section.width == 21.0
    assert [section.lane_offset(k) for k in range(4)] == pytest.approx([-7.0, -4.0, 4.0, 7.0])


def test_acute_junctions_are_acute():
    for seed in range(20):
        plan = acute(np.random.default_rng(seed))
        ways = [math.atan2(*(c[1] - c[0])[::-1]) for c in plan.centres]
        off = abs(math.degrees(math.asin(math.sin(ways[2]))))
        assert ACUTE_DEG[0] - 1 <= off <= ACUTE_DEG[1] + 1


def test_scenes_of_v2_are_of_all_kinds_and_equal_for_equal_seeds():
    worlds = [generate_world(seed, profile=V2) for seed in range(60)]
    classes = Counter(w.scene_class for w in worlds)
    assert len(classes) >= 10 and classes['boulevard'] and classes['dual'] and classes['acute']
    assert everything(generate_world(7, profile=V2)) == everything(worlds[7])
    for there in (lambda w: w.islands, lambda w: w.aprons, lambda w: w.terrain.lawn > 0,
                  lambda w: w.terrain.ditch_depth != 0, lambda w: sum(v.parked for v in w.vehicles) > 40):
        assert 1 <= sum(bool(there(w)) for w in worlds) < len(worlds)
    for world in worlds:
        assert road_at(world, np.array([world.pose[:2]])).all()


@pytest.mark.parametrize('scene_class', ['t', 'dual', 'roundabout', 'boulevard'])
def test_truths_of_turns_are_those_of_turned_poses(scene_class):
    turns = (0.0, math.pi / 2, math.pi, 3 * math.pi / 2)
    for seed in range(4):
        world = generate_world(seed, scene_class, profile=V2)
        x, y, yaw = world.pose
        for radius in (10.0, 20.0, 30.0):
            for turn, pair in zip(turns, truths_of_turns(world, radius, turns)):
                for route, found in enumerate(pair):
                    expected = truth(world, (x, y, yaw - turn), radius, bool(route))
                    assert np.allclose(found.branches, expected.branches, atol=1e-9)
                    assert found.direction_reason == expected.direction_reason
                    assert found.direction == (None if expected.direction is None
                                               else pytest.approx(expected.direction, abs=1e-9))
