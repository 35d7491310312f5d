# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms as a picture: every seed a dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_fusion_ros.report.style import FAINT, INK, new_figure, png, styled
from attention_fusion_ros.studies.ablation.table import COLUMNS, TASK, Compared
from attention_fusion_ros.utils import atomic

PANELS = TASK
COLOURS = {'map/f1_10': '#0b7285', 'nomap/f1_10': '#3b5bdb'}


def dots(rows: Sequence[Compared], path: Path, baseline: str = 'none') -> Path:
    """A line a row, a panel a metric: seeds as dots, their mean as a bar, the mean of the row `baseline` dashed."""
    with styled():
        figure = new_figure(13.0, 0.32 * len(rows) + 1.3)
        axes = figure.subplots(1, len(PANELS) + 1, sharey=True, width_ratios=[1.3] * len(PANELS) + [1])
        at = np.arange(len(rows))[::-1]
        for axis, name in zip(axes, PANELS, strict=False):
            for y, row in zip(at, rows, strict=True):
                values = row.values(name)
                colour = COLOURS.get(name, '#5f3dc4')
                axis.plot(values, np.full(len(values), y), 'o', ms=4.5, color=colour, alpha=0.6, mec='none')
                if np.isfinite(values).any():
                    axis.plot(np.nanmean(values), y, '|', ms=13, mew=2.2, color=colour)
                if row.key == baseline and np.isfinite(values).any():
                    axis.axvline(np.nanmean(values), color=FAINT, lw=1, ls='--')
            better = 'higher' if COLUMNS[name].metric.higher_is_better else 'lower'
            axis.set(title=COLUMNS[name].title, xlabel=f'{better} is better')
        axes[-1].barh(at, [row.cost.gmacs for row in rows], height=0.55, color='#dee2e6')
        for y, row in zip(at, rows, strict=True):
            axes[-1].text(row.cost.gmacs, y, f' {row.cost.gmacs:.2f} GMAC, {row.cost.latency_ms:.0f} ms', va='center',
                          fontsize=7.5, color=INK)
        axes[-1].set(title='cost of a sweep', xlabel='GMACs',
                     xlim=(0, 2.3 * max((row.cost.gmacs for row in rows), default=1.0)))
        axes[0].set_yticks(at, [row.title for row in rows], color=INK)
        axes[0].set_ylim(-0.6, len(rows) - 0.4)
        atomic.write_bytes(path, png(figure))
    return path
