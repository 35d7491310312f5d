# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a map image, laid on the grid, tells where roads are: one that is bright all over says as little as black."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_fusion_ros.bev.map_image import ROAD, VALID
from attention_fusion_ros.utils.torch_later import Tensor, torch

# Of 600 simulated maps (strokes of up to 9 m, every lane drawn, seeds that no training uses) the one with the most road
# shows it on 0.42 of its area; of the same maps drawn dark on light, 99 of 100 exceed 0.63.
MAX_ROAD_SHARE = 0.55
MIN_STROKE_SHARE = 0.01  # of the area that is dark, for a map to be called inverted
MIN_CELLS = 0.1  # share of the grid that an image must cover, for its share of road to mean anything


def map_problem(layers: Tensor | np.ndarray, drawn: float) -> str:
    """Why a map (3, H, W), a tensor or an array, cannot be used, as a reason; '' when it can be.

    drawn: a cell is a road where the road layer is brighter. Waits for the device once.
    """
    valid = layers[VALID] > 0.5
    bright = layers[ROAD] > drawn
    asked: list[Any] = [valid, bright & valid, bright]
    covered, road, any_road = (torch.stack([cells.sum() for cells in asked]).tolist() if isinstance(layers, Tensor)
                               else map(np.count_nonzero, asked))
    cells = layers.shape[-2] * layers.shape[-1]
    if not any_road:
        return 'map_without_roads' if covered else 'map_elsewhere'
    if not covered:
        return ''
    dark = 1.0 - road / covered
    if dark < MIN_STROKE_SHARE:
        return 'map_all_road'
    if 1.0 - dark > MAX_ROAD_SHARE and covered > MIN_CELLS * cells:
        return 'map_inverted'
    return ''
