# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images that do not move with the vehicle are named; those that are merely metres off are not."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from attention_fusion_ros.config import MapConfig, from_flat
from attention_fusion_ros.contracts import MapImage, MapPlacement, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.geometry import inverse
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.map_motion import MAP_MOVES_OTHERWISE, MapMotionCheck

# Streets of a town, (x0, y0, x1, y1) in m: crossings at uneven distances, as they are.
TOWN = [(-100, 0, 60, 0), (60, -80, 60, 120), (25, 0, 25, 70), (-20, -60, -20, 0), (60, 45, 130, 45), (0, 80, 60, 80)]
STREET = [(-300, 0, 300, 0)]
PIXEL, SIZE = 0.5, 240
NORTH_UP = MapConfig(resolution=PIXEL, orientation='north_up')
AHEAD_UP = MapConfig(resolution=PIXEL)


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    T = np.eye(4)
    T[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    T[:2, 3] = x, y
    return T


def way() -> list[tuple[float, float, float]]:
    """Every 2 m: along a street, round a corner to the left, and on."""
    ahead = [(float(x), 0.0, 0.0) for x in range(-40, 54, 2)]
    corner = [(54 + 6 * math.sin(a), 6 - 6 * math.cos(a), a) for a in np.linspace(0.0, math.pi / 2, 6)]
    return [*ahead, *corner[1:], *((60.0, float(y), math.pi / 2) for y in range(8, 60, 2))]


@functools.cache
def drawn_town(place: tuple[float, float, float], orientation: str = 'heading_up') -> np.ndarray:
    return drawn(TOWN, place, orientation)


def drawn(streets: list, place: tuple[float, float, float], orientation: str = 'heading_up', half: float = 3.0
          ) -> np.ndarray:
    """(SIZE, SIZE) float32 roads, 6 m wide, around a place."""
    centre = (np.arange(SIZE) + 0.5 - SIZE / 2) * PIXEL
    up, left = -centre[:, None] + 0 * centre, -centre[None] + 0 * centre[:, None]
    yaw = place[2] if orientation == 'heading_up' else math.pi / 2
    x = place[0] + math.cos(yaw) * up - math.sin(yaw) * left
    y = place[1] + math.sin(yaw) * up + math.cos(yaw) * left
    road = np.zeros((SIZE, SIZE), np.float32)
    for x0, y0, x1, y1 in streets:
        length = math.hypot(x1 - x0, y1 - y0)
        t = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length**2).clip(0.0, 1.0)
        road[np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) <= half] = 1.0
    return road


def say(pictures: list[np.ndarray], odometry: list[np.ndarray], layout: MapConfig = AHEAD_UP) -> list[str]:
    """What is said of the sweeps, a sweep with each image."""
    check = MapMotionCheck()
    found = [check.finding(MapImage(k, '', np.ascontiguousarray(picture), None), Motion(np.eye(4), T, T), layout)
             for k, (picture, T) in enumerate(zip(pictures, odometry, strict=True))]
    return [finding.message for finding in found if finding is not None]


POSES = [pose(*place) for place in way()]


def test_images_that_are_as_they_should_be():
    start = inverse(pose(30.0, -20.0, 2.0))  # odometry begins anywhere
    assert not say([drawn_town(place) for place in way()], [start @ T for T in POSES])
    assert not say([drawn_town(place, 'north_up') for place in way()], POSES, NORTH_UP)


@pytest.mark.parametrize('spoil', [
    np.rot90, lambda p: np.rot90(p, 2), lambda p: np.rot90(p, 3), lambda p: p[:, ::-1], lambda p: p[::-1]],
    ids=['left', 'upside down', 'right', 'mirrored', 'flipped'])
def test_images_that_are_turned_or_mirrored(spoil):
    found = say([spoil(drawn_town(place)) for place in way()], POSES)
    assert len(found) > 5 and 'does not move with the vehicle: odometry tells' in found[0]
    assert 'Remedy: ' in found[0] and 'map.orientation' in found[0]


def test_the_same_picture_again_and_again_while_the_vehicle_drives():
    found = say([drawn_town(way()[0])] * len(POSES), POSES)
    assert 'what is drawn 0 m and 0 m, turned by 0 degrees' in found[0]


def test_the_other_orientation():
    pictures = [drawn_town(place) for place in way()]
    assert say(pictures, POSES, NORTH_UP)
    assert say([drawn_town(place, 'north_up') for place in way()], POSES)


