# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM and the agreement of two maps, by hand and by definition."""

import math

import numpy as np
import pytest
import torch
from support import oracles

from attention_fusion_ros.attention.gradcam import grad_cams
from attention_fusion_ros.metrics.agreement import agreement


def grad_cam(features, scalar):
    return grad_cams([features], scalar)[0]


def test_linear_case_by_hand():
    """y = sum of w A: the gradient is w itself, so alpha_k is its mean over the map."""
    rng = np.random.default_rng(0)
    A, w = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    features = torch.from_numpy(A).requires_grad_()
    found = grad_cam(features, (features * torch.from_numpy(w)).sum(dim=(1, 2, 3))).numpy()
    expected = np.zeros((2, 4, 5))
    for n in range(2):
        for k in range(3):
            expected[n] += w[n, k].sum() / 20 * A[n, k]
    assert (expected < 0).any()
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=0, atol=1e-12)


def test_global_average_pooling_gives_the_class_activation_map():
    """With GAP and a linear layer Grad-CAM is CAM (Zhou et al. 2016) up to 1 / Z, as section 3.1 of the paper shows."""
    torch.manual_seed(0)
    conv, linear = torch.nn.Conv2d(2, 6, 3, padding=1).double(), torch.nn.Linear(6, 4).double()
    features = conv(torch.randn(3, 2, 7, 9, dtype=torch.float64))
    logits = linear(features.mean(dim=(2, 3)))
    expected = torch.einsum('k,bkhw->bhw', linear.weight[2], features).relu() / 63
    torch.testing.assert_close(grad_cam(features, logits[:, 2]), expected.detach(), rtol=0, atol=1e-12)


def test_it_points_at_the_cause():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 2, 6] = 1.0
    conv = torch.nn.Conv2d(1, 4, 3, padding=1, bias=False)
    torch.nn.init.uniform_(conv.weight)
    features = conv(x)
    cam = grad_cam(features, features.square().sum())[0]
    assert cam[1:4, 5:8].min() > 0
    assert int((cam != 0).sum()) == 9


def test_graph_survives_and_no_gradient_is_left_behind():
    layer = torch.nn.Conv2d(1, 2, 1)
    features = layer(torch.randn(1, 1, 3, 3))
    scalar = features.square().sum()
    assert torch.equal(grad_cam(features, scalar), grad_cam(features, scalar))
    assert layer.weight.grad is None and not grad_cam(features, scalar).requires_grad


def test_unrelated_or_detached_features_are_refused():
    features = torch.randn(1, 2, 3, 3, requires_grad=True)
    with pytest.raises(ValueError, match='does not depend'):
        grad_cam(features, torch.randn(1, requires_grad=True) * 2)
    with pytest.raises(ValueError, match='no_grad'):
        grad_cam(features.detach(), features.sum())
    with torch.no_grad(), pytest.raises(ValueError, match='no_grad'):
        grad_cam(features, features.sum())


def test_agreement_by_hand():
    a = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    b = np.array([[2.0, 1.0, 4.0, 3.0, 10.0]])
    found = agreement(a, b, top=0.4)
    assert found.spearman == pytest.approx(1 - 6 * 4 / (5 * 24))  # four ranks differ by one
    assert found.pearson == pytest.approx(18 / math.sqrt(10 * 50))
    assert found.top_iou == pytest.approx(1 / 3)  # {4, 5} and {3, 5}: one of three


def test_equal_and_opposite_maps():
    a = np.random.default_rng(0).random((8, 9))
    same, opposite = agreement(a, 3 * a + 1), agreement(a, -a)
    assert (same.pearson, same.spearman, same.top_iou) == (pytest.approx(1), pytest.approx(1), 1.0)
    assert (opposite.pearson, opposite.spearman, opposite.top_iou) == (pytest.approx(-1), pytest.approx(-1), 0.0)
    assert agreement(a, np.exp(9 * a)).spearman == pytest.approx(1) and agreement(a, np.exp(9 * a)).pearson < 0.95


@pytest.mark.parametrize('seed', range(3))
def test_correlations_equal_those_by_definition(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (7, 5)).astype(float), rng.integers(0, 6, (7, 5)).astype(float)
    found = agreement(a, b)
    assert found.pearson == pytest.approx(oracles.correlation(a.ravel(), b.ravel()), abs=1e-12)
    ranked = oracles.ranks(a.ravel()), oracles.ranks(b.ravel())
    assert found.spearman == pytest.approx(oracles.correlation(*ranked), abs=1e-12)


def test_top_cells_of_a_map_that_is_zero_nearly_everywhere():
    a, b = np.zeros((10, 10)), np.zeros((10, 10))
    a[3, 4:7], b[3, 5:9] = 1.0, 2.0
    assert agreement(a, b, top=0.1).top_iou == pytest.approx(2 / 5)


def test_a_constant_map_agrees_with_nothing():
    found = agreement(np.ones((4, 4)), np.random.default_rng(0).random((4, 4)))
    assert math.isnan(found.pearson) and math.isnan(found.spearman) and math.isnan(found.top_iou)


@pytest.mark.parametrize(('a', 'b', 'top'), [
    (np.ones((2, 3)), np.ones((3, 2)), 0.1), (np.full((2, 2), np.nan), np.ones((2, 2)), 0.1),
    (np.ones((2, 2)), np.ones((2, 2)), 0.0), (np.ones((0, 2)), np.ones((0, 2)), 0.1),
])
def test_maps_that_cannot_be_compared_are_refused(a, b, top):
    with pytest.raises(ValueError):
        agreement(a, b, top)
