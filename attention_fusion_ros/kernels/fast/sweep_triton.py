# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""The BEV grid of a sweep, and a map image on it, in Triton.

Three passes over the points: lowest point of each cell (1); cell, number, highest and lowest (2); brightness (3), whose
scale is known after the second. The ground between them, over 1024 cells, stays in torch, as does what the sensors
looked at. The host waits once, to learn whether any point was on the grid.

Minima, maxima and counts are the same in whatever order threads come. The sum of the brightness is not, unless it is
taken in whole numbers: it is where `torch.use_deterministic_algorithms` asks for that. Products are not contracted with
sums, so that points fall into the cells that they fall into elsewhere.

With TRITON_INTERPRET=1 the kernels run on the CPU, slowly; that is how they are tested without a GPU.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.bev import ground, lidar, map_image
from attention_fusion_ros.bev.coverage import AZIMUTHS, view
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.ground_level import ground_levels
from attention_fusion_ros.bev.map_source import sample_planes
from attention_fusion_ros.bev.place import Placed, place
from attention_fusion_ros.bev.sweep import Look, SweepGrids, sweep_grids
from attention_fusion_ros.kernels.registry import fast_version
from attention_fusion_ros.utils.tensors import constant, upload

INTERPRETED = os.environ.get('TRITON_INTERPRET', '') == '1'
AVAILABLE = importlib.util.find_spec('triton') is not None
DEVICES = ('cpu',) if INTERPRETED else ('cuda',)
BLOCK = 256  # points or cells of a program
EMPTY = 0x7fffffff  # as a key: above that of every number
FRACTION = 1 << 20  # of a whole number, in sums that do not depend on the order
ROUND = 1.5 * 2 ** 23  # added and subtracted: rounds half to even

