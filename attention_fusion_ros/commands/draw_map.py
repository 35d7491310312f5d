# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`draw_map`: write map images into a copy of a recording that knows where on earth it was made."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_fusion_ros.commands import cli, many
from attention_fusion_ros.commands.city_arguments import with_negative_degrees
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.utils.interrupt import SignalGuard

if TYPE_CHECKING:
    from attention_fusion_ros.maps.config import MapSourceConfig
    from attention_fusion_ros.maps.source import MapSource
    from attention_fusion_ros.ros.map_source.draw_recording import Drawn
    from attention_fusion_ros.ros.map_source.recorded import ImagePlan, PositionTopics
    from attention_fusion_ros.stream.recording import Recording

EXAMPLES = """\
draw_map out/drive --osm city.osm.pbf --out out/with_map
draw_map out/drive --osm city.osm.pbf --out out/with_map --goal "49.4431, 7.7689" --resolution 0.5
draw_map drive.bag --osm city.osm.pbf --out out/with_map --fix /gps/fix --imu /gps/imu --every 0.5
draw_map out/drive --osm city.osm.pbf --out out/with_map --fix none --datum "49.4431, 7.7689" --utm-zone 32N
draw_map 'drives/*' --osm city.osm.pbf --out out/with_maps --ray local
"""
IMAGE_TOPICS = ('/map_image', '/drawn_map_image')  # the first that the recording does not have
TOPIC_OPTIONS = {'fix': ('sensor_msgs/NavSatFix', 'the only one; none: odometry or tf is fixed to the earth'),
                 'odometry': ('nav_msgs/Odometry', 'the only one; none: from /tf'),
                 'imu': ('sensor_msgs/Imu with an absolute yaw', 'none')}
ROUTES = ('driven', 'goal', 'none')


def options_parser() -> argparse.ArgumentParser:
    """The options of `draw_map`."""
    parser = cli.parser('draw_map', 'Write map images from a file of roads into a copy of a recording with a fix '
                        '(NavSatFix) or with odometry in UTM or ENU, for replay, play and training. All topics are '
                        'copied as they are; ROS 1 bags become recordings of ROS 2.', EXAMPLES)
    parser.add_argument('bag', nargs='+', help=many.RECORDINGS_HELP)
    parser.add_argument('--osm', type=Path, metavar='FILE', help='roads: .osm, .osm.gz, .osm.bz2, .osm.pbf, .geojson')
    parser.add_argument('--out', type=cli.output_folder, required=True, metavar='DIR', help='the new recording; of '
                        'many, a folder for all of them and their table')
    for name, (kind, default) in TOPIC_OPTIONS.items():
        parser.add_argument(f'--{name}', default='', metavar='TOPIC', help=f'{kind} (default: {default})')
    parser.add_argument('--map-image', default='', metavar='TOPIC', help='topic of the images (default '
                        f'{IMAGE_TOPICS[0]}, or {IMAGE_TOPICS[1]} where the recording has that)')
    parser.add_argument('--route', choices=ROUTES, help='what is drawn in red: the way that was driven (default), the '
                        'route to --goal (default with it), or nothing')
    parser.add_argument('--goal', default='', metavar='LAT,LON', help='degrees; several, separated by semicolons, are '
                        'waypoints')
    parser.add_argument('--datum', default='', metavar='LAT,LON', help='origin of the local frame in degrees; without '
                        'fix: of odometry in ENU (default: the first fix)')
    parser.add_argument('--utm-zone', default='', metavar='ZONE', help='odometry is in this zone of UTM, 32N for '
                        'example')
    parser.add_argument('--kinds', default='', metavar='A,B', help='values of highway that count (default: streets '
                        'with a carriageway)')
    parser.add_argument('--resolution', type=float, metavar='M', help='metres a pixel (default 0.25)')
    parser.add_argument('--size', type=int, nargs=2, metavar=('COLUMNS', 'ROWS'), help='pixels (default 480 480)')
    parser.add_argument('--orientation', choices=('heading_up', 'north_up'), help='what is up (default heading_up)')
    parser.add_argument('--smooth', action='store_true', help='let the whole recording tell each position: better '
                        'than what a vehicle knows while it drives, and from the first message on')
    parser.add_argument('--every', type=float, metavar='SECONDS', help='an image so often (default: when the vehicle '
                        'has moved, at least one a second)')
    parser.add_argument('--storage', choices=('mcap', 'sqlite3'), help='of the new recording (default: that of BAG, '
                        'mcap for ROS 1 bags)')
    parser.add_argument('--params', type=Path, metavar='FILE', help='parameter file of map_source (YAML)')
    parser.add_argument('-p', dest='overrides', action='append', default=[], metavar='NAME:=VALUE',
                        help='set one parameter of map_source, for example map.layers:=all; may be repeated')
    many.add_many_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = options_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(with_negative_degrees(words))
    if options.route == 'goal' and not options.goal:
        parser.error('--route goal needs --goal')
    if options.every is not None and not 0.02 <= options.every <= 3600:
        parser.error('--every must be 0.02 to 3600 s')
    if many.is_many(options, options.bag):
        from attention_fusion_ros.commands.draw_map_many import draw_many
        return cli.run(lambda: draw_many(options, ['draw_map', *words]))
    options.bag, = options.bag
    guard = SignalGuard()
    with guard:
        return cli.run(lambda: draw_map(options))


