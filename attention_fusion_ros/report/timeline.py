# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The story of a run in one figure: distribution and branches over time, probability, modes, latency, drops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from attention_fusion_ros.report import style
from attention_fusion_ros.report.records import STAGES, Summary, SweepRecord, summarise

COLUMNS_MAX = 1200  # of the waterfall: longer runs are thinned
ALONE = 0.05  # s to both sides of a run of one sweep
FLAT = 8.0  # times the uniform distribution: the least that is drawn as a full peak


def timeline(records: Sequence[SweepRecord], title: str) -> Figure:
    """The figure of a run; records in the order they came. Raises ValueError when there are none."""
    if not records:
        raise ValueError('no sweeps, nothing to plot')
    seconds = _seconds(records)
    summary = summarise(records)
    with style.styled():
        figure = style.new_figure(13, 9.6)
        figure.suptitle(title, x=0.01, ha='left', fontsize=13, fontweight='bold')
        grid = figure.add_gridspec(4, 3, width_ratios=(1, 1, 0.62), height_ratios=(2.6, 0.8, 0.3, 1.0))
        bearings = figure.add_subplot(grid[0, :2])
        _bearings(bearings, records, seconds)
        probability = figure.add_subplot(grid[1, :2], sharex=bearings)
        _probability(probability, records, seconds)
        modes = figure.add_subplot(grid[2, :2], sharex=bearings)
        _modes(modes, records, seconds)
        latency = figure.add_subplot(grid[3, :2], sharex=bearings)
        _latency(latency, records, seconds, summary)
        latency.set_xlabel('time since the first sweep [s]')
        for axes in (bearings, probability, modes):
            axes.tick_params(labelbottom=False)
        _headings(figure.add_subplot(grid[0, 2]), records, seconds)
        _counts(figure.add_subplot(grid[1:3, 2]), summary)
        _latency_histogram(figure.add_subplot(grid[3, 2]), records)
    return figure


def _seconds(records: Sequence[SweepRecord]) -> np.ndarray:
    """Time axis in s; where stamps run backwards (a looping recording) the order of arrival goes on."""
    stamps = np.array([r.stamp_ns for r in records], dtype=np.float64) / 1e9
    steps = np.diff(stamps, prepend=stamps[0])
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.1
    return np.cumsum(np.where(steps < 0, usual, steps))


