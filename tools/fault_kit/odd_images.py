# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map images as other map servers and broken ones send them: (H, W, 3) uint8 rgb -> pixels, encoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

IMAGES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, str]]] = {
    'plain': lambda rgb: (rgb, 'rgb8'),
    'bgr': lambda rgb: (rgb[..., ::-1], 'bgr8'),
    'half the size': lambda rgb: (rgb[::2, ::2], 'rgb8'),
    'twice the size': lambda rgb: (rgb.repeat(2, 0).repeat(2, 1), 'rgb8'),
    'black': lambda rgb: (np.zeros_like(rgb), 'rgb8'),
    'unknown encoding': lambda rgb: (rgb, 'yuv422'),
    'empty': lambda rgb: (rgb[:0], 'rgb8'),
}
