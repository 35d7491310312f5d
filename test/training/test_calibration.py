# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from attention_fusion_ros.training.validate import platt_scaling


def newton(logits: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """The minimum by Newton's method with shortened steps, to compare with: whole ones can overshoot without end."""
    design, theta = np.stack([logits, np.ones_like(logits)], axis=1), np.array([1.0, 0.0])

    def cost(theta):
        return (np.logaddexp(0, design @ theta) - hits * (design @ theta)).sum() + 0.5e-3 * theta @ theta
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ theta))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (hits - p) - 1e-3 * theta)
        while np.abs(step).max() > 1e-12 and cost(theta + step) > cost(theta):
            step = step / 2
        theta = theta + step
    return theta


@pytest.mark.parametrize('scale, shift, count', [(1.0, 0.0, 200), (0.4, -1.5, 3000), (2.5, 2.0, 60), (1.2, -4.0, 500)])
def test_the_fitted_curve_is_the_best_one(scale, shift, count):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, count)
    hits = rng.random(count) < 1 / (1 + np.exp(-(scale * logits + shift)))
    np.testing.assert_allclose(platt_scaling(logits, hits), newton(logits, hits), atol=1e-5)


def test_logits_that_separate_hits_from_the_rest_give_a_finite_curve():
    logits = np.r_[np.full(40, -3.0), np.full(40, 3.0)]
    scale, shift = platt_scaling(logits, logits > 0)
    assert 1.0 < scale < 20.0 and abs(shift) < 0.1


def test_too_few_peaks_change_nothing():
    assert platt_scaling(np.ones(49), np.arange(49) % 2 == 0) == (1.0, 0.0)
    assert platt_scaling(np.ones(80), np.ones(80, bool)) == (1.0, 0.0)