def _bearings(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    known = [i for i, r in enumerate(records) if r.distribution is not None]
    if known:
        _waterfall(axes, records, seconds, known)
    points = np.array([(t, b.bearing, b.probability) for t, r in zip(seconds, records) for b in r.branches])
    if len(points):
        axes.scatter(points[:, 0], np.degrees(points[:, 1]), s=10 + 22 * points[:, 2], facecolors='none',
                     edgecolors=style.BRANCH, linewidths=1.0, label='branch (size: probability)')
    if any(r.true_branches for r in records):
        truth = np.array([(t, b[0]) for t, r in zip(seconds, records) for b in r.true_branches or ()])
        axes.scatter(truth[:, 0], np.degrees(truth[:, 1]), s=22, marker='_', color=style.TRUTH, label='true branch')
    chosen = np.array([(t, r.direction.bearing) for t, r in zip(seconds, records) if r.direction])
    if len(chosen):
        axes.scatter(chosen[:, 0], np.degrees(chosen[:, 1]), s=16, color=style.ESTIMATE, zorder=3,
                     label='direction to take')
    axes.set(ylim=(-180, 180), yticks=range(-180, 181, 45), ylabel='bearing [deg], left positive',
             title='Where the roads go')
    span = max(seconds[-1], 2 * ALONE)
    axes.set_xlim(-max(0.02 * span, ALONE if len(seconds) == 1 else 0.0), 1.02 * span if len(seconds) > 1 else ALONE)
    shade = [Patch(color='#adb5bd', label='distribution')] if known else []
    handles = [*shade, *axes.get_legend_handles_labels()[0]]
    if handles:
        axes.legend(handles=handles, loc='lower right', ncols=4, bbox_to_anchor=(1.0, 0.99))


def _waterfall(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray, known: list[int]) -> None:
    """The distribution of each sweep as a column of shade, from half way to its neighbours."""
    known = known[::max(1, len(known) // COLUMNS_MAX)]
    probability = np.stack([records[i].distribution for i in known], axis=1)
    # Each sweep up to its own peak, but a flat one (the network does not know) stays pale.
    shade = np.sqrt(probability / np.maximum(probability.max(axis=0), FLAT / len(probability)))
    times = seconds[known]
    if len(times) == 1:
        edges = np.array([times[0] - ALONE, times[0] + ALONE])
    else:
        middles = (times[1:] + times[:-1]) / 2
        edges = np.concatenate([[2 * times[0] - middles[0]], middles, [2 * times[-1] - middles[-1]]])
    axes.pcolormesh(edges, np.linspace(-180, 180, len(shade) + 1), shade, cmap='Greys', vmin=0, vmax=2.0,
                    shading='flat', rasterized=True)


def _probability(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    chosen = [(t, r.direction.probability) for t, r in zip(seconds, records) if r.direction]
    shares = [(t, r.map_share) for t, r in zip(seconds, records) if r.map_share is not None]
    if chosen:
        axes.plot(*zip(*chosen), '.', color=style.ESTIMATE, label='probability of the direction')
    if shares:
        axes.plot(*zip(*shares), color=style.MAP, label='share of the map in the channel attention')
    axes.set(ylim=(-0.03, 1.03), ylabel='0 .. 1', title='How sure, and how much the map counts')
    if chosen or shares:
        axes.legend(loc='lower left', ncols=2)


def _modes(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    names = [r.mode or ('dropped' if r.drop_reason else 'result') for r in records]
    usual = np.median(np.diff(seconds)) if len(seconds) > 1 else 0.1
    widths = np.diff(seconds, append=seconds[-1] + usual)
    if len(seconds) == 1:
        seconds, widths = seconds - ALONE, np.array([2 * ALONE])
    for name, colour in style.MODES.items():
        here = [i for i, n in enumerate(names) if n == name]
        if here:
            axes.bar(seconds[here], 1, np.minimum(widths[here], 3 * usual or 0.1), align='edge', color=colour)
    axes.set(ylim=(0, 1), yticks=[], title='Mode')
    axes.grid(False)
    axes.legend(handles=[Patch(color=c, label=f'{n} ({names.count(n)})') for n, c in style.MODES.items() if n in names],
                loc='lower right', bbox_to_anchor=(1.0, 0.95), ncols=4)


def _latency(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray, summary: Summary) -> None:
    done = [i for i, r in enumerate(records) if r.latency_ms is not None]
    axes.set(ylabel='ms', title='Latency of a sweep, by stage')
    if not done:
        return
    times = seconds[done]
    layers = {name: np.array([records[i].stage_ms.get(name, 0.0) for i in done]) for name in STAGES}
    total = np.array([records[i].latency_ms for i in done])
    if len(done) == 1:  # an area needs two points
        times, total = np.array([times[0] - ALONE, times[0] + ALONE]), np.repeat(total, 2)
        layers = {name: np.repeat(values, 2) for name, values in layers.items()}
    layers['other'] = np.clip(total - sum(layers.values()), 0, None)
    layers = {name: values for name, values in layers.items() if values.max() > 0}
    if list(layers) == ['other']:
        layers = {'all stages': total}
        axes.set_title('Latency of a sweep')
    colours = [style.STAGES.get(name, style.STAGES['network']) for name in layers]
    axes.stackplot(times, *layers.values(), labels=list(layers), colors=colours)
    axes.axhline(summary.latency_ms['p95'], color=style.INK, linestyle=':', linewidth=1.2, label='95th percentile')
    # One slow sweep (the first, or another process in between) must not flatten all others.
    axes.set_ylim(0, 1.6 * summary.latency_ms['p95'])
    axes.legend(loc='upper right', ncols=6)


def _headings(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    """Bearing against heading of the direction: on a straight road through the vehicle they agree."""
    chosen = np.array([(r.direction.bearing, r.direction.heading) for r in records if r.direction])
    axes.plot([-180, 180], [-180, 180], color='#ced4da', linewidth=1, zorder=1)
    if len(chosen):
        times = np.array([t for t, r in zip(seconds, records) if r.direction])
        points = axes.scatter(*np.degrees(chosen).T, c=times, s=16, cmap='plasma', zorder=3)
        bar = axes.figure.colorbar(points, cax=axes.inset_axes((0.58, 0.1, 0.37, 0.035)), orientation='horizontal')
        bar.set_label('time [s]', fontsize=8, labelpad=1)
        bar.ax.tick_params(labelsize=7.5, length=2, pad=1)
        bar.outline.set_visible(False)
        reach = max(30.0, float(np.abs(np.degrees(chosen)).max()) * 1.15)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    else:
        axes.text(0.5, 0.5, 'no direction', transform=axes.transAxes, ha='center', color=style.FAINT)
    axes.set_aspect('equal', adjustable='box')
    axes.set(xlabel='bearing of the direction [deg]', ylabel='its heading [deg]', title='Bearing and heading')


def _counts(axes: Axes, summary: Summary) -> None:
    """Everything that did not go the usual way, by reason."""
    rows = ([(f'dropped: {k}', v, style.MODES['dropped']) for k, v in summary.drops.items()]
            + [(f'not fused: {k}', v, style.MODES['lidar_only']) for k, v in summary.mode_reasons.items()]
            + [(f"no direction: {k.partition(':')[0]}", v, style.FAINT) for k, v in summary.no_direction.items()])[:8]
    axes.set_title('Drops and reasons')
    axes.grid(False)
    axes.set_yticks([])
    if not rows:
        axes.set_xticks([])
        axes.text(0.5, 0.5, 'none: every sweep gave a direction', transform=axes.transAxes, ha='center',
                  color=style.FAINT)
        return
    axes.barh(range(len(rows)), [r[1] for r in rows], color=[r[2] for r in rows], height=0.85, alpha=0.35)
    for i, (label, count, _) in enumerate(rows):
        axes.text(0.02, i, f'{count}  {_short(label)}', va='center', fontsize=8.5,
                  transform=axes.get_yaxis_transform())
    axes.set(xlim=(0, summary.sweeps), ylim=(len(rows) - 0.4, -0.6), xlabel='sweeps')


def _short(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[:length - 1] + '…'


def _latency_histogram(axes: Axes, records: Sequence[SweepRecord]) -> None:
    values = np.array([r.latency_ms for r in records if r.latency_ms is not None])
    if len(values):
        axes.hist(values, bins=min(30, max(5, len(values) // 4)), color=style.STAGES['network'], alpha=0.7)
        for name, percent, dash in (('median', 50, '-'), ('95th percentile', 95, ':')):
            value = np.percentile(values, percent)
            axes.axvline(value, color=style.INK, linestyle=dash, linewidth=1.2, label=f'{name} {value:.0f} ms')
        axes.legend(loc='upper right', frameon=True, framealpha=0.85, edgecolor='none')
    axes.set(xlabel='latency [ms]', ylabel='sweeps', title='Latency')
