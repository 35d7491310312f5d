# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Thin red strokes in JPEG files, which keep one colour for 2 x 2 pixels (4:2:0) but the brightness of each of them.

A stroke of pure red, one pixel wide, comes out as about (142, 48, 48) at any quality: its colour has been averaged with
what is beside it. The brightness still says which pixels are the stroke, and with that how much the colour was diluted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Brightness (Y of ITU-T T.871, 0..255) of strokes that are clearly red: (139, 0, 0) has 42, (255, 69, 0) has 117. Roads
# in salmon or orange are brighter.
LUMA = (38.0, 122.0)
REDDISH, PURE = 0.15, 0.3  # redness of what may have been red, also as a share of the red channel
DISTINCT = 16.0  # difference of brightness by which a stroke stands out
MIN_SHARE = 0.15  # of a stroke's colour that is left at least
RIDGE = 0.8  # a stroke is as red as this share of what is reddest around it: not the edge of something wide
WEAK = 0.25  # restored redness of a stroke some of which is clearly red: compression takes more here and less there
MIN_DOUBTFUL = 4  # pixels
MAX_PIXELS = 500_000  # more reddish pixels are no thin stroke


class ThinStrokes(NamedTuple):
    """Pixels of thin reddish strokes, with their redness before colours were averaged."""

    rows: np.ndarray  # (N,) int64
    columns: np.ndarray  # (N,) int64
    redness: np.ndarray  # (N,) float32 in 0..1

    @property
    def doubtful(self) -> bool:
        """Whether they may be a route although they are not clearly red."""
        return int((self.redness >= WEAK).sum()) >= MIN_DOUBTFUL


NOTHING = ThinStrokes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def reddest_area(redness: np.ndarray) -> float:
    """The largest mean of 3 x 3 pixels of (H, W) float32: of colours on areas, without the noise of compression."""
    import cv2  # here: it changes LD_LIBRARY_PATH, which is no business of launch files that import the table of inputs

    return float(cv2.blur(redness, (3, 3)).max())


def thin_strokes(r: np.ndarray, g: np.ndarray, b: np.ndarray, block: tuple[int, int]) -> ThinStrokes:
    """The thin reddish strokes of a decoded JPEG file.

    r, g, b: (H, W) uint8. block: rows and columns of pixels that share a colour.
    """
    red = r.astype(np.int16)
    other = np.maximum(g, b)
    redness = (red - other - (other - np.minimum(g, b)) // 2).astype(np.int16)
    rows, columns = np.nonzero((redness >= round(REDDISH * 255)) & (redness >= PURE * red))
    if not 0 < len(rows) <= MAX_PIXELS:
        return NOTHING
    height, width = r.shape

    def at(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return i.clip(0, height - 1), j.clip(0, width - 1)

    def luma(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        place = at(i, j)
        value: np.ndarray = 0.299 * r[place] + 0.587 * g[place] + 0.114 * b[place]
        return value

    own = luma(rows, columns)
    keep = (own >= LUMA[0]) & (own <= LUMA[1])
    keep &= redness[rows, columns] >= RIDGE * np.max(
        [redness[at(rows + i, columns + j)] for i in range(-2, 3) for j in range(-2, 3)], axis=0)
    keep &= _thin(rows, columns, r.shape)
    rows, columns, own = rows[keep], columns[keep], own[keep]
    if not len(rows):
        return NOTHING
    # What lies beside the stroke: the pixel around that differs most.
    contrast = np.stack([luma(rows + i, columns + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]) - own
    ground = np.take_along_axis(contrast, np.abs(contrast).argmax(0)[None], 0)[0]
    distinct = np.abs(ground) >= DISTINCT

    def covered(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """How much of a block, given by its first pixel, the stroke covers, by brightness."""
        inside = np.stack([luma(i + k, j + m) for k in range(block[0]) for m in range(block[1])])
        share: np.ndarray = (1.0 - (inside - own) / np.where(distinct, ground, 1.0)).clip(0.0, 1.0).mean(0)
        return share

    # Decoders blend the colour of a block with those of the nearest others, a quarter along each axis (libjpeg).
    diluted = np.zeros(len(rows))
    for down, vertical in _blend(rows, block[0]):
        for right, horizontal in _blend(columns, block[1]):
            diluted += vertical * horizontal * covered(down, right)
    share = np.where(distinct, diluted, 1.0).clip(MIN_SHARE, 1.0)
    before = redness[rows, columns] / 255.0
    return ThinStrokes(rows, columns, np.minimum(before / share, 1.0).astype(np.float32))


def _blend(index: np.ndarray, size: int) -> list[tuple[np.ndarray, float]]:
    """Along one axis, the first pixels of the blocks that colour the pixels at `index`, with their weights."""
    own = index // size * size
    if size == 1:
        return [(own, 1.0)]
    nearest = np.where(index - own < size / 2, own - size, own + size)
    return [(own, 0.75), (nearest, 0.25)]


def _thin(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N,) bool: of these pixels, the ones that are in no block of 5 x 5 of them."""
    mask = np.zeros((shape[0] + 8, shape[1] + 8), bool)
    mask[rows + 4, columns + 4] = True
    for axis in (0, 1):
        mask = np.all([np.roll(mask, i, axis) for i in range(-2, 3)], axis=0)
    for axis in (0, 1):
        mask = np.any([np.roll(mask, i, axis) for i in range(-2, 3)], axis=0)
    thin: np.ndarray = ~mask[rows + 4, columns + 4]
    return thin
