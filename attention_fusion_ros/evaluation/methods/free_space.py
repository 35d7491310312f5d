# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""'LiDAR alone', the classical way: beams through free space find the branches, as in doi 10.3390/s23218854.

Cells where something stands up, from kerb height on, are obstacles. A beam as wide as a vehicle is sent
out in every direction; where it gets past the ring, there may be a road. The heading is that of the straight corridor
with the most clearance through the point on the ring. Nothing is learned; a parked or oncoming vehicle is a wall.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS, compress_height
from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.geometry import angle_between, wrap

# Chosen on simulated training scenes (seeds 500,000 to 500,159), never on the drives.
OBSTACLE_M = 0.12  # m above the ground, or of height within a cell: a kerb
OVERHEAD_M = 2.5  # m, what begins higher than this can be driven under
BEAMS = 360
HALF_WIDTH_M = 1.2  # m, of a beam
STEP_M = 0.25  # m along a beam
BEYOND_M = 6.0  # m that a beam must reach past the ring
BLIND_RADIUS_M = 3.0  # m around the vehicle where obstacles are ignored: it stands there already
CORRIDOR_M = 14.0  # m of corridor on either side of the ring that give the heading
MAX_CORRIDOR_TURN_RAD = math.radians(50.0)  # the heading is within this of the bearing
FULL_CLEARANCE_M = 5.0  # m, more clearance than this is no better
SEPARATION_RAD = math.radians(25.0)  # between two branches
STATED_STD_RAD = math.radians(8.0)


def clearance(lidar_bev: np.ndarray, grid: Grid) -> np.ndarray:
    """(C, H, W) LiDAR BEV -> (H, W) float32, metres from each cell to the nearest obstacle."""
    channel = dict(zip(CHANNELS, lidar_bev, strict=True))
    step, overhead = (float(compress_height(torch.tensor(h))) for h in (OBSTACLE_M, OVERHEAD_M))
    obstacle = ((channel['span'] > step) | (channel['low'] > step)) & (channel['low'] < overhead)
    x, y = grid.centres()
    obstacle &= np.hypot(x, y) > BLIND_RADIUS_M
    if not obstacle.any():
        return np.full(obstacle.shape, 2 * grid.extent, np.float32)
    cells = cv2.distanceTransform(1 - obstacle.astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(cells * np.float32(grid.resolution))


def _sample(values: np.ndarray, x: np.ndarray, y: np.ndarray, grid: Grid) -> np.ndarray:
    row, column = grid.metres_to_cells(x, y)
    return cv2.remap(values, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def free_space_branches(lidar_bev: np.ndarray, grid: Grid,
                        lookahead: float) -> tuple[tuple[Branch, ...], Branch | None]:
    """(C, H, W) LiDAR BEV -> branches, most probable first, and the one most nearly ahead."""
    room = clearance(lidar_bev, grid)
    bearings = -math.pi + (np.arange(BEAMS) + 0.5) * (2 * math.pi / BEAMS)
    ranges = np.arange(BLIND_RADIUS_M, lookahead + BEYOND_M, STEP_M)
    along = _sample(room, np.cos(bearings)[:, None] * ranges, np.sin(bearings)[:, None] * ranges, grid)
    # A beam is as good as its tightest spot, and better the more room it has on the whole.
    passes = along.min(axis=1) >= HALF_WIDTH_M
    room_ahead = np.minimum(along, FULL_CLEARANCE_M).mean(axis=1) / FULL_CLEARANCE_M
    # Smoothed over 9 deg, so that of a wide opening the middle wins.
    kernel = np.hanning(11)[1:-1]
    padded = np.pad(np.where(passes, room_ahead, 0.0), len(kernel) // 2, mode='wrap')
    quality = np.convolve(padded, kernel / kernel.sum(), mode='valid')
    kept: list[int] = []
    for i in np.argsort(-quality, kind='stable'):
        if not passes[i] or quality[i] < np.roll(quality, 1)[i] or quality[i] < np.roll(quality, -1)[i]:
            continue
        if all(angle_between(bearings[i], bearings[j]) >= SEPARATION_RAD for j in kept):
            kept.append(int(i))
    branches = tuple(_branch(room, grid, bearings[i], float(quality[i]), lookahead) for i in kept)
    ahead = min(branches, key=lambda b: abs(b.bearing), default=None)
    return branches, ahead if ahead is not None and abs(ahead.bearing) < math.pi / 2 else None


def _branch(room: np.ndarray, grid: Grid, bearing: float, quality: float, lookahead: float) -> Branch:
    x, y = lookahead * math.cos(bearing), lookahead * math.sin(bearing)
    headings = bearing + np.linspace(-MAX_CORRIDOR_TURN_RAD, MAX_CORRIDOR_TURN_RAD, 101)
    along = np.linspace(-CORRIDOR_M, CORRIDOR_M, 41)
    score = np.minimum(_sample(room, x + np.cos(headings)[:, None] * along, y + np.sin(headings)[:, None] * along,
                               grid), FULL_CLEARANCE_M).mean(axis=1)
    # Among equally clear corridors the straightest one.
    heading = headings[int(np.argmax(score - 1e-3 * np.abs(headings - bearing)))]
    return Branch(wrap(bearing), wrap(float(heading)), min(1.0, max(0.0, quality)), STATED_STD_RAD, STATED_STD_RAD)
