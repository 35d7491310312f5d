"""`replay`: run the pipeline over a recording, without a ROS graph, and show what came out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attention_fusion_ros.commands import cli
from attention_fusion_ros.config import NodeConfig, parameters
from attention_fusion_ros.contracts import FusionResult, InputError
from attention_fusion_ros.decode import decode_cloud, decode_compressed_map_image, decode_map_image
from attention_fusion_ros.heatmap import compose_picture
from attention_fusion_ros.pairing import Pairer, fuse
from attention_fusion_ros.pipeline import FusionPipeline
from attention_fusion_ros.recording import (
    COMPRESSED_IMAGE,
    STATIC_TRANSFORMS_TOPIC,
    InputTopics,
    RawMessage,
    Recording,
    header_stamp_ns,
)
from attention_fusion_ros.report.contact_sheet import spread
from attention_fusion_ros.report.records import SweepRecord, summarise, write_branches, write_directions
from attention_fusion_ros.report.run_report import Picture, Table, describe, write_report

EXAMPLES = """\
  replay recording/ --out out/replay
  replay drive.mcap --out out/replay --pointcloud /lidar/points --map-image /map_image -p map.resolution:=0.5
  replay recording/ --out out/no_map --map-image none --limit 100 --device cpu
"""
# The node waits as long for the map image and the odometry of a sweep (ros/companions.py); in a recording they may
# stand that far behind it.
PATIENCE_NS = 50_000_000
LEGEND = ('Left: LiDAR height. Middle: the map image as it was warped onto the sweep, walls on top. Right: spatial '
          'attention. The circle is the lookahead ring; green arrows are estimated branches (thick: the direction to '
          'take, brighter: more probable). Up is straight ahead.')


class Replay:
    """Messages of a recording -> records, by the same decoding, pairing and pipeline as the node's."""

    def __init__(self, recording: Recording, topics: InputTopics, config: NodeConfig, pipeline: FusionPipeline):
        """Raises ConfigurationError when T_base_sensor is needed but is no rigid transform."""
        self._recording, self._topics = recording, topics
        self._pairer, self._pipeline = Pairer(config), pipeline
        self.remedies: dict[str, str] = {}  # drop reason -> the first message about it
        self.input_drops: Counter[str] = Counter()  # '<topic>: <reason>' of inputs other than sweeps

    def run(self, limit: int = 0) -> Iterator[tuple[SweepRecord, FusionResult | None]]:
        """Yield each sweep in recorded order, with its result while it is at hand.

        limit: only so many sweeps, 0 for all. Raises InputError when the recording breaks off.
        """
        waiting: deque[RawMessage] = deque()
        for raw in self._recording.raw_messages([STATIC_TRANSFORMS_TOPIC]):
            self._take(raw)  # they hold from the start on, wherever they stand
        done = 0
        for raw in self._recording.raw_messages([t for t in self._topics.all() if t != STATIC_TRANSFORMS_TOPIC]):
            while waiting and (raw.stamp_ns > waiting[0].stamp_ns + PATIENCE_NS
                               or raw.stamp_ns < waiting[0].stamp_ns):
                yield self._sweep(waiting.popleft())
            if raw.topic != self._topics.pointcloud:
                self._take(raw)
            elif limit and done == limit:
                break
            else:
                waiting.append(raw)
                done += 1
        while waiting:
            yield self._sweep(waiting.popleft())

    def _take(self, raw: RawMessage) -> None:
        """A map image, odometry or transforms; what cannot be used is counted and left out, as in the node."""
        try:
            message = self._recording.decode(raw)
            if raw.topic == self._topics.map_image:
                decode = decode_compressed_map_image if raw.type == COMPRESSED_IMAGE else decode_map_image
                self._pairer.add_map_image(decode(message))
            elif raw.topic == self._topics.odometry:
                self._pairer.add_odometry(message)
            else:
                self._pairer.add_transforms(message, static=raw.topic == STATIC_TRANSFORMS_TOPIC)
        except InputError as error:
            self.input_drops[f'{raw.topic}: {error.reason}'] += 1
            self.remedies.setdefault(error.reason, str(error))

    def _sweep(self, raw: RawMessage) -> tuple[SweepRecord, FusionResult | None]:
        stamp_ns = raw.stamp_ns
        try:
            message = self._recording.decode(raw)
            stamp_ns = header_stamp_ns(message)
            start = time.perf_counter()
            cloud = decode_cloud(message)
            decode_ms = 1e3 * (time.perf_counter() - start)
            result, _ = fuse(self._pairer, self._pipeline, cloud)
        except InputError as error:
            self.remedies.setdefault(error.reason, str(error))
            return SweepRecord(stamp_ns, drop_reason=error.reason), None
        latency_ms = 1e3 * (time.perf_counter() - start)
        return SweepRecord.of(result, latency_ms, {'decode': decode_ms, **result.stage_ms}), result


