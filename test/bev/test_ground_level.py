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
