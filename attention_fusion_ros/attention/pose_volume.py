# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of every pose of a map within a window, and what follows from them: probabilities, mean, covariance.

Exhaustive matching of a neural map, as in OrienterNet, Sarlin et al., CVPR 2023 (https://arxiv.org/abs/2304.02009). A
volume is (B, Y, N, N): Y turns, N shifts along x (index 0: farthest ahead) and along y (index 0: farthest left), as on
the BEV grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.kernels import operation

PRIOR_SIZE = 13  # mean (3), covariance (9), weight


@dataclass(frozen=True)
class Window:
    """Poses around a centre: `turns` on either side, `yaw_step` rad apart, `shifts` on either side, `step` m apart."""

    turns: int
    yaw_step: float  # rad
    shifts: int
    step: float  # m

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Y, N, N) of a volume."""
        return 2 * self.turns + 1, 2 * self.shifts + 1, 2 * self.shifts + 1

    @property
    def volume(self) -> float:
        """All of it, m m rad."""
        turns, shifts, _ = self.shape
        return turns * self.yaw_step * (shifts * self.step) ** 2

    def yaws(self, like: Tensor) -> Tensor:
        """(Y,) rad, ascending."""
        return torch.arange(-self.turns, self.turns + 1, device=like.device, dtype=like.dtype) * self.yaw_step

    def offsets(self, like: Tensor) -> Tensor:
        """(N,) m, descending: index 0 is farthest ahead, or farthest left."""
        return -torch.arange(-self.shifts, self.shifts + 1, device=like.device, dtype=like.dtype) * self.step


def turned(x: Tensor, centre: Tensor, yaws: Tensor, extent: float, cells: int | None = None) -> Tensor:
    """x (B, C, H, W) moved by the poses centre (B, 3) with each of `yaws` (Y,) added -> (B, Y, C, H, W).

    The turn is about the vehicle, the shift comes after it. extent: of the grid, m. cells: as for `move`.
    """
    B, Y = x.shape[0], yaws.shape[0]
    poses = centre[:, None].expand(B, Y, 3) + F.pad(yaws[:, None], (2, 0))
    copies = x[:, None].expand(B, Y, *x.shape[1:]).flatten(0, 1)
    return torch.unflatten(move(copies, se2_matrix(poses.flatten(0, 1)), extent, cells), 0, (B, Y))


@operation('pose_scores')
def pose_scores(seen: Tensor, drawn: Tensor, shifts: int) -> Tensor:
    """Inner product of what is seen with what is drawn, for every turn and every shift of the drawing.

    seen (B, C, H, W), drawn (B, Y, C, H, W) turned already -> (B, Y, 2 * shifts + 1, 2 * shifts + 1). Entry (i, j) is
    for the drawing moved by i - shifts rows and j - shifts columns; what leaves the grid counts nothing.
    """
    # A convolution with a group for each sample, written as a product of matrices: exported, the batch stays free.
    B, Y, _, H, W = drawn.shape
    N, single = 2 * shifts + 1, torch.promote_types(seen.dtype, torch.float32)  # of half precision sums are poor
    rows, columns = (_windows(N, size, seen.device) for size in (H, W))
    padded = F.pad(seen.to(single), (shifts,) * 4).index_select(2, rows).index_select(3, columns)
    shifted = padded.view(B, -1, N, H, N, W).permute(0, 2, 4, 1, 3, 5).reshape(B, N * N, -1)
    scores = drawn.to(single).reshape(B, Y, -1) @ shifted.transpose(1, 2)
    return scores.view(B, Y, N, N).to(seen.dtype)


def _windows(count: int, size: int, device: torch.device) -> Tensor:
    """(count * size,) places 0..size - 1, 1..size, and so on."""
    return (torch.arange(count, device=device)[:, None] + torch.arange(size, device=device)).flatten()


def poses(window: Window, centre: Tensor) -> Tensor:
    """(B, Y, N, N, 3) x, y [m], yaw [rad] of every pose of a window around centres (B, 3)."""
    yaws, offsets = window.yaws(centre), window.offsets(centre)
    x, y, yaw = (axis.expand(window.shape) for axis in (offsets[None, :, None], offsets, yaws[:, None, None]))
    return torch.stack([x, y, yaw], dim=-1) + centre[:, None, None, None, :]


def log_prior(window: Window, centre: Tensor, prior: Tensor, volume: float) -> Tensor:
    """Logarithm of how much more likely than by chance each pose of a window is, from what was known before.

    prior (B, PRIOR_SIZE): mean (3), covariance (9) and the weight, 0..1, of what was known; the rest is chance, alike
    in the whole `volume` [m m rad]. Returns (B, Y, N, N); zero everywhere where the weight is 0.
    """
    mean, covariance, weight = prior[:, :3], prior[:, 3:12].view(-1, 3, 3), prior[:, 12].clamp(0.0, 0.999)
    # A normal distribution narrower than the steps would fall between them.
    steps = mean.new_tensor([window.step, window.step, window.yaw_step]).square() / 6
    covariance = covariance + torch.diag(steps)
    difference = poses(window, centre) - mean[:, None, None, None, :]
    precision = inverse_3x3(covariance)
    # Written out: autocast halves the precision of products of matrices, and distances reach thousands.
    distance = difference.new_zeros(difference.shape[:-1])
    for row in range(3):
        product = (difference * precision[:, None, None, None, row]).sum(dim=-1)
        distance = distance + difference[..., row] * product
    log_density = 0.5 * determinant_3x3(precision).clamp(min=1e-30).log() - 1.5 * math.log(2 * math.pi)
    known = (log_density[:, None, None, None] - 0.5 * distance).clamp(max=80.0).exp() * volume
    weight = weight[:, None, None, None]
    return (weight * known + (1.0 - weight)).log()


def determinant_3x3(m: Tensor) -> Tensor:
    """(B, 3, 3) -> (B,). Written out, for not every runtime knows determinants."""
    a, b, c = m.unbind(dim=1)
    return (a * _cross(b, c)).sum(dim=1)


def inverse_3x3(m: Tensor) -> Tensor:
    """(B, 3, 3) -> its inverse, by the adjugate matrix."""
    a, b, c = m.unbind(dim=1)
    adjugate = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=2)
    return adjugate / (a * _cross(b, c)).sum(dim=1)[:, None, None]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    (ax, ay, az), (bx, by, bz) = a.unbind(dim=1), b.unbind(dim=1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=1)


def log_likelihood(log_p: Tensor, offset: Tensor, window: Window) -> Tensor:
    """log_p (B, Y, N, N) at poses `offset` (B, 3) from the centre, between the grid's poses by trilinear interpolation.

    Returns (B,); -inf never: an offset outside of the window counts as at its edge, see `inside`.
    """
    corners, weights = _corners(offset, window)
    flat = log_p.flatten(1)
    picked = flat.gather(1, corners)
    return (picked * weights).sum(dim=1)


def inside(offset: Tensor, window: Window) -> Tensor:
    """(B, 3) x, y [m], yaw [rad] from the centre -> (B,) bool: whether the window holds it."""
    reach = window.shifts * window.step
    return ((offset[:, :2].abs() <= reach).all(dim=1)
            & (offset[:, 2].abs() <= window.turns * window.yaw_step))


def _corners(offset: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """The eight poses around each offset: flat indices (B, 8) and weights (B, 8) that sum to 1."""
    Y, N, _ = window.shape
    place = torch.stack([offset[:, 2] / window.yaw_step + window.turns, window.shifts - offset[:, 0] / window.step,
                         window.shifts - offset[:, 1] / window.step], dim=1)
    limits = place.new_tensor([Y - 1, N - 1, N - 1])
    place = torch.minimum(place.clamp(min=0), limits)
    low = torch.minimum(place.floor(), limits - 1)
    part = place - low
    indices, weights = [], []
    for corner in range(8):
        up = place.new_tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weights.append(torch.where(up > 0, part, 1 - part).prod(dim=1))
        k, i, j = (low + up).long().unbind(dim=1)
        indices.append((k * N + i) * N + j)
    return torch.stack(indices, dim=1), torch.stack(weights, dim=1)


def moments(p: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Probabilities (B, Y, N, N), sum 1 -> mean (B, 3) x, y [m], yaw [rad] from the centre, covariance (B, 3, 3)."""
    yaws, offsets = window.yaws(p), window.offsets(p)
    of_yaw, of_x, of_y = p.sum((2, 3)), p.sum((1, 3)), p.sum((1, 2))
    mean = torch.stack([of_x @ offsets, of_y @ offsets, of_yaw @ yaws], dim=1)
    dx, dy, dyaw = offsets - mean[:, :1], offsets - mean[:, 1:2], yaws - mean[:, 2:]
    xx, yy, tt = (of_x * dx ** 2).sum(1), (of_y * dy ** 2).sum(1), (of_yaw * dyaw ** 2).sum(1)
    xy = torch.einsum('bij,bi,bj->b', p.sum(1), dx, dy)
    xt = torch.einsum('bki,bk,bi->b', p.sum(3), dyaw, dx)
    yt = torch.einsum('bkj,bk,bj->b', p.sum(2), dyaw, dy)
    covariance = torch.stack([torch.stack([xx, xy, xt], 1), torch.stack([xy, yy, yt], 1),
                              torch.stack([xt, yt, tt], 1)], dim=1)
    return mean, covariance
