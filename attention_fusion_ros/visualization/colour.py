# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Values -> colours on a stated scale: equal colours mean equal values, in every picture that shares the scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# Inferno (Smith and van der Walt, SciPy 2015) is perceptually even and its lightness rises all the way: readable in
# grey and with any colour vision. The same map under its two names.
COLOUR_MAP, MATPLOTLIB_COLOUR_MAP = cv2.COLORMAP_INFERNO, 'inferno'
DECADES = 3  # powers of ten that a scale spans


@lru_cache(maxsize=1)
def _channels() -> tuple[np.ndarray, ...]:
    """Blue, green and red (256,) uint8 of the levels of the colour map."""
    return tuple(cv2.split(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], COLOUR_MAP)))


def in_colour(levels: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Levels (h, w) uint8 -> out (h, w, 3) uint8, BGR; as `cv2.applyColorMap`, in half the time."""
    return np.asarray(cv2.merge([cv2.LUT(levels, channel) for channel in _channels()], out))


@dataclass(frozen=True)
class ColourScale:
    """A logarithmic scale from `low` to `high`, both positive; values outside take the colour of the nearer end.

    Logarithmic, because attention is sparse: most cells of a street lie below 0.03 and a few near 1.
    """

    low: float
    high: float
    label: str  # quantity and unit, for the colour bar

    def share(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape -> float64 in 0..1 of that shape: how far up the scale each lies."""
        bounded = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        return np.asarray(np.log(bounded / self.low) / math.log(self.high / self.low))

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Values (h, w) -> (h, w) uint8: `share` in 0..255."""
        bounded = np.clip(np.asarray(values, dtype=np.float32), np.float32(self.low), np.float32(self.high))
        return np.asarray(cv2.convertScaleAbs(cv2.log(bounded / np.float32(self.low)),
                                              alpha=255 / math.log(self.high / self.low)))

    def ticks(self) -> list[float]:
        """The powers of ten from low to high."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0 ** k for k in range(first, last + 1)]


# Spatial weights are 0..1 whatever the mechanism, so that one scale serves all pictures.
ATTENTION_SCALE = ColourScale(10.0 ** -DECADES, 1.0, 'spatial weight')


def gradcam_scale(maps: Iterable[np.ndarray]) -> ColourScale:
    """The scale for Grad-CAM maps (h, w) that are to be compared: up to the power of ten above their greatest value.

    The gradient of a logit has no natural upper bound, so the scale belongs to a run; its colour bar says which it is.
    """
    greatest = max((float(values.max()) for values in maps), default=0.0)
    top = 10.0 ** math.ceil(math.log10(greatest) - 1e-9) if greatest > 0 and math.isfinite(greatest) else 1.0
    return ColourScale(top * 10.0 ** -DECADES, top, 'logits per cell')


def tick_label(value: float) -> str:
    """0.001 -> '0.001', 1e-06 -> '1e-6': short enough to stand below a colour bar."""
    return f'{value:g}' if 1e-3 <= value < 1e4 else f'{value:.0e}'.replace('e-0', 'e-').replace('e+0', 'e')
