# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether an image is a photograph: a map is drawn in areas of one colour, a camera's picture has noise and texture."""

from __future__ import annotations

import numpy as np

CAMERA_IMAGE, CAMERA_FRAME = 'camera_image', 'camera_frame'
MAX_ROWS = 256  # looked at, evenly over the image
ALIKE = 1 / 255  # of full brightness: difference of neighbours in an area of one colour
# Of 150 simulated maps, 0.78 of the pixels or more are like their neighbours, 0.63 in JPEG of quality 50; of a picture
# with noise of a deviation of 2 in 255, 0.19.
MAX_ALIKE = 0.4
DARK, MAX_DARK = 0.2, 0.6  # a map is mostly darker than this, which noise does not change


def is_photograph(road: np.ndarray) -> bool:
    """Whether (H, W) float32 brightness in 0..1 is that of a photograph."""
    height, width = road.shape
    if height < 16 or width < 16:
        return False
    rows = np.linspace(0, height - 2, min(height - 1, MAX_ROWS)).astype(int)
    here, below = road[rows], road[rows + 1]
    limit = 1.01 * ALIKE
    alike = ((np.abs(here[:, 1:] - here[:, :-1]) <= limit) & (np.abs(below - here)[:, 1:] <= limit)).mean()
    return bool(alike < MAX_ALIKE and (here < DARK).mean() < MAX_DARK)


def frame_warnings(frame_id: str) -> tuple[str, ...]:
    """`camera_frame` for an image that is stamped in an optical frame (REP-103), as only cameras' images are."""
    return (CAMERA_FRAME,) if 'optical' in frame_id.lower() else ()
