# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`benchmark`: how fast the pipeline and the node are on this machine, and whether the node keeps its memory.

The pipeline is measured side by side with what it replaces, see `benchmarking.pairs`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_fusion_ros.benchmarking import sweeps
from attention_fusion_ros.commands import cli
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.tables import Table

if TYPE_CHECKING:
    from attention_fusion_ros.benchmarking import live
    from attention_fusion_ros.benchmarking.core import Times
    from attention_fusion_ros.benchmarking.soak import Minute
    from attention_fusion_ros.utils.provenance import Provenance

PROVIDERS = ('plain', 'user', 'compiled')  # what the default is compared with, see `benchmarking.providers`
EXAMPLES = """\
benchmark --device cpu --out out/benchmark
benchmark --against plain --points 120000
benchmark --node 60 --rate 10 --out out/benchmark
benchmark --soak 120 --bag out/drive --rate 20 --out out/soak
benchmark --soak-report out/soak/soak.csv --out out/soak
benchmark --untrained -p threads:=1
benchmark --kernels --runs 200
benchmark --start --device cpu
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `benchmark`."""
    parser = cli.parser('benchmark', 'Measure latencies of the pipeline (without ROS), or those of the running node '
                        '(--node, --soak; needs ROS 2), with synthetic sweeps.', EXAMPLES)
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--node', type=float, nargs='?', const=60.0, metavar='SECONDS',
                      help='feed the node over DDS: drops, rate, latency from publishing to the direction (default 60)')
    what.add_argument('--kernels', action='store_true', help='from the bytes of a sweep to its grid: plain torch '
                      'against compiled loops, in pairs, at 30,000, 120,000 and 300,000 points (or --points)')
    what.add_argument('--start', type=int, nargs='?', const=5, metavar='TIMES', help='start the node so many times '
                      'with each backend (default 5): time until active, memory, load while idle, size on disk')
    what.add_argument('--soak', type=float, metavar='MINUTES', help='feed the node for long, change its parameters and '
                      'configure it anew every minute, and watch memory, threads, handles and latencies')
    what.add_argument('--soak-report', type=Path, metavar='CSV', help='verdict and plot of the soak.csv of a run that '
                      'goes on, broke off or is over')
    parser.add_argument('--steady', action='store_true', help='with --soak: leave the node as it is')
    parser.add_argument('--runs', type=int, default=200, help='sweeps of each size (default %(default)s)')
    parser.add_argument('--points', type=int, help='of a sweep (default 30,000, 120,000 and 300,000 in turn; '
                        f'{sweeps.POINTS:,} for the node)')
    parser.add_argument('--against', type=_providers, default=','.join(PROVIDERS), metavar='NAMES', help='what the '
                        'pipeline is compared with, sweep by sweep: plain (every operation in plain torch), user '
                        '(read_points, ufunc.at, eager torch), compiled (torch.compile); none: nothing (default '
                        '%(default)s)')
    parser.add_argument('--ledger', type=Path, metavar='FILE', help='append the figures of the pipeline to this CSV, '
                        'from which tables and plots are made')
    parser.add_argument('--rate', type=float, default=10.0, metavar='HZ', help='sweeps a second (default %(default)s)')
    parser.add_argument('--bag', type=Path,
                        help='with --soak or --node: play this recording instead of synthetic sweeps')
    parser.add_argument('--sample', type=float, default=2.0, metavar='SECONDS',
                        help='interval between memory samples of the node (default %(default)s)')
    parser.add_argument('--out', type=cli.output_folder, metavar='DIR', help='where JSON, plot and log of the node go')
    parser.add_argument('--untrained', action='store_true', help='random weights: the speed is that of trained ones')
    cli.add_parameter_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 when nothing was measured or the node ended, 2 for mistakes."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = options_parser()
    options = parser.parse_args(arguments)
    sizes = None if options.points is None else (options.points,)
    options.points = sweeps.POINTS if options.points is None else options.points
    given = (options.runs, options.points, options.rate, options.sample)
    wanted = [value for value in (options.node, options.soak, options.start) if value is not None]
    if min(*given, *wanted) <= 0:
        parser.error('--runs, --points, --rate, --sample, --node, --soak and --start must be greater than 0')
    if options.bag and not (options.node or options.soak):
        parser.error('--bag goes with --node or --soak')
    return cli.run(lambda: benchmark(options, arguments, sizes))


def _providers(text: str) -> str:
    unknown = [name for name in text.split(',') if name and name not in (*PROVIDERS, 'none')]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(PROVIDERS)}, none")
    return text


