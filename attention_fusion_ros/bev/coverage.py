# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was looked at: where rays passed or returned, and hence where 'nothing there' is known and not merely unseen.

A ray that returns from a place has passed everything before it (the inverse sensor model of occupancy grids: Elfes,
"Using occupancy grids for mobile robot perception and navigation", 1989). The farthest return of every azimuth about
the sensor is the edge of what that sensor saw: a vehicle close by hides what is behind it, a sector without returns
(dirt, lost packets, no sensor that way) was not looked at, at all. Returns high above the ground do not count: a ray
over a truck says nothing about the road behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.torch_later import F, Tensor, torch

AZIMUTHS = 360  # sectors about the sensor whose farthest return is kept
MAX_GAP = 3  # sectors without a return that still lie between two rays: sensors with few azimuth steps, mirrors, glass
TOLERANCE_M = 0.4  # behind a return that still counts as seen: the noise of ranges, and cells that are half before it
RANGE_STEP_M = 1.0  # of the cells along a bearing
SUB_BEARINGS = 3  # lines within a bin along which cells lie
TRAILING_SLOPE = 0.05  # heights are limited by a cone, which leaves room for hills: 5 % of the distance
DRAWN = 0.3  # value of the map's road layer from which on a road is drawn
LOW_M = -1.0  # returns from farther below the ground are multipath


class View(NamedTuple):
    """What one sensor saw in one sweep: how far, in every direction about itself, in the plane of base_link."""

    # (AZIMUTHS,) float32 m, horizontal distance of the farthest return; 0 where there is none. A tensor or an array.
    reach: Any
    x: float = 0.0  # of the sensor in base_link, m
    y: float = 0.0
    yaw: float = 0.0  # of the frame in which azimuths are measured, rad; not 0 for sweeps taken before a turn

    def moved(self, x: float, y: float, yaw: float) -> View:
        """The same view in another frame, given the planar pose (m, m, rad) of this one's in it."""
        c, s = math.cos(yaw), math.sin(yaw)
        return View(self.reach, x + c * self.x - s * self.y, y + s * self.x + c * self.y, yaw + self.yaw)

    def sees(self, x: Tensor, y: Tensor) -> Tensor:
        """Positions in metres in base_link, any shape -> bool: at or before the farthest return of their azimuth."""
        dx, dy = x - self.x, y - self.y
        reach: Tensor = self.reach[_sector(dx, dy, self.yaw)]
        return (reach > 0) & (torch.hypot(dx, dy) <= reach + TOLERANCE_M)


def _sector(dx: Tensor, dy: Tensor, yaw: float = 0.0) -> Tensor:
    # In double: which of two sectors a direction at their edge belongs to is then the same in every version.
    turn = (torch.atan2(dy.double(), dx.double()) - yaw) / (2 * math.pi)
    return ((turn - turn.floor()) * AZIMUTHS).long().clamp_(0, AZIMUTHS - 1)


def view(xyz: Tensor, origin: tuple[float, float] = (0.0, 0.0), max_height: float = 6.0,
         min_range: float = 0.0) -> View:
    """Points (N, 3) in base_link of a sensor at `origin` (x, y; m in base_link) -> what it saw.

    max_height, min_range: m, see `config.CloudConfig`; higher points say nothing about the road, nearer ones are the
    vehicle's own. N may be 0.
    """
    dx, dy, z = xyz[:, 0] - origin[0], xyz[:, 1] - origin[1], xyz[:, 2]
    distance = torch.hypot(dx, dy)
    slope = TRAILING_SLOPE * distance
    useful = (z < max_height + slope) & (z > LOW_M - slope) & (torch.hypot(xyz[:, 0], xyz[:, 1]) >= min_range)
    farthest = torch.where(useful, distance, torch.zeros_like(distance))
    reach = torch.zeros(AZIMUTHS, device=xyz.device, dtype=xyz.dtype)
    reach = reach.scatter_reduce(0, _sector(dx, dy), farthest, 'amax')
    return View(close_gaps(reach), *origin)


