# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of all poses of a map, and what follows from them, against plain loops, numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from attention_fusion_ros.attention.pose_volume import (
    PRIOR_SIZE,
    Window,
    determinant_3x3,
    inside,
    inverse_3x3,
    log_likelihood,
    log_prior,
    moments,
    pose_scores,
    poses,
    turned,
)
from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.kernels import use

WINDOW = Window(turns=2, yaw_step=0.1, shifts=3, step=1.5)
EXTENT = 8.0


def covariance(seed: int = 0) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(3, 3)) * (0.8, 0.8, 0.05)
    return root.T @ root + np.diag((0.1, 0.1, 1e-3))


def naive_scores(seen: np.ndarray, drawn: np.ndarray, shifts: int) -> np.ndarray:
    """By the docstring's words: the drawing moved by i - shifts rows and j - shifts columns, times what is seen."""
    B, Y, _, H, W = drawn.shape
    found = np.zeros((B, Y, 2 * shifts + 1, 2 * shifts + 1))
    for i in range(2 * shifts + 1):
        for j in range(2 * shifts + 1):
            down, right = i - shifts, j - shifts
            for r in range(max(0, down), min(H, H + down)):
                for c in range(max(0, right), min(W, W + right)):
                    found[:, :, i, j] += np.einsum('bc,byc->by', seen[:, :, r, c], drawn[:, :, :, r - down, c - right])
    return found


@pytest.mark.parametrize('version', ['plain', 'fft'])
@pytest.mark.parametrize(('size', 'shifts'), [((6, 5), 2), ((3, 4), 5)])
def test_scores_are_those_of_a_loop_over_all_shifts(version, size, shifts):
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    drawn = torch.randn(2, 4, 3, *size, generator=generator, dtype=torch.float64)
    with use(version, 'pose_scores'):
        found = pose_scores(seen, drawn, shifts)
    assert found.numpy() == pytest.approx(naive_scores(seen.numpy(), drawn.numpy(), shifts), abs=1e-9)


def test_the_greatest_score_is_at_the_pose_that_moves_the_drawing_onto_what_is_seen():
    """Rows are x, columns are y: `poses` says which pose an entry is for."""
    picture = torch.zeros(1, 1, 32, 32)
    picture[:, :, 6:26, 14:17] = 1.0
    picture[:, :, 9:12, 14:27] = 1.0
    window = Window(2, 0.15, 5, 2 * EXTENT / 32)
    truth = torch.tensor([[3 * window.step, -2 * window.step, 0.15]])
    seen = move(picture, se2_matrix(truth), EXTENT) - 0.3
    copies = turned(picture, torch.zeros(1, 3), window.yaws(picture), EXTENT)
    best = int(pose_scores(seen, copies, window.shifts).flatten().argmax())
    assert poses(window, torch.zeros(1, 3)).view(-1, 3)[best].numpy() == pytest.approx(truth[0].numpy(), abs=1e-6)


def test_turned_copies_are_the_picture_moved_by_the_centre_and_each_yaw():
    x = torch.rand(2, 3, 16, 16)
    centre = torch.tensor([[1.0, -0.5, 0.2], [0.0, 2.0, -0.1]])
    yaws = WINDOW.yaws(x)
    found = turned(x, centre, yaws, EXTENT)
    assert found.shape == (2, 5, 3, 16, 16)
    for k, yaw in enumerate(yaws):
        pose = centre + torch.tensor([0.0, 0.0, float(yaw)])
        assert torch.allclose(found[:, k], move(x, se2_matrix(pose), EXTENT), atol=1e-6)
    assert torch.equal(turned(x, centre, yaws, EXTENT, 8), found[..., 4:12, 4:12])


def test_a_window_and_its_poses():
    assert WINDOW.shape == (5, 7, 7) and WINDOW.volume == pytest.approx(0.5 * (7 * 1.5) ** 2)
    like = torch.zeros(1)
    assert WINDOW.yaws(like).tolist() == pytest.approx([-0.2, -0.1, 0.0, 0.1, 0.2])
    assert WINDOW.offsets(like).tolist() == pytest.approx([4.5, 3.0, 1.5, 0.0, -1.5, -3.0, -4.5])
    found = poses(WINDOW, torch.tensor([[10.0, 20.0, 1.0]]))
    assert found.shape == (1, 5, 7, 7, 3)
    assert found[0, 0, 1, 6].tolist() == pytest.approx([13.0, 15.5, 0.8])
    edge = torch.tensor([[4.5, -4.5, 0.2], [4.6, 0.0, 0.0], [0.0, -4.6, 0.0], [0.0, 0.0, 0.21]])
    assert inside(edge, WINDOW).tolist() == [True, False, False, False]


