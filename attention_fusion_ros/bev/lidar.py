# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR sweep -> BEV feature grid: height above the local ground, height span, density, normalised intensity.

Heights are compressed logarithmically, so that a 12 cm kerb and a 6 m facade are both visible to the network.
"""

from __future__ import annotations

import math

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.ground import estimate_ground
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.tensors import constant
from attention_fusion_ros.utils.torch_later import Tensor, torch

CHANNELS = ('top', 'low', 'span', 'density', 'intensity')
HEIGHT_UNIT_M = 0.1  # heights well below this are in the linear part of the compression
HEIGHT_FULL_M = 6.0  # compressed to 1
DENSITY_FULL = 128.0  # points in a cell, compressed to 1
INTENSITY_LIMIT = 1e30  # differences of greater ones overflow
INTENSITY_NOISE = 1e-5  # of the median: spread of a sensor whose intensities are all equal but for rounding
MIN_SPREAD = 1e-6  # of intensities that are all about zero
INTENSITY_SAMPLE, INTENSITY_SHARES = 8192, (0.1, 0.5, 0.9)  # points and quantiles that tell the spread
BELOW_GROUND_M = -1.0  # lower points are multipath


def no_points_in_range(extent: float, min_range: float) -> InputError:
    """The error of a sweep without a point on the grid."""
    return InputError('no_points_in_range', f'no point lies within {extent:g} m of the vehicle and farther than '
                      f'{min_range:g} m.', 'check the sensor -> base_link transform, the units (metres), the byte '
                      'order (is_bigendian) and cloud.min_range.')


def compressed_height(metres: float) -> float:
    """`compress_height` of one number."""
    return math.copysign(math.log1p(abs(metres) / HEIGHT_UNIT_M) / math.log1p(HEIGHT_FULL_M / HEIGHT_UNIT_M), metres)


def compress_height(h: Tensor) -> Tensor:
    """Height in metres -> sign(h) log(1 + |h| / 0.1 m), scaled so that 6 m gives 1."""
    compressed: Tensor = h.sign() * torch.log1p(h.abs() / HEIGHT_UNIT_M) / math.log1p(HEIGHT_FULL_M / HEIGHT_UNIT_M)
    return compressed


def normalise_intensity(intensity: Tensor) -> Tensor:
    """(N,) intensities in any unit -> about -1..1: centred on their median, scaled by their 10..90 % spread.

    Give it those of the points that are used: others, of no returns or of the vehicle itself, would move the scale.
    """
    if len(intensity) == 0:
        return intensity
    intensity = intensity.float().clamp(-INTENSITY_LIMIT, INTENSITY_LIMIT)
    sample = intensity[:: max(1, len(intensity) // INTENSITY_SAMPLE)]
    low, middle, high = torch.quantile(sample, constant(INTENSITY_SHARES, sample.device))
    spread = torch.maximum(high - low, (INTENSITY_NOISE * middle.abs()).clamp(min=MIN_SPREAD))
    normalised: Tensor = ((intensity - middle) / spread).clamp(-1.0, 1.0)
    return normalised


@operation('scatter_cells')
def scatter_cells(cell: Tensor, height: Tensor, value: Tensor | None,
                  cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Statistics of the points in each cell: number, highest, lowest, and sum of the values.

    cell: (N,) int64 in 0..cells-1. height: (N,) m. value: (N,) or None, whose sums are zero.
    Returns four (cells,) tensors of the heights' dtype, zero where a cell is empty.
    """
    zeros = torch.zeros(cells, device=height.device, dtype=height.dtype)
    count = zeros.scatter_add(0, cell, torch.ones_like(height))
    top = zeros.scatter_reduce(0, cell, height, 'amax', include_self=False)
    low = zeros.scatter_reduce(0, cell, height, 'amin', include_self=False)
    return count, top, low, zeros if value is None else zeros.scatter_add(0, cell, value)


@operation('lidar_bev')
def lidar_bev(xyz: Tensor, intensity: Tensor | None, grid: Grid, min_range: float = 1.8,
              max_height: float = 6.0) -> Tensor:
    """Points (N, 3) float32 in base_link and intensity (N,) or None -> (C, H, W) float32, channels as in CHANNELS.

    min_range, max_height: metres, see `config.CloudConfig`. Empty cells are 0 in every channel.
    Raises InputError `no_points_in_range` when no point is left inside the grid.
    """
    x, y = xyz[:, 0], xyz[:, 1]
    inside = grid.contains(x, y) & (x ** 2 + y ** 2 >= min_range ** 2)
    # Indices are found once for each choice of points: on a CUDA device the host waits for them.
    index = inside.nonzero()[:, 0]
    xyz = xyz.index_select(0, index)
    if len(xyz) == 0:
        raise no_points_in_range(grid.extent, min_range)
    h = xyz[:, 2] - estimate_ground(xyz, grid.extent).at(xyz[:, 0], xyz[:, 1])
    useful = (h > BELOW_GROUND_M) & (h < max_height)
    chosen = useful.nonzero()[:, 0]
    xyz, h = xyz.index_select(0, chosen), h.index_select(0, chosen)
    row, column = grid.metres_to_cells(xyz[:, 0], xyz[:, 1])
    cell = (row.round().long().clamp_(0, grid.cells - 1) * grid.cells
            + column.round().long().clamp_(0, grid.cells - 1))
    values = None if intensity is None else normalise_intensity(intensity[index[chosen]])
    count, top, low, total = scatter_cells(cell, h, values, grid.cells * grid.cells)
    features = {'top': compress_height(top), 'low': compress_height(low), 'span': compress_height(top - low),
                'density': torch.log1p(count) / math.log1p(DENSITY_FULL), 'intensity': total / count.clamp(min=1)}
    return torch.stack([features[name] for name in CHANNELS]).view(len(CHANNELS), grid.cells, grid.cells)