def draw_map(options: argparse.Namespace) -> int:
    """Draw as the options say; returns the exit status. Raises ConfigurationError when no image can be drawn."""
    from attention_fusion_ros.stream.new_recording import status_of
    made_by = cli.made_by('draw_map', options, (options.bag, options.osm, options.params))
    if cli.is_done(options.out, status := status_of(options.out, made_by)):
        return status or 0
    return 1 if draw_recording_map(options, made_by).losses else 0


@dataclass(frozen=True)
class DrawnMap:
    """What came of a recording."""

    duration_s: float
    plan: ImagePlan
    drawn: Drawn
    losses: list[str]  # what could not be read


def draw_recording_map(options: argparse.Namespace, made_by: str = '') -> DrawnMap:
    """Draw into a copy of one recording and tell about it. Raises ConfigurationError when no image can be drawn.

    made_by: see `NewRecording`.
    """
    from attention_fusion_ros.maps.smoothed import LoggedSource
    from attention_fusion_ros.maps.source import MapSource
    from attention_fusion_ros.ros.map_source.draw_recording import draw_recording
    from attention_fusion_ros.ros.map_source.recorded import plan_images, position_topics
    from attention_fusion_ros.stream.copy_recording import copy_beside
    from attention_fusion_ros.stream.new_recording import NewRecording
    from attention_fusion_ros.stream.recording import Recording

    new = NewRecording(options.out, 'mcap')  # refuses a folder that exists before the work
    with Recording(options.bag) as recording:
        config = _config(options, recording)
        topics = position_topics(recording, config, {name: getattr(options, name) for name in TOPIC_OPTIONS})
        images = _image_topic(options.map_image, recording)
        _introduce(recording, config, topics)
        source = (LoggedSource if options.smooth else MapSource).from_file(config)
        print(f'  roads       {len(source.graph)} edges of {config.file}')
        used = [*topics.chosen.values(), *topics.transforms]
        with cli.progress(total=recording.count(used), unit=' messages', desc='position') as bar:
            plan = plan_images(recording, topics, source, bar.update)
        if not plan.images:
            raise _no_images(plan, recording)
        route = options.route or ('goal' if config.goal else 'driven')
        new = NewRecording(options.out, options.storage or recording.storage, made_by)
        with new, cli.progress(total=recording.count(list(recording.topics)), unit=' messages', desc='writing') as bar:
            drawn = draw_recording(recording, plan, source, route, new, images, bar.update)
            copy_beside(recording, new.work)
            _write_hints(new, config, images, topics)
            losses, duration_s = recording.losses, recording.duration
            new.finish(1 if losses else 0)
        if recording.is_ros1:
            print(f'ROS 1       messages are written as ROS 2 sends them ({new.storage})')
    _tell(options, config, images, plan, drawn, route, source)
    for text in losses:
        print(f'WARNING: {text}', file=sys.stderr)
    return DrawnMap(duration_s, plan, drawn, losses)


def _config(options: argparse.Namespace, recording: Recording) -> MapSourceConfig:
    """Parameters of the map source from --params, -p and the options, which win."""
    from attention_fusion_ros.config import from_flat
    from attention_fusion_ros.maps.config import MapSourceConfig
    from attention_fusion_ros.stream.recording import NONE

    values: dict[str, Any] = {} if options.params is None else cli.read_parameter_file(options.params, cli.MAP_NODE)
    values.update(cli.yaml_values(cli.assignments(options.overrides, '-p', ':='), '-p'))
    given = {'file': options.osm and str(options.osm), 'kinds': options.kinds, 'datum': options.datum,
             'goal': options.goal, 'map.resolution': options.resolution, 'map.orientation': options.orientation,
             'position.utm_zone': options.utm_zone}
    values.update({name: value for name, value in given.items() if value})
    if options.size:
        values['map.width'], values['map.height'] = options.size
    if options.every:
        values.update({'map.min_period': options.every, 'map.max_period': options.every, 'map.min_distance': 0.0})
    if options.imu in ('', NONE):
        values.setdefault('position.imu', 'off')
    has_fix = options.fix != NONE and (options.fix or any(
        topic.type == 'sensor_msgs/msg/NavSatFix' and topic.count for topic in recording.topics.values()))
    if 'position.source' not in values and (options.utm_zone or options.datum) and (options.utm_zone or not has_fix):
        values['position.source'] = 'odometry'
    if options.utm_zone:
        values.setdefault('position.coordinates', 'utm')
    if not values.get('file'):
        raise ConfigurationError('no file of roads was given. Remedy: give --osm FILE, an extract from '
                                 'download.geofabrik.de for example')
    config: MapSourceConfig = from_flat(values, MapSourceConfig)
    if not has_fix and config.position.source == 'fix':
        raise ConfigurationError('the recording has no fix (sensor_msgs/NavSatFix).' + _said(recording.losses)
                                 + ' Remedy: give --datum LAT,LON for odometry in ENU, --utm-zone ZONE for odometry in '
                                 'UTM, or -p position.source:=tf for transforms to an earth-fixed frame')
    return config


