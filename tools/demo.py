#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A simulated drive through the real nodes, over real DDS: `make demo` (DEMO_SHORT=1 for a short one).

Drives through the streets of a real city (an OpenStreetMap extract that ships with the package) to a goal. Starts the
lifecycle nodes `map_source` and `attention_fusion` in processes of their own, configures and activates them by their
services, publishes the sweeps, fixes and odometry of the drive, and compares what comes back with the truth. Leaves
report.html, report.png, overview.png, picture.png and demo.csv in out/demo/. Exit status 1 when no result came.
With --town, as before there was `map_source`: through a made-up town, with map images that are misplaced by metres.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import demo_city
import demo_picture
import demo_report
import numpy as np
from demo_report import DemoSweep

os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')  # nothing of this concerns other machines

from attention_fusion_ros.commands import cli
from attention_fusion_ros.commands.city_arguments import degrees, with_negative_degrees
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.network.checkpoint import SHIPPED
from attention_fusion_ros.simulation.city_drive import CityDrive
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep
from attention_fusion_ros.utils import atomic

if TYPE_CHECKING:
    from attention_fusion_ros.ros.clients.diagnostics_listener import DiagnosticAlert
    from attention_fusion_ros.ros.clients.result_listener import ResultListener
    from attention_fusion_ros.ros.live_server import LiveServer
from attention_fusion_ros.stream.inputs import default_topics, launch_remappings, selectable_inputs  # noqa: E402

EXAMPLES = """\
  make demo                              the whole drive
  DEMO_SHORT=1 make demo                 some seconds of it
  make demo LIVE=1                       the drive in a viewer as well
  tools/demo.py --osm city.osm.pbf --start 49.4431,7.7689 --goal 49.4380,7.7580
  make demo TOWN=1                       through a made-up town
  tools/demo.py --town --seed 4 --map-shift 4 -3 --map-yaw 8
"""
OUT = Path(__file__).resolve().parents[1] / 'out' / 'demo'
RATE_HZ = 2.0  # of the sweeps
SHORT_S = 8.0
REMAPS = dict(launch_remappings(default_topics()))
FOUND_WITHIN_S = 30.0  # until publishers and subscriptions have found each other
LAST_ANSWER_WITHIN_S = 10.0
PATIENCE_S = 5.0  # for an answer before the drive goes on


