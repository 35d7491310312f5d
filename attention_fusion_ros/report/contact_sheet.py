# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Many pictures on one page, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MARGIN = 10  # pixels around each picture
CAPTION = 26  # pixels of height for the caption
BACKGROUND = (255, 255, 255)
INK = (41, 37, 33)  # bgr


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 2,
                  picture_width: int = 900) -> np.ndarray:
    """Pictures (H, W, 3) uint8 bgr of any size -> one (H, W, 3) uint8 bgr sheet, row by row.

    picture_width: pixels each picture is scaled to. Raises ValueError when there is no picture, or not a caption each.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f'{len(pictures)} pictures and {len(captions)} captions')
    scaled = [_scale(p, picture_width) for p in pictures]
    columns = min(columns, len(scaled))
    cell_height = max(p.shape[0] for p in scaled) + CAPTION + MARGIN
    cell_width = picture_width + MARGIN
    rows = -(-len(scaled) // columns)
    sheet = np.full((rows * cell_height + MARGIN, columns * cell_width + MARGIN, 3), BACKGROUND, np.uint8)
    for i, (picture, caption) in enumerate(zip(scaled, captions)):
        top = (i // columns) * cell_height + MARGIN
        left = (i % columns) * cell_width + MARGIN
        cv2.putText(sheet, caption, (left + 2, top + CAPTION - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        sheet[top + CAPTION:top + CAPTION + picture.shape[0], left:left + picture_width] = picture
    return sheet


def spread(total: int, wanted: int) -> set[int]:
    """Indices of `wanted` pictures spread evenly over `total` sweeps, first and last among them."""
    return set(np.linspace(0, total - 1, min(total, wanted)).round().astype(int).tolist()) if total > 0 else set()


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (H, W, 3) under each other, scaled to the width of the first."""
    return np.concatenate([_scale(i, images[0].shape[1]) for i in images])


def _scale(picture: np.ndarray, width: int) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    shrinking = width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
