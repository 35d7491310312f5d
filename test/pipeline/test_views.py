# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Coverage of sweeps that several sensors saw together."""

import numpy as np
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Motion, PointCloud, SweepPart, SyncedSweep
from attention_fusion_ros.geometry import angle_between, bin_bearings
from attention_fusion_ros.pipeline.preprocess import Preprocessor


def at(x, y):
    T = np.eye(4)
    T[:2, 3] = x, y
    return T


def test_rays_of_every_lidar_start_at_that_lidar():
    wall = np.array([[20.0, y, 1.0] for y in np.arange(-3.0, 3.0, 0.02)], np.float32)  # on the ring, ahead
    cloud = PointCloud(1, 'front', np.concatenate([wall, wall]), None)
    parts = (SweepPart('pointcloud', 'front', 1, at(0, 0), 0, len(wall)),
             SweepPart('pointcloud_2', 'side', 1, at(0, 10), len(wall), 2 * len(wall)))
    preprocess = Preprocessor(Grid(), torch.device('cpu'), NodeConfig())

    def ahead(*some):
        seen = preprocess.coverage(SyncedSweep(cloud, Motion(np.eye(4)), parts=some))[0].numpy()
        return seen[angle_between(bin_bearings(len(seen)), 0.0) < np.radians(5)].mean()
    assert ahead(parts[1]) < 0.7 < 0.9 < ahead(parts[0]) <= ahead(*parts)
