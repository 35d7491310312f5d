# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What was found, as a page and as rows of the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from gpu_kit.check import CALLS, Check, medians

STAGES = ('decode', 'bev', 'network', 'postprocess', 'total')
MOST_FAILURES = 20


def lines(check: Check) -> Iterator[str]:
    """Short: the JSON beside it holds everything."""
    found = check.found
    yield '# Checks on a GPU\n' if not check.dry else '# Dry run: sizes are tiny, times mean nothing\n'
    yield ', '.join(f'{k} {v:.0f}' if isinstance(v, float) else f'{k} {v}'
                    for k, v in found.get('machine', {}).items()) + '\n'
    yield from _failures(check)
    if found.get('compile'):
        yield 'Compiled: ' + ', '.join(f"{r['kernel']} {r['registers']} registers"
                                       + (f", {r['stack_bytes']} bytes spilled" if r['stack_bytes'] else '')
                                       for r in found['compile']) + '\n'
    yield from _parity(found.get('parity', {}))
    for row in found.get('bev', []):
        short = medians(row)
        ratio = f", {short['plain'] / short['triton']:.2f} times as fast" if 'triton' in short else ''
        yield '- ' + ', '.join(f'{k} {v}' for k, v in short.items()) + ratio
    for row in found.get('pipeline', []):
        yield from _pipeline(row)
    yield from _attention(found.get('attention', []))
    if found.get('graph'):
        yield '\n## The network [ms]; apart: presence from eager single\n'
        for name, row in found['graph'].items():
            yield f'- {name}: ' + ', '.join(f'{k} {v}' for k, v in medians(row).items() if v != '')
    if 'waits' in found:
        yield '\n## Where the host waits, in one sweep of 120,000 points\n'
        yield from (f'- {count} x {place}' for place, count in found['waits'].items())
    if 'profile' in found:
        yield '\nFor a sweep of 120,000 points: ' + ', '.join(f'{v:.1f} {k}' for k, v in found['profile'].items())
    for name, row in found.get('training', {}).items():
        yield f"- training, {name}: {row['ms']:.1f} ms a step, {row['samples_per_s']:.0f} samples a second"
    yield '\nSeconds: ' + ', '.join(f'{name} {s:.0f}' for name, s in check.took_s.items())


def _failures(check: Check) -> Iterator[str]:
    for name, why in list(check.failed.items())[:MOST_FAILURES]:
        yield f'- **{name}**: {why[:200]}'
    if len(check.failed) > MOST_FAILURES:
        yield f'- and {len(check.failed) - MOST_FAILURES} more'
    yield ''


def _parity(table: dict[str, dict[str, float]]) -> Iterator[str]:
    if not table:
        return
    yield '| largest relative difference from float64 | plain | version | |\n|---|---|---|---|'
    for name, row in table.items():
        version = next(v for k, v in row.items() if k not in ('plain', 'passed'))
        yield f"| {name} | {row['plain']:.1e} | {version:.1e} | {'' if row['passed'] else 'FAILED'} |"
    yield ''


def _pipeline(row: dict[str, Any]) -> Iterator[str]:
    modes = ', '.join(f'{count} {mode}' for mode, count in row['modes'].items())
    yield f"\n## Bytes to direction, {row['points']} points ({modes}): median, p95, p99 [ms]\n"
    yield '| | default | plain | plain over default, of pairs (20, 80 %) |\n|---|---|---|---|'
    for stage in STAGES:
        times = [', '.join(f'{x:.2f}' for x in row[f'{stage} {version}']) for version in ('auto', 'plain')]
        low, middle, high = row[f'{stage} ratio']
        yield f'| {stage} | {times[0]} | {times[1]} | {middle:.2f} ({low:.2f}, {high:.2f}) |'


def _attention(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield ('\n## CBAM [ms]: a single call, with the time to start its kernels / each of '
           f'{CALLS} calls in one CUDA graph, without it\n')
    yield ('The input is the same each time: what fits into the L2 cache is read from there, and may be faster than '
           'the floor, which is of the memory. Ratios are of the time in a graph where there is one.\n')
    providers = list(dict.fromkeys(p for row in rows for p in _of(row, 'forward') | _of(row, 'both')))
    yield '| | floor | ' + ' | '.join(providers) + ' | triton: to timm, to compiled, to floor |'
    yield '|---|---|---|' + '---|' * len(providers)
    for row in rows:
        for way in ('forward', 'both'):
            times, floor = _of(row, way), row[f'{way} floor']
            shown = [' / '.join('-' if t is None else f'{t:.4f}' for t in times.get(p, (None, None)))
                     for p in providers]
            yield (f"| {way} {'x'.join(map(str, row['shape']))}{' last' if row['channels_last'] else ''} | {floor:.4f} "
                   f'| {" | ".join(shown)} | {_ratios(times, floor)} |')


def _of(row: dict[str, Any], way: str) -> dict[str, tuple[float | None, float | None]]:
    """Provider -> medians of a single call, and in a graph."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for key, times in row.items():
        if key.startswith(f'{way} ') and isinstance(times, list):
            name = key.removeprefix(f'{way} ')
            provider = name.removesuffix(' in a graph')
            single, in_graph = found.get(provider, (None, None))
            found[provider] = (single, times[1]) if name != provider else (times[1], in_graph)
    return found


def _ratios(times: dict[str, tuple[float | None, float | None]], floor: float) -> str:
    ours = times.get('triton')
    if ours is None:
        return ''
    said = []
    for other in ('timm', 'compiled, no graphs of its own'):
        theirs = times.get(other, (None, None))
        pairs = [(a, b) for a, b in zip(theirs, ours) if a is not None and b is not None]
        said.append(f'{pairs[-1][0] / pairs[-1][1]:.2f}' if pairs else '-')
    mine = ours[1] or ours[0]
    return ', '.join([*said, '-' if mine is None else f'{floor / mine:.2f}'])


def ledger_rows(check: Check) -> Iterator[Any]:
    """The times as rows of the ledger, see `benchmarking.ledger`."""
    from attention_fusion_ros.benchmarking.ledger import Row
    from attention_fusion_ros.utils.provenance import commit
    device = str(check.found.get('machine', {}).get('device', check.device))
    end = device, commit(), datetime.date.today().isoformat()
    for row in check.found.get('bev', []):
        for name in ('plain', 'triton'):
            if name in row:
                low, median, high = row[name]
                yield Row(row['operation'], name, str(row['points']), 'ms', median, low, high, *end)
    for row in check.found.get('attention', []):
        size = f"{'x'.join(map(str, row['shape']))} {row['dtype']}{' channels last' if row['channels_last'] else ''}"
        for name, times in row.items():
            if isinstance(times, list):
                what, provider = name.split(' ', 1)
                low, median, high = times
                yield Row(f'cbam {what}', provider, size, 'ms', median, low, high, *end)
