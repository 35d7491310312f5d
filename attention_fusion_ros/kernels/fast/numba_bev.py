# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The BEV grid of a sweep in two compiled passes over its points, on one core of the CPU.

Nothing is allocated that grows with the number of points, but for room that is kept for the next sweep. Arrays are
given for arrays, and tensors for tensors.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.bev import coverage, ground, ground_level, lidar
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed, outside_own_body
from attention_fusion_ros.bev.sweep import Look, SweepGrids, sweep_grids
from attention_fusion_ros.kernels import fast_version
from attention_fusion_ros.kernels.compiled import available, loops
from attention_fusion_ros.kernels.room import room
from attention_fusion_ros.pipeline.familiarity import STANDING_M, STEP_M, histogram_size, summary
from attention_fusion_ros.utils.tensors import as_array, of_kind
from attention_fusion_ros.utils.torch_later import Tensor, torch

VERSION = 'numba'
STATISTICS = 4  # number, highest, lowest, sum of intensities
IDENTITY = np.eye(3, 4, dtype=np.float32)
NO_INTENSITY = np.zeros(1, np.float32)
KNOWN_DENSITIES = 4096  # points in a cell whose logarithm is looked up
GUESSES = 1024  # see `loops.points._exact_sector`
WORDS = 2  # of 64 bits, for the voxels of a column
NO_REACH = np.zeros((1, 8), np.float32)
NOT_MARKED = False, np.ones(5, np.float32), 1, 1, np.zeros((1, WORDS), np.uint64)
f4 = np.float32


@fast_version('sweep_grids', VERSION, devices=('cpu',), differentiable=False, available=available)
def _sweep_grids(sweep: Placed, earlier: Sequence[Placed], sensors: Sequence[Look], grid: Grid, min_range: float,
                 max_height: float) -> SweepGrids:
    parts = [sweep, *earlier]
    if not all(map(_suits, parts)):
        return sweep_grids.plain(sweep, earlier, sensors, grid, min_range, max_height)
    own, *others = [_Part(part) for part in parts]
    marks, reach = _Marks(min_range) if sensors else None, np.zeros((len(sensors), coverage.AZIMUTHS), f4)
    work = [_Work(own.of(first, last), looks, True) for first, last, looks in _shares(len(own.xyz), sensors)]
    bev = _bev([*work, *map(_Work, others)], grid, min_range, max_height, marks, reach, sensors)
    for row in reach:
        row[:] = coverage.close_array_gaps(row)
    found = bev, reach, np.zeros(0, f4) if marks is None else marks.levels()
    return SweepGrids(*(of_kind(sweep.xyz, values) for values in found))


@fast_version('lidar_bev', VERSION, devices=('cpu',), differentiable=False, available=available)
def _lidar_bev(xyz: Tensor, intensity: Tensor | None, grid: Grid, min_range: float = 1.8,
               max_height: float = 6.0) -> Tensor:
    if xyz.dtype != torch.float32:
        return lidar.lidar_bev.plain(xyz, intensity, grid, min_range, max_height)
    part = _Part(Placed(xyz, None if intensity is None else intensity.float()))
    return torch.from_numpy(_bev([_Work(part)], grid, min_range, max_height))


@fast_version('outside_own_body', VERSION, devices=('cpu',), differentiable=False, available=available)
def _outside_own_body(placed: Placed, min_range: float) -> tuple[Tensor | np.ndarray, Tensor | np.ndarray | None]:
    if not _suits(placed):
        return outside_own_body.plain(placed, min_range)
    part = _Part(placed)
    xyz = np.empty((len(part.xyz), 3), f4)
    intensity = None if part.intensity is None else np.empty(len(xyz), f4)
    kept = _loops().place_outside(part.xyz, NO_INTENSITY if part.intensity is None else part.intensity,
                                  intensity is not None, part.T, f4(min_range ** 2), xyz,
                                  NO_INTENSITY if intensity is None else intensity)
    return of_kind(placed.xyz, xyz[:kept]), None if intensity is None else of_kind(placed.xyz, intensity[:kept])