def test_odometry_that_counts_left_as_negative():
    assert say([drawn_town(place) for place in way()], [pose(x, -y, -yaw) for x, y, yaw in way()])


def test_a_map_that_is_off_and_jitters_as_positions_of_receivers_do():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        off = np.append(rng.uniform(-3.0, 3.0, 2), rng.uniform(-0.06, 0.06))
        places = [tuple(np.add(place, off + rng.normal(0.0, (0.5, 0.5, 0.01)))) for place in way()]
        for jump in rng.choice(len(places), 2, replace=False):
            places[jump] = (places[jump][0] + 9.0, places[jump][1] - 6.0, places[jump][2])
        assert not say([drawn_town(place) for place in places], POSES)


def test_roads_of_one_pixel():
    thin = [drawn(TOWN, place, half=PIXEL / 2) for place in way()]
    assert not say(thin, POSES) and say([np.rot90(picture, 2) for picture in thin], POSES)


def test_an_anchor_far_outside_of_the_image():
    outside = MapConfig(resolution=PIXEL, anchor=[-8.0, 9.0])
    assert not say([np.rot90(drawn_town(place)) for place in way()], POSES, outside)


def test_pixels_of_another_size():
    """Along a street whose crossings come at uneven distances."""
    at = np.cumsum(np.random.default_rng(1).uniform(15.0, 45.0, 20))
    streets = [(-100, 0, 700, 0), *((x, -50 * (k % 3), x, 50) for k, x in enumerate(at))]
    places = [(2.0 * k, 0.0, 0.0) for k in range(200)]
    pictures, poses = [drawn(streets, place) for place in places], [pose(*place) for place in places]
    assert not say(pictures, poses)
    assert say(pictures, poses, MapConfig(resolution=PIXEL / 2))


def test_nothing_is_said_where_nothing_tells():
    straight = [(2.0 * k, 0.0, 0.0) for k in range(60)]
    assert not say([np.rot90(drawn(STREET, place), 2) for place in straight], [pose(*place) for place in straight])
    assert not say([np.rot90(drawn_town(way()[0]))] * 60, [POSES[0]] * 60), 'the vehicle stands'
    check = MapMotionCheck()
    grid = MapPlacement(PIXEL, np.eye(4))
    for place, T in zip(way(), POSES, strict=True):
        picture = np.rot90(drawn_town(place))
        assert check.finding(MapImage(1, '', picture, None, grid), Motion(np.eye(4), T, T), AHEAD_UP) is None
        assert check.finding(MapImage(1, '', picture, None), Motion(np.eye(4)), AHEAD_UP) is None, 'no odometry'


def test_a_map_that_is_mended_is_said_to_be_wrong_no_longer():
    there = way()
    back = [(x, y, yaw + math.pi) for x, y, yaw in there[::-1]]
    pictures = [np.rot90(drawn_town(place), 2) for place in there] + [drawn_town(place) for place in back]
    check, said = MapMotionCheck(), []
    for k, (picture, place) in enumerate(zip(pictures, [*there, *back], strict=True)):
        motion = Motion(np.eye(4), pose(*place), pose(*place))
        said.append(check.finding(MapImage(k, '', np.ascontiguousarray(picture), None), motion, AHEAD_UP) is not None)
    assert said[len(there) - 1] and not said[-1]


def test_results_tell_it_until_time_goes_back():
    pipeline = FusionPipeline(from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu',
                                         'map.resolution': PIXEL}))
    rng = np.random.default_rng(0)
    cloud = PointCloud(1, 'lidar', np.c_[rng.uniform(-30, 30, (2000, 2)), rng.uniform(-1.7, 0.3, 2000)].astype(
        np.float32), rng.random(2000).astype(np.float32))

    def names(k: int, epoch: int = 0) -> list[str]:
        picture = np.ascontiguousarray(np.rot90(drawn_town(way()[k]), 2))
        motion = Motion(np.eye(4), POSES[k], POSES[k])
        result = pipeline.run(SyncedSweep(cloud, motion, MapImage(1, 'base_link', picture, None), epoch=epoch))
        return [finding.name for finding in result.findings if finding.input == 'map_image']
    said = [names(k) for k in range(0, 36, 6)]
    assert said[0] == [] and said[-1] == [MAP_MOVES_OTHERWISE]
    assert names(36, epoch=1) == []