def test_moments_are_those_of_numpy():
    p = torch.rand(3, *WINDOW.shape, dtype=torch.float64)
    p[1] = 0.0
    p[1, 4, 0, 2] = 1.0
    p = p / p.sum(dim=(1, 2, 3), keepdim=True)
    mean, spread = moments(p, WINDOW)
    places = poses(WINDOW, torch.zeros(3, 3, dtype=torch.float64)).flatten(1, 3).numpy()
    for row, weights in enumerate(p.flatten(1).numpy()):
        assert mean[row].numpy() == pytest.approx(weights @ places[row], abs=1e-9)
        assert spread[row].numpy() == pytest.approx(np.cov(places[row].T, aweights=weights, ddof=0), abs=1e-9)
    assert mean[1].tolist() == pytest.approx([4.5, 1.5, 0.2]) and not spread[1].abs().max() > 1e-9


def test_likelihoods_between_the_poses_of_the_grid():
    log_p = torch.rand(1, *WINDOW.shape, dtype=torch.float64).log_softmax(dim=1)
    for k, i, j in ((0, 0, 0), (4, 6, 6), (2, 3, 1)):
        pose = poses(WINDOW, torch.zeros(1, 3, dtype=torch.float64))[:, k, i, j]
        assert float(log_likelihood(log_p, pose, WINDOW)) == pytest.approx(float(log_p[0, k, i, j]), abs=1e-9)
    halfway = torch.tensor([[0.75, -1.5, 0.1]], dtype=torch.float64)  # between rows 2 and 3
    assert float(log_likelihood(log_p, halfway, WINDOW)) == pytest.approx(float(log_p[0, 3, 2:4, 4].mean()))
    outside = torch.tensor([[99.0, 0.0, -9.0]], dtype=torch.float64)
    assert float(log_likelihood(log_p, outside, WINDOW)) == pytest.approx(float(log_p[0, 0, 0, 3]))
    plane = (poses(WINDOW, torch.zeros(1, 3, dtype=torch.float64)) * torch.tensor([1.0, -2.0, 5.0])).sum(dim=-1)
    anywhere = torch.tensor([[1.234, -2.345, 0.123]], dtype=torch.float64)
    assert float(log_likelihood(plane, anywhere, WINDOW)) == pytest.approx(1.234 + 4.69 + 0.615)


def test_what_was_known_is_a_normal_distribution_beside_chance():
    centre = torch.tensor([[2.0, -1.0, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    known, weights = covariance(), (0.95, 0.5, 0.0)
    mean = np.array([1.0, -0.5, 0.05])
    prior = torch.tensor(np.stack([np.concatenate([mean, known.ravel(), [w]]) for w in weights]))
    assert prior.shape == (3, PRIOR_SIZE)
    found = log_prior(WINDOW, centre, prior, 400.0)
    steps = np.diag(np.square([1.5, 1.5, 0.1]) / 6)  # what lies between two poses is shared out to both
    density = multivariate_normal(mean, known + steps).pdf(poses(WINDOW, centre).numpy())
    expected = np.log(np.array(weights)[:, None, None, None] * density * 400.0
                      + 1 - np.array(weights)[:, None, None, None])
    assert found.numpy() == pytest.approx(expected, abs=1e-6)
    assert not found[2].any(), 'nothing known, nothing changed: not by rounding either'


@pytest.mark.parametrize('scale', [1e-6, 1.0, 1e4])
def test_knowledge_that_is_very_sharp_or_none_stays_finite(scale):
    prior = torch.zeros(2, PRIOR_SIZE)
    prior[0, :3] = torch.tensor([500.0, -500.0, 3.0])
    prior[:, 3:12] = (torch.eye(3) * scale).flatten()
    prior[0, 12] = 1.0
    prior.requires_grad_()
    found = log_prior(WINDOW, torch.zeros(2, 3), prior, WINDOW.volume)
    assert torch.isfinite(found).all() and found[0].max() <= 80
    found.sum().backward()
    assert torch.isfinite(prior.grad).all()


def test_inverse_and_determinant_are_those_of_linalg():
    matrices = torch.tensor(np.stack([covariance(seed) for seed in range(5)]))
    assert torch.allclose(inverse_3x3(matrices), torch.linalg.inv(matrices), rtol=1e-9)
    assert torch.allclose(determinant_3x3(matrices), torch.linalg.det(matrices), rtol=1e-9)
    skewed = torch.randn(5, 3, 3, dtype=torch.float64)
    assert torch.allclose(inverse_3x3(skewed) @ skewed, torch.eye(3, dtype=torch.float64).expand(5, 3, 3), atol=1e-9)
    assert torch.allclose(determinant_3x3(skewed), torch.linalg.det(skewed))


def test_the_yaw_step_of_a_window_is_in_radians():
    assert Window(3, math.radians(0.9), 4, 0.625).yaws(torch.zeros(1))[-1] == pytest.approx(0.0471, abs=1e-4)