def _image_topic(wanted: str, recording: Recording) -> str:
    name = f'/{wanted.lstrip("/")}' if wanted else next((t for t in IMAGE_TOPICS if t not in recording.topics), '')
    if not name or name in recording.topics:
        raise ConfigurationError(f"the recording has a topic '{name or IMAGE_TOPICS[1]}' already. Remedy: give another "
                                 'name with --map-image')
    return name


def _introduce(recording: Recording, config: MapSourceConfig, topics: PositionTopics) -> None:
    print(f'{recording.path.name}: {recording.duration:.1f} s')
    for note in recording.notes:
        print(f'  note: {note}')
    for name in TOPIC_OPTIONS:
        topic = topics[name]
        print(f'  {name:<11} ' + (f'{topic} ({recording.topics[topic].count} messages)' if topic else 'none'))
    if config.map.orientation == 'north_up' and config.position.source == 'fix':
        print('WARNING: replay uses images that are north up only where the x axis of odometry points east; draw them '
              'heading up for other recordings.', file=sys.stderr)


def _no_images(plan: ImagePlan, recording: Recording) -> ConfigurationError:
    """Why there is none."""
    told = ', '.join(f'{count} x {reason}' for reason, count in (plan.missed + plan.refused).most_common())
    # What is wrong with messages explains why there are no images, not the other way round.
    first = next((plan.errors[key] for counts in (plan.refused, plan.missed) for reason, _ in counts.most_common()
                  if (key := reason.rpartition(': ')[2]) in plan.errors), None)
    if first is None:
        return ConfigurationError(f'{recording.path.name} holds no messages that tell where the vehicle is.'
                                  + _said(recording.losses) + ' Remedy: choose the topics with --fix and --odometry')
    return ConfigurationError(f'no map image could be drawn ({told}): {first.cause} Remedy: {first.remedy}')


def _said(losses: list[str]) -> str:
    return ''.join(f' {loss}' for loss in losses)


def _write_hints(new: Any, config: MapSourceConfig, images: str, topics: PositionTopics) -> None:
    """replay.yaml: which topic is the map, and how it lies."""
    from attention_fusion_ros.config import NodeConfig
    from attention_fusion_ros.ros.map_source import inputs
    from attention_fusion_ros.stream.recording_hints import NAME, hints_text
    known = {'map_image': images}
    if odometry := topics[inputs.ODOMETRY]:
        known['odometry'] = odometry
    layout = config.map
    parameters: dict[str, Any] = {'map.resolution': layout.resolution, 'map.anchor': list(layout.anchor),
                                  'map.orientation': layout.orientation}
    if 2 * layout.max_period > NodeConfig().map.max_age:
        parameters['map.max_age'] = 2 * layout.max_period
    if config.frames.base != NodeConfig().frames.base:
        parameters['frames.base'] = config.frames.base
    (new.work / NAME).write_text(hints_text(known, parameters))


def _tell(options: argparse.Namespace, config: MapSourceConfig, images: str, plan: ImagePlan, drawn: Drawn,
          route: str, source: MapSource) -> None:
    from attention_fusion_ros.maps.reasons import REASONS
    layout = config.map
    print(f'images      {drawn.images} on {images}, {layout.width} x {layout.height} pixels of '
          f'{layout.resolution:g} m, {layout.orientation.replace("_", " ")}')
    stds = sorted(image.estimate.position_std for image in plan.images)
    turns = sorted(math.degrees(image.estimate.heading_std) for image in plan.images)
    print(f'position    deviation {stds[len(stds) // 2]:.2f} m (median), {stds[-1]:.2f} m (largest); heading '
          f'{turns[len(turns) // 2]:.2f} and {turns[-1]:.2f} degrees')
    frame = source.frame
    assert frame is not None
    print(f'datum       {frame.latitude:.7f}, {frame.longitude:.7f}')
    print(f'route       {route}' + (f', {drawn.route_m / 1000:.2f} km, in {drawn.with_route} images'
                                    if route != 'none' else '')
          + (f'; {100 * drawn.on_roads:.0f} % of it along roads of the map' if route == 'driven' else ''))
    for name, counts in (('no image', plan.missed), ('no route', drawn.problems), ('not used', plan.refused)):
        for reason, count in counts.most_common():
            key = reason.rpartition(': ')[2]
            error = plan.errors.get(key) or drawn.errors.get(key)
            print(f'{name:<11} {count} x {reason}: {error or REASONS.get(key, "")}'.rstrip(': '))
    for topic, count in drawn.left_out.items():
        print(f'left out    {count} messages of {topic}, which cannot be converted')
    print(f'written to {options.out}: {drawn.messages} messages copied; try: replay {options.out} --out out/replay')


if __name__ == '__main__':
    sys.exit(main())
