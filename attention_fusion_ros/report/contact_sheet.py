# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Many pictures on one page, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from attention_fusion_ros.visualization.lettering import LINE, draw_text, wrapped

MARGIN_PX = 10  # around each picture
LETTER_SHARE = 0.013  # height of a capital letter of the captions, in widths of the sheet
BACKGROUND = (255, 255, 255)
INK = (41, 37, 33)  # BGR


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 1,
                  picture_width: int = 980) -> np.ndarray:
    """Pictures (H, W, 3) uint8, BGR, of any size -> one (H, W, 3) uint8 sheet, row by row, captions above.

    picture_width: pixels each picture is scaled to. Captions are wrapped to it. Raises ValueError when there is no
    picture, or not a caption each.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f'{len(pictures)} pictures and {len(captions)} captions')
    scaled = [_scale(p, picture_width) for p in pictures]
    columns = min(columns, len(scaled))
    letter = LETTER_SHARE * columns * picture_width
    lines = [wrapped(caption, letter, picture_width) for caption in captions]
    line_height = round(LINE * letter)
    head = max(map(len, lines)) * line_height + MARGIN_PX
    cell_height = max(p.shape[0] for p in scaled) + head + MARGIN_PX
    cell_width = picture_width + MARGIN_PX
    rows = -(-len(scaled) // columns)
    sheet = np.full((rows * cell_height + MARGIN_PX, columns * cell_width + MARGIN_PX, 3), BACKGROUND, np.uint8)
    for i, (picture, text) in enumerate(zip(scaled, lines)):
        top = (i // columns) * cell_height + MARGIN_PX
        left = (i % columns) * cell_width + MARGIN_PX
        for k, line in enumerate(text):
            baseline = top + head - MARGIN_PX / 2 - (len(text) - 1 - k) * line_height - 0.3 * letter
            draw_text(sheet, line, left, baseline, letter, INK)
        sheet[top + head:top + head + picture.shape[0], left:left + picture_width] = picture
    return sheet


def spread(total: int, wanted: int) -> set[int]:
    """Indices of `wanted` pictures spread evenly over `total` sweeps, first and last among them."""
    return set(np.linspace(0, total - 1, min(total, wanted)).round().astype(int).tolist()) if total > 0 else set()


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (H, W, 3) uint8 below each other, scaled to the width of the first -> (H, W, 3) uint8."""
    return np.concatenate([_scale(i, images[0].shape[1]) for i in images])


def _scale(picture: np.ndarray, width: int) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    shrinking = width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
