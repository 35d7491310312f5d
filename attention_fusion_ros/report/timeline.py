# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The story of a run in one figure: distribution and branches over time, probability, modes, latency, drops."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.report import style
from attention_fusion_ros.report.records import STAGES, Summary, SweepRecord, summarise

COLUMNS_MAX = 1200  # of the waterfall: longer runs are thinned
ALONE_S = 0.05  # to both sides of a run of one sweep
FLAT = 8.0  # times the uniform distribution: the least that is drawn as a full peak
LEAST_PT2, SURE_PT2 = 5.0, 65.0  # areas of circles of probability 0 and 1; between, with its square
# Bearings are drawn from -135 to 225 degrees: ahead, left, behind and right all lie well inside, none at the seam.
SEAM_DEG = -135.0
COMPASS = {-90: 'right', 0: 'ahead', 90: 'left', 180: 'behind'}
HEIGHTS_IN = (3.7, 1.5, 0.45, 1.6, 2.6, 1.1)  # of the rows


def timeline(records: Sequence[SweepRecord], title: str) -> Figure:
    """The figure of a run; records in the order they came. Raises ValueError when there are none."""
    if not records:
        raise ValueError('no sweeps, nothing to plot')
    seconds = _seconds(records)
    summary = summarise(records)
    reasons = _reasons(summary)
    heights = HEIGHTS_IN if reasons else HEIGHTS_IN[:-1]
    with style.styled():
        figure = style.new_figure(style.PORTRAIT_IN, sum(heights) + 3.2)
        set_title(figure, title)
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        bearings = figure.add_subplot(grid[0, :])
        _bearings(bearings, records, seconds)
        probability = figure.add_subplot(grid[1, :], sharex=bearings)
        _probability(probability, records, seconds)
        modes = figure.add_subplot(grid[2, :], sharex=bearings)
        _modes(modes, records, seconds)
        latency = figure.add_subplot(grid[3, :], sharex=bearings)
        _latency(latency, records, seconds, summary)
        latency.set_xlabel('time since the first sweep [s]')
        for axes in (bearings, probability, modes):
            axes.tick_params(labelbottom=False)
        _headings(figure.add_subplot(grid[4, 0]), records, seconds)
        _latency_histogram(figure.add_subplot(grid[4, 1]), records)
        if reasons:
            _counts(figure.add_subplot(grid[5, :]), reasons, summary.sweeps)
        if len(records) == 1:  # an axis of time without a length
            latency.set_xticks([0.0])
    return figure


def set_title(figure: Figure, title: str) -> None:
    """Give a figure another title, '' for none."""
    with style.styled():
        figure.suptitle('\n'.join(textwrap.wrap(title, 48)), x=0.01, ha='left', fontsize=13, fontweight='bold')


def drawn_bearing(bearing: np.ndarray) -> np.ndarray:
    """Bearings [rad] of any shape -> degrees from -135 up to 225, as the figure draws them."""
    return np.asarray((np.degrees(bearing) - SEAM_DEG) % 360.0 + SEAM_DEG)


