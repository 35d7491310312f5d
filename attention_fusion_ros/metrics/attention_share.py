# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How much of the spatial attention lies where: shares of the attention against shares of the visible area."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.metrics import bootstrap
from attention_fusion_ros.metrics.bootstrap import Estimate


def attention_shares(weights: np.ndarray, mask: np.ndarray, visible: np.ndarray) -> tuple[float, float]:
    """(share of the attention that lies on `mask`, share of the area that does); both over visible cells only.

    weights: (h, w) >= 0, on the same ground as the masks; mask, visible: (H, W) bool, H and W multiples of h and w.
    nan when nothing is visible or nothing is attended to. Raises ValueError when the shapes do not fit.
    """
    (h, w), (H, W) = weights.shape, mask.shape
    if H % h or W % w or visible.shape != mask.shape:
        raise ValueError(f'attention {weights.shape} does not fit masks {mask.shape} and {visible.shape}')
    attention = np.where(visible, np.repeat(np.repeat(weights, H // h, axis=0), W // w, axis=1), 0.0)
    total, area = float(attention.sum()), np.count_nonzero(visible)
    if total == 0 or area == 0:
        return math.nan, math.nan
    return float(attention[mask].sum()) / total, np.count_nonzero(mask & visible) / area


def attention_ratios(shares: np.ndarray) -> np.ndarray:
    """(n, 2) shares of attention and area, scene by scene -> (n,) their ratio: 1 is no preference; nan without area."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(shares[:, 1] > 0, shares[:, 0] / shares[:, 1], np.nan)


def pooled_attention_ratio(shares: np.ndarray) -> Estimate:
    """(n, 2) shares -> sum of the attention shares over sum of the area shares, with its interval.

    Unlike the mean of the scenes' ratios it is not ruled by the scenes where the mask is only a few cells.
    """
    shares = shares[np.isfinite(shares).all(axis=1)]
    if not len(shares):
        return bootstrap.UNKNOWN

    def ratio(weights: np.ndarray) -> np.ndarray:
        return bootstrap.weighted_ratio(shares[:, 0], shares[:, 1], weights)
    return bootstrap.estimate(ratio, len(shares))
