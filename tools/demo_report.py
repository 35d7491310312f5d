# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the demo shows: a table of truth and estimate, a summary, pictures with both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.metrics.matching import match, nearest
from attention_fusion_ros.report.contact_sheet import spread
from attention_fusion_ros.report.records import SweepRecord, counted
from attention_fusion_ros.report.run_report import Picture, write_report
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.tables import RIGHT, Table
from attention_fusion_ros.visualization.panels import TRUTH, TRUTH_LENGTH, draw_arrow, draw_arrow_legend, squares

TOLERANCE_RAD = math.radians(10.0)  # that of F1@10
CLOSE_RAD = math.radians(5.0)
PICTURES = 12
SCREEN = 30  # rows of a table that are seen at once
LOOKAHEAD_M = 20.0  # of the shipped network and of the truth
LEGEND = ('Left: LiDAR height. Middle: the map image as it was warped onto the sweep, LiDAR structure on top. Right: '
          'spatial attention on a logarithmic scale that is the same in every picture. Green arrows: estimated '
          'branches (thick: the direction to take). Blue arrows: true branches, longer (thick: the true direction). '
          'The circle is the lookahead ring; up is straight ahead.')


@dataclass(frozen=True)
class DemoSweep:
    """One sweep: the truth, and what the node said. Angles in rad."""

    index: int
    time_ns: int  # since the start of the drive
    truth: Any  # simulation.truth.Truth
    sent_at: float  # time.monotonic()
    branches: tuple[Branch, ...] | None = None  # None: no answer
    direction: tuple[float, float] | None = None
    answered_at: float | None = None
    picture: np.ndarray | None = None
    map_share: float | None = None
    distribution: np.ndarray | None = None  # (K,)
    mode: str = ''  # fused or lidar_only, '' when the node has not said
    mode_reason: str = ''  # why not fused
    no_direction: str = ''  # why no direction
    cloud: Any = None  # contracts.PointCloud
    map_before: tuple[float, float] | None = None  # m and rad by which a map image would be off that fixes place alone
    map_after: tuple[float, float] | None = None  # the same, of the one that was drawn

    @property
    def answered(self) -> bool:
        """Whether the node published branches for this sweep (there may be none)."""
        return self.branches is not None

    @property
    def latency_ms(self) -> float | None:
        """From publishing the sweep to receiving its branches."""
        return None if self.answered_at is None else 1e3 * (self.answered_at - self.sent_at)

    def pairs(self) -> list[tuple[int, int]]:
        """(index of branch, index of true branch) of those found."""
        return match([b.bearing for b in self.branches or ()], [b[0] for b in self.truth.branches], TOLERANCE_RAD)


def table(sweeps: Sequence[DemoSweep]) -> list[dict[str, str]]:
    """A row a sweep; angles in degrees, empty where there is nothing to say."""
    with_map_errors = any(s.map_before or s.map_after for s in sweeps)
    rows = []
    for s in sweeps:
        true, estimate = s.truth.direction, s.direction
        rows.append({
            'sweep': str(s.index), 'time [s]': f'{s.time_ns / 1e9:.1f}',
            'true bearing [deg]': _degrees(true, 0), 'estimated': _degrees(estimate, 0),
            'true heading [deg]': _degrees(true, 1), 'estimated heading': _degrees(estimate, 1),
            'branches found / true': f'{len(s.pairs())} / {len(s.truth.branches)}' if s.answered else 'no answer',
            'too many': '' if s.branches is None else str(len(s.branches) - len(s.pairs())), 'mode': s.mode,
            'latency [ms]': '' if s.latency_ms is None else f'{s.latency_ms:.0f}',
            **({'map off before': _off(s.map_before), 'after': _off(s.map_after)} if with_map_errors else {})})
    return rows


def _off(error: tuple[float, float] | None) -> str:
    return '' if error is None else f'{error[0]:.1f} m {math.degrees(error[1]):.1f} deg'


def _degrees(pair: tuple[float, float] | None, which: int) -> str:
    return '' if pair is None else f'{math.degrees(pair[which]):+.1f}'


def as_text(rows: Sequence[dict[str, str]]) -> str:
    """The table for a terminal; the names of its columns once more at the end of a long one."""
    lines = sweep_table(rows).text().splitlines()
    rule = next(k for k, line in enumerate(lines) if set(line) == {'-'})
    return '\n'.join(lines + (lines[rule:rule + 1] + lines[rule - 1:rule] if len(rows) > SCREEN else []))


def sweep_table(rows: Sequence[dict[str, str]]) -> Table:
    """The rows as a table; raises IndexError when there are none."""
    return Table('Sweeps', tuple(rows[0]), [tuple(row.values()) for row in rows], alignment=RIGHT * len(rows[0]))


