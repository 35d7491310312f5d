# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A comparison by pairs as tables, as JSON and as rows of the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from attention_fusion_ros.benchmarking.core import Times
from attention_fusion_ros.benchmarking.ledger import Row
from attention_fusion_ros.benchmarking.pairs import REFERENCE, Comparison, Measured
from attention_fusion_ros.benchmarking.providers import STAGES
from attention_fusion_ros.network.build import build_network
from attention_fusion_ros.network.cost import network_size
from attention_fusion_ros.utils.provenance import Provenance
from attention_fusion_ros.utils.tables import Table

HEADER = ('stage', 'provider', 'median ms', 'p95 ms', 'p99 ms', 'cpu ms', f'times {REFERENCE}', '20 .. 80 %',
          'cpu ratio')


def tables(found: Comparison) -> Iterator[Table]:
    """For every number of points: the times of the stages, then what they had to do and the floor that this sets."""
    for points, measured in found.measured.items():
        rows = [_times_row(stage, name, one) for stage in STAGES for name, one in measured.items()]
        yield Table(f'{points:,} points', HEADER, rows, tuple(_remarks(measured, found.runs)))
        work, best = found.work[points], measured[REFERENCE].wall
        floors = {stage: work[stage].floor_ms(found.machine) for stage in STAGES if stage != 'total'}
        floors['total'] = sum(floors.values())
        yield Table(f'{points:,} points: the floor',
                    ('stage', 'moves MB', 'operations, million', 'bound by', 'floor ms', f'{REFERENCE} over floor'),
                    [(stage, f'{work[stage].bytes / 1e6:.2f}', f'{work[stage].operations / 1e6:.2f}',
                      '-' if stage == 'total' else work[stage].bound(found.machine), f'{floors[stage]:.3f}',
                      f'{best[stage].median / max(floors[stage], 1e-9):.1f}') for stage in STAGES])


def _times_row(stage: str, name: str, one: Measured) -> tuple[str, ...]:
    wall, ratio = one.wall[stage], one.ratio[stage]
    return (stage, name, f'{wall.median:.2f}', f'{wall.p95:.2f}', f'{wall.p99:.2f}',
            f'{one.processor[stage].median:.2f}', f'{ratio.median:.2f}', f'{ratio.p20:.2f} .. {ratio.p80:.2f}',
            f'{one.processor_ratio[stage].median:.2f}')


def _remarks(measured: dict[str, Measured], runs: int) -> Iterator[str]:
    for name, one in measured.items():
        peak = ('' if one.peak_mb is None or one.grown_mb is None else
                f'resident at most {one.peak_mb:.0f} MB, all providers together, of which one sweep added '
                f'{one.grown_mb:.1f} MB; ')
        yield (f'{name}: {peak}{one.fused} of {runs} answers with the map; circular distribution at most '
               f'{one.apart:.1e} from that of {REFERENCE}')


def heading(found: Comparison) -> list[str]:
    """What was measured, and how."""
    size = network_size(build_network(found.network))
    return [f'{found.runs} sweeps of each size with a map image, each through every provider before the next; '
            f'{found.threads} CPU thread(s), device {found.device}, checkpoint {found.checkpoint}: '
            f'{size.parameters:,} parameters, {size.gmacs:.3f} GMACs a sweep',
            f'Measured on {found.threads} thread(s): copy {found.machine.bandwidth_gb_s:.1f} GB/s (read and written), '
            f'float32 products {found.machine.peak_gflops:.0f} GFLOP/s',
            *(f'{name}: {note}' for name, note in found.notes.items() if note),
            *(f'{name}: not measured, {why}' for name, why in found.left_out.items())]


def as_json(found: Comparison) -> dict[str, Any]:
    """Everything, for files."""
    return {'runs': found.runs, 'threads': found.threads, 'device': found.device, 'checkpoint': found.checkpoint,
            'measured_machine': dataclasses.asdict(found.machine), 'notes': found.notes, 'left_out': found.left_out,
            'sizes': {str(points): {
                'providers': {name: dataclasses.asdict(one) for name, one in measured.items()},
                'work': {stage: {**dataclasses.asdict(work), 'floor_ms': work.floor_ms(found.machine)}
                         for stage, work in found.work[points].items()}}
                for points, measured in found.measured.items()}}


def as_markdown(found: Comparison, made: Provenance, feet: list[str]) -> str:
    """The page that is written beside the JSON."""
    parts = ['# From the bytes of a sweep to the direction', '', *(f'- {line}' for line in heading(found)), '']
    parts += [table.markdown() for table in tables(found)]
    return '\n'.join([*parts, *(f'- {line}' for line in feet), ''])


def ledger_rows(found: Comparison, made: Provenance, date: str) -> Iterator[Row]:
    """The figures for the ledger."""
    device = made.machine if found.device == 'cpu' else f'{found.device}: {made.machine}'
    for points, measured in found.measured.items():
        def row(operation: str, provider: str, metric: str, median: float, p20: float, p80: float,
                size: str = str(points)) -> Row:
            return Row(operation, provider, size, metric, median, p20, p80, device, made.commit, date)

        def of(stage: str, provider: str, metric: str, times: Times, row: Any = row) -> Row:
            made_row: Row = row(stage, provider, metric, times.median, times.p20, times.p80)
            return made_row
        for name, one in measured.items():
            for stage in STAGES:
                yield of(stage, name, 'ms', one.wall[stage])
                yield of(stage, name, 'processor_ms', one.processor[stage])
                yield of(stage, name, 'ratio', one.ratio[stage])
                yield of(stage, name, 'processor_ratio', one.processor_ratio[stage])
                for metric in ('p95', 'p99'):
                    value = getattr(one.wall[stage], metric)
                    yield row(stage, name, f'{metric}_ms', value, value, value)
            if one.peak_mb is not None:
                yield row('total', name, 'peak_mb', one.peak_mb, one.peak_mb, one.peak_mb)
        for stage, work in found.work[points].items():
            for metric, value in (('ms', work.floor_ms(found.machine)), ('moved_mb', work.bytes / 1e6),
                                  ('million_operations', work.operations / 1e6)):
                yield row(stage, 'floor', metric, value, value, value)
