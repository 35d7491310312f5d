# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay`: run the pipeline over a recording, without a ROS graph, and show what came out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import SWEEPS, input_named

if TYPE_CHECKING:
    from attention_fusion_ros.config import NodeConfig
    from attention_fusion_ros.contracts import FusionResult
    from attention_fusion_ros.evaluation.replay import Replay
    from attention_fusion_ros.report.explained_sweep import ExplainedSweep
    from attention_fusion_ros.report.records import Summary, SweepRecord
    from attention_fusion_ros.ros.live_outputs import LiveOutputs
    from attention_fusion_ros.ros.output_bag import OutputBag
    from attention_fusion_ros.ros.result_sink import ResultSink
    from attention_fusion_ros.stream.recording import InputTopics, Recording

EXAMPLES = """\
replay out/drive --out out/replay
replay out/drive --out out/replay --pointcloud /lidar/points --map-image /map_image -p map.resolution:=0.25
replay out/drive --out out/no_map --map-image none --limit 10 --device cpu
replay out/drive --out out/replay --bag out/results --with-inputs
replay out/drive --out out/replay --live --wait 60
replay 'drives/*/lidar' @more.txt s3://bucket/day/* --out out/fleet --ray local
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `replay`."""
    parser = cli.parser('replay', 'Run the pipeline over a recording (mcap, sqlite3 or ROS 1 bag) without a ROS graph. '
                        'Writes directions.csv, branches.csv, reasons.csv, report.html and report.png, and for the '
                        'sweeps pictured attention.png and attention.json: attention beside Grad-CAM.', EXAMPLES)
    parser.add_argument('bag', nargs='+', help=many.RECORDINGS_HELP)
    parser.add_argument('--out', type=cli.output_folder, required=True, metavar='DIR', help='where the files go; of '
                        'many recordings, those of each in a folder of its own, and the tables of all')
    cli.add_topic_options(parser)
    parser.add_argument('--bag', dest='results', type=Path, metavar='DIR', help='also write every output topic of the '
                        'node as a recording (mcap), for ros2 bag play, rviz, Foxglove and Lichtblick; of many '
                        'recordings, its name in the folder of each')
    parser.add_argument('--with-inputs', action='store_true', help='with --bag: the messages of the recording as well')
    cli.add_live_options(parser, 'inputs and outputs, while they are computed,')
    parser.add_argument('--limit', type=int, default=0, metavar='N', help='only the first N sweeps')
    parser.add_argument('--pictures', type=int, default=12, metavar='N', help='pictures in the report (default 12)')
    cli.add_parameter_options(parser)
    many.add_many_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = options_parser()
    options = parser.parse_args(arguments)
    if options.limit < 0 or options.pictures < 0:
        parser.error('--limit and --pictures must not be negative')
    if options.with_inputs and options.results is None:
        parser.error('--with-inputs needs --bag')
    if options.rate < 0 or options.wait < 0 or not 0 <= options.port <= 65535:
        parser.error('--rate and --wait must not be negative, and --port is at most 65535')
    if many.is_many(options, options.bag):
        if options.live:
            parser.error('--live shows one recording, not many')
        if options.results is not None and len(options.results.parts) != 1:
            parser.error('--bag is a name without folders where there are many recordings')
        from attention_fusion_ros.commands.replay_many import replay_many
        words = ['replay', *(sys.argv[1:] if arguments is None else arguments)]
        return cli.run(lambda: replay_many(options, words))
    options.bag, = options.bag
    return cli.run(lambda: replay(options))


def replay(options: argparse.Namespace) -> int:
    """Replay one recording as the options say. Returns 1 when no sweep gave a result, or something was not read."""
    from attention_fusion_ros.stream.new_recording import status_of
    made_by = _made_by(options, cli.node_config(options))  # before anything is read: a wrong option is said at once
    if _is_done(options, made_by):
        return status_of(options.results, made_by) or 0
    return 0 if replay_recording(options, made_by).complete else 1


@dataclass(frozen=True)
class Replayed:
    """What came of a recording."""

    duration_s: float
    records: list[SweepRecord]
    complete: bool  # there is a result, and everything could be read


