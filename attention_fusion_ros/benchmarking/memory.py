# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Resident memory over time: how much of it grows, and a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attention_fusion_ros.report import style

SETTLED = 60.0  # s: buffers and caches have been filled by then
SPAN = 10.0  # s at both ends over which the median is taken


def growth(seconds: Sequence[float], megabytes: Sequence[float]) -> float | None:
    """Percent by which the memory has grown since the first minute.

    Medians of SPAN seconds after SETTLED and before the end; None when that is less than one SPAN apart.
    """
    t, mb = np.asarray(seconds, float), np.asarray(megabytes, float)
    if not len(t) or t[-1] < SETTLED + 2 * SPAN:
        return None
    first, last = mb[(t >= SETTLED) & (t <= SETTLED + SPAN)], mb[t >= t[-1] - SPAN]
    if not len(first):
        return None
    return float(100 * (np.median(last) / np.median(first) - 1))


def draw(seconds: Sequence[float], megabytes: Sequence[float], title: str) -> bytes:
    """The curve as a PNG."""
    minutes = np.asarray(seconds, float) / 60
    with style.styled():
        figure = style.new_figure(8.0, 3.2)
        axes = figure.add_subplot()
        axes.plot(minutes, megabytes, color=style.LIDAR)
        if len(minutes) and minutes[-1] * 60 > SETTLED:
            axes.axvline(SETTLED / 60, color=style.FAINT, linestyle='--', linewidth=1)
            axes.annotate('growth is counted from here', (SETTLED / 60, 0.05), (4, 0), textcoords='offset points',
                          xycoords=('data', 'axes fraction'), color=style.FAINT, fontsize=8)
        axes.set_ylim(0, 1.15 * max(megabytes, default=1.0))
        axes.set(title=title, xlabel='min', ylabel='resident memory, MB')
        return style.png(figure)