def options_parser() -> argparse.ArgumentParser:
    """The options of `replay`."""
    parser = cli.parser('replay', 'Run the pipeline over a rosbag2 recording (mcap or sqlite3) without a ROS graph. '
                        'Writes directions.csv, branches.csv, report.html and report.png.', EXAMPLES)
    parser.add_argument('bag', help='folder of the recording, or its .mcap or .db3 file')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the files go')
    parser.add_argument('--pointcloud', default='', metavar='TOPIC', help='default: the only PointCloud2 topic')
    parser.add_argument('--map-image', default='', metavar='TOPIC',
                        help='default: the only Image or CompressedImage topic; none: without a map')
    parser.add_argument('--odometry', default='', metavar='TOPIC',
                        help='default: the only Odometry topic; none: without odometry')
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
        topics = recording.input_topics(options.pointcloud, options.map_image, options.odometry)
        print(f'{recording.path.name}: {recording.duration:.1f} s')
        for role, name in (('pointcloud', topics.pointcloud), ('map image', topics.map_image),
                           ('odometry', topics.odometry)):
            print(f'  {role:<11} ' + (f'{name} ({recording.topics[name].count} messages)' if name else 'none'))
        pipeline = FusionPipeline(config)
        print(f'  network     {pipeline.checkpoint_name} on {pipeline.device}'
              + (f' ({pipeline.device_note})' if pipeline.device_note else ''))
        warnings = [] if pipeline.trained else ['Untrained weights: the numbers mean nothing.']
        pipeline.warm_up()
        run = Replay(recording, topics, config, pipeline)
        records, pictures, broken = _collect(run, recording, topics, options)
        pipeline.close()
    if not records:
        raise broken or InputError('no_sweeps', f'{topics.pointcloud} holds no message.', 'Record again.')
    if broken:
        warnings.append(str(broken))
    _write(options.out, run, config, recording.path.name, topics, records, pictures, warnings)
    summary = summarise(records)
    print('\n'.join(summary.lines()))
    for name, count in run.input_drops.items():
        print(f'dropped     {count} x {name}')
    for reason, message in run.remedies.items():
        print(f'  {reason}: {message}')
    for text in warnings:
        print(f'WARNING: {text}', file=sys.stderr)
    print(f'written to {options.out}: directions.csv, branches.csv, report.html, report.png')
    return 0 if summary.results and not broken else 1


def _collect(run: Replay, recording: Recording, topics: InputTopics, options: argparse.Namespace
             ) -> tuple[list[SweepRecord], list[Picture], InputError | None]:
    total = recording.topics[topics.pointcloud].count
    total = min(total, options.limit) if options.limit else total
    wanted, due = spread(total, options.pictures), False
    records: list[SweepRecord] = []
    pictures: list[Picture] = []
    try:
        for record, result in cli.progress(run.run(options.limit), total=total, unit=' sweeps', desc='replay'):
            due = due or len(records) in wanted  # a dropped sweep leaves its place to the next one
            records.append(record)
            if due and result is not None:
                pictures.append(Picture(compose_picture(result, 420), describe(record, records[0].stamp_ns)))
                due = False
    except InputError as error:  # the file breaks off: what was read is still worth having
        return records, pictures, error
    return records, pictures, None


def _write(folder: Path, run: Replay, config: NodeConfig, name: str, topics: InputTopics,
           records: list[SweepRecord], pictures: list[Picture], warnings: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_directions(folder / 'directions.csv', records)
    write_branches(folder / 'branches.csv', records)
    tables = [Table('Inputs', ('input', 'topic'), [('pointcloud', topics.pointcloud),
                                                   ('map image', topics.map_image or 'none'),
                                                   ('odometry', topics.odometry or 'none')])]
    if run.remedies:
        tables.insert(0, Table('What was dropped, and what to do', ('reason', 'first message'),
                               list(run.remedies.items())))
    changed = [(p.name, _value(config, p.name), p.default) for p in parameters()
               if _value(config, p.name) != p.default]
    if changed:
        tables.append(Table('Parameters that differ from their default', ('parameter', 'value', 'default'), changed))
    write_report(folder, f'Replay of {name}', f'{len(records)} sweeps of {topics.pointcloud}', records, pictures,
                 tables, warnings, LEGEND)


def _value(config: NodeConfig, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split('.'):
        value = getattr(value, part)
    return value


if __name__ == '__main__':
    sys.exit(main())