def benchmark(options: argparse.Namespace, arguments: Sequence[str], sizes: tuple[int, ...] | None = None) -> int:
    """Measure as the options say. sizes: points of sweeps, default those of `benchmarking.pairs`; not of the node."""
    from attention_fusion_ros.utils.provenance import collect

    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')
    # File names without their folders: where files lie says nothing about speed.
    made = collect(['benchmark', *(re.sub(r'[^\s:=]*/(?=[^/])', '', a) for a in arguments)])
    feet = [*made.lines(), f'Load average at the start: {load:.1f}']
    if options.node or options.soak:
        return _live(options, made, load, feet)
    if options.soak_report:
        return _soak_report(options.soak_report, options.out)
    if options.start:
        return _start(options, made, load, feet)
    if options.kernels:
        return _kernels(options, made, load, feet, sizes)
    return _pipeline(options, made, load, feet, sizes)


def _defaults(options: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, Any] = {'checkpoint': 'untrained', 'allow_untrained': True} if options.untrained else {}
    if (options.node or options.soak or options.start) and not options.bag:
        values.update({'use_tf': False, 'T_base_sensor': sweeps.T_BASE_SENSOR.ravel().tolist()})
    return values


# -- the pipeline ------------------------------------------------------------------------------------------------------

def _pipeline(options: argparse.Namespace, made: Provenance, load: float, feet: list[str],
              sizes: tuple[int, ...] | None) -> int:
    from attention_fusion_ros.benchmarking import ledger, pairs, pairs_report
    from attention_fusion_ros.utils import atomic
    from attention_fusion_ros.utils.provenance import versions

    config = cli.node_config(options, _defaults(options))
    names = [name for name in options.against.split(',') if name not in ('', 'none')]
    found = pairs.compare(config, options.runs, names, sizes or pairs.POINTS,
                          lambda runs: cli.progress(runs, unit=' sweeps', desc='benchmark'))
    feet = [*feet, 'Versions: ' + ', '.join(f'{name} {version}' for name, version in versions().items())]
    print('\n'.join(pairs_report.heading(found)))
    for table in pairs_report.tables(found):
        print('\n'.join(['', table.title, table.text(), *(f'- {note}' for note in table.notes)]))
    print('\n'.join(['', *feet]))
    today = datetime.date.today().isoformat()
    rows = list(pairs_report.ledger_rows(found, made, today))
    if options.out is not None:
        _write_json(options.out, 'benchmark.json', made, load,
                    {'date': today, 'versions': versions(), **pairs_report.as_json(found)})
        atomic.write_text(options.out / 'benchmark.md', pairs_report.as_markdown(found, made, feet))
        print(f'written to {options.out}: benchmark.md')
    if options.ledger is not None:
        ledger.add(options.ledger, rows)
        print(f'{len(rows)} rows added to {options.ledger}')
    return 0


def _kernels(options: argparse.Namespace, made: Provenance, load: float, feet: list[str],
             sizes: tuple[int, ...] | None) -> int:
    from attention_fusion_ros.benchmarking import kernels
    from attention_fusion_ros.kernels.compiled import available

    if not available():
        print('error: the compiled loops cannot be used here, there is nothing to compare: pip install numba',
              file=sys.stderr)
        return 1
    pairs = kernels.measure(options.runs, sizes or kernels.POINTS,
                            lambda runs: cli.progress(runs, unit=' pairs', desc='kernels'))
    rows = [(p.step, f'{p.points:,}', f'{p.plain_ms:.2f}', f'{p.fast_ms:.2f}', f'{p.plain_processor_ms:.2f}',
             f'{p.fast_processor_ms:.2f}', f'{p.ratio:.1f}', f'{p.ratio_20:.1f} .. {p.ratio_80:.1f}') for p in pairs]
    print(Table('', ('step', 'points', 'plain ms', 'compiled ms', 'plain cpu ms', 'compiled cpu ms', 'ratio',
                     '20 .. 80 %'), rows).text())
    print('\n'.join(['', *feet]))
    _write_json(options.out, 'benchmark_kernels.json', made, load, {'pairs': [dataclasses.asdict(p) for p in pairs]})
    return 0


def _ms(times: Times | None) -> tuple[str, ...]:
    return ('-',) * 3 if times is None else (f'{times.median:.1f}', f'{times.p95:.1f}', f'{times.largest:.1f}')


# -- the node ----------------------------------------------------------------------------------------------------------