def replay_recording(options: argparse.Namespace, made_by: str = '') -> Replayed:
    """Replay one recording, write what the options ask for and tell about it. Raises InputError, ConfigurationError.

    made_by: see `NewRecording`.
    """
    from attention_fusion_ros.evaluation.replay import Replay
    from attention_fusion_ros.pipeline.fusion import FusionPipeline
    from attention_fusion_ros.report.records import summarise
    from attention_fusion_ros.report.replay_report import write_replay
    from attention_fusion_ros.stream.recording import NONE, Recording

    with ExitStack() as stack:
        recording = stack.enter_context(Recording(options.bag))
        topics = recording.input_topics(**cli.topic_options(options))
        own = recording.parameters(topics)
        config = cli.node_config(options, own)
        if cli.topic_options(options).get('odometry') == NONE:  # nor from /tf
            config = replace(config, frames=replace(config.frames, odom=''))
        print(f'{recording.path.name}: {recording.duration:.1f} s')
        for note in recording.notes:
            print(f'  note: {note}')
        if own:
            print('  parameters  ' + ', '.join(f'{name} {value}' for name, value in own.items()) + ' (replay.yaml)')
        for spec, name in topics.selected():
            print(f'  {spec.label:<11} ' + (f'{name} ({recording.topics[name].count} messages)' if name else 'none'))
            if spec.name in topics.left_out:
                print(f'  {"":<11} {topics.left_out[spec.name].notice}')
        if further := recording.further_clouds(topics):
            print('  not used    ' + ', '.join(f'{topic.name} ({topic.count} messages)' for topic in further)
                  + ': if it is a further LiDAR, name it with --pointcloud-2, ...')
        results, live = _results(options, config, stack, made_by), _live(options, config, stack)
        pipeline = FusionPipeline(config)
        info = pipeline.info
        print(f'  network     {info.checkpoint_name} on {info.device}'
              + (f' ({info.device_note})' if info.device_note else ''))
        warnings = [] if info.trained else ['Untrained weights: the numbers mean nothing.']
        if options.pictures and not pipeline.explains:
            warnings.append(f'Grad-CAM is left out: it needs gradients, which backend {info.backend} does not have '
                            '(use backend torch).')
        pipeline.warm_up()
        run = Replay(recording, topics, config, pipeline)
        sinks = [sink for sink in (results, live) if sink is not None]
        with ExitStack() as writing:
            if results is not None:
                writing.enter_context(results)
            records, shown = _collect(run, recording, topics, options, sinks)
            if not records:
                raise _no_sweeps(recording, topics)
            summary = summarise(records)
            status = 0 if summary.results and not recording.losses else 1
            if results is not None:
                results.finish(status)  # its name comes last: where it is, the report is
            if live is not None:
                writing.close()  # viewers may look for long, and be left with Ctrl-C
                live.finish()
            pipeline.close()
            warnings += _warnings(options, recording, run, records, results, live)
            with cli.progress(total=1, unit=' report', desc='writing') as bar:
                write_replay(options.out, recording.path.name, config, topics, records, shown, run.remedies, warnings)
                bar.update()
    print('\n'.join(summary.lines()))
    for name, count in run.map_warnings.items():
        print(f'WARN        map image: {name} ({count} sweeps)')
    for name, count in run.input_drops.items():
        print(f'dropped     {count} x {name}')
    for reason, message in run.remedies.items():
        print(f'  {reason}: {message}')
    for reason, text in ({} if run.clocks else _why_without(summary)).items():
        print(f'  {reason}: {text}')
    for how, count in run.deskewed.items():
        print(f'deskew      {count} x {how}')
    for reason, (count, text) in run.sweep_warnings.items():
        print(f'WARNING: {reason}, {count} sweeps: {text}', file=sys.stderr)
    for text in warnings:
        print(f'WARNING: {text}', file=sys.stderr)
    print(f'written to {options.out}: directions.csv, branches.csv, reasons.csv, report.html, report.png'
          + (', attention.png, attention.json' if shown else ''))
    if results is not None:
        print(f'written to {options.results}: {results.count} messages on {len(results.counts)} topics')
    return Replayed(recording.duration, records, status == 0)


def _made_by(options: argparse.Namespace, config: NodeConfig) -> str:
    return '' if options.results is None else cli.made_by('replay', options, (options.bag, options.params,
                                                                              config.checkpoint))


def _is_done(options: argparse.Namespace, made_by: str) -> bool:
    """Whether an earlier run of this command was killed after all was written, or came to its end."""
    from attention_fusion_ros.stream.new_recording import status_of
    return (options.results is not None and not options.live and (options.out / 'report.png').is_file()
            and cli.is_done(options.results, status_of(options.results, made_by)))