def summary_lines(sweeps: Sequence[DemoSweep]) -> list[str]:
    """Counts, errors and latency."""
    answered = [s for s in sweeps if s.answered]
    hits = sum(len(s.pairs()) for s in answered)
    stated = sum(len(s.branches or ()) for s in answered)
    true = sum(len(s.truth.branches) for s in answered)
    both = [(s.direction, s.truth.direction) for s in answered if s.direction and s.truth.direction]
    lines = [f'answers     {len(answered)} of {len(sweeps)} sweeps']
    if stated + true:
        lines.append(f'branches    found {hits} of {true}, {stated - hits} too many: '
                     f'F1@10 {2 * hits / (stated + true):.3f}')
    if both:
        bearing = np.degrees([angle_between(a[0], b[0]) for a, b in both])
        heading = np.degrees([angle_between(a[1], b[1]) for a, b in both])
        lines.append(f'direction   bearing error: median {np.median(bearing):.1f} deg, 90th percentile '
                     f'{np.percentile(bearing, 90):.1f} deg; heading error: median {np.median(heading):.1f} deg; '
                     f'bearing within 5 deg in {np.mean(bearing <= math.degrees(CLOSE_RAD)):.0%} of {len(both)} sweeps')
    for name, errors in (('fixes alone', [s.map_before for s in sweeps]), ('corrected', [s.map_after for s in sweeps])):
        known = np.array([e for e in errors if e is not None])
        if len(known):
            metres, degrees = known[:, 0], np.degrees(known[:, 1])
            lines.append(f'map error   {name}: median {np.median(metres):.1f} m and {np.median(degrees):.1f} deg, 90th '
                         f'percentile {np.percentile(metres, 90):.1f} m and {np.percentile(degrees, 90):.1f} deg')
    if answered:
        lines.append(f"mode        {counted(Counter(s.mode or 'not told' for s in answered))}")
    latencies = [s.latency_ms for s in answered if s.latency_ms is not None]
    if latencies:
        lines.append(f'latency     publish -> branches: median {np.median(latencies):.0f} ms, 95th percentile '
                     f'{np.percentile(latencies, 95):.0f} ms (the node also makes a picture of every sweep here)')
    return lines


def one_line(answers: Iterable, found: dict[int, DemoSweep]) -> str:
    """The latest answer, for a progress bar."""
    known = [a for a in answers if a.stamp_ns in found and a.branches is not None]
    if not known:
        return 'no answer yet'
    last = known[-1]
    true = found[last.stamp_ns].truth.direction
    return f'direction {_said(last.direction)} (true {_said(true)}), {len(last.branches)} branches'


def with_truth(picture: np.ndarray, sweep: DemoSweep, extent: float) -> np.ndarray:
    """A picture of `visualization.panels.compose_picture` with the true branches on every panel.

    extent: m, of the BEV grid.
    """
    picture = picture.copy()
    for square in squares(picture):
        for branch in sweep.truth.branches:
            draw_arrow(square, extent, LOOKAHEAD_M, branch, TRUTH, 2 if branch == sweep.truth.direction else 1,
                       TRUTH_LENGTH)
    draw_arrow_legend(picture, with_truth=True)
    return picture


def records(sweeps: Sequence[DemoSweep]) -> list[SweepRecord]:
    """The sweeps as the timeline wants them."""
    rows = []
    for s in sweeps:
        direction = None
        if s.direction is not None:  # the same branch, whose probability only the list of branches tells
            branches = s.branches or ()
            k = nearest(s.direction[0], [b.bearing for b in branches], CLOSE_RAD)
            probability = branches[k].probability if k is not None else math.nan
            direction = Branch(*s.direction, probability, math.nan, math.nan)
        rows.append(SweepRecord(
            s.time_ns, '' if s.answered else 'no_answer', s.mode, s.mode_reason, direction,
            (s.no_direction or 'none published') if s.answered and direction is None else '', s.branches or (),
            s.distribution, s.map_share, s.latency_ms, true_branches=s.truth.branches,
            true_direction=s.truth.direction))
    return rows


def write(folder: Path, title: str, lead: str, sweeps: Sequence[DemoSweep], rows: Sequence[dict[str, str]],
          summary: Sequence[str], warnings: Sequence[str], extent: float | None) -> list[Path]:
    """report.html, report.png and, where pictures came, picture.png; returns their paths."""
    seen = [(s, with_truth(s.picture, s, extent)) for s in sweeps if s.picture is not None and extent is not None]
    pictures = [Picture(seen[i][1], caption(seen[i][0]), alts(seen[i][0])) for i in sorted(spread(len(seen), PICTURES))]
    tables = [sweep_table(rows)]
    paths = write_report(folder, title, lead, records(sweeps), pictures, tables, warnings, LEGEND,
                         summary)
    if seen:
        # The one with most to see: many branches, and about the middle of the drive.
        def much_to_see(item: tuple[DemoSweep, np.ndarray]) -> tuple[int, int, float]:
            sweep, _ = item
            return len(sweep.truth.branches), len(sweep.pairs()), -abs(sweep.index - len(sweeps) / 2)

        _, best = max(seen, key=much_to_see)
        paths.append(folder / 'picture.png')
        atomic.save_picture(paths[-1], best)
    return paths


def caption(sweep: DemoSweep) -> str:
    """A line below a picture."""
    return (f't = {sweep.time_ns / 1e9:.1f} s, direction {_said(sweep.direction)} (true '
            f'{_said(sweep.truth.direction)}), branches {len(sweep.pairs())} of {len(sweep.truth.branches)} found')


def alts(sweep: DemoSweep) -> tuple[str, str, str]:
    """What the three panels of a picture show, in words."""
    true = ', '.join(f'{math.degrees(bearing):+.0f}' for bearing, _ in sweep.truth.branches) or 'none'
    found = ', '.join(f'{math.degrees(b.bearing):+.0f}' for b in sweep.branches or ()) or 'none'
    at = f'{sweep.time_ns / 1e9:.1f} s: '
    return (f'{at}LiDAR from above; bearings in degrees of true branches: {true}; of estimated branches: {found}',
            f"{at}map image{'' if sweep.mode == 'fused' else ', not used'}",
            f'{at}spatial attention on a logarithmic scale from 0.001 to 1')


def _said(pair: tuple[float, float] | None) -> str:
    return 'none' if pair is None else f'{_degrees(pair, 0)} deg'
