# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network has to beat, given the same inputs and scored the same way."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.bev.map_image import map_bev
from attention_fusion_ros.config import CloudConfig
from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.methods.free_space import free_space_branches
from attention_fusion_ros.evaluation.methods.map_tracing import map_branches
from attention_fusion_ros.evaluation.methods.method import FunctionMethod, Method
from attention_fusion_ros.geometry import transform_points
from attention_fusion_ros.metrics.branches import Prediction

STRAIGHT, MAP, LIDAR = 'straight ahead', 'map alone', 'LiDAR alone, free space'
GUESS_STD_RAD = math.radians(10.0)


def straight_ahead(inputs: PlacedSweep) -> Prediction:
    """The road runs through the vehicle, straight: one branch dead ahead and one dead behind."""
    ahead, behind = (Branch(angle, angle, 1.0, GUESS_STD_RAD, GUESS_STD_RAD) for angle in (0.0, math.pi))
    return Prediction((ahead, behind), ahead)


def map_alone(inputs: PlacedSweep, grid: Grid | None = None, lookahead: float = 20.0) -> Prediction:
    """The drawn roads, exactly as the map shows them; no branch without a usable map."""
    if inputs.map_image is None:
        return Prediction(())
    grid = grid or Grid()
    try:
        bev = map_bev(inputs.map_image, inputs.motion, inputs.layout, grid)
    except InputError:
        return Prediction(())
    return Prediction(*map_branches(bev.numpy(), grid, lookahead))


def lidar_alone(inputs: PlacedSweep, grid: Grid | None = None, lookahead: float = 20.0) -> Prediction:
    """Free space, without learning; no branch from a sweep without points in range."""
    grid, cloud = grid or Grid(), inputs.cloud
    points = torch.tensor(np.ascontiguousarray(cloud.xyz))
    xyz = transform_points(torch.as_tensor(inputs.motion.T_base_sensor, dtype=torch.float32), points)
    intensity = None if cloud.intensity is None else torch.tensor(np.ascontiguousarray(cloud.intensity))
    limits = CloudConfig()
    try:
        bev = lidar_bev(xyz, intensity, grid, limits.min_range, limits.max_height)
    except InputError:
        return Prediction(())
    return Prediction(*free_space_branches(bev.numpy(), grid, lookahead))


def baselines(lookahead: float = 20.0) -> list[Method]:
    """All of them, for the default grid and the given ring [m]."""
    return [FunctionMethod(STRAIGHT, straight_ahead),
            FunctionMethod(MAP, partial(map_alone, lookahead=lookahead)),
            FunctionMethod(LIDAR, partial(lidar_alone, lookahead=lookahead))]
