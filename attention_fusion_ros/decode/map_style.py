# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the colours of a topological map image mean: bright is road, a clearly red stroke is the route.

Brightness is the largest colour channel (the value of HSV), so that a road drawn in pure blue is as bright as one drawn
in white. Redness is `r - max(g, b) - |g - b| / 2`: for a stroke of pure red it is exactly the coverage of the pixel,
whether the stroke's antialiased edge lies on black or on white, and it is low for orange, yellow, pink and magenta,
which maps use for ordinary roads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attention_fusion_ros.decode.chroma import MIN_DOUBTFUL, WEAK, reddest_area, thin_strokes
from attention_fusion_ros.decode.map_scale import DIM, Scale, float_scale, integer_scale
from attention_fusion_ros.decode.photograph import CAMERA_IMAGE, is_photograph
from attention_fusion_ros.errors import InputError

# A route is drawn where a pixel is at least this red: crimson (220, 20, 60) has 0.55, half of pure red 0.498; brown
# (165, 42, 42) has 0.48, salmon and orange have less.
CLEARLY_RED = 0.495
CLEARLY_RED_IN_JPEG = 0.525  # which makes areas of brown up to 0.518 red, and of dark red (139, 0, 0) no less than 0.53
CLEARLY_RED_THIN = 0.7  # of strokes in JPEG files after their colour was restored, which overshoots for some
# Redness of a pixel that is no route at all, and of one that is route throughout (less in a stroke of a darker red).
RED_NONE, RED_FULL = 0.35, 0.75
PURELY_RED = 0.85  # share of the red channel that is redness: in a darker red, which may be a route in a dim map
BAND = 2**20  # pixels that are looked at together, for large images to need little memory
ROUTE_UNCLEAR = 'route_unclear'


class MapLayers(NamedTuple):
    """What a map image shows."""

    road: np.ndarray  # (H, W) float32 in 0..1
    route: np.ndarray | None  # (H, W) float32 in 0..1; None without one
    warnings: tuple[str, ...]  # `map_dim`, `route_unclear`, `camera_image`


def road_and_route(channels: dict[str, np.ndarray], unused_alpha: bool = True,
                   chroma_block: tuple[int, int] | None = None) -> MapLayers:
    """Road and route from the channel planes of an image.

    channels: letter -> (H, W) uint8, uint16 or float32; `v` for grey, or `r`, `g`, `b`; perhaps `a`.
    Full brightness, and values that mean 'no data', are as `map_scale` says; NaN, infinite and negative values are no
    road. Transparent pixels show nothing.
    unused_alpha: an alpha that is 0 everywhere is an unused byte (RGBX).
    chroma_block: of JPEG files, rows and columns of pixels that share a colour: (2, 2) for 4:2:0.
    Raises InputError: no_finite_pixels; dim_image when every pixel is 1.
    """
    brightness = channels['v'] if 'v' in channels else np.maximum(
        channels['r'], np.maximum(channels['g'], channels['b']))
    alpha = channels.get('a')
    if alpha is not None and (alpha.min() == np.iinfo(alpha.dtype).max or (unused_alpha and not alpha.any())):
        alpha = None  # opaque
    if alpha is not None:
        brightness = np.where(alpha > 0, brightness, 0)  # what is not seen has no say in how bright the image is
    if brightness.dtype.kind == 'f':
        road, scale = _float_road(brightness)
    else:
        scale = integer_scale(brightness)
        road = _scaled(brightness, scale)
    route, warnings = None, scale.warnings
    if 'v' not in channels:
        route, unclear = _route(channels['r'], channels['g'], channels['b'], scale.full, chroma_block)
        warnings += (ROUTE_UNCLEAR,) if unclear else ()
    if alpha is not None:
        # Alpha has the bit depth of the colours.
        full = scale.full if alpha.max() <= scale.full else np.iinfo(alpha.dtype).max
        opacity = np.minimum(alpha * np.float32(1.0 / full), np.float32(1.0), dtype=np.float32)
        road *= opacity
        route = None if route is None else route * opacity
    if is_photograph(road):
        warnings += (CAMERA_IMAGE,)
    if route is not None:
        np.maximum(road, route, out=road)
    return MapLayers(road, route, warnings)


