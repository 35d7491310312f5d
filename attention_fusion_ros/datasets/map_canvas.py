# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Maps drawn without a pose error on a canvas larger than the grid, and moved by any error when a batch is made.

What is wrong with the map itself (roads missing, added or wandering, the look, the end of a driven path) is drawn;
shift and yaw are not, so that one canvas serves every error and a network can be trained on the pose itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.map_image import CHANNELS
from attention_fusion_ros.simulation.sensors.map_image import MapError, MapStyle, draw_road_layers
from attention_fusion_ros.simulation.world.world import Pose, World

MARGIN_M = 8.0  # by which a map may be off: beyond the grid's corners so much is drawn, so that no border shows
LAYERS = CHANNELS[:2]  # of a canvas: road and route


def canvas_grid(grid: Grid) -> Grid:
    """A grid of the same cells that holds the given one at every yaw and shift within MARGIN_M."""
    reach = math.sqrt(2) * grid.extent + MARGIN_M
    half = math.ceil(reach / grid.resolution / 8) * 8
    return Grid(half * grid.resolution, 2 * half)


@dataclass(frozen=True)
class MapCanvas:
    """One map, ready to be moved."""

    canvas: np.ndarray  # (2, S, S) float32 0..1: road and route around the true pose
    window: np.ndarray  # (4,) float32 m ahead, behind, left and right of the vehicle that the image shows


def draw_canvas(world: World, pose: Pose, grid: Grid, error: MapError, style: MapStyle, rng: np.random.Generator,
                route: bool) -> MapCanvas:
    """The map of a world as `error` has it, but for shift and yaw, on `canvas_grid(grid)`."""
    unmoved = replace(error, x=0.0, y=0.0, yaw=0.0)
    layers = draw_road_layers(world, pose, canvas_grid(grid), unmoved, rng, style, route)
    columns, rows = (size * style.resolution for size in style.size)
    across, down = style.anchor
    window = [down * rows, (1 - down) * rows, across * columns, (1 - across) * columns]
    return MapCanvas(np.stack(layers), np.array(window, np.float32))


def moved_maps(canvas: Tensor, error: Tensor, window: Tensor, grid: Grid) -> Tensor:
    """Canvases (B, 2, S, S) seen with pose errors (B, 3) -> (B, 3, H, W) layers as in `bev.map_image.CHANNELS`.

    error: dx, dy [m], dyaw [rad]; what is at p lies at R(dyaw) p + (dx, dy) in the map, as in `MapError`.
    window: (B, 4) as in `MapCanvas`; beyond it nothing is drawn, and `valid` is 0.
    """
    x, y = grid.centre_tensors(canvas.device)
    x, y = (v.to(canvas.dtype) for v in (x, y))
    c, s = torch.cos(error[:, 2])[:, None, None], torch.sin(error[:, 2])[:, None, None]
    dx, dy = x - error[:, 0, None, None], y - error[:, 1, None, None]
    unit = torch.stack(canvas_grid(grid).metres_to_unit(c * dx + s * dy, c * dy - s * dx), dim=-1)
    drawn = F.grid_sample(canvas, unit, align_corners=False, padding_mode='zeros')
    ahead, behind, left, right = (window[:, k, None, None] for k in range(4))
    valid = ((x < ahead) & (x > -behind) & (y < left) & (y > -right)).to(canvas.dtype)[:, None]
    return torch.cat([drawn * valid, valid], dim=1)
