# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One look for every plot: colours with a meaning, light grids, no global matplotlib state.

On white, text has a contrast of at least 4.5 : 1 and everything else that carries meaning one of 3 : 1 (WCAG 2.2, 1.4.3
and 1.4.11); `contrast` computes it and the tests hold every colour to it.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

ESTIMATE = '#1b6e2d'  # green as in the pictures of `visualization.panels.compose_picture`
BRANCH = '#2f9e44'
TRUTH = '#1c7ed6'  # blue as there
LIDAR = '#3b5bdb'
MAP = '#d9480f'
# result: heard from the node, whose outputs do not tell the mode
MODES = {'fused': '#0b7285', 'result': '#0b7285', 'lidar_only': '#b35c00', 'dropped': '#c92a2a'}
STAGES = {'decode': '#d9480f', 'bev': '#1c7ed6', 'network': '#5f3dc4', 'postprocess': '#0a8f68', 'other': '#7b838a'}
INK = '#212529'
FAINT = '#5c636a'
PAPER = '#ffffff'
GRAPHIC = (ESTIMATE, BRANCH, TRUTH, LIDAR, MAP, *MODES.values(), *STAGES.values())
TEXT = (INK, FAINT)

BASE_PT, SMALL_PT, TINY_PT = 9.5, 9.0, 7.0
PORTRAIT_IN = 6.2  # width of the figures of a report: so narrow that their text is legible at 400 pixels
PORTRAIT_DPI = 160

SETTINGS: dict[Any, Any] = {
    'font.family': 'DejaVu Sans', 'font.size': BASE_PT, 'text.color': INK, 'axes.labelcolor': INK,
    'axes.edgecolor': '#adb5bd',
    'axes.titlesize': 10.5, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left', 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.grid': True, 'grid.color': '#e9ecef', 'grid.linewidth': 0.8,
    'axes.axisbelow': True,
    'xtick.color': FAINT, 'ytick.color': FAINT, 'legend.frameon': False, 'legend.fontsize': 8.5,
    'figure.facecolor': PAPER, 'lines.linewidth': 1.6}


def styled() -> AbstractContextManager[Any]:
    """`with styled():` around everything that makes axes."""
    return mpl.rc_context(SETTINGS)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format='png', dpi=dpi)
    return buffer.getvalue()


def pixels(figure: Figure, dpi: int = 110) -> np.ndarray:
    """The figure as (H, W, 3) uint8, BGR."""
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    with styled():
        canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, 2::-1])


def contrast(one: str, other: str = PAPER) -> float:
    """Contrast ratio of two colours, 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (IEC 61966-2-1)."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