def _scaled(plane: np.ndarray, scale: Scale) -> np.ndarray:
    """(H, W) of any kind -> float32 in 0..1; 'no data' is 0."""
    road: np.ndarray = plane.astype(np.float32)
    with np.errstate(over='ignore'):  # of 'no data', which may be any number
        road *= np.float32(1.0 / scale.full)
    cut = np.float32(scale.cut / scale.full)
    if road.max() > cut * 1.0001:
        road[road > cut * 1.0001] = 0.0
    np.clip(road, 0.0, 1.0, out=road)
    return road


def _float_road(plane: np.ndarray) -> tuple[np.ndarray, Scale]:
    with np.errstate(invalid='ignore'):  # signalling NaN
        values = plane.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise InputError('no_finite_pixels', 'No pixel of the map image is finite.',
                         'check what draws the image, and its byte order (is_bigendian).')
    values[~finite] = 0.0
    scale = float_scale(values)
    return _scaled(values, scale), scale


def _route(r: np.ndarray, g: np.ndarray, b: np.ndarray, full: float,
           chroma_block: tuple[int, int] | None) -> tuple[np.ndarray | None, bool]:
    """(H, W) float32 in 0..1 where red is drawn, None when nothing is clearly red; whether something might be."""
    rows = max(BAND // r.shape[1], 1)
    bands = [slice(i, i + rows) for i in range(0, len(r), rows)]
    compressed = chroma_block is not None
    reddest = max(_reddest(r[band], g[band], b[band], full, compressed) for band in bands)
    clear = reddest >= (CLEARLY_RED_IN_JPEG if compressed else CLEARLY_RED)
    thin = None
    if chroma_block is not None and reddest > 0:
        thin = thin_strokes(r, g, b, chroma_block)
        reddest_stroke = float(thin.redness.max(initial=0.0))
        clear |= reddest_stroke >= CLEARLY_RED_THIN
        reddest = max(reddest, reddest_stroke)
    if not clear:
        dark = reddest > 0 and sum(_dark_reds(r[band], g[band], b[band], full) for band in bands) >= MIN_DOUBTFUL
        return None, dark or (thin is not None and thin.doubtful)
    route = np.empty(r.shape, np.float32)
    for band in bands:
        route[band] = _redness(r[band], g[band], b[band], full)
    if thin is not None:
        at = thin.rows, thin.columns
        route[at] = np.where(thin.redness >= WEAK, max(RED_FULL, reddest), route[at])
    route -= np.float32(RED_NONE)
    route *= np.float32(1.0 / (min(RED_FULL, reddest) - RED_NONE))
    np.clip(route, 0.0, 1.0, out=route)
    return route, False


def _reddest(r: np.ndarray, g: np.ndarray, b: np.ndarray, full: float, compressed: bool) -> float:
    if not (r > np.maximum(g, b)).any():  # a grey image, the usual case without a route
        return 0.0
    redness = _redness(r, g, b, full)
    return max(reddest_area(redness), 1e-6) if compressed else float(redness.max())


def _dark_reds(r: np.ndarray, g: np.ndarray, b: np.ndarray, full: float) -> int:
    """How many pixels are of pure red, though too dark to be clearly red."""
    bright = r >= DIM * full
    return int((_redness(r, g, b, full)[bright] >= PURELY_RED / full * r[bright]).sum())


def _redness(r: np.ndarray, g: np.ndarray, b: np.ndarray, full: float) -> np.ndarray:
    other = np.maximum(g, b)
    spread = (other - np.minimum(g, b)).astype(np.float32)
    redness: np.ndarray = (r.astype(np.float32) - other - 0.5 * spread) * np.float32(1.0 / full)
    return redness
