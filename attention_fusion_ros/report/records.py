# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of every sweep of a run: light enough for hours of driving, rich enough for tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_fusion_ros.contracts import Branch, Finding, FusionResult
from attention_fusion_ros.utils import atomic

DIRECTION_COLUMNS = ('stamp_ns', 'mode', 'bearing_rad', 'heading_rad', 'bearing_std_rad', 'probability', 'latency_ms')
REASON_COLUMNS = ('stamp_ns', 'reason')
BRANCH_COLUMNS = ('stamp_ns', 'bearing_rad', 'heading_rad', 'probability')
STAGES = ('decode', 'bev', 'network', 'postprocess')


@dataclass(frozen=True)
class SweepRecord:
    """One sweep: what came out, or why nothing did."""

    stamp_ns: int
    drop_reason: str = ''  # snake_case; '' when there is a result
    mode: str = ''  # fused or lidar_only; '' when there is no result
    mode_reason: str = ''  # why not fused
    direction: Branch | None = None
    direction_reason: str = ''  # why no direction
    branches: tuple[Branch, ...] = ()
    distribution: np.ndarray | None = None  # (K,) float32, sums to 1
    map_share: float | None = None  # of the channel attention
    latency_ms: float | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    odometry_reason: str | None = None  # why no odometry, '' where there is; None: not asked
    findings: tuple[Finding, ...] = ()  # what is implausible about the sweep
    true_branches: tuple[tuple[float, float], ...] | None = None  # bearing, heading; rad, where known
    true_direction: tuple[float, float] | None = None  # of them the one to take, where there is one

    @staticmethod
    def of(result: FusionResult, latency_ms: float, stage_ms: dict[str, float] | None = None,
           odometry_reason: str | None = None) -> SweepRecord:
        """The record of a result; latency from undecoded message to result."""
        return SweepRecord(result.stamp_ns, '', result.mode.value, result.reason, result.direction,
                           result.direction_reason, result.branches, result.distribution.copy(),
                           result.attention.map_share, latency_ms, dict(stage_ms or result.stage_ms), odometry_reason,
                           result.findings)


def write_directions(path: Path, records: Sequence[SweepRecord]) -> None:
    """directions.csv: one row a sweep, in order; fields are empty where nothing was estimated."""
    def row(r: SweepRecord) -> list[object]:
        d = r.direction
        values = (d.bearing, d.heading, d.bearing_std, d.probability) if d else (None,) * 4
        return [r.stamp_ns, r.mode, *map(_number, values), _number(r.latency_ms, 3)]

    atomic.write_csv(path, [DIRECTION_COLUMNS, *map(row, records)])


def write_reasons(path: Path, records: Sequence[SweepRecord]) -> None:
    """reasons.csv: one row for every sweep without a direction: why there is none, or why the sweep was dropped."""
    atomic.write_csv(path, [REASON_COLUMNS, *([r.stamp_ns, r.drop_reason or r.direction_reason]
                                              for r in records if r.direction is None)])


def write_branches(path: Path, records: Sequence[SweepRecord]) -> None:
    """branches.csv: one row a branch, most probable first within a sweep."""
    atomic.write_csv(path, [BRANCH_COLUMNS, *([r.stamp_ns, *map(_number, (b.bearing, b.heading, b.probability))]
                                              for r in records for b in r.branches)])


def _number(value: float | None, digits: int = 6) -> str:
    return '' if value is None else f'{value:.{digits}f}'


@dataclass(frozen=True)
class Summary:
    """The figures of a run."""

    sweeps: int
    results: int
    directions: int
    modes: dict[str, int]
    mode_reasons: dict[str, int]  # why not fused
    drops: dict[str, int]
    no_direction: dict[str, int]  # why no direction although there was a result; of what has a name, the name
    latency_ms: dict[str, float]  # median, p95; empty without results
    stage_ms: dict[str, float]  # median of each stage
    odometry_reasons: dict[str, int] | None = None  # why results did without odometry; None: not asked

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        latency = (f"median {self.latency_ms['median']:.1f} ms, 95th percentile {self.latency_ms['p95']:.1f} ms"
                   if self.latency_ms else 'none measured')
        stages = ', '.join(f'{name} {value:.1f}' for name, value in self.stage_ms.items())
        found = [f'map image   {self._with(self.mode_reasons)}']
        if self.odometry_reasons is not None:
            found.append(f'odometry    {self._with(self.odometry_reasons)}')
        return [f'sweeps      {self.sweeps}',
                f'results     {self.results} ({counted(self.modes)})',
                f'not fused   {counted(self.mode_reasons)}',
                *found,
                f'directions  {self.directions} (none: {counted(self.no_direction)})',
                f'drops       {sum(self.drops.values())} ({counted(self.drops)})',
                f'latency     {latency}' + (f' (median of the stages in ms: {stages})' if stages else '')]

    def _with(self, without: dict[str, int]) -> str:
        """How many results had an input, and why the others did not."""
        return f'used for {self.results - sum(without.values())} of {self.results} (without: {counted(without)})'


def counted(counts: dict[str, int]) -> str:
    """{'fused': 28} -> 'fused 28'."""
    return ', '.join(f'{name} {n}' for name, n in counts.items()) or '-'


def summarise(records: Sequence[SweepRecord]) -> Summary:
    """Count and take percentiles."""
    done = [r for r in records if not r.drop_reason]
    latencies = [r.latency_ms for r in done if r.latency_ms is not None]
    stages = {name: [r.stage_ms[name] for r in done if name in r.stage_ms] for name in STAGES}
    return Summary(
        sweeps=len(records), results=len(done), directions=sum(r.direction is not None for r in done),
        modes=_count(r.mode for r in done), mode_reasons=_count(r.mode_reason for r in done),
        drops=_count(r.drop_reason for r in records), no_direction=_count(_name(r.direction_reason) for r in done),
        latency_ms=({'median': float(np.median(latencies)), 'p95': float(np.percentile(latencies, 95))}
                    if latencies else {}),
        stage_ms={name: float(np.median(values)) for name, values in stages.items() if values},
        odometry_reasons=(_count(r.odometry_reason or '' for r in done)
                          if any(r.odometry_reason is not None for r in done) else None))


def _name(reason: str) -> str:
    """'not_seen: from 45 deg ...' -> 'not_seen'; a reason that does not begin with a name stays as it is."""
    name, colon, _ = reason.partition(': ')
    return name if colon and '_' in name and ' ' not in name else reason


def first_findings(records: Iterable[SweepRecord]) -> dict[str, tuple[int, str]]:
    """Name of each finding -> in how many sweeps it was, and what was said first."""
    found: dict[str, tuple[int, str]] = {}
    for record in records:
        for finding in record.findings:
            count, message = found.get(finding.name, (0, finding.message))
            found[finding.name] = count + 1, message
    return found


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(v for v in values if v).most_common())
