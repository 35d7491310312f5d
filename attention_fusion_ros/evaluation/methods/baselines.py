# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network has to beat, given the same inputs and graded the same way."""

from __future__ import annotations

import math

import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import CloudConfig
from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.methods.estimators import Estimator, FunctionEstimator
from attention_fusion_ros.evaluation.methods.free_space import free_space_branches
from attention_fusion_ros.evaluation.methods.map_tracing import map_branches
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.metrics.branches import Estimate

STRAIGHT, MAP, LIDAR = 'straight ahead', 'map alone', 'LiDAR alone, free space'
GUESS_STD = math.radians(10.0)


def straight_ahead(inputs: PlacedSweep) -> Estimate:
    """The road runs through the vehicle, straight: one branch dead ahead and one dead behind."""
    ahead, behind = (Branch(angle, angle, 1.0, GUESS_STD, GUESS_STD) for angle in (0.0, math.pi))
    return Estimate((ahead, behind), ahead)


def map_alone(inputs: PlacedSweep, grid: Grid | None = None, lookahead: float = 20.0) -> Estimate:
    """The drawn roads, taken at their word. Without a usable map there is no answer."""
    if inputs.map_image is None:
        return Estimate(())
    grid = grid or Grid()
    try:
        bev = map_bev(inputs.map_image, inputs.motion, inputs.layout, grid)
    except InputError:
        return Estimate(())
    return Estimate(*map_branches(bev.numpy(), grid, lookahead))


def lidar_alone(inputs: PlacedSweep, grid: Grid | None = None, lookahead: float = 20.0) -> Estimate:
    """Free space, without learning. A sweep without points in range gives no answer."""
    grid, cloud = grid or Grid(), inputs.cloud
    xyz = transform_points(torch.as_tensor(inputs.motion.T_base_sensor, dtype=torch.float32), torch.tensor(cloud.xyz))
    intensity = None if cloud.intensity is None else torch.tensor(cloud.intensity)
    limits = CloudConfig()
    try:
        bev = lidar_bev(xyz, intensity, grid, limits.min_range, limits.max_height)
    except InputError:
        return Estimate(())
    return Estimate(*free_space_branches(bev.numpy(), grid, lookahead))


def baselines(lookahead: float = 20.0) -> list[Estimator]:
    """All of them, for the default grid and the given ring [m]."""
    return [FunctionEstimator(STRAIGHT, straight_ahead),
            FunctionEstimator(MAP, lambda inputs: map_alone(inputs, lookahead=lookahead)),
            FunctionEstimator(LIDAR, lambda inputs: lidar_alone(inputs, lookahead=lookahead))]
