# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Points that come again under new stamps: a fault where the vehicle moves, and as they should be where it stands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.sync_kit import at, pose

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.sync.frozen_cloud import FROZEN_CLOUD, FrozenClouds


def points(seed: int, count: int = 5000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


class Watched:
    """One LiDAR and the vehicle that carries it."""

    def __init__(self):
        self.clouds, self.seconds = FrozenClouds(), 0.0

    def reasons(self, *xyz: np.ndarray, T=None, epoch: int = 0, jumped: bool = False, lidar='lidar') -> list[str]:
        """Of each message of the next sweep: why it is left out, '' where it is not."""
        self.seconds += 0.1
        messages = [(lidar, PointCloud(at(self.seconds) + k, lidar, each.copy(), None)) for k, each in enumerate(xyz)]
        found = self.clouds.find(messages, T, epoch, jumped)
        return [found[k].reason if k in found else '' for k in range(len(xyz))]

    def is_frozen(self, xyz: np.ndarray, **options) -> bool:
        return self.reasons(xyz, **options) == [FROZEN_CLOUD]


@pytest.mark.parametrize('moved', [pose(0.6), pose(0.0, 0.6), pose(yaw=math.radians(4.0)),
                                   pose(yaw=math.radians(-4.0))])
def test_the_same_points_are_frozen_once_the_vehicle_has_moved_or_turned(moved):
    lidar, old = Watched(), points(1)
    assert not lidar.is_frozen(old, T=pose())
    assert lidar.is_frozen(old, T=moved) and lidar.is_frozen(old, T=moved)
    assert lidar.is_frozen(old, T=pose()), 'it stays so until other points come, wherever the vehicle is'
    assert not lidar.is_frozen(points(2), T=moved), 'at once'
    assert not lidar.is_frozen(points(2), T=moved)


def test_the_way_since_the_points_first_came_counts():
    lidar, old = Watched(), points(1)
    assert [lidar.is_frozen(old, T=pose(x)) for x in (0.0, 0.2, 0.4, 0.6)] == [False, False, False, True]
    error = lidar.clouds.find([('lidar', PointCloud(at(2.1), 'lidar', old, None))], pose(8.0), 0)[0]
    assert "'lidar'" in error.cause and '2.0 s ago' in error.cause and '8.0 m' in error.cause and error.remedy


def test_where_the_vehicle_stands_equal_points_are_as_they_should_be():
    lidar, same = Watched(), points(1)
    assert not any(lidar.is_frozen(same, T=pose(0.01 * (k % 2))) for k in range(100))


def test_points_that_differ_anywhere_are_not_the_same():
    """All are compared: in an empty place, a simulator without noise gives most of them again."""
    lidar, xyz = Watched(), points(1)
    for k in range(20):
        xyz[17 + k, 2] += 0.01
        assert not lidar.is_frozen(xyz, T=pose(float(k)))


def test_without_odometry_nothing_is_said_and_with_it_from_then_on():
    lidar, same = Watched(), points(1)
    assert not lidar.is_frozen(same) and not lidar.is_frozen(same)
    assert not lidar.is_frozen(same, T=pose(50.0)) and lidar.is_frozen(same, T=pose(51.0))
    assert lidar.is_frozen(same), 'known by now'


def test_a_message_that_is_part_of_two_sweeps_is_not_frozen():
    """Of a LiDAR that turns more slowly than the one that sweeps go by."""
    clouds, message = FrozenClouds(), PointCloud(at(0.0), 'slow', points(1), None)
    assert not any(clouds.find([('slow', message)], pose(2.0 * k), 0) for k in range(2))


def test_parts_of_turns_are_recognised_one_by_one():
    lidar = Watched()
    assert lidar.reasons(points(1), points(2), T=pose()) == ['', '']
    assert lidar.reasons(points(2), points(3), T=pose(1.0)) == [FROZEN_CLOUD, '']
    assert lidar.reasons(points(2), points(2), T=pose(2.0)) == [FROZEN_CLOUD, FROZEN_CLOUD]
    assert lidar.reasons(points(4), points(5), T=pose(3.0)) == ['', '']


def test_each_lidar_is_judged_by_its_own_points():
    lidar = Watched()
    for k in range(3):
        assert not lidar.is_frozen(points(k), T=pose(float(k)), lidar='ahead')
        assert lidar.is_frozen(points(9), T=pose(float(k)), lidar='rear') == (k > 0)


def test_when_time_goes_back_everything_is_forgotten():
    lidar, same = Watched(), points(1)
    assert not lidar.is_frozen(same, T=pose()) and lidar.is_frozen(same, T=pose(9.0))
    assert not lidar.is_frozen(same, T=pose(), epoch=1), 'a recording that starts again'


def test_a_jump_of_odometry_is_no_way_driven():
    lidar, same = Watched(), points(1)
    assert not lidar.is_frozen(same, T=pose())
    assert not lidar.is_frozen(same, T=pose(300.0), jumped=True) and not lidar.is_frozen(same, T=pose(300.1))
    assert lidar.is_frozen(same, T=pose(301.0)), 'driven since'
    assert lidar.is_frozen(same, T=pose(), jumped=True), 'no jump makes good what is frozen'


def test_a_handful_of_points_says_nothing():
    lidar, few = Watched(), points(1, 20)
    assert not any(lidar.is_frozen(few, T=pose(float(k))) for k in range(3))