def _start(options: argparse.Namespace, made: Provenance, load: float, feet: list[str]) -> int:
    with cli.importing_ros('benchmark --start'):
        from attention_fusion_ros.benchmarking import start
        from attention_fusion_ros.ros.clients.node_process import NodeError
    parameters = cli.flat_parameters(options, _defaults(options))
    asked = from_flat(parameters).backend
    backends = start.installed() if asked == 'auto' else [asked]
    with tempfile.TemporaryDirectory() as scratch:
        log = (options.out or Path(scratch)) / 'node.log'
        try:
            found = list(cli.progress(start.measure(backends, parameters, options.start, log), total=len(backends),
                                      unit=' backends', desc='start'))
        except NodeError as error:
            print(f'error: {error}', file=sys.stderr)
            return 1
    rows = [(s.backend, f'{s.to_active_s:.2f}', f'{s.from_process_s:.2f}', f'{s.resident_mb:.0f}',
             f'{100 * s.idle_share:.1f}') for s in found]
    print(Table('', ('backend', 'configure -> active s', 'process -> active s', 'resident MB', 'idle % of a core'),
                rows).text())
    on_disk = start.environment_mb()
    print(f'\ninstalled packages: {on_disk:.0f} MB on disk')
    print('\n'.join(['', *feet]))
    _write_json(options.out, 'benchmark_start.json', made, load,
                {'starts': [dataclasses.asdict(s) for s in found], 'environment_mb': on_disk})
    return 0


def _live(options: argparse.Namespace, made: Provenance, load: float, feet: list[str]) -> int:
    from attention_fusion_ros.benchmarking import memory
    from attention_fusion_ros.utils import atomic
    with cli.importing_ros('benchmark --node or --soak'):
        from attention_fusion_ros.benchmarking import live
        from attention_fusion_ros.ros.clients.node_process import NodeError
    parameters = cli.flat_parameters(options, _defaults(options))
    from_flat(parameters)  # a mistake is reported here, not by a node that does not start
    seconds = options.node or options.soak * 60.0
    with tempfile.TemporaryDirectory() as scratch:
        log = (options.out or Path(scratch)) / 'node.log'
        print('starting the node ...', file=sys.stderr)
        with cli.progress(total=round(seconds), unit='s', desc='soak' if options.soak else 'node') as bar:
            def progress(elapsed: float, result: live.LiveResult) -> None:
                bar.update(min(round(elapsed), bar.total) - bar.n)
                bar.set_postfix_str(f'{result.results} results, {result.rss_mb[-1]:.0f} MB')
            try:
                result = live.run(parameters, seconds, options.rate, log, options.bag, options.points, options.sample,
                                  progress, log.with_name('soak.csv') if options.soak else None, not options.steady)
                bar.update(bar.total - bar.n if not result.ended else 0)
            except NodeError as error:
                bar.close()
                print(f'error: {error}', file=sys.stderr)
                return 1
    grown = memory.growth(result.rss_seconds, result.rss_mb)
    print('\n'.join([*live_lines(result, options.bag, options.points, grown), '', *feet]))
    kind = 'soak' if options.soak else 'node'
    _write_json(options.out, f'benchmark_{kind}.json', made, load,
                {**_without_lists(result), 'rss_growth_percent': grown,
                 'points': None if options.bag else options.points})
    if result.minutes:
        print('\n'.join(['', *soak_lines(result.minutes)]))
        if options.out:
            _write_soak_plot(options.out, result.minutes)
    if options.out and result.rss_mb:
        title = f'Memory of the node, {result.rate:g} sweeps a second'
        atomic.write_bytes(options.out / f'{kind}_memory.png',
                           memory.draw(result.rss_seconds, result.rss_mb, title))
    if result.ended:
        print(f'error: {result.ended}', file=sys.stderr)
        return 1
    if not (result.results if result.answered is None else result.answered):
        print(f'error: no answer arrived; the node received {result.received} sweeps and dropped '
              f'{result.drops or "none"}.', file=sys.stderr)
        return 1
    return 0