def main() -> int:
    """Run the demo; 0 when results came, 1 when none did, 2 when it could not run at all."""
    options = parse()
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        print(f'The demo needs ROS 2: {error}. Run it by `make demo`, which installs it or uses the one that is '
              'sourced.', file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the node is stopped as well
    return cli.run(lambda: demo(options))


def parse() -> argparse.Namespace:
    """The command line."""
    default = DriveOptions()
    parser = cli.parser('demo', __doc__, EXAMPLES)
    parser.add_argument('--out', type=Path, default=OUT, help='where the files go (default out/demo)')
    parser.add_argument('--seconds', type=float, default=SHORT_S if os.environ.get('DEMO_SHORT', '0') not in ('', '0')
                        else 0.0, help='only so much of the drive')
    parser.add_argument('--seed', type=int, default=default.seed, help='other houses, vehicles and errors of sensors; '
                        'with --town, another town')
    parser.add_argument('--town', action='store_true', help='a made-up town instead of a real city, and map images '
                        'without map_source')
    parser.add_argument('--osm', type=Path, metavar='FILE', help='another city: .osm, .osm.gz, .osm.pbf, .geojson')
    parser.add_argument('--start', type=degrees, metavar='LAT,LON', help='where the drive begins, degrees')
    parser.add_argument('--goal', type=degrees, action='append', default=[], metavar='LAT,LON', help='where it ends')
    parser.add_argument('--lidar', default=default.lidar, help='sensor (default %(default)s)')
    parser.add_argument('--map-shift', type=float, nargs=2, default=default.map_shift, metavar=('X', 'Y'),
                        help='with --town: by how much the map is misplaced, m (default 1.5 -1.5)')
    parser.add_argument('--map-yaw', type=float, default=math.degrees(default.map_yaw), metavar='DEG',
                        help='with --town: by how much it is turned (default 3)')
    parser.add_argument('--checkpoint', default='', help='network to run (default: the one shipped)')
    cli.add_live_options(parser, 'the drive', recorded=False)
    return parser.parse_args(with_negative_degrees(sys.argv[1:]))


def demo(options: argparse.Namespace) -> int:
    """The demo from simulation to report."""
    import torch
    torch.set_num_threads(1)
    drive = town_drive(options) if options.town else demo_city.city_drive(options, RATE_HZ)
    parameters, warnings = node_parameters(options, drive)
    for text in warnings:
        print(f'WARNING: {text}', file=sys.stderr)
    sweeps = [drive.sweep(i) for i in cli.progress(range(len(drive)), desc='simulating sweeps', unit=' sweeps')]
    from attention_fusion_ros.ros.clients.node_process import NodeError
    try:
        run = drive_through(options, drive, sweeps, parameters)
    except NodeError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    found = run.sweeps
    alone = demo_city.poses_by_fixes(drive) if isinstance(drive, CityDrive) else []
    if isinstance(drive, CityDrive):
        before = demo_city.errors_of(alone, drive)
        found = [dataclasses.replace(s, map_before=before[s.index]) for s in found]
    rows = demo_report.table(found)
    print()
    print(demo_report.as_text(rows))
    print()
    summary = demo_report.summary_lines(found) + run.words
    print('\n'.join(summary))
    write_csv(options.out / 'demo.csv', rows)
    title, lead = about(options, drive, len(found))
    paths = demo_report.write(options.out, title, lead, found, rows, summary, warnings, run.extent)
    if isinstance(drive, CityDrive):
        paths.append(demo_picture.write(options.out / 'overview.png', drive, found, alone, run.placed, run.track,
                                        run.note))
    for path in paths:
        print(f'written: {path}')
    return 0 if any(s.answered for s in found) else 1


def town_drive(options: argparse.Namespace) -> SimulatedDrive:
    """A drive through a made-up town."""
    return SimulatedDrive(DriveOptions(
        seed=options.seed, rate=RATE_HZ, lidar=options.lidar, map_shift=tuple(options.map_shift),
        map_yaw=math.radians(options.map_yaw), duration=options.seconds))


def about(options: argparse.Namespace, drive: SimulatedDrive, count: int) -> tuple[str, str]:
    """Title and first paragraph of the report."""
    what = f'{count} sweeps of a simulated {drive.options.lidar} through the real node'
    if isinstance(drive, CityDrive):
        return ('Demo: from a file of roads and a position fix to directions',
                f'{what}s over DDS, {drive.route.length:.0f} m through the roads of {drive.city_options.osm.name} '
                '(© OpenStreetMap contributors); map_source drew the map images from fixes that are metres off and '
                'odometry that drifts')
    return ('Demo: a simulated drive', f'{what} over DDS; map image off by {options.map_shift[0]:+g} m forward, '
            f'{options.map_shift[1]:+g} m left and {options.map_yaw:+g} deg')


def node_parameters(options: argparse.Namespace, drive: SimulatedDrive) -> tuple[dict[str, Any], list[str]]:
    """Parameters of the node, and what is to be said about them."""
    import torch
    layout = drive.map_layout
    parameters = {'map.resolution': layout.resolution, 'map.anchor': list(layout.anchor),
                  'diagnostics.period': 0.1,  # several between two sweeps: they tell the mode of each
                  'device': 'auto' if torch.cuda.is_available() else 'cpu',
                  'threads': 1}  # several that share busy cores would wait for each other
    if options.checkpoint:
        return {**parameters, 'checkpoint': options.checkpoint}, []
    if SHIPPED.exists():
        return parameters, []
    return ({**parameters, 'checkpoint': 'untrained', 'allow_untrained': True},
            ['This package has no trained weights: the node runs random ones, and what it says means nothing.'])


@dataclasses.dataclass
class Run:
    """What came of a drive."""

    sweeps: list[DemoSweep]
    extent: float | None  # m, of the pictures
    words: list[str]  # what the nodes reported
    placed: dict[int, Pose2]  # sweep -> where map_source said that the vehicle was
    track: np.ndarray  # (N, 2) m: everywhere that it said so
    note: str = ''  # where corrections of the map come from


def drive_through(options: argparse.Namespace, drive: SimulatedDrive, sweeps: list[SimulatedSweep],
                  parameters: dict[str, Any]) -> Run:
    """Everything that needs the graph."""
    from attention_fusion_ros.ros.clients.domains import ReservedDomain
    from attention_fusion_ros.ros.clients.drive_publisher import DrivePublisher
    from attention_fusion_ros.ros.clients.node_process import NodeProcess
    from attention_fusion_ros.ros.clients.result_listener import ResultListener
    from attention_fusion_ros.ros.clients.session import Session
    found: dict[int, DemoSweep] = {}
    with ExitStack() as stack:
        server = live_server(options, stack)
        domain = stack.enter_context(ReservedDomain())
        session = stack.enter_context(Session('attention_fusion_demo', domain_id=domain))
        if server is not None:
            from attention_fusion_ros.ros.clients.live_bridge import LiveBridge
            topics = default_topics()
            LiveBridge(session.node, server, {topics[spec.name]: spec.types[0] for spec in selectable_inputs()
                                              if spec.name in topics})
        listener = ResultListener(session.node, pictures=True)
        publisher = DrivePublisher(session.node, drive)
        print(f'starting the nodes (ROS_DOMAIN_ID={domain}, logs in {shown(options.out)})')
        node = stack.enter_context(NodeProcess(session, parameters, REMAPS, options.out / 'node.log', domain))
        nodes, positions, note = [node], None, ''
        if isinstance(drive, CityDrive):
            registers = demo_city.registers_map(options.checkpoint)
            note = demo_city.words(registers)
            print(demo_city.RECEIVER)
            positions = demo_city.PositionListener(session.node, drive, not registers, options.seed)
            nodes.insert(0, stack.enter_context(NodeProcess(
                session, demo_city.source_parameters(drive), demo_city.source_remaps(registers),
                options.out / 'map_source.log', domain, command='map_source', name=demo_city.SOURCE)))
        for process in nodes:
            process.bring_up()
        print('configured and active: ' + ', '.join(process.name for process in nodes))
        wait(lambda: publisher.has_subscribers() and listener.connected()
             and (positions is None or positions.connected()), FOUND_WITHIN_S)
        earlier = listener.alerts()  # nodes that are not up yet say so
        if server is not None:
            cli.announce_live(server.url, options.wait)
            server.wait_for_viewer(options.wait)
        with cli.progress(total=len(sweeps), desc='driving', unit=' sweeps') as bar:
            def on_sweep(sweep: SimulatedSweep, stamp_ns: int) -> None:
                found[stamp_ns] = DemoSweep(sweep.index, sweep.time_ns, sweep.truth, time.monotonic(),
                                            cloud=sweep.cloud)
                if positions is not None:
                    positions.starts(stamp_ns, sweep.time_ns)
                for process in nodes:
                    process.check()
                bar.set_postfix_str(demo_report.one_line(listener.results(), found), refresh=False)
                bar.update()
            publisher.run(one_at_a_time(sweeps, found, listener), time.time_ns(), session.ok, on_sweep)
        last = max(found)
        wait(lambda: (a := listener.result(last)) is not None and a.picture is not None, LAST_ANSWER_WITHIN_S)
        time.sleep(0.6)  # one more report of the diagnostics
        words = words_of(listener.values(), listener.alerts() - earlier) + [note] * bool(note)
        for answer in listener.results():
            if answer.stamp_ns in found:
                found[answer.stamp_ns] = dataclasses.replace(
                    found[answer.stamp_ns], branches=answer.branches, direction=answer.direction,
                    answered_at=answer.branches_at_s, picture=answer.picture, map_share=answer.map_share,
                    distribution=answer.distribution, mode=answer.mode, mode_reason=answer.mode_reason,
                    no_direction=answer.direction_reason)
        if positions is None:
            return Run(list(found.values()), listener.extent, words, {}, np.zeros((0, 2)))
        placed = {s.index: pose for stamp, s in found.items() if (pose := positions.pose_at(stamp)) is not None}
        return Run([dataclasses.replace(s, map_after=positions.error_at(stamp, s.time_ns))
                    for stamp, s in found.items()], listener.extent, words, placed, positions.track(), note)


def live_server(options: argparse.Namespace, stack: ExitStack) -> LiveServer | None:
    """Where viewers see the drive, None without --live. Raises ConfigurationError."""
    if not options.live:
        return None
    from attention_fusion_ros.ros.live_server import LiveServer
    return stack.enter_context(LiveServer(options.host, options.port))


def one_at_a_time(sweeps: list[SimulatedSweep], found: dict[int, DemoSweep], listener: ResultListener
                  ) -> Iterator[SimulatedSweep]:
    """The sweeps; each waits a while for the answer to the one before, so that a busy machine slows the drive down."""
    for sweep in sweeps:
        if found:
            before = max(found)
            wait(partial(_has_branches, listener, before), PATIENCE_S)
        yield sweep


def _has_branches(listener: ResultListener, stamp_ns: int) -> bool:
    result = listener.result(stamp_ns)
    return result is not None and result.branches is not None


def words_of(values: dict[str, str], alerts: dict[DiagnosticAlert, int]) -> list[str]:
    """What /diagnostics said, for the summary."""
    dropped = {k.partition('dropped.')[2]: v for k, v in values.items() if '.dropped.' in k}
    lines = ['node        ' + ', '.join(f'{name} {values[key]}' for name, key in (
        ('checkpoint', 'network.checkpoint'), ('device', 'network.device'), ('results', 'output.results'))
                                         if key in values)]
    if dropped:
        lines.append('dropped     ' + ', '.join(f'{reason} {n}' for reason, n in dropped.items()))
    lines += [f'diagnostics {c.name}: {c.message} (in {n} reports)' for c, n in alerts.items() if n > 2]
    return lines


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """The table as a file."""
    atomic.write_csv(path, [list(rows[0]), *([row[name] for name in rows[0]] for row in rows)])


def wait(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def shown(path: Path) -> Path:
    """The path as seen from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == '__main__':
    sys.exit(main())
