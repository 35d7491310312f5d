# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The map's attention: every pose of the map is scored against what the LiDAR sees, and the softmax over the poses says
where it belongs.

Exhaustive matching, as in OrienterNet, Sarlin et al., CVPR 2023 (https://arxiv.org/abs/2304.02009), here from coarse to
fine. The map is moved by the sampler of Spatial Transformer Networks, Jaderberg et al., NIPS 2015
(https://arxiv.org/abs/1506.02025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import LossTarget, Mechanism, at_least
from attention_fusion_ros.attention.pose_volume import (
    Window,
    inside,
    log_likelihood,
    log_prior,
    moments,
    pose_scores,
    turned,
)
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.errors import ConfigurationError

FINE_TURNS, FINE_YAW_STEP_RAD, FINE_SHIFTS = 3, math.radians(0.9), 4  # of the fine window; its step is a fine cell
FINE_SHARE = 0.75  # of the grid, around the vehicle, is compared finely
NEAR_CELLS, NEAR_TURNS = 4, 2  # how far around the best coarse pose its place is averaged
MIN_STD = (0.05, 0.05, math.radians(0.1))  # m, m, rad: no map is placed better than this


class Coarse(NamedTuple):
    """What the coarse volume says."""

    log_p: Tensor  # (B, Y, N, N)
    log_absent: Tensor  # (B,) log probability that no pose fits
    centre: Tensor  # (B, 3) the place around which the fine window is laid


class PoseCorrelation(Mechanism):
    """Registers a map image (B, C, H, W), C layers of which the first is the road, to features of the LiDAR.

    forward(x, coarse, fine, prior): x the map image; coarse (B, coarse_channels, H / 4, W / 4) and fine (B,
    fine_channels, H / 2, W / 2) features of the LiDAR; prior (B, PRIOR_SIZE) what is known from before, see
    `pose_volume.log_prior`, None where nothing is. Returns the map image moved to where it belongs, zero where it did
    not reach.
    extent [m]: half the height of the grid. width: layers of the embeddings that are compared. max_shift [m], max_yaw
    [rad]: the coarse window; its steps are a coarse cell and `yaw_step`.
    Weights: 'correction' (B, 3) dx, dy [m], dyaw [rad] in base_link: p_true = R(dyaw) p_map + (dx, dy); 'covariance'
    (B, 3, 3) of it, 'correction_std' (B, 3); 'log_p' (B, Y, N, N) of the coarse poses; 'log_absent' (B,) of 'no pose
    fits'; 'fine_log_p' (B, Y', N', N') around 'centre' (B, 3); 'fit' (B, 4) what a fusion should know: logarithms of
    the three standard deviations relative to the window's, and the probability that a pose fits.
    """

    extra_inputs = ('coarse', 'fine', 'prior')
    slots = ('map_registration',)
    loss_weights: Mapping[str, float] = {'pose': 0.2, 'fine_pose': 0.2}
    covariance_scale: Tensor

    def __init__(self, channels: int, coarse_channels: int = 16, fine_channels: int = 16, width: int = 6,
                 fine_width: int = 4, max_shift: float = 10.0, max_yaw: float = 0.29, yaw_step: float = 0.058,
                 extent: float = 40.0, cells: int = 256):
        super().__init__(channels)
        for name, value in (('max_shift', max_shift), ('max_yaw', max_yaw), ('yaw_step', yaw_step), ('extent', extent)):
            if not 0 < value < math.inf:
                raise ConfigurationError(f"attention option '{name}' must be positive, got {value!r}")
        w, f = at_least('width', width, 1), at_least('fine_width', fine_width, 1)
        self.extent = float(extent)
        coarse_step, fine_step = 8 * extent / at_least('cells', cells, 16), 4 * extent / cells
        self.window = Window(round(max_yaw / yaw_step), yaw_step, round(max_shift / coarse_step), coarse_step)
        self.fine_window = Window(FINE_TURNS, FINE_YAW_STEP_RAD, FINE_SHIFTS, fine_step)
        self.drawn = _layer(channels, 8, 5, 2)
        self.drawn_fine = nn.Conv2d(8, f, 3, padding=1)
        self.drawn_coarse = nn.Sequential(_layer(8, 16, 3, 2), _layer(16, 16, 3), _layer(16, 16, 3),
                                          nn.Conv2d(16, w, 3, padding=1))
        self.seen_coarse = nn.Sequential(_layer(coarse_channels, 16, 3), nn.Conv2d(16, w, 3, padding=1))
        self.context = nn.Conv2d(coarse_channels, 8, 1)
        self.detail = nn.Conv2d(fine_channels, 8, 1)
        self.seen_fine = nn.Conv2d(8, f, 3, padding=1)
        self.gain = nn.Parameter(torch.tensor([-3.0, -4.0]))  # logarithms, coarse and fine
        self.absent = nn.Parameter(torch.tensor(math.log(math.prod(self.window.shape))))
        self.register_buffer('covariance_scale', torch.ones(3))  # of the standard deviations, found by calibration

    def forward(self, x: Tensor, coarse: Tensor, fine: Tensor,
                prior: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W), features of the LiDAR and prior as the class says -> moved x (B, C, H, W) and weights."""
        drawn = self.drawn(x)
        found = self._coarse(self.seen_coarse(coarse), self.drawn_coarse(drawn), prior)
        context = F.interpolate(self.context(coarse), scale_factor=2.0, mode='bilinear', align_corners=False)
        seen = self.seen_fine(F.relu(context + self.detail(fine)))
        fine_log_p = self._fine(seen, self.drawn_fine(drawn), found.centre, prior)
        mean, covariance = self._together(found, fine_log_p)
        std = covariance.diagonal(dim1=1, dim2=2).sqrt()
        reach = self.window.shifts * self.window.step
        widest = std.new_tensor([reach, reach, self.window.turns * self.window.yaw_step])
        present = 1.0 - found.log_absent.exp()
        fit = torch.cat([(std / widest).clamp(min=1e-3).log(), present[:, None]], dim=1)
        weights = {'correction': mean, 'correction_std': std, 'covariance': covariance, 'log_p': found.log_p,
                   'log_absent': found.log_absent, 'fine_log_p': fine_log_p, 'centre': found.centre, 'fit': fit}
        return move(x, se2_matrix(mean), self.extent), weights

    def _coarse(self, seen: Tensor, drawn: Tensor, prior: Tensor | None) -> Coarse:
        single = torch.promote_types(seen.dtype, torch.float32)
        seen, drawn = seen.to(single), drawn.to(single)
        copies = turned(drawn, drawn.new_zeros(drawn.shape[0], 3), self.window.yaws(drawn), self.extent)
        scores = pose_scores(seen, copies, self.window.shifts) * self.gain[0].exp()
        if prior is not None:
            scores = scores + log_prior(self.window, drawn.new_zeros(drawn.shape[0], 3), prior, self.window.volume)
        everything = torch.cat([scores.flatten(1), self.absent.expand(scores.shape[0], 1)], dim=1).log_softmax(dim=1)
        log_p = everything[:, :-1].view(-1, *self.window.shape)
        return Coarse(log_p, everything[:, -1], self._place(log_p))

    def _place(self, log_p: Tensor) -> Tensor:
        """(B, 3) the mean of the poses around the best one."""
        Y, N, _ = self.window.shape
        best = log_p.flatten(1).argmax(dim=1)
        k, i, j = best // (N * N), best // N % N, best % N
        near = ((torch.arange(Y, device=best.device) - k[:, None]).abs() <= NEAR_TURNS)[:, :, None, None]
        place = torch.arange(N, device=best.device)
        near = near & ((place - i[:, None]).abs() <= NEAR_CELLS)[:, None, :, None]
        near = near & ((place - j[:, None]).abs() <= NEAR_CELLS)[:, None, None, :]
        p = torch.where(near, log_p, -torch.inf).flatten(1).softmax(dim=1).view_as(log_p)
        return moments(p, self.window)[0].detach()

    def _fine(self, seen: Tensor, drawn: Tensor, centre: Tensor, prior: Tensor | None) -> Tensor:
        single = torch.promote_types(seen.dtype, torch.float32)
        seen, drawn = seen.to(single), drawn.to(single)
        cells = round(FINE_SHARE * drawn.shape[-1])
        edge = (drawn.shape[-1] - cells) // 2
        seen = seen[:, :, edge:edge + cells, edge:edge + cells]
        copies = turned(drawn, centre, self.fine_window.yaws(drawn), self.extent, cells)
        scores = pose_scores(seen, copies, self.fine_window.shifts) * self.gain[1].exp()
        if prior is not None:
            scores = scores + log_prior(self.fine_window, centre, prior, self.window.volume)
        return scores.flatten(1).log_softmax(dim=1).view_as(scores)

    def _together(self, found: Coarse, fine_log_p: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, 3) and covariance (B, 3, 3): the fine poses, and the coarse ones that lie outside of their window.

        Far away modes widen the covariance; the mean is that of the place that was looked at.
        """
        mean, covariance = moments(fine_log_p.exp(), self.fine_window)
        covariance = _without_steps(covariance, self.fine_window)
        p = found.log_p.exp()
        p = p / p.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        outside = p * ~_covered(self.window, self.fine_window, found.centre)
        share = outside.sum(dim=(1, 2, 3))[:, None]
        of_outside, spread = moments(outside / share.clamp(min=1e-9)[:, :, None, None], self.window)
        away = of_outside - (found.centre + mean)
        covariance = ((1 - share)[:, :, None] * covariance
                      + share[:, :, None] * (spread + away[:, :, None] * away[:, None, :]))
        least = covariance.new_tensor(MIN_STD).square()
        scale = self.covariance_scale.to(covariance.dtype)
        covariance = (covariance + torch.diag(least)) * scale[:, None] * scale[None, :]
        return found.centre + mean, covariance

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """`pose`: cross entropy over the coarse poses and 'no pose fits'; `fine_pose`: over the fine ones, where their
        window holds the truth. Nothing where no map's error is known.
        """
        if truth.map_error is None:
            return {}
        known = truth.map_error.isfinite().all(dim=1)
        error = truth.map_error.nan_to_num()
        fits = inside(error, self.window)
        likelihood = torch.where(fits, log_likelihood(weights['log_p'].float(), error, self.window),
                                 weights['log_absent'].float())
        offset = error - weights['centre'].float()
        held = known & fits & inside(offset, self.fine_window)
        fine = log_likelihood(weights['fine_log_p'].float(), offset, self.fine_window)
        return {'pose': -_mean(likelihood, known), 'fine_pose': -_mean(fine, held)}


def _without_steps(covariance: Tensor, window: Window) -> Tensor:
    """The covariance without what the steps of the window add: a place between two steps is shared out linearly, which
    has a variance of a sixth of the step's square on average.
    """
    variance = covariance.diagonal(dim1=1, dim2=2)
    steps = variance.new_tensor([window.step, window.step, window.yaw_step]).square() / 6
    ratio = ((variance - steps).clamp(min=0.0) / variance.clamp(min=1e-9)).clamp(min=0.1).sqrt()
    return covariance * ratio[:, :, None] * ratio[:, None, :]


def _covered(window: Window, fine: Window, centre: Tensor) -> Tensor:
    """(B, Y, N, N) bool: which poses of the window the fine one around `centre` (B, 3) answers for."""
    yaw = (window.yaws(centre) - centre[:, 2:]).abs() <= fine.turns * fine.yaw_step + window.yaw_step / 2
    reach = fine.shifts * fine.step + window.step / 2
    x, y = ((window.offsets(centre) - centre[:, k:k + 1]).abs() <= reach for k in (0, 1))
    return yaw[:, :, None, None] & x[:, None, :, None] & y[:, None, None, :]


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
