# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One look for every plot: colours with a meaning, light grids, no global matplotlib state."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ESTIMATE = '#2b8a3e'  # green as in the pictures of `heatmap.compose_picture`
BRANCH = '#51cf66'
TRUTH = '#1c7ed6'  # blue as there
LIDAR = '#3b5bdb'
MAP = '#e8590c'
# result: heard from the node, whose outputs do not tell the mode
MODES = {'fused': '#0b7285', 'result': '#0b7285', 'lidar_only': '#f59f00', 'dropped': '#c92a2a'}
STAGES = {'decode': '#adb5bd', 'bev': '#4dabf7', 'network': '#5f3dc4', 'postprocess': '#63e6be', 'other': '#dee2e6'}
INK = '#212529'
FAINT = '#868e96'

SETTINGS = {
    'font.family': 'DejaVu Sans', 'font.size': 9.5, 'text.color': INK, 'axes.labelcolor': INK,
    'axes.edgecolor': '#ced4da',
    'axes.titlesize': 10.5, 'axes.titleweight': 'bold', 'axes.titlelocation': 'left', 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.grid': True, 'grid.color': '#e9ecef', 'grid.linewidth': 0.8,
    'axes.axisbelow': True,
    'xtick.color': FAINT, 'ytick.color': FAINT, 'legend.frameon': False, 'legend.fontsize': 8.5,
    'figure.facecolor': 'white', 'lines.linewidth': 1.6}


def styled():
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
    """The figure as (H, W, 3) uint8 bgr."""
    figure.set_dpi(dpi)
    with styled():
        figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[:, :, 2::-1])