if AVAILABLE:
    import triton
    import triton.language as tl

    @triton.jit
    def _placed(xyz_ptr, T_ptr, point, mask):
        """Points placed: each coordinate summed from left to right, see `bev.place`."""
        px = tl.load(xyz_ptr + 3 * point, mask, 0.0)
        py = tl.load(xyz_ptr + 3 * point + 1, mask, 0.0)
        pz = tl.load(xyz_ptr + 3 * point + 2, mask, 0.0)
        x = px * tl.load(T_ptr) + py * tl.load(T_ptr + 1) + pz * tl.load(T_ptr + 2) + tl.load(T_ptr + 3)
        y = px * tl.load(T_ptr + 4) + py * tl.load(T_ptr + 5) + pz * tl.load(T_ptr + 6) + tl.load(T_ptr + 7)
        z = px * tl.load(T_ptr + 8) + py * tl.load(T_ptr + 9) + pz * tl.load(T_ptr + 10) + tl.load(T_ptr + 11)
        return x, y, z

    @triton.jit
    def _key(value):
        """float32 -> int32 in the same order."""
        bits = value.to(tl.int32, bitcast=True)
        return bits ^ ((bits >> 31) & 0x7fffffff)

    @triton.jit
    def _clamped(value, last):
        """A number that may become an index: within 0..last, 0 for NaN."""
        return tl.where(value > 0.0, tl.where(value < last, value, last), 0.0)

    # How many points there are differs from sweep to sweep: kernels must not be compiled anew for multiples of 16.
    @triton.jit(do_not_specialize=['count'])
    def _lowest(xyz_ptr, T_ptr, keys_ptr, inside_ptr, count, extent, least, per_metre, cells, BLOCK: tl.constexpr):
        """The lowest point of every cell, as a key; how many points are on the grid."""
        point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = point < count
        x, y, z = _placed(xyz_ptr, T_ptr, point, mask)
        inside = mask & (tl.abs(x) < extent) & (tl.abs(y) < extent) & (x * x + y * y >= least)
        last = (cells - 1).to(tl.float32)
        row = _clamped((extent - x) * per_metre, last).to(tl.int32)
        column = _clamped((extent - y) * per_metre, last).to(tl.int32)
        tl.atomic_min(keys_ptr + row * cells + column, _key(z), inside)
        tl.atomic_add(inside_ptr, tl.sum(inside.to(tl.int32), 0))

    @triton.jit(do_not_specialize=['count'], do_not_specialize_on_alignment=['cell_ptr'])
    def _count(xyz_ptr, T_ptr, ground_ptr, cell_ptr, number_ptr, top_ptr, low_ptr, count, extent, least, resolution,
               cells, coarse, per_coarse, deepest, highest, shift, BLOCK: tl.constexpr):
        """The cell of every point, -1 for those that are not used; number, highest and lowest (keys) of every cell."""
        point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = point < count
        x, y, z = _placed(xyz_ptr, T_ptr, point, mask)
        inside = mask & (tl.abs(x) < extent) & (tl.abs(y) < extent) & (x * x + y * y >= least)
        rim = (coarse - 1).to(tl.float32)
        v, u = _clamped(0.5 * rim - x * per_coarse, rim), _clamped(0.5 * rim - y * per_coarse, rim)
        a, b = v.to(tl.int32), u.to(tl.int32)
        fv, fu = v - a.to(tl.float32), u - b.to(tl.float32)
        below, right = tl.minimum(a + 1, coarse - 1), tl.minimum(b + 1, coarse - 1)
        upper_left, upper_right = tl.load(ground_ptr + a * coarse + b), tl.load(ground_ptr + a * coarse + right)
        lower_left, lower_right = tl.load(ground_ptr + below * coarse + b), tl.load(ground_ptr + below * coarse + right)
        upper, lower = upper_left + fu * (upper_right - upper_left), lower_left + fu * (lower_right - lower_left)
        height = z - (upper + fv * (lower - upper))
        used = inside & (height > deepest) & (height < highest)
        last = (cells - 1).to(tl.float32)
        row = tl.div_rn(extent - x, resolution) - 0.5
        column = tl.div_rn(extent - y, resolution) - 0.5
        row, column = (row + shift) - shift, (column + shift) - shift
        cell = _clamped(row, last).to(tl.int32) * cells + _clamped(column, last).to(tl.int32)
        tl.store(cell_ptr + point, tl.where(used, cell, -1), mask)
        tl.atomic_add(number_ptr + cell, 1, used)
        tl.atomic_max(top_ptr + cell, _key(height), used)
        tl.atomic_min(low_ptr + cell, _key(height), used)

    @triton.jit(do_not_specialize=['count'])
    def _brighten(cell_ptr, value_ptr, scale_ptr, total_ptr, count, limit, FRACTION: tl.constexpr,
                  BLOCK: tl.constexpr):
        """The sum of the normalised intensities of every cell; FRACTION: of a whole number, 0 for floats."""
        point = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = point < count
        cell = tl.load(cell_ptr + point, mask, -1)
        value = tl.load(value_ptr + point, mask, 0.0)
        value = tl.minimum(tl.maximum(value, -limit), limit) - tl.load(scale_ptr)
        value = tl.minimum(tl.maximum(tl.div_rn(value, tl.load(scale_ptr + 1) + tl.zeros_like(value)), -1.0), 1.0)
        if FRACTION > 0:
            whole = tl.floor(value * FRACTION + 0.5).to(tl.int64)
            tl.atomic_add(total_ptr + cell, whole, mask & (cell >= 0))
        else:
            tl.atomic_add(total_ptr + cell, value, mask & (cell >= 0))

    @triton.jit
    def _pixel(plane_ptr, row, column, rows, columns, mask):
        inside = mask & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return tl.load(plane_ptr + row * columns + column, inside, 0.0)

    @triton.jit
    def _bilinear(plane_ptr, ix, iy, rows, columns, mask):
        """Between pixels, 0 beyond the image."""
        left, top = tl.floor(ix), tl.floor(iy)
        x, y = left.to(tl.int32), top.to(tl.int32)
        fx, fy = ix - left, iy - top
        return (_pixel(plane_ptr, y, x, rows, columns, mask) * (1.0 - fx) * (1.0 - fy)
                + _pixel(plane_ptr, y, x + 1, rows, columns, mask) * fx * (1.0 - fy)
                + _pixel(plane_ptr, y + 1, x, rows, columns, mask) * (1.0 - fx) * fy
                + _pixel(plane_ptr, y + 1, x + 1, rows, columns, mask) * fx * fy)

    @triton.jit(do_not_specialize=['rows', 'columns'])
    def _lay(road_ptr, route_ptr, centre_ptr, T_ptr, layers_ptr, origin_column, origin_row, metres, rows, columns,
             cells, HAS_ROUTE: tl.constexpr, BLOCK: tl.constexpr):
        """Road, route and cover of every cell: `bev.map_source.sample_planes`."""
        cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = cell < cells * cells
        x, y = tl.load(centre_ptr + cell // cells, mask, 0.0), tl.load(centre_ptr + cell % cells, mask, 0.0)
        left = tl.load(T_ptr + 3) * x + tl.load(T_ptr + 4) * y + tl.load(T_ptr + 5)
        up = tl.load(T_ptr) * x + tl.load(T_ptr + 1) * y + tl.load(T_ptr + 2)
        column = origin_column - tl.div_rn(left, metres + tl.zeros_like(left))
        row = origin_row - tl.div_rn(up, metres + tl.zeros_like(up))
        # A position far beyond every image must still become an index.
        ix = tl.minimum(tl.maximum(column - 0.5, -4.0), columns + 4.0)
        iy = tl.minimum(tl.maximum(row - 0.5, -4.0), rows + 4.0)
        tl.store(layers_ptr + cell, _bilinear(road_ptr, ix, iy, rows, columns, mask), mask)
        if HAS_ROUTE:
            tl.store(layers_ptr + cells * cells + cell, _bilinear(route_ptr, ix, iy, rows, columns, mask), mask)
        else:
            tl.store(layers_ptr + cells * cells + cell, tl.zeros_like(ix), mask)
        across = tl.minimum(tl.maximum(tl.minimum(ix + 1.0, columns - ix), 0.0), 1.0)
        down = tl.minimum(tl.maximum(tl.minimum(iy + 1.0, rows - iy), 0.0), 1.0)
        tl.store(layers_ptr + 2 * cells * cells + cell, across * down, mask)


def _programs(count: int) -> tuple[int]:
    return (max(1, -(-count // BLOCK)),)


def _numbers(keys: Tensor) -> Tensor:
    """int32 keys, see `_key` -> the float32 that they stand for."""
    return (keys ^ ((keys >> 31) & 0x7fffffff)).view(torch.float32)


def _transform(T: np.ndarray | None, device: torch.device) -> Tensor:
    return upload(np.eye(3, 4) if T is None else T[:3], device)


@fast_version('sweep_grids', 'triton', devices=DEVICES, differentiable=False, available=lambda: AVAILABLE)
def sweep_grids_triton(sweep: Placed, earlier: Sequence[Placed], sensors: Sequence[Look], grid: Grid,
                       min_range: float, max_height: float) -> SweepGrids:
    """As `bev.sweep.sweep_grids`."""
    parts = [sweep, *earlier]
    values = [v for part in parts for v in (part.xyz, part.intensity) if v is not None]
    if any(not isinstance(v, Tensor) or v.dtype != torch.float32 for v in values):
        return sweep_grids.plain(sweep, earlier, sensors, grid, min_range, max_height)
    with torch.cuda.device_of(values[0]):  # kernels start on the current device
        bev = _bev(parts, grid, min_range, max_height)
    assert isinstance(sweep.xyz, Tensor)
    xyz = sweep.xyz if sweep.T is None else place(sweep.T, sweep.xyz)
    if not sensors:
        return SweepGrids(bev, xyz.new_zeros((0, AZIMUTHS)), xyz.new_zeros(0))
    reach = [view(torch.cat([xyz[a:b] for a, b in one.ranges]), (one.x, one.y), max_height, min_range).reach
             for one in sensors]
    return SweepGrids(bev, torch.stack(reach), ground_levels(xyz, min_range))


def _bev(parts: Sequence[Placed], grid: Grid, min_range: float, max_height: float) -> Tensor:
    device, counts = torch.as_tensor(parts[0].xyz).device, [len(part.xyz) for part in parts]
    clouds = [(torch.as_tensor(part.xyz).contiguous(), _transform(part.T, device)) for part in parts]
    fine, cells, options = ground.COARSE_CELLS * ground.SUB_CELLS, grid.cells ** 2, {'enable_fp_fusion': False}
    keys = torch.full((fine * fine,), EMPTY, dtype=torch.int32, device=device)
    inside = torch.zeros(1, dtype=torch.int32, device=device)
    for (xyz, T), count in zip(clouds, counts, strict=True):
        _lowest[_programs(count)](xyz, T, keys, inside, count, grid.extent, min_range ** 2, fine / (2 * grid.extent),
                                  fine, BLOCK=BLOCK, **options)
    minima = torch.where(keys == EMPTY, torch.inf, _numbers(keys)).view(fine, fine)
    if not int(inside):  # the one place where the host waits
        raise lidar.no_points_in_range(grid.extent, min_range)
    surface = ground.surface(minima, grid.extent).height.contiguous()
    number = torch.zeros(cells, dtype=torch.int32, device=device)
    top, low = torch.full_like(number, -EMPTY), torch.full_like(number, EMPTY)
    cell, first = torch.empty(sum(counts), dtype=torch.int32, device=device), 0
    for (xyz, T), count in zip(clouds, counts, strict=True):
        _count[_programs(count)](xyz, T, surface, cell[first:], number, top, low, count, grid.extent, min_range ** 2,
                                 grid.resolution, grid.cells, len(surface), 0.5 * len(surface) / grid.extent,
                                 lidar.BELOW_GROUND_M, max_height, ROUND, BLOCK=BLOCK, **options)
        first += count
    filled = number > 0
    highest, lowest = (torch.where(filled, _numbers(k), 0.0) for k in (top, low))
    density, bright = number.float(), torch.zeros(cells, device=device)
    intensities = [part.intensity for part in parts if part.intensity is not None]
    if len(intensities) == len(parts):
        bright = _brightness(cell, torch.cat([torch.as_tensor(v) for v in intensities]), cells)
    full = math.log1p(lidar.DENSITY_FULL)
    channels = [lidar.compress_height(highest), lidar.compress_height(lowest),
                lidar.compress_height(highest - lowest), torch.log1p(density) / full, bright / density.clamp(min=1)]
    return torch.stack(channels).view(len(channels), grid.cells, grid.cells)


def _brightness(cell: Tensor, intensity: Tensor, cells: int) -> Tensor:
    """The sum of the normalised intensities of every cell."""
    whole = torch.are_deterministic_algorithms_enabled()
    total = torch.zeros(cells, dtype=torch.int64 if whole else torch.float32, device=cell.device)
    _brighten[_programs(len(cell))](cell, intensity.contiguous(), _scale(cell, intensity), total, len(cell),
                                    lidar.INTENSITY_LIMIT, FRACTION=FRACTION if whole else 0, BLOCK=BLOCK,
                                    enable_fp_fusion=False)
    return total.float() / FRACTION if whole else total


def _scale(cell: Tensor, intensity: Tensor) -> Tensor:
    """(2,) middle and spread of the intensities of the points that are used, as `lidar.normalise_intensity` finds them.

    Every step-th of them is looked at; how many that are, the host never learns.
    """
    used = cell >= 0
    rank = used.cumsum(0) - 1
    step = ((rank[-1] + 1) // lidar.INTENSITY_SAMPLE).clamp(min=1)
    most = 2 * lidar.INTENSITY_SAMPLE + 1
    chosen = used & (rank % step == 0)
    place_of = torch.where(chosen, rank // step, most).clamp(max=most)
    sample = torch.full((most + 1,), torch.inf, device=cell.device)
    sample.scatter_(0, place_of, torch.where(chosen, intensity.clamp(-lidar.INTENSITY_LIMIT, lidar.INTENSITY_LIMIT),
                                             torch.full_like(intensity, torch.inf)))
    ordered, last = sample.sort().values, chosen.sum() - 1
    at = constant(lidar.INTENSITY_SHARES, cell.device) * last.clamp(min=0)
    below = at.long()
    found = torch.lerp(ordered[below], ordered[torch.minimum(below + 1, last.clamp(min=0))], at - below)
    low, middle, high = found.unbind()
    spread = torch.maximum(high - low, (lidar.INTENSITY_NOISE * middle.abs()).clamp(min=lidar.MIN_SPREAD))
    return torch.stack([middle, spread])


@fast_version('sample_planes', 'triton', devices=DEVICES, differentiable=False, available=lambda: AVAILABLE)
def sample_planes_triton(planes: Sequence[Tensor], T_up_left: np.ndarray, origin: tuple[float, float], metres: float,
                         grid: Grid) -> Tensor:
    """As `bev.map_source.sample_planes`."""
    if any(plane.dtype != torch.float32 for plane in planes):
        return sample_planes.plain(planes, T_up_left, origin, metres, grid)
    device = planes[0].device
    rows, columns = planes[0].shape
    road, route = planes[0].contiguous(), planes[-1].contiguous()
    layers = torch.empty(len(map_image.CHANNELS), grid.cells, grid.cells, device=device)
    centres = grid.centre_tensors(device)[0][:, 0].contiguous()
    T = upload(T_up_left, device)
    with torch.cuda.device_of(road):  # kernels start on the current device
        _lay[_programs(grid.cells ** 2)](road, route, centres, T, layers, float(origin[0]), float(origin[1]),
                                         float(metres), rows, columns, grid.cells, HAS_ROUTE=len(planes) > 1,
                                         BLOCK=BLOCK, enable_fp_fusion=False)
    return layers
