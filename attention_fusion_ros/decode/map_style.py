# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the colours of a topological map image mean: bright is road, a clearly red stroke is the route.

Brightness is the largest colour channel (the value of HSV), so that a road drawn in pure blue is as bright as one drawn
in white. Redness is `r - max(g, b) - |g - b| / 2`: for a stroke of pure red it is exactly the coverage of the pixel,
whether the stroke's antialiased edge lies on black or on white, and it is low for orange, yellow, pink and magenta,
which maps use for ordinary roads.
"""

from __future__ import annotations

import numpy as np

from attention_fusion_ros.errors import InputError

# A route is drawn where a pixel is at least this red: crimson (220, 20, 60) has 0.55, salmon and orange have less.
CLEARLY_RED = 0.5
# Redness of a pixel that is no route at all, and of one that is route throughout (less in a stroke of a darker red).
RED_NONE, RED_FULL = 0.35, 0.75


def road_and_route(channels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Road and route in 0..1, float32, from the channel planes of an image.

    channels: letter -> (H, W) uint8, uint16 or float32; `v` alone for grey, or `r`, `g`, `b` and perhaps `a`.
    Grey floats are taken as they are when none exceeds 1, else divided by the largest, for they have no full scale;
    NaN, infinite and negative ones are no road. Transparent pixels show nothing; an alpha that is 0 everywhere is taken
    as an unused byte (RGBX).
    Raises InputError: no_finite_pixels; dim_image when the image uses a 255th of its range at most, like a 0/1 mask.
    """
    if 'v' in channels:
        grey = channels['v']
        return (_float_road(grey) if grey.dtype.kind == 'f' else _normalised(grey)), None
    r, g, b = channels['r'], channels['g'], channels['b']
    other = np.maximum(g, b)
    road = _normalised(np.maximum(r, other))
    route = _route(r, g, b, other)
    alpha = channels.get('a')
    if alpha is not None and alpha.any():
        opacity = alpha.astype(np.float32) * np.float32(1.0 / np.iinfo(alpha.dtype).max)
        road *= opacity
        route = None if route is None else route * opacity
    if route is not None:
        np.maximum(road, route, out=road)
    return road, route


def _normalised(plane: np.ndarray) -> np.ndarray:
    """(H, W) unsigned integers -> float32 in 0..1 of the datatype's full scale."""
    full = np.iinfo(plane.dtype).max
    brightest = int(plane.max())
    if 0 < brightest <= full // 255:
        raise InputError('dim_image', f'The brightest pixel of the map image is {brightest} of {full}.',
                         f'draw roads bright, up to {full}; scale a 0/1 mask by {full}.')
    return plane.astype(np.float32) * np.float32(1.0 / full)


def _float_road(plane: np.ndarray) -> np.ndarray:
    with np.errstate(invalid='ignore'):  # signalling NaN
        road = plane.astype(np.float32)
    finite = np.isfinite(road)
    if not finite.any():
        raise InputError('no_finite_pixels', 'No pixel of the map image is finite.',
                         'check what draws the image, and its byte order (is_bigendian).')
    road[~finite] = 0.0
    brightest = road.max()
    if brightest > 1.0:
        road /= brightest
    np.maximum(road, 0.0, out=road)
    return road


def _route(r: np.ndarray, g: np.ndarray, b: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """(H, W) float32 in 0..1 where red is drawn; None when nothing is clearly red."""
    full = np.iinfo(r.dtype).max
    if not (r > other).any():  # a grey image, the usual case without a route
        return None
    spread = (other - np.minimum(g, b)).astype(np.float32)
    redness = (r.astype(np.float32) - other - 0.5 * spread) * np.float32(1.0 / full)
    reddest = float(redness.max())
    if reddest < CLEARLY_RED:
        return None
    ramp: np.ndarray = (redness - np.float32(RED_NONE)) * np.float32(1.0 / (min(RED_FULL, reddest) - RED_NONE))
    np.clip(ramp, 0.0, 1.0, out=ramp)
    return ramp
