# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the ground lies, in sweeps whose mounting is right and wrong."""

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.ground_level import ground_levels, level
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.simulation.sensors.lidar import PRESETS
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.world.generate import generate_world

UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0, 1.0])


def level_of(xyz):
    return level(ground_levels(torch.from_numpy(np.asarray(xyz, np.float32))).numpy())


@pytest.mark.parametrize('seed', [20_000_001, 20_000_002])
def test_the_ground_of_a_simulated_sweep(seed):
    world = generate_world(seed)
    cloud, T = scan(world, world.pose, PRESETS['hdl_64e'](), seed)
    assert abs(level_of(transform_points(T, cloud.xyz))) < 0.5
    assert abs(level_of(cloud.xyz) + T[2, 3]) < 0.5, 'without its transform the ground lies below the sensor'
    assert level_of(transform_points(T @ UPSIDE_DOWN, cloud.xyz)) > T[2, 3] + 0.5


def test_no_ground_is_none():
    assert level_of(np.zeros((0, 3))) is None


def patch(x, heights, cells=10):
    """One return at each height in `cells` x `cells` cells from x on."""
    x, y = np.meshgrid(x + 0.25 + 0.5 * np.arange(cells), 0.25 + 0.5 * np.arange(cells))
    return np.concatenate([np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1) for z in heights])


def test_what_stands_is_no_level_surface():
    facade = patch(6.0, np.arange(0.1, 4.0, 0.2))
    assert level_of(np.concatenate([facade, patch(3.0, [-1.5], cells=5)])) == pytest.approx(-1.5, abs=0.2)


def test_ground_at_the_rim_of_a_slab_counts_whole():
    ground = patch(3.0, [0.0])
    ground[::2, 2] -= 0.01
    assert level_of(np.concatenate([ground, patch(9.0, [1.1], cells=8)])) == pytest.approx(0.0, abs=0.2)


def test_the_own_roof_is_no_ground():
    roof = patch(-1.0, [1.5], cells=4)
    assert level_of(np.concatenate([roof, patch(4.0, [0.0], cells=3)])) == pytest.approx(0.0, abs=0.2)
