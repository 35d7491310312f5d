# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of an evaluation: error distributions, map-error curves, reliability diagram, attention ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attention_fusion_ros.metrics.bootstrap import Estimate
from attention_fusion_ros.metrics.branches import CALIBRATION_BINS, calibration_bins
from attention_fusion_ros.report.style import FAINT, INK, new_figure, png, styled
from attention_fusion_ros.utils import atomic

# The network and the baselines keep their colours from plot to plot; others take what is left, in order.
NETWORK = '#0b7285'
COLOURS = {'straight ahead': '#adb5bd', 'map alone': '#e8590c', 'LiDAR alone, free space': '#3b5bdb'}
OTHERS = ('#d6336c', '#2b8a3e', '#f59f00', '#7048e8', '#5c940d', '#862e9c')


def colours(methods: Sequence[str], network: str | None) -> dict[str, str]:
    """A colour for every method."""
    left = iter(OTHERS * 4)
    return {m: NETWORK if m == network else COLOURS.get(m) or next(left) for m in methods}


def error_distribution(panels: dict[str, dict[str, np.ndarray]], path: Path, network: str | None,
                       what: str = 'bearing error [deg]', limit: float = 25.0) -> Path:
    """Cumulative share of errors for every method, a panel for every condition or drive.

    panels: title -> method -> errors in degrees (a miss counts as `limit`, so curves end where misses begin).
    """
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    methods = list(dict.fromkeys(m for errors in panels.values() for m in errors))
    paint = colours(methods, network)
    with styled():
        figure = new_figure(4.0 * columns + 0.4, 3.2 * rows + 0.5)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axis in axes.flat[len(panels):]:
            axis.set_axis_off()
        for axis, (title, errors) in zip(axes.flat, panels.items(), strict=False):
            for method, values in errors.items():
                values = np.sort(values[np.isfinite(values)])
                if not len(values):
                    continue
                share = np.arange(1, len(values) + 1) / len(values)
                below_limit = values < limit - 1e-9
                last = share[below_limit][-1:] if below_limit.any() else [0.0]
                axis.step(np.concatenate([[0.0], values[below_limit], [limit]]),
                          np.concatenate([[0.0], share[below_limit], last]),
                          where='post', color=paint[method], label=method, lw=2.2 if method == network else 1.4)
            axis.set(title=title, xlim=(0, limit), ylim=(0, 1.01), xlabel=what)
        for row in axes:
            row[0].set_ylabel('share of true roads')
        _shared_legend(figure, axes.flat[0], paint)
        atomic.write_bytes(path, png(figure))
    return path


def _shared_legend(figure: Figure, axis: Axes, paint: dict[str, str]) -> None:
    handles = [axis.plot([], [], color=c, label=m)[0] for m, c in paint.items()]
    figure.legend(handles, list(paint), loc='outside lower center', ncols=min(4, len(paint)))


@dataclass(frozen=True)
class Curve:
    """One method's error over the map's error."""

    method: str
    at: tuple[float, ...]  # m or deg
    errors: tuple[Estimate, ...]


def map_error_curve(shift: Sequence[Curve], yaw: Sequence[Curve], without_map: Estimate, path: Path,
                    network: str | None, margin: float = 1.0) -> Path:
    """Median direction error over map shift and over map yaw error; the line is the network without a map.

    margin: deg by which the target lets the network be worse than without a map.
    """
    paint = colours(list(dict.fromkeys(c.method for c in [*shift, *yaw])), network)
    with styled():
        figure = new_figure(9.0, 3.9)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, curves, label in ((axes[0], shift, 'map shift [m]'), (axes[1], yaw, 'map yaw error [deg]')):
            for curve in curves:
                values = [f.value for f in curve.errors]
                axis.plot(curve.at, values, '-o', ms=4, color=paint[curve.method], label=curve.method)
                axis.fill_between(curve.at, [f.low for f in curve.errors], [f.high for f in curve.errors],
                                  color=paint[curve.method], alpha=0.15, lw=0)
            if math.isfinite(without_map.value):
                axis.axhline(without_map.value, color=INK, lw=1.2, ls='--', label='network, no map')
                axis.axhline(without_map.value + margin, color=FAINT, lw=1.0, ls=':',
                             label=f'no map + {margin:g} deg (target)')
            axis.set(xlabel=label, ylim=(0, None))
        axes[0].set_ylabel('median direction error [deg]')
        axes[0].set_title('Direction error over the error of the map')
        axes[1].legend(loc='upper left')
        atomic.write_bytes(path, png(figure))
    return path


def reliability(groups: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> Path:
    """Reliability diagram: how often branches of a stated probability exist. groups: title -> probability, correct."""
    with styled():
        figure = new_figure(4.3 * len(groups) + 0.3, 4.2)
        axes = figure.subplots(1, len(groups), squeeze=False)[0]
        for axis, (title, (probability, correct)) in zip(axes, groups.items(), strict=True):
            bins = calibration_bins(probability, correct)
            centre = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
            some = bins[:, 0] > 0
            share = bins[:, 0] / max(1.0, bins[:, 0].sum())
            error = float(np.nansum(share * np.abs(bins[:, 1] - bins[:, 2])))
            axis.bar(centre, share, width=0.09, color='#dee2e6', label='share of branches')
            axis.plot([0, 1], [0, 1], ls='--', color=FAINT, lw=1)
            axis.plot(bins[some, 1], bins[some, 2], '-o', color=NETWORK, label='exists')
            axis.set(title=f'{title}: error {error:.3f}', xlim=(0, 1), ylim=(0, 1.02), aspect='equal',
                     xlabel='stated probability', ylabel='share that exists')
            axis.legend(loc='upper left')
        atomic.write_bytes(path, png(figure))
    return path


def attention_ratio_boxes(ratios: dict[str, dict[str, np.ndarray]], path: Path,
                     goals: dict[str, tuple[str, float]] | None = None) -> Path:
    """Attention ratios, scene by scene, as boxes (quartiles, 5 to 95 %) with the mean as a dot.

    ratios: weights -> mask -> (n,); goals: mask -> ('>=' or '<=', bound).
    """
    goals = goals or {}
    masks = list(dict.fromkeys(m for found in ratios.values() for m in found))
    with styled():
        figure = new_figure(3.4 * len(masks) + 0.4, 3.6)
        axes = figure.subplots(1, len(masks), squeeze=False)[0]
        for axis, mask in zip(axes, masks, strict=True):
            names = [n for n, found in ratios.items() if mask in found and np.isfinite(found[mask]).any()]
            data = [ratios[n][mask][np.isfinite(ratios[n][mask])] for n in names]
            axis.boxplot(data, whis=(5, 95), showfliers=False, widths=0.55, showmeans=True,
                         medianprops={'color': INK}, patch_artist=True, boxprops={'facecolor': '#c5f6fa'},
                         meanprops={'marker': 'o', 'markerfacecolor': NETWORK, 'markeredgecolor': NETWORK,
                                    'markersize': 5})
            axis.set_xticks(range(1, len(names) + 1), names)
            axis.axhline(1.0, color=FAINT, lw=1, ls='--')
            if mask in goals:
                sign, bound = goals[mask]
                axis.axhline(bound, color='#c92a2a', lw=1, ls=':', label=f'target {sign} {bound:g}')
                axis.legend(loc='best')
            axis.set(title=mask, ylim=(0, None))
            axis.tick_params(axis='x', rotation=20)
        axes[0].set_ylabel('share of attention / share of area')
        atomic.write_bytes(path, png(figure))
    return path
