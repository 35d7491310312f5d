# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The BEV grid of a sweep in two compiled passes over its points, on one core of the CPU.

Nothing is allocated that grows with the number of points, but for room that is kept for the next sweep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.bev import coverage, ground, ground_level, lidar
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed, outside_own_body
from attention_fusion_ros.bev.sweep import Look, SweepGrids, sweep_grids
from attention_fusion_ros.kernels import fast_version
from attention_fusion_ros.kernels.compiled import available, loops
from attention_fusion_ros.kernels.room import room

VERSION = 'numba'
STATISTICS = 4  # number, highest, lowest, sum of intensities
IDENTITY = np.eye(3, 4, dtype=np.float32)
NO_INTENSITY = np.zeros(1, np.float32)
KNOWN_DENSITIES = 4096  # points in a cell whose logarithm is looked up
GUESSES = 1024  # see `loops.points._sector`
WORDS = 2  # of 64 bits, for the voxels of a column
f4 = np.float32


@fast_version('sweep_grids', VERSION, devices=('cpu',), differentiable=False, available=available)
def _sweep_grids(sweep: Placed, earlier: Sequence[Placed], sensors: Sequence[Look], grid: Grid, min_range: float,
                 max_height: float) -> SweepGrids:
    parts = [sweep, *earlier]
    if not all(_is_float32(part.xyz) and (part.intensity is None or _is_float32(part.intensity)) for part in parts):
        return sweep_grids.plain(sweep, earlier, sensors, grid, min_range, max_height)
    prepared = [_Part(part) for part in parts]
    bev = _bev(prepared, grid, min_range, max_height)
    own = prepared[0]
    return SweepGrids(bev, torch.from_numpy(_reach(own, sensors, min_range, max_height)),
                      torch.from_numpy(_levels(own, min_range)) if sensors else torch.zeros(0))


@fast_version('lidar_bev', VERSION, devices=('cpu',), differentiable=False, available=available)
def _lidar_bev(xyz: Tensor, intensity: Tensor | None, grid: Grid, min_range: float = 1.8,
               max_height: float = 6.0) -> Tensor:
    if not _is_float32(xyz):
        return lidar.lidar_bev.plain(xyz, intensity, grid, min_range, max_height)
    return _bev([_Part(Placed(xyz, None if intensity is None else intensity.float()))], grid, min_range, max_height)


@fast_version('outside_own_body', VERSION, devices=('cpu',), differentiable=False, available=available)
def _outside_own_body(placed: Placed, min_range: float) -> tuple[Tensor, Tensor | None]:
    part = _Part(placed)
    if not _is_float32(placed.xyz) or not (part.intensity is None or _is_float32(part.intensity)):
        return outside_own_body.plain(placed, min_range)
    xyz = np.empty((len(part.xyz), 3), f4)
    intensity = None if part.intensity is None else np.empty(len(xyz), f4)
    kept = _loops().place_outside(part.xyz, NO_INTENSITY if part.intensity is None else part.intensity,
                                  intensity is not None, part.T, f4(min_range ** 2), xyz,
                                  NO_INTENSITY if intensity is None else intensity)
    return torch.from_numpy(xyz[:kept]), None if intensity is None else torch.from_numpy(intensity[:kept])


class _Part:
    """Points as arrays, with the upper three rows of their transform."""

    def __init__(self, placed: Placed):
        self.xyz, self.intensity = _array(placed.xyz), None if placed.intensity is None else _array(placed.intensity)
        self.T = IDENTITY if placed.T is None else np.ascontiguousarray(placed.T[:3], dtype=f4)


def _bev(parts: Sequence[_Part], grid: Grid, min_range: float, max_height: float) -> Tensor:
    """(C, H, W) float32, channels as in bev.lidar.CHANNELS. Raises InputError `no_points_in_range`."""
    points, fine = _loops(), ground.COARSE_CELLS * ground.SUB_CELLS
    minima = room('minima', (fine, fine))
    minima.fill(np.inf)
    scratch = _scratch()
    extent, least = f4(grid.extent), f4(min_range ** 2)
    per_metre = f4(fine / (2 * grid.extent))
    if not sum([points.lowest_in_cells(part.xyz, part.T, extent, least, per_metre, fine, minima.ravel(), *scratch)
                for part in parts]):
        raise lidar.no_points_in_range(grid.extent, min_range)
    surface = _surface(minima, grid.extent)
    statistics = room('statistics', (grid.cells ** 2, STATISTICS))
    statistics.fill(0)
    with_intensity = all(part.intensity is not None for part in parts)
    most = sum(len(part.xyz) for part in parts) if with_intensity else 1
    used_cell, used_value, used = room('used_cell', (most,), np.int32), room('used_value', (most,)), 0
    for part in parts:
        used = points.fill_cells(
            part.xyz, part.intensity if with_intensity else NO_INTENSITY, with_intensity, part.T, extent, grid.cells,
            f4(grid.resolution), least, surface.ravel(), len(surface), f4(lidar.BELOW_GROUND_M), f4(max_height),
            statistics, used_cell, used_value, used, *scratch)
    if with_intensity and used:
        limit = f4(lidar.INTENSITY_LIMIT)
        middle, spread = _scale(used_value, used, limit)
        points.add_intensities(statistics, used_cell, used_value, used, limit, middle, spread)
    channels = torch.empty(len(lidar.CHANNELS), grid.cells, grid.cells)
    points.write_channels(statistics, f4(lidar.HEIGHT_UNIT_M),
                          f4(math.log1p(lidar.HEIGHT_FULL_M / lidar.HEIGHT_UNIT_M)),
                          f4(math.log1p(lidar.DENSITY_FULL)), _densities(), channels.view(len(channels), -1).numpy())
    return channels