def _soak_report(path: Path, out: Path | None) -> int:
    from attention_fusion_ros.benchmarking import soak

    try:
        minutes = soak.read(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'{path}: {error} Remedy: give the soak.csv that benchmark --soak wrote.') from error
    print('\n'.join(soak_lines(minutes)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write_soak_plot(out, minutes)
    return 1 if any(check.met is False for check in soak.checks(minutes)) else 0


def _write_soak_plot(out: Path, minutes: Sequence[Minute]) -> None:
    from attention_fusion_ros.benchmarking import soak
    from attention_fusion_ros.utils import atomic

    atomic.write_bytes(out / 'soak.png', soak.draw(minutes, f'The node over {len(minutes)} minutes, reconfigured every '
                                                   'minute' if any(m.reconfigured for m in minutes) else
                                                   f'The node over {len(minutes)} minutes'))
    print(f'written to {out}: soak.png')


def soak_lines(minutes: Sequence[Minute]) -> list[str]:
    """Describe the minutes of a soak: the last ones, and whether they meet the limits."""
    from attention_fusion_ros.benchmarking import soak

    rows = [(m.minute, f'{m.rss_mb:.0f}', m.threads, m.handles, m.results, f'{m.p50_ms:.1f}', f'{m.p99_ms:.1f}')
            for m in minutes]
    shown = rows if len(rows) <= 12 else [*rows[:6], *rows[-6:]]
    head = ('minute', 'memory MB', 'threads', 'handles', 'results', 'p50 ms', 'p99 ms')
    return [Table('', head, shown).text(), '', Table('', ('requirement', 'found', 'limit', 'met'), [
        (c.name, c.found, c.limit, c.verdict) for c in soak.checks(minutes)]).text()]


def live_lines(result: live.LiveResult, bag: Path | None, points: int, grown: float | None) -> list[str]:
    """Describe a run of the node.

    bag: the recording that was played, None for synthetic sweeps of `points` points.
    grown: growth of memory in percent, None when the run was too short.
    """
    what = f'{bag.name}, again and again' if bag else f'{points:,} points a sweep'
    sent = '-' if result.sent is None else result.sent
    skipped = '-' if result.sent is None else result.skipped
    rows: list[tuple[str, object]] = [('sweeps sent', sent), ('sweeps that the sender was too late for', skipped),
                                      ('sweeps received by the node', result.received),
                                      ('results by the node', result.results)]
    if result.sent is not None and result.answered is not None:
        lost = result.sent - result.answered
        rows += [('answers that came back', result.answered),
                 ('drops', f'{lost} ({100 * lost / max(1, result.sent):.1f} %)')]
        rows.append(('rate sent', f'{result.sent / max(result.sending, 1e-9):.2f} Hz'))
    rows.append(('rate kept', f'{result.results_per_second:.2f} Hz'))
    rows += [(f'dropped: {reason}', count) for reason, count in result.drops.items()]
    lines = [f'node, {result.seconds:.0f} s at {result.rate:g} Hz, {what}; {result.checkpoint or "no checkpoint"} on '
             f'{result.device or "no device"}, mode of the last result: {result.mode or "none"}',
             Table('', ('', 'count'), rows).text(), '']
    if result.sent is not None:
        latencies = [(name, *_latency(ms)) for name, ms in (('publish -> direction', result.direction_ms),
                                                            ('publish -> branches', result.answer_ms))]
        lines += [Table('', ('latency', 'p50 ms', 'p95 ms', 'max ms', 'count'), latencies).text(), '']
    lines.append(f'inside the node (last 200 results): p50 {result.node_p50_ms:.1f} ms, p95 {result.node_p95_ms:.1f} '
                 f'ms; {result.cpu_cores:.2f} CPU cores')
    if result.rss_mb:
        lines.append(f'resident memory: {result.rss_mb[0]:.0f} MB at the start, {result.rss_mb[-1]:.0f} MB at the end, '
                     f'at most {max(result.rss_mb):.0f} MB; growth since the first minute: '
                     + ('-, too short to tell' if grown is None else f'{grown:+.2f} %'))
    lines.append(f'errors in diagnostics: {sum(result.errors.values())}; restarts of the network: {result.restarts}')
    return lines + [f'  {count} x {text}' for text, count in result.errors.items()]


def _latency(ms: Sequence[float]) -> tuple[str, ...]:
    from attention_fusion_ros.benchmarking.core import Times
    times = Times.of(ms)
    return (*_ms(times), str(len(ms)))


def _without_lists(result: live.LiveResult) -> dict[str, Any]:
    """The result with percentiles in the place of single latencies."""
    from attention_fusion_ros.benchmarking.core import Times
    values = {**dataclasses.asdict(result), 'results_per_second': result.results_per_second}
    del values['totals'], values['minutes']  # those are in soak.csv
    for name in ('direction_ms', 'answer_ms'):
        times = Times.of(values[name])
        values[name] = times and dataclasses.asdict(times)
    return values


def _write_json(folder: Path | None, name: str, made: Provenance, load: float, values: dict[str, Any]) -> None:
    if folder is None:
        return
    from attention_fusion_ros.utils import atomic
    content = {**dataclasses.asdict(made), 'load_average_at_start': load, **values}
    atomic.write_json(folder / name, content, indent=2)
    print(f'written to {folder}: {name}')


if __name__ == '__main__':
    sys.exit(main())