def view_of_cells(occupied: Tensor, grid: Grid) -> View:
    """Cells (H, W) bool that hold returns, all as if seen from the vehicle's origin: for features without points."""
    x, y = grid.centre_tensors(occupied.device)
    index = occupied.flatten().nonzero()[:, 0]
    flat = torch.stack([x.flatten()[index], y.flatten()[index], torch.zeros_like(index, dtype=x.dtype)], dim=-1)
    return view(flat)


def close_gaps(reach: Tensor) -> Tensor:
    """Gaps of up to MAX_GAP sectors are seen as far as the nearer of the returns on both sides."""
    closed = reach
    for width in range(2, MAX_GAP + 2):  # rims so many sectors apart
        for left in range(1, width):
            closed = torch.maximum(closed, torch.minimum(reach.roll(left), reach.roll(left - width)))
    return closed


def close_array_gaps(reach: np.ndarray) -> np.ndarray:
    """`close_gaps` of an array (A,)."""
    left, right = _rims(len(reach))
    closed: np.ndarray = np.maximum(reach, np.minimum(reach[left], reach[right]).max(0))
    return closed


@lru_cache(maxsize=4)
def _rims(sectors: int) -> tuple[np.ndarray, np.ndarray]:
    """(P, A) indices of the rims to both sides of every sector, of all gaps of up to MAX_GAP sectors it may lie in."""
    shifts = np.array([(left, left - width) for width in range(2, MAX_GAP + 2) for left in range(1, width)])
    rims = (np.arange(sectors) - shifts[:, :, None]) % sectors
    return rims[:, 0], rims[:, 1]


@operation('coverage')
def coverage(views: Sequence[View], bins: int, ring: float, extent: float = 40.0) -> Any:
    """How much of the way to the ring was looked at, for every bearing of the circular distribution.

    Returns (2, K) float32 on the device of the views, the fields of `contracts.Coverage`: the share of the way from the
    vehicle to the ring that was looked at, 0..1, and the distance of the farthest place that was, m.

    views: of this sweep's sensors and of accumulated earlier ones, `moved` to base_link of now. bins: K of the
    distribution. ring, extent: m, radius of the ring, and how far `reach` is told at most.
    """
    device = views[0].reach.device if views else torch.device('cpu')
    lines = bins * SUB_BEARINGS
    bearing = -math.pi + (torch.arange(lines, device=device) + 0.5) * (2 * math.pi / lines)
    distance = (torch.arange(round(extent / RANGE_STEP_M), device=device) + 0.5) * RANGE_STEP_M
    x, y = distance[:, None] * bearing.cos(), distance[:, None] * bearing.sin()
    seen = torch.zeros_like(x, dtype=torch.bool)
    for one in views:
        seen |= one.sees(x, y)
    cells = seen.float().view(len(distance), bins, SUB_BEARINGS).mean(-1)
    share = cells[:max(1, round(ring / RANGE_STEP_M))].mean(0)
    reach = (cells >= 0.5).float() * (distance[:, None] + 0.5 * RANGE_STEP_M)
    return torch.stack([share, reach.amax(0)])


def visible_cells(views: Sequence[View], grid: Grid) -> Tensor:
    """(H, W) bool on the BEV grid: what any of the views looked at. For use as a channel or a mask."""
    x, y = grid.centre_tensors(views[0].reach.device if views else 'cpu')
    seen = torch.zeros_like(x, dtype=torch.bool)
    for one in views:
        seen |= one.sees(x, y)
    return seen


@operation('drawn_bearings')
def drawn_bearings(map_grid: Tensor, grid: Grid, bins: int, ring: float) -> Any:
    """(K,) float32, 1 where the map (3, H, W), channels as in bev.map_image.CHANNELS, draws a road across the ring."""
    device = map_grid.device
    lines = bins * SUB_BEARINGS
    bearing = -math.pi + (torch.arange(lines, device=device) + 0.5) * (2 * math.pi / lines)
    distance = torch.linspace(0.9, 1.1, 5, device=device) * ring
    x, y = distance[:, None] * bearing.cos(), distance[:, None] * bearing.sin()
    unit = torch.stack(grid.metres_to_unit(x, y), dim=-1)[None]
    road = F.grid_sample(map_grid[None, :1], unit.to(map_grid.dtype), align_corners=False, padding_mode='zeros')
    return (road[0, 0].amax(0).view(bins, SUB_BEARINGS).amax(1) > DRAWN).float()
