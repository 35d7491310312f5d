# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Height of the local ground under every point, robust to sensor height and to a few degrees of pitch and roll.

A plane is fitted to the low points of coarse cells (iteratively reweighted least squares, with weights that distrust
what stands above the plane more than what lies below), then the smooth remainder (hills, crossfall) is added to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.kernels import operation
from attention_fusion_ros.utils.tensors import constant
from attention_fusion_ros.utils.torch_later import F, Tensor, torch

COARSE_CELLS = 32  # coarse cells along an edge
LOW_SHARE = 0.2  # the ground of a coarse cell: this quantile of the minima of its sub-cells, so that a stray low
SUB_CELLS = 8  # return (multipath) does not pull it down
PLANE_SCALES_M = (1.0, 0.6, 0.4, 0.25, 0.2, 0.2)  # from a coarse guess to a tight fit
GATE_M = (0.6, 0.35)  # what may lie off the surface and still be ground; first round, second round
START_SHARE = 0.3  # of the weighted heights below the plane with which the fit begins
PLANE_PRIOR = (1e-6, 2.0, 2.0)  # that offset and slopes are zero, as weights
FILL_WEIGHTS = tuple(math.exp(-0.5 * (offset / 1.2) ** 2) for offset in range(-3, 4))  # of the cells around a cell
PLANE_WEIGHT = 0.05  # of the plane itself, among them


@dataclass(frozen=True)
class Ground:
    """The ground surface over the square -extent..extent."""

    height: Tensor  # (COARSE_CELLS, COARSE_CELLS) m, at the coarse cells' centres; row 0 farthest ahead
    extent: float  # m

    def at(self, x: Tensor, y: Tensor) -> Tensor:
        """Ground height in metres at (N,) positions, bilinear, continued at the rim."""
        unit = torch.stack(Grid(self.extent).metres_to_unit(x, y), dim=-1)[None, None]
        sampled = F.grid_sample(self.height[None, None], unit, align_corners=False, padding_mode='border')
        return sampled[0, 0, 0]


def estimate_ground(xyz: Tensor, extent: float) -> Ground:
    """Points (N, 3) in base_link, all within +-extent in x and y -> Ground. N >= 1."""
    return surface(_minima(xyz, extent), extent)


def surface(minima: Tensor, extent: float) -> Ground:
    """Lowest points (G * SUB_CELLS, G * SUB_CELLS), m, infinite where there is none -> Ground.

    The host does not wait for the device in here.
    """
    fine_x, fine_y = Grid(extent, COARSE_CELLS * SUB_CELLS).centre_tensors(minima.device)
    x, y = Grid(extent, COARSE_CELLS).centre_tensors(minima.device)
    low, known = _coarse_low(minima)
    design = torch.stack([torch.ones_like(x), x, y], dim=-1)  # (G, G, 3)
    plane = _fit_plane(design.flatten(0, 1), low.flatten(), known.flatten(), extent)
    # Lows are taken again above the plane, then above the surface: within a sloping cell the lowest point is off.
    height = design @ plane
    above = minima - (plane[0] + plane[1] * fine_x + plane[2] * fine_y)
    for gate in GATE_M:
        low, known = _coarse_low(above)
        correction = _fill_smoothly(low, known & (low.abs() < gate))
        height = height + correction
        above = above - F.interpolate(correction[None, None], scale_factor=SUB_CELLS, mode='bilinear')[0, 0]
    return Ground(height, extent)


@operation('lowest_in_cells')
def lowest_in_cells(cell: Tensor, height: Tensor, cells: int) -> Tensor:
    """(N,) int64 cells in 0..cells-1 and (N,) heights -> (cells,) lowest height of each, infinite where empty."""
    minima = torch.full((cells,), torch.inf, device=height.device, dtype=height.dtype)
    return minima.scatter_reduce(0, cell, height, 'amin')


def _minima(xyz: Tensor, extent: float) -> Tensor:
    """(fine, fine) lowest point of each sub-cell in metres, infinite where empty."""
    fine = COARSE_CELLS * SUB_CELLS
    row, column = Grid(extent, fine).containing_cells(xyz[:, 0], xyz[:, 1])
    return lowest_in_cells(row * fine + column, xyz[:, 2], fine * fine).view(fine, fine)


def _coarse_low(minima: Tensor) -> tuple[Tensor, Tensor]:
    """(G, G) low height of each coarse cell in metres (0 where unknown) and the mask of known ones."""
    blocks = minima.view(COARSE_CELLS, SUB_CELLS, COARSE_CELLS, SUB_CELLS).transpose(1, 2).flatten(2)
    ordered, _ = blocks.sort(dim=-1)
    count = torch.isfinite(blocks).sum(-1)
    index = (LOW_SHARE * count).long().clamp_(0, SUB_CELLS * SUB_CELLS - 1)
    low = ordered.gather(-1, index[..., None])[..., 0]
    known = count > 0
    return torch.where(known, low, torch.zeros_like(low)), known


def _fit_plane(design: Tensor, z: Tensor, known: Tensor, extent: float) -> Tensor:
    """(M, 3) rows of 1, x, y and (M,) heights -> (3,) offset and slopes. Near cells count more: they hold the road.

    known: (M,) bool; the others count nothing. To choose them would make the host wait for a CUDA device.

    Sums over a thousand cells are taken in double: in which order, which differs by version, does not matter then.
    """
    dtype, design, z = z.dtype, design.double(), z.double()
    distance = design[:, 1:].norm(dim=-1)
    near = torch.exp(-distance / (0.5 * extent)) * known
    start = _weighted_quantile(z, near, START_SHARE)
    plane = torch.stack([start, torch.zeros_like(start), torch.zeros_like(start)])
    # Slopes are held near zero by a weak prior so that a handful of cells on one side cannot tip the plane.
    prior = torch.diag(constant(PLANE_PRIOR, z.device).to(z.dtype))
    for scale in PLANE_SCALES_M:
        r = z - design @ plane
        r = torch.where(r > 0, 2 * r, r)  # what stands above is an object more often than what lies below is a pit
        weight = near / (1 + (r / scale) ** 2)
        A = (design * weight[:, None]).T @ design + prior
        # Positive definite thanks to the prior: no check, for which the host would wait.
        plane, _ = torch.linalg.solve_ex(A, (design * weight[:, None]).T @ z)
    return plane.to(dtype)


def _weighted_quantile(values: Tensor, weights: Tensor, q: float) -> Tensor:
    order = values.argsort()
    cumulated = weights[order].cumsum(0)
    index = torch.searchsorted(cumulated, q * cumulated[-1:]).clamp_(max=len(values) - 1)
    return values.gather(0, order.gather(0, index))[0]


def _fill_smoothly(residual: Tensor, trusted: Tensor) -> Tensor:
    """Gaussian-weighted mean of the trusted cells (normalised convolution); falls to the plane far from any of them."""
    kernel = constant(FILL_WEIGHTS, residual.device).to(residual.dtype)
    kernel = (kernel[:, None] * kernel)[None, None]
    mask = trusted.to(residual.dtype)
    reach = len(FILL_WEIGHTS) // 2
    weighted = F.conv2d((torch.where(trusted, residual, torch.zeros_like(residual)))[None, None], kernel, padding=reach)
    total = F.conv2d(mask[None, None], kernel, padding=reach)
    return (weighted / (total + PLANE_WEIGHT))[0, 0]
