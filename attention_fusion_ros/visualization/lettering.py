# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Text on pictures that stays inside them: sized in pixels, made smaller, shortened or wrapped to fit."""

from __future__ import annotations

import math

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
CAP_HEIGHT_PX = 21.0  # of a capital letter of this font at scale 1
LINE = 1.9  # distance of lines, in heights of a capital letter
SMALLEST = 0.72  # text is made smaller down to this share of its size, then shortened
Colour = tuple[int, int, int]


def text_width(text: str, height: float) -> int:
    """Pixels that a line takes whose capital letters are `height` pixels high."""
    return int(cv2.getTextSize(text, FONT, height / CAP_HEIGHT_PX, _thickness(height))[0][0])


def draw_text(image: np.ndarray, text: str, left: float, baseline: float, height: float, colour: Colour) -> None:
    """Write one line on (H, W, 3) uint8; `height` pixels for a capital letter."""
    cv2.putText(image, _plain(text), (round(left), round(baseline)), FONT, height / CAP_HEIGHT_PX, colour,
                _thickness(height), cv2.LINE_AA)


def draw_fitted(image: np.ndarray, text: str, left: float, baseline: float, height: float, colour: Colour,
                width: float) -> None:
    """`draw_text` within `width` pixels: smaller where it must be, and shortened where that is not enough."""
    needed = text_width(text, height)
    if needed > width:
        height *= max(width / needed, SMALLEST)
        while len(text) > 4 and text_width(text, height) > width:
            text = text[:-4].rstrip(' ,:') + '...'
    draw_text(image, text, left, baseline, height, colour)


def wrapped(text: str, height: float, width: float) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces; a single long word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f'{lines[-1]} {word}', height) <= width:
            lines[-1] += f' {word}'
        else:
            lines.append(word)
    return lines


def _thickness(height: float) -> int:
    return max(1, math.floor(height / 9.0))


def _plain(text: str) -> str:
    """OpenCV's fonts know ASCII only."""
    return text.replace('…', '...').replace('–', '-').encode('ascii', 'replace').decode()