def _legend_above(axes: Axes, handles: list[Any] | None = None, columns: int = 2) -> None:
    """A legend between the title and the axes, where it covers nothing."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    if handles:
        axes.legend(handles=handles, loc='lower left', bbox_to_anchor=(-0.01, 0.985), ncol=columns, borderpad=0.1,
                    columnspacing=1.2, handletextpad=0.5, labelspacing=0.25)
        rows = -(-len(handles) // columns)
        axes.set_title(axes.get_title(loc='left'), pad=6.0 + 13.0 * rows)


def _seconds(records: Sequence[SweepRecord]) -> np.ndarray:
    """Time axis in s; where stamps run backwards (a looping recording) the order of arrival goes on."""
    stamps = np.array([r.stamp_ns for r in records], dtype=np.float64) / 1e9
    steps = np.diff(stamps, prepend=stamps[0])
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.1
    return np.cumsum(np.where(steps < 0, usual, steps))


def _bearings(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    known = [(t, r.distribution) for t, r in zip(seconds, records) if r.distribution is not None]
    if known:
        _waterfall(axes, known)
    points = np.array([(t, b.bearing, b.probability) for t, r in zip(seconds, records) for b in r.branches])
    if len(points):
        axes.scatter(points[:, 0], drawn_bearing(points[:, 1]), s=LEAST_PT2 + (SURE_PT2 - LEAST_PT2) * points[:, 2]**2,
                     clip_on=False, facecolors='none', edgecolors=style.BRANCH, linewidths=1.0,
                     label='branch (size: probability)')
    if any(r.true_branches for r in records):
        truth = np.array([(t, b[0]) for t, r in zip(seconds, records) for b in r.true_branches or ()])
        axes.scatter(truth[:, 0], drawn_bearing(truth[:, 1]), s=30, marker='_', color=style.TRUTH, clip_on=False,
                     label='true branch')
    chosen = np.array([(t, r.direction.bearing) for t, r in zip(seconds, records) if r.direction])
    if len(chosen):
        axes.scatter(chosen[:, 0], drawn_bearing(chosen[:, 1]), s=16, color=style.ESTIMATE, zorder=3,
                     clip_on=False, label='direction to take')
    taken = np.array([(t, r.true_direction[0]) for t, r in zip(seconds, records) if r.true_direction])
    if len(taken):
        axes.scatter(taken[:, 0], drawn_bearing(taken[:, 1]), s=60, marker='_', linewidths=2.6, color=style.TRUTH,
                     clip_on=False, label='true direction')
    axes.set(ylim=(SEAM_DEG, SEAM_DEG + 360.0), ylabel='bearing [deg]', title='Where the roads go')
    ticks = range(-135, 226, 45)
    axes.set_yticks(ticks, [f'{COMPASS[t]}  {t}' if t in COMPASS else f'{t if t <= 180 else t - 360}' for t in ticks])
    span = max(seconds[-1], 2 * ALONE_S)
    alone = len(seconds) == 1
    axes.set_xlim(-max(0.02 * span, ALONE_S if alone else 0.0), ALONE_S if alone else 1.02 * span)
    shade = [Patch(color='#adb5bd', label='distribution')] if known else []
    handles = [*shade, *axes.get_legend_handles_labels()[0]]
    _legend_above(axes, handles)


def _waterfall(axes: Axes, known: list[tuple[float, np.ndarray]]) -> None:
    """The distribution of each sweep as a column of shade, from half way to its neighbours."""
    known = known[::max(1, len(known) // COLUMNS_MAX)]
    probability = np.stack([distribution for _, distribution in known], axis=1)
    # Each sweep up to its own peak, but a flat one (the network does not know) stays pale.
    shade = np.sqrt(probability / np.maximum(probability.max(axis=0), FLAT / len(probability)))
    times = np.array([seconds for seconds, _ in known])
    if len(times) == 1:
        edges = np.array([times[0] - ALONE_S, times[0] + ALONE_S])
    else:
        middles = (times[1:] + times[:-1]) / 2
        edges = np.concatenate([[2 * times[0] - middles[0]], middles, [2 * times[-1] - middles[-1]]])
    shade, bounds = _from_seam(shade)
    axes.pcolormesh(edges, bounds, shade, cmap='Greys', vmin=0, vmax=2.0, shading='flat', rasterized=True)


def _from_seam(shade: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, N) from bearing -180 to 180 -> (K + 1, N) from the seam on, and the bounds (K + 2,) of its bins in degrees.

    The bin that the seam cuts stands at both ends, a part at each.
    """
    bins = len(shade)
    step = 360.0 / bins
    first = int((SEAM_DEG + 180.0) // step)
    bounds = -180.0 + (first + np.arange(bins + 2)) * step
    bounds[0], bounds[-1] = SEAM_DEG, SEAM_DEG + 360.0
    return np.concatenate([shade[first:], shade[:first + 1]]), bounds


def _probability(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    chosen = [(t, r.direction.probability) for t, r in zip(seconds, records) if r.direction]
    shares = [(t, r.map_share) for t, r in zip(seconds, records) if r.map_share is not None]
    if chosen:
        axes.plot(*zip(*chosen), '.', color=style.ESTIMATE, label='probability of the direction')
    if shares:
        axes.plot(*zip(*shares), color=style.MAP, marker='.' if len(shares) == 1 else '',
                  label='share of the map in the channel attention')
    axes.set(ylim=(-0.03, 1.03), ylabel='0 to 1', title='How sure, and how much the map counts')
    _legend_above(axes)


def _modes(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    names = [r.mode or ('dropped' if r.drop_reason else 'result') for r in records]
    usual = np.median(np.diff(seconds)) if len(seconds) > 1 else 0.1
    widths = np.diff(seconds, append=seconds[-1] + usual)
    if len(seconds) == 1:
        seconds, widths = seconds - ALONE_S, np.array([2 * ALONE_S])
    for name, colour in style.MODES.items():
        here = [i for i, n in enumerate(names) if n == name]
        if here:
            axes.bar(seconds[here], 1, np.minimum(widths[here], 3 * usual or 0.1), align='edge', color=colour)
    axes.set(ylim=(0, 1), yticks=[], title='Mode')
    axes.grid(False)
    _legend_above(axes, [Patch(color=c, label=f'{n} ({names.count(n)})') for n, c in style.MODES.items() if n in names],
                  4)


def _latency(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray, summary: Summary) -> None:
    done = [i for i, r in enumerate(records) if r.latency_ms is not None]
    axes.set(ylabel='ms', title='Latency of a sweep, by stage')
    if not done:
        return
    times = seconds[done]
    layers = {name: np.array([records[i].stage_ms.get(name, 0.0) for i in done]) for name in STAGES}
    total = np.array([records[i].latency_ms for i in done])
    if len(done) == 1:  # an area needs two points
        times, total = np.array([times[0] - ALONE_S, times[0] + ALONE_S]), np.repeat(total, 2)
        layers = {name: np.repeat(values, 2) for name, values in layers.items()}
    layers['other'] = np.clip(total - sum(layers.values()), 0, None)
    layers = {name: values for name, values in layers.items() if values.max() > 0}
    if list(layers) == ['other']:
        layers = {'all stages': total}
        axes.set_title('Latency of a sweep')
    colours = [style.STAGES.get(name, style.STAGES['network']) for name in layers]
    axes.stackplot(times, *layers.values(), labels=list(layers), colors=colours,
                   edgecolor='white', linewidth=0.3)
    axes.axhline(summary.latency_ms['p95'], color=style.INK, linestyle=':', linewidth=1.2, label='95th percentile')
    # One slow sweep (the first, or another process in between) must not flatten all others.
    limit = 1.6 * summary.latency_ms['p95']
    axes.set_ylim(0, limit)
    over = total > limit
    if over.any():  # what is cut off is said
        axes.plot(times[over], np.full(over.sum(), 0.97 * limit), '^', color=style.INK, markersize=4,
                  label=f'higher, up to {total.max():.0f} ms')
    _legend_above(axes, columns=3)


def _headings(axes: Axes, records: Sequence[SweepRecord], seconds: np.ndarray) -> None:
    """Bearing against heading of the direction: on a straight road through the vehicle they agree."""
    chosen = np.array([(r.direction.bearing, r.direction.heading) for r in records if r.direction])
    axes.set(xlabel='bearing of the direction [deg]', ylabel='its heading [deg]', title='Bearing and heading')
    axes.axline((0, 0), slope=1, color=style.FAINT, linewidth=1, zorder=1)
    if len(chosen):
        times = np.array([t for t, r in zip(seconds, records) if r.direction])
        bearing = drawn_bearing(chosen[:, 0])
        # The heading that is nearest to the bearing: a road straight behind stays on the diagonal.
        heading = bearing + np.degrees(wrap(chosen[:, 1] - chosen[:, 0]))
        points = axes.scatter(bearing, heading, c=times, s=16, cmap='plasma', zorder=3)
        low = min(bearing.min(), heading.min(), -25.0)
        high = max(bearing.max(), heading.max(), 25.0)
        margin = 0.06 * (high - low)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
        if np.ptp(times) > 0:
            bar = axes.figure.colorbar(points, ax=axes, location='bottom', aspect=30, pad=0.02)
            bar.set_label('time [s]')
            bar.outline.set_visible(False)
    else:
        axes.text(0.5, 0.5, 'no direction', transform=axes.transAxes, ha='center', color=style.FAINT)


def _reasons(summary: Summary) -> list[tuple[str, int, str]]:
    """Everything that did not go the usual way: reason, sweeps, colour."""
    return ([(f'dropped: {k}', v, style.MODES['dropped']) for k, v in summary.drops.items()]
            + [(f'not fused: {k}', v, style.MODES['lidar_only']) for k, v in summary.mode_reasons.items()]
            + [(f"no direction: {k.partition(':')[0]}", v, style.FAINT) for k, v in summary.no_direction.items()])[:8]


def _counts(axes: Axes, rows: list[tuple[str, int, str]], sweeps: int) -> None:
    """The reasons as bars."""
    axes.set_title('Drops and reasons')
    axes.grid(False)
    axes.set_yticks([])
    axes.barh(range(len(rows)), [r[1] for r in rows], color=[r[2] for r in rows], height=0.85, alpha=0.35)
    for i, (label, count, _) in enumerate(rows):
        axes.text(0.02, i, f'{count}  {_short(label)}', va='center', fontsize=style.SMALL_PT,
                  transform=axes.get_yaxis_transform())
    axes.set(xlim=(0, sweeps), ylim=(len(rows) - 0.4, -0.6), xlabel='sweeps')


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length - 1] + '…'


def _latency_histogram(axes: Axes, records: Sequence[SweepRecord]) -> None:
    values, marks = np.array([r.latency_ms for r in records if r.latency_ms is not None]), ''
    if len(values):
        axes.hist(values, bins=min(30, max(5, len(values) // 4)), color=style.STAGES['network'], alpha=0.7)
        median, high = np.percentile(values, (50, 95))
        axes.axvline(median, color=style.INK, linewidth=1.2)
        axes.axvline(high, color=style.INK, linestyle=':', linewidth=1.2)
        marks = f'\nmedian (line) {median:.0f} ms\n95th percentile (dots) {high:.0f} ms'
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f'latency [ms]{marks}', ylabel='sweeps', title='Latency')