def _surface(minima: np.ndarray, extent: float) -> np.ndarray:
    """Lowest points of the fine cells -> `Ground.height`."""
    coarse, fine = _centres(Grid(extent, ground.COARSE_CELLS)), _centres(Grid(extent, len(minima)))
    height = room('surface', (ground.COARSE_CELLS, ground.COARSE_CELLS))
    found = loops()
    assert found is not None
    found['ground'].ground_surface(
        minima, height, ground.SUB_CELLS, f4(ground.LOW_SHARE), float(extent), ground.START_SHARE,
        _numbers(ground.PLANE_PRIOR, np.float64), _numbers(ground.PLANE_SCALES_M, np.float64),
        _numbers(ground.GATE_M, np.float32), _numbers(ground.FILL_WEIGHTS, np.float32),
        f4(ground.PLANE_WEIGHT), coarse, fine, room('ground', (minima.size,)),
        *room('ground_cells', (2, minima.size), np.int32))
    return height


def _scale(values: np.ndarray, count: int, limit: np.float32) -> tuple[np.float32, np.float32]:
    """Middle and spread of the intensities of the points that are used, see `lidar.normalise_intensity`."""
    step = max(1, count // lidar.INTENSITY_SAMPLE)
    found = room('quantiles', (3,))
    _loops().quantiles(values, count, step, limit, _numbers(lidar.INTENSITY_SHARES, np.float32),
                       room('sample', (-(-count // step),)), found)
    low, middle, high = found
    return middle, max(high - low, f4(lidar.INTENSITY_NOISE) * abs(middle), f4(lidar.MIN_SPREAD))


def _reach(own: _Part, sensors: Sequence[Look], min_range: float, max_height: float) -> np.ndarray:
    """(S, AZIMUTHS) float32, see `SweepGrids.reach`."""
    reach = np.zeros((len(sensors), coverage.AZIMUTHS), f4)
    edges, points, scratch = _edges(coverage.AZIMUTHS), _loops(), _scratch()
    for sensor, row in zip(sensors, reach):
        for first, last in sensor.ranges:
            points.look_around(own.xyz[first:last], own.T, f4(sensor.x), f4(sensor.y), f4(min_range), f4(max_height),
                               f4(coverage.LOW_M), f4(coverage.TRAILING_SLOPE), *edges, row, *scratch, room.ratios())
        row[:] = coverage.close_gaps(torch.from_numpy(row)).numpy()
    return reach


def _levels(own: _Part, min_range: float) -> np.ndarray:
    """See `ground_level.ground_levels`."""
    of = ground_level
    columns, slabs = round(2 * of.NEAR_M / of.CELL_M), round(2 * of.HIGHEST_M / of.SLAB_M)
    voxels = room('voxels', (columns ** 2, WORDS), np.uint64)
    voxels.fill(0)
    levels = np.empty(slabs + 1, f4)
    points = _loops()
    points.mark_voxels(own.xyz, own.T, f4(of.NEAR_M), f4(min_range), f4(of.CELL_M), f4(of.HIGHEST_M), f4(of.SLAB_M),
                       columns, slabs, voxels, *_scratch())
    points.count_thin(voxels, of.THIN_SLABS, levels)
    return levels


def _scratch() -> tuple[np.ndarray, np.ndarray]:
    """Numbers and places of a block of points, see `loops.points`."""
    return room.numbers(), room.places()


def _loops() -> Any:
    found = loops()
    assert found is not None
    return found['points']


def _is_float32(values: Tensor | np.ndarray) -> bool:
    return values.dtype in (torch.float32, f4)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    """As the loops take it: numbers on multiples of their size, in the byte order of this machine."""
    array: np.ndarray = values.detach().numpy() if isinstance(values, Tensor) else values
    return array if array.flags.aligned and array.dtype.isnative else np.ascontiguousarray(array, f4)


@lru_cache(maxsize=32)
def _numbers(values: tuple[float, ...], dtype: Any) -> np.ndarray:
    return np.array(values, dtype)


@lru_cache(maxsize=32)
def _centres(grid: Grid) -> np.ndarray:
    """(cells,) float32 coordinates of the cell centres along one axis, first ahead or left."""
    return np.ascontiguousarray(grid.centres()[0][:, 0], dtype=f4)


@lru_cache(maxsize=1)
def _densities() -> np.ndarray:
    return (np.log1p(np.arange(KNOWN_DENSITIES, dtype=f4)) / f4(math.log1p(lidar.DENSITY_FULL))).astype(f4)


@lru_cache(maxsize=4)
def _edges(sectors: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of the sectors of the circle, as `loops.points.look_around` wants them: tangents, guesses, eighths."""
    assert sectors % 8 == 0
    eighth, quarter, half = sectors // 8, sectors // 4, sectors // 2
    tangents = np.append(np.tan(2 * np.pi / sectors * np.arange(eighth + 1)), np.inf)
    tangents[eighth] = 1.0
    guesses = np.searchsorted(tangents, np.arange(GUESSES + 1) / GUESSES, side='right') - 1
    # By bits, see there: nearer to the x axis or (1) to the y axis; (2) behind; (4) to the right.
    starts = (0, -quarter, -half, quarter, -sectors, sectors - quarter, half, -(sectors - quarter))
    return tangents, guesses.astype(np.int32), np.array(starts, np.int32)
