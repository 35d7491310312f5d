"""Grad-CAM: Visual Explanations from Deep Networks, Selvaraju et al., ICCV 2017. https://arxiv.org/abs/1610.02391

And a measure of how well such an explanation and the network's own attention agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def grad_cams(features: Sequence[Tensor], scalar: Tensor) -> list[Tensor]:
    """As `grad_cam`, for several stages of one network with a single pass backwards."""
    if not (scalar.requires_grad and all(A.requires_grad for A in features)):
        raise ValueError('Grad-CAM needs gradients: run the network outside torch.no_grad')
    gradients = torch.autograd.grad(scalar.sum(), features, retain_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        raise ValueError('the scalar does not depend on the features of this stage')
    return [(gradient.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).relu().detach()
            for A, gradient in zip(features, gradients)]


def grad_cam(features: Tensor, scalar: Tensor) -> Tensor:
    """L = relu(sum over k of alpha_k A_k), alpha_k the mean over the map of dy/dA_k.

    features: A, (B, C, H, W), the output of the stage in question, part of the graph of `scalar`. scalar: y, one number
    or one a sample (B,), for example the logit of the direction. Needs gradients: not within `torch.no_grad`. The graph
    is kept. Returns (B, H, W), not negative, not normalised, detached.
    Raises ValueError when `scalar` does not depend on `features`.
    """
    return grad_cams([features], scalar)[0]


@dataclass(frozen=True)
class Agreement:
    """How alike two maps are. NaN where it is undefined: a constant map has no ranks to compare and no top cells."""

    pearson: float  # correlation of the values, -1..1
    spearman: float  # correlation of the ranks, -1..1: insensitive to how each map is scaled
    top_iou: float  # intersection over union of the top cells, 0..1


def agreement(a: np.ndarray, b: np.ndarray, top: float = 0.1) -> Agreement:
    """Agreement of two maps of equal shape, (H, W) or the cells in question (N,), for example attention and Grad-CAM.

    top: share of cells that count as a map's top ones; cells at the map's lowest value never do, so a map that is zero
    nearly everywhere has fewer. Raises ValueError for different shapes, values that are not finite, or a wrong share.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f'maps to compare must have one shape, got {a.shape} and {b.shape}')
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError('maps to compare must be finite')
    if not 0 < top <= 1:
        raise ValueError(f'the share of top cells must be in 0..1, got {top}')
    a, b = a.ravel(), b.ravel()
    top_a, top_b = top_cells(a, top), top_cells(b, top)
    union = int((top_a | top_b).sum())
    iou = int((top_a & top_b).sum()) / union if top_a.any() and top_b.any() else float('nan')
    return Agreement(correlation(a, b), correlation(ranks(a), ranks(b)), iou)


def top_cells(values: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool: the ceil(share N) greatest values and those equal to the last of them, without the lowest value."""
    count = int(np.ceil(share * values.size))
    return (values >= np.partition(values, -count)[-count]) & (values > values.min())


def ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two (N,) arrays, NaN when one is constant."""
    if a.min() == a.max() or b.min() == b.max():
        return float('nan')
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