@fast_version(summary.name, VERSION, devices=('cpu',), differentiable=False, available=available)
def _summary(features: Tensor | np.ndarray, extent: float = 40.0) -> Any:
    if isinstance(features, Tensor) and features.dtype != torch.float32:
        return summary.plain(features, extent)
    density, top = (np.require(as_array(features[lidar.CHANNELS.index(name)]), f4, ('C', 'W')).reshape(-1)
                    for name in ('density', 'top'))
    counts = np.zeros(histogram_size(extent) + 1, f4)
    _loops().count_rings(density, top, _rings(Grid(extent, features.shape[-1])),
                         f4(lidar.compressed_height(STANDING_M)), counts)
    return of_kind(features, counts)


@lru_cache(maxsize=8)
def _rings(grid: Grid) -> np.ndarray:
    """(H * W,) index of each cell in the histogram of distances."""
    x, y = (np.ascontiguousarray(centres, dtype=f4) for centres in grid.centres())
    rings: np.ndarray = (np.hypot(x, y) / f4(STEP_M)).astype(np.int32).reshape(-1)
    return rings


class _Part:
    """Points as arrays, with the upper three rows of their transform."""

    def __init__(self, placed: Placed):
        self.xyz, self.intensity = _array(placed.xyz), None if placed.intensity is None else _array(placed.intensity)
        self.T = IDENTITY if placed.T is None else np.ascontiguousarray(placed.T[:3], dtype=f4)

    def of(self, first: int, last: int) -> _Part:
        """Some of the points."""
        part = copy.copy(self)
        part.xyz = self.xyz[first:last]
        part.intensity = None if self.intensity is None else self.intensity[first:last]
        return part


class _Marks:
    """Voxels near the vehicle that hold a point of the sweep, see `ground_level.ground_levels`."""

    def __init__(self, min_range: float):
        of = ground_level
        columns, self.slabs = round(2 * of.NEAR_M / of.CELL_M), round(2 * of.HIGHEST_M / of.SLAB_M)
        self.voxels = room('voxels', (columns ** 2, WORDS), np.uint64)
        self.voxels.fill(0)
        sizes = _numbers((of.NEAR_M, min_range, of.CELL_M, of.HIGHEST_M, of.SLAB_M), np.float32)
        self.arguments = True, sizes, columns, self.slabs, self.voxels  # of `loops.points.fill_cells`

    def levels(self) -> np.ndarray:
        """See `SweepGrids.levels`."""
        found = np.empty(self.slabs + 1, f4)
        _loops().count_thin(self.voxels, ground_level.THIN_SLABS, found)
        return found


def _shares(count: int, sensors: Sequence[Look]) -> list[tuple[int, int, tuple[int, ...]]]:
    """The points cut where one sensor's end: first, last + 1, and the sensors that these points are of."""
    ends = {0, count}
    for sensor in sensors:
        ends.update(end for both in sensor.ranges for end in both)
    cuts = sorted(end for end in ends if 0 <= end <= count)
    return [(first, last, tuple(k for k, sensor in enumerate(sensors)
                                if any(a <= first and last <= b for a, b in sensor.ranges)))
            for first, last in zip(cuts, cuts[1:])]


class _Work(NamedTuple):
    """Points that are counted together."""

    part: _Part
    looks: tuple[int, ...] = ()  # the sensors that they are of
    own: bool = False  # of the sweep itself, not of an earlier one


