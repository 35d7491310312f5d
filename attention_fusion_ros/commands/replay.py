# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay`: run the pipeline over a recording, without a ROS graph, and show what came out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import SWEEPS, input_named

if TYPE_CHECKING:
    from attention_fusion_ros.evaluation.replay import Replay
    from attention_fusion_ros.report.explained_sweep import ExplainedSweep
    from attention_fusion_ros.report.records import Summary, SweepRecord
    from attention_fusion_ros.stream.recording import InputTopics, Recording

EXAMPLES = """\
replay out/drive --out out/replay
replay out/drive --out out/replay --pointcloud /lidar/points --map-image /map_image -p map.resolution:=0.25
replay out/drive --out out/no_map --map-image none --limit 10 --device cpu
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `replay`."""
    parser = cli.parser('replay', 'Run the pipeline over a rosbag2 recording (mcap or sqlite3) without a ROS graph. '
                        'Writes directions.csv, branches.csv, report.html and report.png, and for the sweeps pictured '
                        'attention.png and attention.json: attention beside Grad-CAM.', EXAMPLES)
    parser.add_argument('bag', help='folder of the recording, or its .mcap or .db3 file')
    parser.add_argument('--out', type=cli.output_folder, required=True, metavar='DIR', help='where the files go')
    cli.add_topic_options(parser)
    parser.add_argument('--limit', type=int, default=0, metavar='N', help='only the first N sweeps')
    parser.add_argument('--pictures', type=int, default=12, metavar='N', help='pictures in the report (default 12)')
    cli.add_parameter_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = options_parser()
    options = parser.parse_args(arguments)
    if options.limit < 0 or options.pictures < 0:
        parser.error('--limit and --pictures must not be negative')
    return cli.run(lambda: replay(options))


def replay(options: argparse.Namespace) -> int:
    """Replay as the options say. Returns 1 when no sweep gave a result."""
    from attention_fusion_ros.evaluation.replay import Replay
    from attention_fusion_ros.pipeline.fusion import FusionPipeline
    from attention_fusion_ros.report.records import summarise
    from attention_fusion_ros.report.replay_report import write_replay
    from attention_fusion_ros.stream.recording import NONE, Recording

    config = cli.node_config(options)
    if cli.topic_options(options).get('odometry') == NONE:  # nor from /tf
        config = replace(config, frames=replace(config.frames, odom=''))
    with Recording(options.bag) as recording:
        topics = recording.input_topics(**cli.topic_options(options))
        print(f'{recording.path.name}: {recording.duration:.1f} s')
        for spec, name in topics.selected():
            print(f'  {spec.label:<11} ' + (f'{name} ({recording.topics[name].count} messages)' if name else 'none'))
        pipeline = FusionPipeline(config)
        info = pipeline.info
        print(f'  network     {info.checkpoint_name} on {info.device}'
              + (f' ({info.device_note})' if info.device_note else ''))
        warnings = [] if info.trained else ['Untrained weights: the numbers mean nothing.']
        if options.pictures and not pipeline.explains:
            warnings.append(f'Grad-CAM is left out: it needs gradients, which backend {config.backend} does not have '
                            '(use backend torch).')
        pipeline.warm_up()
        run = Replay(recording, topics, config, pipeline)
        records, shown, broken = _collect(run, recording, topics, options)
        pipeline.close()
    if not records:
        raise broken or InputError('no_sweeps', f'{topics[SWEEPS]} holds no message.', 'Record again.')
    if broken:
        warnings.append(str(broken))
    if run.clocks is not None:
        warnings.append(str(run.clocks))
    write_replay(options.out, recording.path.name, config, topics, records, shown, run.remedies, warnings)
    summary = summarise(records)
    print('\n'.join(summary.lines()))
    for name, count in run.map_warnings.items():
        print(f'WARN        map image: {name} ({count} sweeps)')
    for name, count in run.input_drops.items():
        print(f'dropped     {count} x {name}')
    for reason, message in run.remedies.items():
        print(f'  {reason}: {message}')
    for reason, text in ({} if run.clocks else _why_without(summary)).items():
        print(f'  {reason}: {text}')
    for text in warnings:
        print(f'WARNING: {text}', file=sys.stderr)
    print(f'written to {options.out}: directions.csv, branches.csv, report.html, report.png'
          + (', attention.png, attention.json' if shown else ''))
    return 0 if summary.results and not broken else 1


def _why_without(summary: Summary) -> dict[str, str]:
    """Cause and remedy, by reason, of results without an input that the recording has."""
    found = {}
    for name, counts in (('map_image', summary.mode_reasons), ('odometry', summary.odometry_reasons or {})):
        reasons = input_named(name).reasons
        found.update({reason: str(reasons[reason]) for reason in counts
                      if reason in reasons and reason not in ('no_map', 'no_odometry')})
    return found


def _collect(run: Replay, recording: Recording, topics: InputTopics, options: argparse.Namespace
             ) -> tuple[list[SweepRecord], list[ExplainedSweep], InputError | None]:
    from attention_fusion_ros.report.contact_sheet import spread
    from attention_fusion_ros.report.explained_sweep import ExplainedSweep

    total = recording.topics[topics[SWEEPS] or ''].count  # an input that recordings must have
    total = min(total, options.limit) if options.limit else total
    wanted, due = spread(total, options.pictures), False
    records: list[SweepRecord] = []
    shown: list[ExplainedSweep] = []
    try:
        for record, result in cli.progress(run.run(options.limit), total=total, unit=' sweeps', desc='replay'):
            due = due or len(records) in wanted  # a dropped sweep leaves its place to the next one
            records.append(record)
            if due and result is not None:
                shown.append(ExplainedSweep(result, run.explain(result), record, records[0].stamp_ns))
                due = False
    except InputError as error:  # the file breaks off: what was read is still worth having
        return records, shown, error
    return records, shown, None


if __name__ == '__main__':
    sys.exit(main())
