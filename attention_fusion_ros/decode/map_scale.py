# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What 'full brightness' is in a map image, and which of its values stand for 'no data'.

Integers have the full scale of their datatype, except where only the lowest bits are used (12 bits of a camera or 8 of
a mask in 16, 0 and 1 in 8); floats have 1, or their largest value where that is more. A map that stays far below its
full scale is stretched where it is clearly drawn, and is called dim either way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attention_fusion_ros.errors import InputError

MAP_DIM = 'map_dim'
# Of the full scale: below it, nothing counts as drawn (network.model.ROAD).
DIM = 0.2
# Of the full scale: a map is stretched when its brightest pixels are at least this bright, for less may be noise.
FAINTEST = 8 / 255
# Shares of the image that are at least half as bright as its brightest pixel, for a dim map to be clearly drawn.
DRAWN_SHARE = (0.0005, 0.55)
BIT_DEPTHS = (8, 10, 12, 14)  # that are sent in 16 bits
NODATA = frozenset({9999.0, 32767.0, 65535.0, 99999.0, 999999.0})  # beside negative ones
NODATA_GAP, NAMED_NODATA_GAP = 100.0, 10.0  # how many times brighter than everything else a 'no data' value is
NODATA_BEYOND = 1e9  # for certain


class Scale(NamedTuple):
    """How the values of a map image are read."""

    full: float  # the value that is 1
    cut: float  # values beyond are 'no data'
    warnings: tuple[str, ...] = ()


def integer_scale(plane: np.ndarray) -> Scale:
    """The scale of (H, W) uint8 or uint16.

    Raises InputError `dim_image` when the image uses a 255th of its range at most and is no mask either.
    """
    kind = float(np.iinfo(plane.dtype).max)
    brightest = cut = float(plane.max())
    if plane.dtype.itemsize > 1 and brightest >= NODATA_GAP * 51:
        second = _below(plane, brightest)
        if 51 <= second <= brightest / NODATA_GAP:  # 8 bits and a 'no data' of 16
            brightest = cut = second
    full = kind
    if plane.dtype.itemsize > 1 and brightest < DIM * kind:
        full = next(2.0 ** bits - 1 for bits in (*BIT_DEPTHS, 16) if brightest < 2 ** bits)
    if brightest == 1:
        if not (plane == 0).any():
            raise _too_dim(brightest, kind)
        return Scale(1.0, cut, (MAP_DIM,))  # a 0/1 mask
    warnings = () if full == kind else (MAP_DIM,)
    return _stretched(plane, Scale(full, cut, warnings), brightest)


def float_scale(plane: np.ndarray) -> Scale:
    """The scale of (H, W) float32 without NaN and infinite values."""
    brightest = float(plane.max())
    if brightest >= NODATA_BEYOND:  # at once: every pixel may have another such value
        brightest = _below(plane, NODATA_BEYOND)
    while brightest > 1.0:
        second = _below(plane, brightest)
        named = brightest in NODATA and 0 < second <= brightest / NAMED_NODATA_GAP
        if not named and not DIM <= second <= brightest / NODATA_GAP:
            break
        brightest = second
    return _stretched(plane, Scale(max(brightest, 1.0), brightest), brightest)


def _stretched(plane: np.ndarray, scale: Scale, brightest: float) -> Scale:
    """The scale, to the brightest pixel where the image is dim but clearly drawn."""
    if not 0 < brightest < DIM * scale.full:
        return scale
    share = float(((plane >= 0.5 * brightest) & (plane <= scale.cut)).mean())
    low, high = DRAWN_SHARE
    clear = brightest >= FAINTEST * scale.full and low <= share <= high
    return Scale(brightest if clear else scale.full, scale.cut, (MAP_DIM,))


def _below(plane: np.ndarray, value: float) -> float:
    """The largest value below another one; 0 without one."""
    return float(np.max(plane, initial=0, where=plane < value))


def _too_dim(brightest: float, kind: float) -> InputError:
    return InputError('dim_image', f'Every pixel of the map image is {brightest:.0f} of {kind:.0f}.',
                      f'draw roads bright, up to {kind:.0f}.')
