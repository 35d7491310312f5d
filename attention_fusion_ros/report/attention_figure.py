# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What one sweep's answer rests on, as in figure 4 of CBAM (Woo et al. 2018).

Inputs on top; below, a row a stage with its spatial weights and its Grad-CAM; last, the weight of every fused channel.
"""

from __future__ import annotations

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.report import style
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.visualization.colour import (
    ATTENTION_SCALE,
    MATPLOTLIB_COLOUR_MAP,
    ColourScale,
    gradcam_scale,
    tick_label,
)
from attention_fusion_ros.visualization.panels import draw_answer, draw_ring, heat_panel, lidar_panel, map_panel

PANEL_PX = 512  # edge of a panel
ROW_IN, CHANNELS_IN, BARS_IN = 3.3, 1.9, 0.7
LEGEND = ('Top: LiDAR and map as the network saw them, with the answer: the circle is the lookahead ring, green arrows '
          'are the branches (thick: the direction to take). Then a row a stage: its spatial attention on the left, the '
          'Grad-CAM of the direction (without one, of the most probable branch) on the right. Both colour scales are '
          'logarithmic and the same for every figure of this report. Numbers above them: smallest and greatest value; '
          'agreement of the two over the cells that the LiDAR has seen (Spearman rank correlation, and intersection '
          'over union, IoU, of their top tenths). Bottom: the weight of every fused channel.')


def attention_figure(result: FusionResult, maps: dict[str, np.ndarray], explanation: Explanation,
                     dpi: int = style.PORTRAIT_DPI, scale: ColourScale | None = None) -> np.ndarray:
    """The figure -> (H, W, 3) uint8, BGR.

    maps: stage -> Grad-CAM (h, w), empty when there was no branch. scale: of the Grad-CAM, `gradcam_scale` of all maps
    that are to be compared; by default of these alone.
    """
    attention = result.attention
    stages = sorted({*attention.spatial, *maps})
    scale = gradcam_scale(maps.values()) if scale is None else scale
    with style.styled():
        figure = style.new_figure(style.PORTRAIT_IN, BARS_IN + ROW_IN * (1 + len(stages)) + CHANNELS_IN)
        grid = figure.add_gridspec(2 + len(stages), 2, height_ratios=(*(ROW_IN,) * (1 + len(stages)), CHANNELS_IN))
        inputs = ((f'LiDAR height, {result.extent:g} m to each side', lidar_panel(result, PANEL_PX)),
                  (f'map ({result.mode.value})', map_panel(result, PANEL_PX)))
        for column, (title, panel) in enumerate(inputs):
            draw_answer(panel, result)
            _show(figure.add_subplot(grid[0, column]), panel, title)
        left: list[Axes] = []
        right: list[Axes] = []
        for row, stage in enumerate(stages, start=1):
            if stage in attention.spatial:
                axes = figure.add_subplot(grid[row, 0])
                _heat(axes, result, attention.spatial[stage], ATTENTION_SCALE, f'attention, {stage}', '')
                left.append(axes)
            if stage in maps:
                axes = figure.add_subplot(grid[row, 1])
                agreed = explanation.agreement.get(stage)
                note = '' if agreed is None else f'Spearman {agreed.spearman:+.2f}, IoU {agreed.top_iou:.2f}'
                _heat(axes, result, maps[stage], scale, f'Grad-CAM, {stage}', note)
                right.append(axes)
        _colour_bar(figure, left, ATTENTION_SCALE)
        _colour_bar(figure, right, scale)
        _channels(figure.add_subplot(grid[-1, :]), result)
        return style.pixels(figure, dpi)


def _heat(axes: Axes, result: FusionResult, values: np.ndarray, scale: ColourScale, title: str, note: str) -> None:
    panel = heat_panel(values, PANEL_PX, scale)
    draw_ring(panel, result.extent, result.lookahead)
    span = f'{_bound(float(values.min()), scale)} to {_bound(float(values.max()), scale)}'
    _show(axes, panel, f'{title}\n{span}' + (f'; {note}' if note else ''))


def _bound(value: float, scale: ColourScale) -> str:
    return f'<{tick_label(scale.low)}' if 0 < value < scale.low else f'{value:.2g}'


def _show(axes: Axes, panel: np.ndarray, title: str) -> None:
    axes.imshow(cv2.cvtColor(panel, cv2.COLOR_BGR2RGB), interpolation='antialiased')
    axes.set_title(title, fontsize=style.SMALL_PT)
    axes.set_axis_off()


def _colour_bar(figure: Figure, axes: list[Axes], scale: ColourScale) -> None:
    """One bar below a column of panels that share a scale; none when the column is empty."""
    if not axes:
        return
    norm = LogNorm(scale.low, scale.high)
    colours = ScalarMappable(norm, mpl.colormaps[MATPLOTLIB_COLOUR_MAP])
    bar = figure.colorbar(colours, ax=axes, location='bottom', aspect=28, pad=0.01, extend='both')
    bar.set_ticks(scale.ticks(), labels=[tick_label(value) for value in scale.ticks()])
    bar.minorticks_off()
    bar.set_label(scale.label)


def _channels(axes: Axes, result: FusionResult) -> None:
    attention = result.attention
    labels = attention.channel_labels
    colours = [style.MAP if label.startswith('map') else style.LIDAR for label in labels]
    axes.bar(range(len(labels)), attention.channel, color=colours, width=0.8)
    every = max(1, -(-len(labels) // 26))  # so that labels do not run into each other
    axes.set_xticks(range(0, len(labels), every), labels[::every], rotation=90, fontsize=style.TINY_PT)
    axes.tick_params(axis='x', length=0, pad=1)
    axes.grid(axis='x', visible=False)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel('weight')
    axes.set_title(f'weight of every fused channel\nLiDAR {attention.lidar_share:.0%} (blue), map '
                   f'{attention.map_share:.0%} (orange) of weight x activation', fontsize=style.SMALL_PT)
