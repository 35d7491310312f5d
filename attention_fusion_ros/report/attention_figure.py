# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What one sweep's answer rests on, as in figure 4 of CBAM (Woo et al. 2018).

Inputs on top; below, a row with its Grad-CAM for attention over places, where there is one, and for every stage; last,
the weight of every fused channel.
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
from attention_fusion_ros.report.explanation import Explanation, beside, over_places
from attention_fusion_ros.visualization.colour import (
    ATTENTION_SCALE,
    MATPLOTLIB_COLOUR_MAP,
    ColourScale,
    gradcam_scale,
    tick_label,
)
from attention_fusion_ros.visualization.lettering import draw_text, text_width
from attention_fusion_ros.visualization.panels import (
    INK,
    LETTER_SHARE,
    draw_answer,
    draw_ring,
    heat_panel,
    lidar_panel,
    map_panel,
)

PANEL_PX = 512  # edge of a panel
ROW_IN, CHANNELS_IN, BARS_IN = 3.3, 1.9, 0.7
LEGEND = ('Top: LiDAR and map as the network saw them, with the answer: the circle is the lookahead ring, green arrows '
          'are the branches (thick: the direction to take). Then a row for each spatial attention, which is on the '
          'left, with the Grad-CAM of the direction (without one, of the most probable branch) on the right. "reading" '
          'is attention over places, the heatmap that is published: how much the place of a cell counts; beside it is '
          'the Grad-CAM of the finest stage, resampled to its cells. The weights of a stage scale its features: a '
          'bright panel lets nearly everything pass, it does not look harder; where no weight is half of another, it '
          'is grey and says "nearly even". Both colour scales are logarithmic and the same for every figure of this '
          'report. Numbers above the panels: smallest and greatest value; agreement of the two over the cells that '
          'the LiDAR has seen (\u03c1: Spearman rank correlation; IoU: intersection over union of their top tenths). '
          'Bottom: the weight of every fused channel.')
NEARLY_EVEN = 'nearly even'
EVEN = 2.0  # below this ratio of the greatest weight to the smallest no place stands out
GREY = 0.3  # brightness of a panel in which none does


def attention_figure(result: FusionResult, maps: dict[str, np.ndarray], explanation: Explanation,
                     dpi: int = style.PORTRAIT_DPI, scale: ColourScale | None = None) -> np.ndarray:
    """The figure -> (H, W, 3) uint8, BGR.

    maps: stage -> Grad-CAM (h, w), empty when there was no branch. scale: of the Grad-CAM, `gradcam_scale` of all maps
    that are to be compared; by default of these alone.
    """
    attention, places = result.attention, over_places(result)
    scale = gradcam_scale(maps.values()) if scale is None else scale
    cams = beside(result, maps)
    stages = sorted({*attention.spatial, *cams}, key=lambda name: (name != places, name))
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
                _weights(axes, result, stage, published=stage == places)
                left.append(axes)
            if stage in cams:
                axes = figure.add_subplot(grid[row, 1])
                agreed = explanation.agreement.get(stage)
                note = '' if agreed is None else f'\u03c1 {agreed.spearman:+.2f}, IoU {agreed.top_iou:.2f}'
                title = 'Grad-CAM, finest stage, same cells' if stage == places else f'Grad-CAM, {stage}'
                _heat(axes, result, cams[stage], scale, title, note)
                right.append(axes)
        _colour_bar(figure, left, ATTENTION_SCALE)
        _colour_bar(figure, right, scale)
        _channels(figure.add_subplot(grid[-1, :]), result)
        return style.pixels(figure, dpi)


def nearly_even(weights: np.ndarray) -> bool:
    """Whether no weight of (h, w) is half of another: nothing is chosen, however bright the colour would be."""
    low, high = (max(float(value), ATTENTION_SCALE.low) for value in (weights.min(), weights.max()))
    return high < EVEN * low


def _weights(axes: Axes, result: FusionResult, name: str, published: bool) -> None:
    """The panel of a spatial attention: what its weights do, and whether they choose anything."""
    weights = result.attention.spatial[name]
    even = nearly_even(weights)
    notes = [text for text, holds in (('the published heatmap', published), (NEARLY_EVEN, even)) if holds]
    _heat(axes, result, weights, ATTENTION_SCALE,
          f'attention, {name}: {"weight of places" if published else "scales features"}', ', '.join(notes), even)


def _heat(axes: Axes, result: FusionResult, values: np.ndarray, scale: ColourScale, title: str, note: str,
          even: bool = False) -> None:
    panel = heat_panel(values, PANEL_PX, scale)
    if even:
        panel[:] = round(255 * GREY)  # no colour of the scale
        letters = LETTER_SHARE * PANEL_PX
        draw_text(panel, NEARLY_EVEN, (PANEL_PX - text_width(NEARLY_EVEN, letters)) / 2, 0.15 * PANEL_PX, letters, INK)
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
