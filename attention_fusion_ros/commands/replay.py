# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay`: run the pipeline over a recording, without a ROS graph, and show what came out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from attention_fusion_ros.commands import cli
from attention_fusion_ros.config import NodeConfig, parameters
from attention_fusion_ros.contracts import FusionResult
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.replay import Replay
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.report import attention_figure, explanation
from attention_fusion_ros.report.contact_sheet import contact_sheet, spread
from attention_fusion_ros.report.explanation import Explanation
from attention_fusion_ros.report.records import SweepRecord, summarise, write_branches, write_directions
from attention_fusion_ros.report.run_report import Picture, Section, describe, write_report
from attention_fusion_ros.stream.inputs import SWEEPS
from attention_fusion_ros.stream.recording import InputTopics, Recording
from attention_fusion_ros.utils.tables import Table
from attention_fusion_ros.visualization.panels import compose_picture

EXAMPLES = """\
  replay recording/ --out out/replay
  replay drive.mcap --out out/replay --pointcloud /lidar/points --map-image /map_image -p map.resolution:=0.5
  replay recording/ --out out/no_map --map-image none --limit 100 --device cpu
"""
LEGEND = ('Left: LiDAR height. Middle: the map image as it was warped onto the sweep, walls on top. Right: spatial '
          'attention. The circle is the lookahead ring; green arrows are estimated branches (thick: the direction to '
          'take, brighter: more probable). Up is straight ahead.')
FIGURES_IN_PNG = 6


@dataclass(frozen=True)
class Shown:
    """A sweep that the report looks at closely."""

    picture: Picture
    figure: Picture  # attention and Grad-CAM
    explanation: Explanation

    @staticmethod
    def of(result: FusionResult, maps: dict[str, Any], caption: str) -> Shown:
        """maps: Grad-CAM by stage."""
        told = Explanation.of(result, maps)
        return Shown(Picture(compose_picture(result, 420), caption),
                     Picture(attention_figure.attention_figure(result, maps, told), caption), told)


def options_parser() -> argparse.ArgumentParser:
    """The options of `replay`."""
    parser = cli.parser('replay', 'Run the pipeline over a rosbag2 recording (mcap or sqlite3) without a ROS graph. '
                        'Writes directions.csv, branches.csv, report.html and report.png, and for the sweeps pictured '
                        'attention.png and attention.json: attention beside Grad-CAM.', EXAMPLES)
    parser.add_argument('bag', help='folder of the recording, or its .mcap or .db3 file')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the files go')
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
    config = cli.node_config(options)
    with Recording(options.bag) as recording:
        topics = recording.input_topics(**cli.topic_options(options))
        print(f'{recording.path.name}: {recording.duration:.1f} s')
        for spec, name in topics.selected():
            print(f'  {spec.label:<11} ' + (f'{name} ({recording.topics[name].count} messages)' if name else 'none'))
        pipeline = FusionPipeline(config)
        print(f'  network     {pipeline.checkpoint_name} on {pipeline.device}'
              + (f' ({pipeline.device_note})' if pipeline.device_note else ''))
        warnings = [] if pipeline.trained else ['Untrained weights: the numbers mean nothing.']
        pipeline.warm_up()
        run = Replay(recording, topics, config, pipeline)
        records, shown, broken = _collect(run, recording, topics, options)
        pipeline.close()
    if not records:
        raise broken or InputError('no_sweeps', f'{topics[SWEEPS]} holds no message.', 'Record again.')
    if broken:
        warnings.append(str(broken))
    _write(options.out, run, config, recording.path.name, topics, records, shown, warnings)
    summary = summarise(records)
    print('\n'.join(summary.lines()))
    for name, count in run.input_drops.items():
        print(f'dropped     {count} x {name}')
    for reason, message in run.remedies.items():
        print(f'  {reason}: {message}')
    for text in warnings:
        print(f'WARNING: {text}', file=sys.stderr)
    print(f'written to {options.out}: directions.csv, branches.csv, report.html, report.png'
          + (', attention.png, attention.json' if shown else ''))
    return 0 if summary.results and not broken else 1


def _collect(run: Replay, recording: Recording, topics: InputTopics, options: argparse.Namespace
             ) -> tuple[list[SweepRecord], list[Shown], InputError | None]:
    total = recording.topics[topics[SWEEPS]].count
    total = min(total, options.limit) if options.limit else total
    wanted, due = spread(total, options.pictures), False
    records: list[SweepRecord] = []
    shown: list[Shown] = []
    try:
        for record, result in cli.progress(run.run(options.limit), total=total, unit=' sweeps', desc='replay'):
            due = due or len(records) in wanted  # a dropped sweep leaves its place to the next one
            records.append(record)
            if due and result is not None:
                shown.append(Shown.of(result, run.explain(result), describe(record, records[0].stamp_ns)))
                due = False
    except InputError as error:  # the file breaks off: what was read is still worth having
        return records, shown, error
    return records, shown, None


def _write(folder: Path, run: Replay, config: NodeConfig, name: str, topics: InputTopics,
           records: list[SweepRecord], shown: list[Shown], warnings: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_directions(folder / 'directions.csv', records)
    write_branches(folder / 'branches.csv', records)
    tables = [Table('Inputs', ('input', 'topic'), [(spec.label, name or 'none') for spec, name in topics.selected()])]
    if run.remedies:
        tables.insert(0, Table('What was dropped, and what to do', ('reason', 'first message'),
                               list(run.remedies.items())))
    changed = [(p.name, _value(config, p.name), p.default) for p in parameters()
               if _value(config, p.name) != p.default]
    if changed:
        tables.append(Table('Parameters that differ from their default', ('parameter', 'value', 'default'), changed))
    sections = []
    if shown:
        told = [s.explanation for s in shown]
        sections.append(Section('Attention and Grad-CAM', attention_figure.LEGEND, [s.figure for s in shown]))
        tables.insert(0, Table('How attention and Grad-CAM agree', explanation.HEADER,
                               explanation.rows(told, records[0].stamp_ns)))
        explanation.write(folder / 'attention.json', told)
        figures = [s.figure for s in shown[::-(-len(shown) // FIGURES_IN_PNG)]]
        sheet = contact_sheet([f.image for f in figures], [f.caption for f in figures], 2, 1000)
        if not cv2.imwrite(str(folder / 'attention.png'), sheet):
            raise OSError(f"cannot write {folder / 'attention.png'}")
    write_report(folder, f'Replay of {name}', f'{len(records)} sweeps of {topics[SWEEPS]}', records,
                 [s.picture for s in shown], tables, warnings, LEGEND, sections=sections)


def _value(config: NodeConfig, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split('.'):
        value = getattr(value, part)
    return value


if __name__ == '__main__':
    sys.exit(main())