def _warnings(options: argparse.Namespace, recording: Recording, run: Replay, records: Sequence[SweepRecord],
              results: OutputBag | None, live: LiveOutputs | None) -> list[str]:
    """What is to be said of a run: lost messages, what is implausible, what could not be written or shown."""
    from attention_fusion_ros.report.records import first_findings
    warnings = list(recording.losses)
    if run.clocks is not None:
        warnings.append(str(run.clocks))
    warnings += [f'{name} in {count} of {len(records)} sweeps, first: {message}'
                 for name, (count, message) in first_findings(records).items()]
    if results is not None:
        warnings += [f'{name} is not complete in {options.results}: {text}.' for name, text in results.failures.items()]
        warnings += [f'{", ".join(name for name, why in results.left_out.items() if why == text)}: not copied to '
                     f'{options.results}, for {text}.' for text in dict.fromkeys(results.left_out.values())]
    if live is not None:
        warnings += [f'{name} is not complete in the live view: {text}.' for name, text in live.failures.items()]
    return warnings


def _why_without(summary: Summary) -> dict[str, str]:
    """Cause and remedy, by reason, of results without an input that the recording has."""
    found = {}
    for name, counts in (('map_image', summary.mode_reasons), ('odometry', summary.odometry_reasons or {})):
        reasons = input_named(name).reasons
        found.update({reason: str(reasons[reason]) for reason in counts
                      if reason in reasons and reason not in ('no_map', 'no_odometry')})
    return found


def _results(options: argparse.Namespace, config: NodeConfig, stack: ExitStack, made_by: str) -> OutputBag | None:
    """Where the output topics go, None without --bag."""
    if options.results is None:
        return None
    from attention_fusion_ros.ros.output_bag import OutputBag
    from attention_fusion_ros.stream.recording import Recording
    # Opened a second time: it is read at another place than the sweeps are.
    inputs = stack.enter_context(Recording(options.bag)) if options.with_inputs else None
    return OutputBag(options.results, config.frames.base, inputs, made_by)


def _no_sweeps(recording: Recording, topics: InputTopics) -> InputError:
    """Why there is nothing to replay."""
    name = topics[SWEEPS] or ''  # an input that recordings must have
    kind = recording.topics[name].type
    others = [t.name for t in recording.topics.values() if t.type == kind and t.count and t.name != name]
    if recording.losses:
        return InputError('no_sweeps', f'No message of {name} can be read. {" ".join(recording.losses)}',
                          'get the file again from where it was recorded, or use another one.')
    return InputError('no_sweeps', f'{name} was recorded, but no message came.',
                      f'choose another topic with --pointcloud: {", ".join(others)}.' if others else
                      'check that the driver ran, and its name and QoS in the recording.')


def _live(options: argparse.Namespace, config: NodeConfig, stack: ExitStack) -> LiveOutputs | None:
    """What viewers are shown, None without --live."""
    if not options.live:
        return None
    from attention_fusion_ros.ros.live_outputs import LiveOutputs
    from attention_fusion_ros.ros.live_server import LiveServer
    from attention_fusion_ros.stream.recording import Recording
    server = stack.enter_context(LiveServer(options.host, options.port))
    live = LiveOutputs(server, config.frames.base, stack.enter_context(Recording(options.bag)), options.rate)
    cli.announce_live(server.url, options.wait)
    server.wait_for_viewer(options.wait)
    return live


def _collect(run: Replay, recording: Recording, topics: InputTopics, options: argparse.Namespace,
             sinks: Sequence[ResultSink]) -> tuple[list[SweepRecord], list[ExplainedSweep]]:
    from attention_fusion_ros.report.contact_sheet import spread
    from attention_fusion_ros.report.explained_sweep import ExplainedSweep

    total = recording.topics[topics[SWEEPS] or ''].count  # an input that recordings must have
    total = min(total, options.limit) if options.limit else total
    wanted, due = spread(total, options.pictures), False
    records: list[SweepRecord] = []
    shown: list[ExplainedSweep] = []
    for record, result in cli.progress(run.run(options.limit), total=total, unit=' sweeps', desc='replay'):
        due = due or len(records) in wanted  # a dropped sweep leaves its place to the next one
        records.append(record)
        if sinks and result is not None:
            _publish(run, result, record, recording.position_ns, sinks)
        if due and result is not None:
            shown.append(ExplainedSweep(result, run.explain(result), record, records[0].stamp_ns))
            due = False
    return records, shown


def _publish(run: Replay, result: FusionResult, record: SweepRecord, recorded_ns: int | None,
             sinks: Sequence[ResultSink]) -> None:
    """Write what the node would publish about a sweep whose last message came at `recorded_ns`."""
    from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
    assert run.sweep is not None and recorded_ns is not None and record.latency_ms is not None
    times = {**record.stage_ms, 'total': record.latency_ms,
             'data_age': record.latency_ms + (recorded_ns - record.stamp_ns) / 1e6}
    sweep = PublishedSweep(result, run.sweep, run.explain)
    for sink in sinks:
        sink.write(sweep, times, recorded_ns)


if __name__ == '__main__':
    sys.exit(main())
