# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a heat lies: on ground with nothing on it, at the border of the grid, on the roadside, on vehicles."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.datasets.held_out import HeldOutScene
from attention_fusion_ros.metrics.attention_share import attention_shares
from attention_fusion_ros.visualization.panels import spatial_heatmap

AS_PUBLISHED = 'heatmap as published'
AREA = 'area'
BORDER_CELLS = 3  # 1.25 m each
EMPTY, BORDER = 'empty', 'border'  # shares of all the heat
RATIOS = ('roadside', 'vehicles')  # shares of the heat on visible ground, over the share of the area


def heat_places(result: FusionResult, heat: Mapping[str, np.ndarray], points: np.ndarray, drawn: np.ndarray,
                scene: HeldOutScene) -> dict[tuple[str, ...], float]:
    """(heat, EMPTY or BORDER) -> share of the heat there; (heat, mask, 'heat' or 'area') -> shares of visible ground.

    heat: (h, w) each, >= 0. points, drawn: (h, w) bool, cells that hold a point, or a drawn road. The heatmap that is
    published for the result is one more, and the area itself. Heats that are zero everywhere are left out.
    """
    picture = spatial_heatmap(result)
    cells = points.shape[0]
    all_heats = {AREA: np.ones(points.shape), **heat}
    if np.ptp(picture) > 0:
        step = picture.shape[0] // cells
        all_heats[AS_PUBLISHED] = picture.reshape(cells, step, cells, step).mean((1, 3))
    border = np.ones(points.shape, bool)
    border[BORDER_CELLS:-BORDER_CELLS, BORDER_CELLS:-BORDER_CELLS] = False
    masks, visible = scene.masks()
    found: dict[tuple[str, ...], float] = {}
    for name, values in all_heats.items():
        total = float(values.sum())
        if total <= 0:
            continue
        found[name, EMPTY] = float(values[~points & ~drawn].sum()) / total
        found[name, BORDER] = float(values[border].sum()) / total
        for mask in RATIOS:
            of_heat, of_area = attention_shares(values, masks[mask], visible)
            if math.isfinite(of_heat):
                found[name, mask, 'heat'], found[name, mask, AREA] = of_heat, of_area
    return found