def _bev(work: Sequence[_Work], grid: Grid, min_range: float, max_height: float, marks: _Marks | None = None,
         reach: np.ndarray = NO_REACH, sensors: Sequence[Look] = ()) -> np.ndarray:
    """(C, H, W) float32, channels as in bev.lidar.CHANNELS; what sensors saw goes to marks and reach (S, AZIMUTHS).

    Raises InputError `no_points_in_range`.
    """
    points, fine = _loops(), ground.COARSE_CELLS * ground.SUB_CELLS
    minima, scratch = room('minima', (fine, fine)), (room.numbers(), room.places())
    minima.fill(np.inf)
    extent, least, per_metre = f4(grid.extent), f4(min_range ** 2), f4(fine / (2 * grid.extent))
    if not sum([points.lowest_in_cells(one.part.xyz, one.part.T, extent, least, per_metre, fine, minima.ravel(),
                                       *scratch) for one in work]):
        raise lidar.no_points_in_range(grid.extent, min_range)
    surface, cells = _surface(minima, grid.extent), grid.cells ** 2
    with_intensity = all(one.part.intensity is not None for one in work)
    most = sum(len(one.part.xyz) for one in work) if with_intensity else 1
    used_cell, used_value = room('used_cell', (most,), np.int32), room('used_value', (most,))
    touched, counts = room('touched', (cells,), np.int32), np.zeros(2, np.int64)
    limits = grid.extent, grid.resolution, min_range ** 2, lidar.BELOW_GROUND_M, max_height
    channels = np.zeros((len(lidar.CHANNELS), grid.cells, grid.cells), f4)
    with room.zeros('statistics', (cells, STATISTICS)) as statistics:
        for one in work:
            intensity = NO_INTENSITY if one.part.intensity is None or not with_intensity else one.part.intensity
            for sensor in one.looks or (None,):
                # Points of a second sensor, if there are such, have been counted already: none is useful then.
                again = sensor is not None and sensor != one.looks[0]
                points.fill_cells(
                    one.part.xyz, intensity, with_intensity, one.part.T,
                    _numbers((*limits[:3], np.inf, -np.inf) if again else limits, np.float32), grid.cells,
                    surface.ravel(), len(surface), statistics, touched, used_cell, used_value, counts,
                    sensor is not None, _view(None if sensor is None else sensors[sensor], min_range, max_height),
                    *_edges(coverage.AZIMUTHS), NO_REACH[0] if sensor is None else reach[sensor],
                    *(NOT_MARKED if marks is None or not one.own or again else marks.arguments), *scratch)
        found, used = counts.tolist()
        if with_intensity and used:
            limit = f4(lidar.INTENSITY_LIMIT)
            points.add_intensities(statistics, used_cell, used_value, used, limit, *_scale(used_value, used, limit))
        points.write_channels(statistics, touched, found, f4(lidar.HEIGHT_UNIT_M),
                              f4(math.log1p(lidar.HEIGHT_FULL_M / lidar.HEIGHT_UNIT_M)),
                              f4(math.log1p(lidar.DENSITY_FULL)), _densities(),
                              channels.reshape(len(channels), -1), *scratch)
    return channels


def _view(sensor: Look | None, min_range: float, max_height: float) -> np.ndarray:
    """Where a sensor looks from, as `loops.points.fill_cells` wants it."""
    x, y = (0.0, 0.0) if sensor is None else (sensor.x, sensor.y)
    return _numbers((x, y, min_range, max_height, coverage.LOW_M, coverage.TRAILING_SLOPE), np.float32)


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


def _loops() -> Any:
    found = loops()
    assert found is not None
    return found['points']


def _suits(part: Placed) -> bool:
    """Whether the loops take these points as they are; arrays of other types are cast, as plain torch does."""
    return all(isinstance(values, np.ndarray) or values.dtype == torch.float32
               for values in (part.xyz, part.intensity) if values is not None)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    """As the loops take it: in the byte order of this machine."""
    array: np.ndarray = values.detach().numpy() if isinstance(values, Tensor) else values
    return array if array.dtype == f4 else np.ascontiguousarray(array, f4)


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
    """Edges of the sectors of the circle, as `loops.points.fill_cells` wants them: tangents, guesses, eighths."""
    assert sectors % 8 == 0
    eighth, quarter, half = sectors // 8, sectors // 4, sectors // 2
    tangents = np.append(np.tan(2 * np.pi / sectors * np.arange(eighth + 1)), np.inf)
    tangents[eighth] = 1.0
    guesses = np.searchsorted(tangents, np.arange(GUESSES + 1) / GUESSES, side='right') - 1
    # By bits, see there: nearer to the x axis or (1) to the y axis; (2) behind; (4) to the right.
    starts = (0, -quarter, -half, quarter, -sectors, sectors - quarter, half, -(sectors - quarter))
    return tangents, guesses.astype(np.int32), np.array(starts, np.int32)
