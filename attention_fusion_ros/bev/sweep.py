# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything that the points of a sweep put on the ground, at once: BEV channels, what was looked at, level surfaces.

One operation, because a fast version makes it in two passes over the points as the sensors sent them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from attention_fusion_ros.bev.coverage import AZIMUTHS, view
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.ground_level import ground_levels
from attention_fusion_ros.bev.lidar import lidar_bev
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.torch_later import Tensor, torch


class Look(NamedTuple):
    """One sensor of a sweep: which of the points are its own, and where it was when it measured the last of them."""

    ranges: tuple[tuple[int, int], ...]  # first and last + 1
    x: float  # m in base_link
    y: float


class SweepGrids(NamedTuple):
    """What the points of a sweep put on the ground: tensors, or arrays as a compiled version makes of arrays."""

    bev: Any  # (C, H, W) float32, with earlier sweeps; channels as in bev.lidar.CHANNELS
    reach: Any  # (S, AZIMUTHS) float32 m, `coverage.View.reach` of each sensor of the sweep
    levels: Any  # see `ground_level.ground_levels`, of the sweep alone; (0,) where no sensor was named


@operation('sweep_grids')
def sweep_grids(sweep: Placed, earlier: Sequence[Placed], sensors: Sequence[Look], grid: Grid, min_range: float,
                max_height: float) -> SweepGrids:
    """The points of a sweep, and of earlier ones under it, on the grid.

    sensors: of the sweep; none where only `bev` is wanted. min_range, max_height: metres, see `config.CloudConfig`.
    Intensities are given up when one of the sweeps has none. Raises InputError `no_points_in_range` when no point is
    left inside the grid.
    """
    xyz, intensity = sweep.points()
    bev = lidar_bev(*joined([(xyz, intensity), *(one.points() for one in earlier)]), grid, min_range, max_height)
    reach = _reach(xyz, sensors, min_range, max_height)
    return SweepGrids(bev, reach, ground_levels(xyz, min_range) if sensors else xyz.new_zeros(0))


@operation('sensor_reach')
def sensor_reach(sweep: Placed, sensors: Sequence[Look], min_range: float, max_height: float) -> Any:
    """`SweepGrids.reach` by itself, where nothing else is asked of the points."""
    return _reach(sweep.points()[0], sensors, min_range, max_height)


def _reach(xyz: Tensor, sensors: Sequence[Look], min_range: float, max_height: float) -> Tensor:
    reach = [view(torch.cat([xyz[first:last] for first, last in sensor.ranges]), (sensor.x, sensor.y), max_height,
                  min_range).reach for sensor in sensors]
    return torch.stack(reach) if reach else xyz.new_zeros((0, AZIMUTHS))


def joined(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Points and intensities of several sweeps one after the other; no intensities when one of them has none."""
    if len(parts) == 1:
        return parts[0]
    intensities = [intensity for _, intensity in parts if intensity is not None]
    return (torch.cat([xyz for xyz, _ in parts]),
            torch.cat(intensities) if len(intensities) == len(parts) else None)
