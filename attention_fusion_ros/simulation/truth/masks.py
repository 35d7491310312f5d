# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Exact masks on the BEV grid: road, roadside structure, vehicles (DESIGN section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.simulation.world.drawing import (
    Frame,
    fill_discs,
    fill_polygon,
    fill_strips,
    surface_mask,
    vehicle_corners,
)
from attention_fusion_ros.simulation.world.world import World

ROADSIDE_WIDTH_M = 6.0  # outside the road edge that count as roadside
MIN_KERB_M = 0.04  # a smaller step is no structure


@dataclass(frozen=True)
class Masks:
    """(H, W) bool on the BEV grid."""

    road: np.ndarray  # road surface
    roadside: np.ndarray  # structure within ROADSIDE_WIDTH outside the road edge, vehicles excepted
    vehicle: np.ndarray  # footprints of vehicles and people
    visible: np.ndarray | None = None  # cells that hold a point, or lie on a line of sight


def masks(world: World, pose: tuple[float, float, float], grid: Grid, xyz_base: np.ndarray | None = None) -> Masks:
    """Masks for a vehicle at `pose` (x, y, yaw in the world).

    xyz_base: (N, 3) points of the sweep in base_link; when given, `visible` is filled.
    """
    frame = Frame.bev(pose, grid)
    road = surface_mask(world, frame)
    outside = cv2.distanceTransform(1 - road, cv2.DIST_L2, 5) * frame.resolution
    structure = np.zeros(frame.shape, np.uint8)
    if abs(world.terrain.kerb) >= MIN_KERB_M and road.any():
        structure[(outside > 0) & (outside <= 1.5 * frame.resolution)] = 1
    half = [max(w.thickness, frame.resolution) / 2 for w in world.walls]
    fill_strips([structure], frame, [w.line for w in world.walls], half, [[1] * len(half)])
    round_things = np.array([(p.x, p.y, max(p.radius, p.crown_radius)) for p in world.posts]
                            + [(b.x, b.y, b.radius) for b in world.bushes]).reshape(-1, 3)
    round_things = round_things[frame.visible(round_things[:, :2], round_things[:, 2])]
    fill_discs(structure, frame, round_things[:, :2], round_things[:, 2], [1] * len(round_things))
    vehicle = np.zeros(frame.shape, np.uint8)
    for v in world.vehicles:
        if frame.sees(np.array([[v.x, v.y]]), v.length):
            fill_polygon(vehicle, frame, vehicle_corners(v), 1)
    beside = (road == 0) & (outside <= ROADSIDE_WIDTH_M)
    visible = None if xyz_base is None else visible_cells(xyz_base, grid)
    return Masks(road.astype(bool), (structure > 0) & beside & (vehicle == 0), vehicle.astype(bool), visible)


def visible_cells(xyz_base: np.ndarray, grid: Grid, sectors: int = 1440) -> np.ndarray:
    """(H, W) bool: cells with a point in them, or nearer than the farthest return in their direction."""
    row, column = grid.metres_to_cells(xyz_base[:, 0].astype(np.float64), xyz_base[:, 1].astype(np.float64))
    row, column = np.rint(row).astype(int), np.rint(column).astype(int)
    inside = (row >= 0) & (row < grid.cells) & (column >= 0) & (column < grid.cells)
    visible = np.zeros((grid.cells, grid.cells), bool)
    visible[row[inside], column[inside]] = True
    farthest = np.zeros(sectors)
    sector = ((np.arctan2(xyz_base[:, 1], xyz_base[:, 0]) / (2 * np.pi) + 0.5) * sectors).astype(int) % sectors
    np.maximum.at(farthest, sector, np.hypot(xyz_base[:, 0], xyz_base[:, 1]))
    x, y = grid.centres()
    of_cell = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * sectors).astype(int) % sectors
    return np.asarray(visible | (np.hypot(x, y) <= farthest[of_cell]))
