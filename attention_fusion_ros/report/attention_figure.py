# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What one sweep's answer rests on, side by side as in figure 4 of CBAM (Woo et al. 2018).

Inputs on the left; for every stage its spatial weights above its Grad-CAM; below, the weight of every fused channel.
"""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.axes import Axes

from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.report import style
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.visualization.panels import draw_answer, heat_panel, lidar_panel, map_panel, stretched

PANEL = 400  # pixels a side
LEGEND = ('Left: LiDAR and map as the network saw them, with the answer. Then, for every stage, its spatial attention '
          'above the Grad-CAM of the direction (without one, of the most probable branch), both stretched to their own '
          'range from blue to red. Numbers: agreement of the two over the cells that the LiDAR has seen (Spearman, and '
          'the intersection over union of their top tenths). Below: the weight of every fused channel.')


def attention_figure(result: FusionResult, maps: dict[str, np.ndarray], explanation: Explanation,
                     dpi: int = 100) -> np.ndarray:
    """The figure -> (H, W, 3) uint8, BGR. maps: the Grad-CAM of every stage, empty when there was no branch."""
    attention = result.attention
    stages = sorted({*attention.spatial, *maps})
    with style.styled():
        figure = style.new_figure(3.25 * (1 + len(stages)), 9.0)
        grid = figure.add_gridspec(3, 1 + len(stages), height_ratios=(3.2, 3.2, 1.6))
        for row, (title, panel) in enumerate((('LiDAR height', lidar_panel(result, PANEL)),
                                              (f'map ({result.mode.value})', map_panel(result, PANEL)))):
            draw_answer(panel, result)
            _show(figure.add_subplot(grid[row, 0]), panel, title)
        for column, stage in enumerate(stages, start=1):
            found = explanation.agreement.get(stage)
            agreed = '' if found is None else f'\nSpearman {found.spearman:+.2f}, IoU {found.top_iou:.2f}'
            for row, (title, values) in enumerate(((f'attention, {stage}', attention.spatial.get(stage)),
                                                   (f'Grad-CAM, {stage}{agreed}', maps.get(stage)))):
                if values is not None:
                    _show(figure.add_subplot(grid[row, column]), _panel(result, values),
                          f'{title}' if row else f'{title}\n{values.min():.2f} to {values.max():.2f}')
        _channels(figure.add_subplot(grid[2, :]), result)
        return style.pixels(figure, dpi)


def _panel(result: FusionResult, values: np.ndarray) -> np.ndarray:
    return heat_panel(result, stretched(values, result.lidar_bev.shape[1:]), PANEL)


def _show(axes: Axes, panel: np.ndarray, title: str) -> None:
    axes.imshow(cv2.cvtColor(panel, cv2.COLOR_BGR2RGB), interpolation='antialiased')
    axes.set_title(title)
    axes.set_axis_off()


def _channels(axes: Axes, result: FusionResult) -> None:
    attention = result.attention
    labels = attention.channel_labels
    colours = [style.MAP if label.startswith('map') else style.LIDAR for label in labels]
    axes.bar(range(len(labels)), attention.channel, color=colours, width=0.8)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.tick_params(axis='x', length=0, pad=1)
    axes.grid(axis='x', visible=False)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel('weight')
    axes.set_title(f'weight of every fused channel; share of weight x activation: LiDAR {attention.lidar_share:.0%}, '
                   f'map {attention.map_share:.0%}')
