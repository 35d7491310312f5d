# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What keeps a sensor from seeing: blanked sectors, dirt on its window, partial turns, lost packets, empty returns.

Their effect is in `reception`: what is here is needed to choose a sensor, for which nobody should wait for torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LARGEST_BLANK_RAD = math.radians(270.0)


@dataclass(frozen=True)
class Faults:
    """Angles in radians in the sensor frame, shares 0..1."""

    blank: tuple[tuple[float, float], ...] = ()  # sectors (from, to) without returns, in every sweep
    dirt: tuple[tuple[float, float, float], ...] = ()  # spots: azimuth, half-width, share of returns lost in its middle
    missing_turn: float = 0.0  # share of each turn that was not received, another one in every sweep
    packets: float = 0.0  # share of the packets that got lost
    columns: int = 12  # azimuth columns a packet
    no_return: float = 0.0  # share of the lost returns that are sent as points at (0, 0, 0)


NONE = Faults()


def random_faults(rng: np.random.Generator) -> Faults:
    """None in half of the cases; else one or several."""
    if rng.random() < 0.5:
        return NONE
    blank: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.45:
        count = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
        total = float(rng.uniform(math.radians(10), LARGEST_BLANK_RAD))
        widths = rng.dirichlet(np.ones(count)) * total
        middles = rng.uniform(-math.pi, math.pi, count)
        blank = tuple((float(m - w / 2), float(m + w / 2)) for m, w in zip(middles, widths))
    dirt: tuple[tuple[float, float, float], ...] = ()
    if rng.random() < 0.35:
        dirt = tuple((float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.02, 0.35)),
                      float(rng.uniform(0.5, 1.0))) for _ in range(int(rng.integers(1, 12))))
    return Faults(blank, dirt, float(rng.uniform(0.05, 0.6)) if rng.random() < 0.15 else 0.0,
                  float(rng.choice([0.02, 0.1, 0.3])) if rng.random() < 0.25 else 0.0, int(rng.choice([1, 12, 32])),
                  float(rng.uniform(0.2, 1.0)) if rng.random() < 0.3 else 0.0)
