# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Rigid motion of BEV maps and the spatial transformer: exact shifts and turns, gradients, recovered corrections."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attention_fusion_ros import geometry
from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.stn import alignment_loss
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.bev.grid import Grid


def pose(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def image(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize('shape', [(2, 3, 16, 16), (1, 2, 12, 20), (1, 1, 20, 12)])
def test_a_shift_by_whole_cells_is_exact(shape):
    x, cell = image(*shape), 0.5
    extent = cell * shape[2] / 2
    transform = se2_matrix(pose(3 * cell, 2 * cell, 0.0)).expand(shape[0], 3, 3)  # 3 cells ahead, 2 to the left
    moved = move(x, transform, extent)
    expected = torch.zeros_like(x)
    expected[:, :, :-3, :-2] = x[:, :, 3:, 2:]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


def test_quarter_turn_is_exact():
    x = image(1, 2, 8, 8)
    moved = move(x, se2_matrix(pose(0.0, 0.0, math.pi / 2)), 10.0)  # counter-clockwise seen from above
    torch.testing.assert_close(moved, torch.rot90(x, 1, dims=(2, 3)), rtol=0, atol=1e-12)


def test_identity_is_exact_on_non_square_maps():
    x = image(2, 3, 9, 14)
    torch.testing.assert_close(move(x, se2_matrix(torch.zeros(2, 3, dtype=torch.float64)), 40.0), x, rtol=0, atol=1e-12)


def test_content_lands_where_the_grid_and_the_geometry_say():
    grid = Grid(extent=20.0, cells=160)
    x, y = grid.centres()
    target = geometry.se2(3.3, -2.1, 0.4)
    start = np.array([6.0, 4.0])
    blob = np.exp(-((x - start[0]) ** 2 + (y - start[1]) ** 2) / 2)
    moved = move(torch.from_numpy(blob)[None, None], torch.from_numpy(target)[None], grid.extent)[0, 0].numpy()
    centre = np.array([(moved * x).sum(), (moved * y).sum()]) / moved.sum()
    assert np.abs(centre - (target @ [*start, 1.0])[:2]).max() < 1e-3
    torch.testing.assert_close(se2_matrix(pose(3.3, -2.1, 0.4))[0], torch.from_numpy(target))


@pytest.mark.parametrize('shape', [(1, 2, 6, 6), (2, 1, 5, 9)])
def test_output_and_gradient_equal_affine_grid_and_grid_sample(shape):
    """Written in cells of the sampler, with its own matrices: scale to metres, inverse motion, scale back."""
    extent, B = 7.0, shape[0]
    left = extent * shape[3] / shape[2]
    values = image(B, 3, seed=1) * torch.tensor([2.0, 2.0, 0.5])
    x = image(*shape, seed=2)
    to_metres = torch.tensor([[0.0, -extent, 0.0], [-left, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    answers = []
    for ours in (True, False):
        a, p = x.clone().requires_grad_(), values.clone().requires_grad_()
        T = se2_matrix(p)
        if ours:
            y = move(a, T, extent)
        else:
            theta = torch.linalg.inv(to_metres) @ torch.linalg.inv(T) @ to_metres
            y = F.grid_sample(a, F.affine_grid(theta[:, :2], list(shape), align_corners=False), align_corners=False)
        (y * image(*shape, seed=3)).sum().backward()
        answers.append((y.detach(), a.grad, p.grad))
    for ours, reference in zip(*answers, strict=True):
        assert reference.abs().max() > 1e-2
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-9)


def test_gradient_by_finite_differences():
    x, p = image(1, 2, 5, 6).requires_grad_(), pose(0.31, -0.22, 0.17).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, q: move(a, se2_matrix(q), 3.0), (x, p))


@pytest.mark.parametrize('shape', [(2, 3, 16, 16), (1, 4, 40, 24)])
def test_transformer_starts_at_the_identity(shape):
    x = image(*shape)
    y, weights = build('stn', shape[1], lidar_channels=5).double()(x, image(shape[0], 5, *shape[2:], seed=1))
    torch.testing.assert_close(y, x, rtol=0, atol=1e-12)
    assert torch.equal(weights['correction'], torch.zeros(shape[0], 3, dtype=torch.float64))
    # no knowledge: the spread of a uniform error over the range
    torch.testing.assert_close(weights['correction_std'][0], torch.tensor([10.0, 10.0, 0.35]).double() / math.sqrt(3))


def test_transformer_resamples_by_the_correction_it_reports():
    torch.manual_seed(0)
    module = build('stn', 2, max_shift=4.0, max_yaw=0.3, extent=8.0).double()
    torch.nn.init.normal_(module.regression.weight)
    x, lidar = image(3, 2, 16, 24), image(3, 2, 16, 24, seed=1)
    y, weights = module(x, lidar)
    correction = weights['correction']
    assert correction.abs().max() > 1e-3
    assert (correction.abs() <= torch.tensor([4.0, 4.0, 0.3])).all() and (weights['correction_std'] > 0).all()
    torch.testing.assert_close(y, move(x, se2_matrix(correction), 8.0), rtol=0, atol=1e-14)


def test_the_loss_is_smallest_at_the_truth_and_at_the_true_spread():
    truth = torch.zeros(4000, 3)
    error = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1.0, 0.1])

    def loss(shift=0.0, spread=1.0):
        std = torch.tensor([2.0, 1.0, 0.1]) * spread
        return float(alignment_loss({'correction': error + shift, 'correction_std': std.expand(4000, 3)}, truth))
    assert loss() < min(loss(0.3), loss(-0.3), loss(spread=0.7), loss(spread=1.4))


def crossings(count: int, rng: np.random.Generator, grid: Grid, transform: np.ndarray) -> np.ndarray:
    """(count, 1, H, W): road crossings drawn by distance to two lines, seen displaced by `transform` (count, 3, 3)."""
    x, y = grid.centres()
    pictures = np.zeros((count, 1, *x.shape))
    for n in range(count):
        inverse = geometry.inverse(transform[n])
        px = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        py = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        offset, side = rng.uniform(-6, 6, 2), rng.uniform(-0.25, 0.25)
        for distance in (py - offset[0] - side * px, px - offset[1] + side * py):
            pictures[n, 0] += np.exp(-(distance / 1.5) ** 2)
    return pictures


@pytest.mark.slow
def test_shift_and_yaw_of_a_spoiled_map_are_recovered():
    """A short training on drawn crossings; the errors are of scenes and displacements not trained on."""
    torch.manual_seed(0)
    grid, limits = Grid(extent=16.0, cells=32), np.array([4.0, 4.0, 0.25])
    module = build('stn', 1, lidar_channels=1, width=8, max_shift=6.0, max_yaw=0.4, extent=16.0)
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)

    def batch(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(seed)
        truth = rng.uniform(-limits, limits, (count, 3))  # the correction: p_true = T p_map
        spoiled = np.stack([geometry.inverse(geometry.se2(*t)) for t in truth])
        # the same crossings, once as they are and once where the spoiled map draws them
        lidar = crossings(count, np.random.default_rng(seed + 10 ** 6), grid, np.broadcast_to(np.eye(3), spoiled.shape))
        drawn = crossings(count, np.random.default_rng(seed + 10 ** 6), grid, spoiled)
        return tuple(torch.from_numpy(a).float() for a in (drawn, lidar, truth))

    drawn, lidar, truth = batch(768, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=300)
    for step in range(300):
        part = torch.arange(32) + step * 32 % 768
        optimiser.zero_grad()
        _, weights = module(drawn[part], lidar[part])
        alignment_loss(weights, truth[part]).backward()
        optimiser.step()
        schedule.step()
    drawn, lidar, truth = batch(64, 10 ** 5)
    module.eval()
    with torch.no_grad():
        moved, weights = module(drawn, lidar)
    error = (weights['correction'] - truth).abs().median(dim=0).values
    spoiled = truth.abs().median(dim=0).values
    assert (error < 0.3 * spoiled).all(), (error, spoiled)
    before, after = (F.mse_loss(picture[:, :, 6:-6, 6:-6], lidar[:, :, 6:-6, 6:-6]) for picture in (drawn, moved))
    assert after < 0.7 * before, 'the moved map lies on the LiDAR better than the spoiled one'
