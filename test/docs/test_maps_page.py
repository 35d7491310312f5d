# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The page about maps: its picture is what its script draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_the_picture_of_the_frames_is_what_the_script_draws():
    pytest.importorskip('pyproj', reason='needs pyproj')
    spec = importlib.util.spec_from_file_location('frames_figure', ROOT / 'tools/frames_figure.py')
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = cv2.imdecode(np.frombuffer(script.draw(), np.uint8), cv2.IMREAD_COLOR)
    there = cv2.imread(str(script.PATH))
    assert there is not None and script.PATH.name in (ROOT / 'docs/maps.md').read_text()
    assert drawn.shape[0] == pytest.approx(there.shape[0], rel=0.02)  # fonts differ by a pixel between versions
    sizes = (64, 48)
    a, b = (cv2.resize(picture, sizes, interpolation=cv2.INTER_AREA).astype(float) for picture in (drawn, there))
    assert np.abs(a - b).mean() < 4.0, 'run python tools/frames_figure.py'
