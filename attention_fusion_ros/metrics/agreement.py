# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How well two maps agree, for example an explanation and the network's own attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_fusion_ros.errors import require


@dataclass(frozen=True)
class Agreement:
    """How alike two maps are. NaN where it is undefined: a constant map has no ranks to compare and no top cells."""

    pearson: float  # correlation of the values, -1..1
    spearman: float  # correlation of the ranks, -1..1: insensitive to how each map is scaled
    top_iou: float  # intersection over union of the top cells, 0..1


def agreement(a: np.ndarray, b: np.ndarray, top: float = 0.1) -> Agreement:
    """Agreement of two maps of equal shape, (H, W) or the cells in question (N,), for example attention and Grad-CAM.

    top: share of cells that count as a map's top ones; cells at the map's lowest value never do, so a map that is zero
    nearly everywhere has fewer. Raises ValueError for different shapes, values that are not finite, or a wrong share,
    and ConfigurationError without scipy.
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
    return Agreement(correlation('pearsonr', a, b), correlation('spearmanr', a, b), iou)


def top_cells(values: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool: the ceil(share N) greatest values and those equal to the last of them, without the lowest value."""
    count = int(np.ceil(share * values.size))
    top: np.ndarray = (values >= np.partition(values, -count)[-count]) & (values > values.min())
    return top


def correlation(kind: str, a: np.ndarray, b: np.ndarray) -> float:
    """`pearsonr` or `spearmanr` (ties share their mean rank) of two (N,) arrays, NaN when one is constant."""
    if a.min() == a.max() or b.min() == b.max():
        return float('nan')
    stats = require('scipy.stats', 'comparing attention maps')
    return float(getattr(stats, kind)(a, b)[0])
