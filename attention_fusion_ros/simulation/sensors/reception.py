# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which returns of a sweep arrive, given the faults of the sensor."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.simulation.sensors.faults import Faults


def received(faults: Faults, azimuth: Tensor, chance: Tensor, seed: int) -> Tensor:
    """(A, B) bool: which returns arrive.

    azimuth: broadcastable to (A, B), sensor frame. chance: (A, B) uniform 0..1. seed: of this sweep.
    """
    rng = np.random.default_rng([seed % (1 << 32), 5])
    kept = torch.ones_like(chance, dtype=torch.bool)
    for start, end in faults.blank:
        kept &= ((azimuth - start) % (2 * math.pi)) > (end - start)
    for middle, half, loss in faults.dirt:
        away = torch.remainder(azimuth - middle + math.pi, 2 * math.pi) - math.pi
        kept &= chance >= loss * torch.exp(-0.5 * (away * (2.0 / half)) ** 2)
    if faults.missing_turn:
        start = float(rng.uniform(-math.pi, math.pi))
        kept &= ((azimuth - start) % (2 * math.pi)) > faults.missing_turn * 2 * math.pi
    if faults.packets:
        count = -(-len(chance) // faults.columns)
        lost = np.repeat(rng.random(count) < faults.packets, faults.columns)[:len(chance)]
        kept &= ~torch.as_tensor(lost, device=chance.device)[:, None]
    return kept
