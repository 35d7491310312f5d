# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`simulate`: publish a simulated drive on the ROS graph."""

from __future__ import annotations

import argparse
import math
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli
from attention_fusion_ros.commands.city_arguments import add_city_options, city_options, with_negative_degrees
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.simulation.drive_options import DriveOptions
from attention_fusion_ros.simulation.sensors.lidar import PRESETS
from attention_fusion_ros.utils.interrupt import SignalGuard

if TYPE_CHECKING:
    from tqdm import tqdm

    from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep

EXAMPLES = """\
simulate --bag out/drive --lidar vlp_16 --duration 10
simulate --osm --bag out/boston --duration 30
simulate --osm city.osm.pbf --start 49.4431,7.7689 --goal 49.4380,7.7580 --bag out/city
simulate --osm --fix-bias 4 --fix-lost 20 60 --odometry-scale 0.01 --imu
simulate
simulate --map-shift 4 -3 --map-yaw 8 --no-route --loop
simulate --lidar vlp_16 --rate 10 --speed 12 --seed 3 --no-map --clock
simulate --ros-args -r /lidar/points:=/attention_fusion/input/pointcloud
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `simulate`."""
    default = DriveOptions()
    parser = cli.parser('simulate', 'Publish a simulated drive through a town: /lidar/points (x y z intensity ring '
                        'time), /map_image (slightly misplaced), /odom, /tf and /tf_static, stamped with the time of '
                        'publishing. With --osm, the streets of a real city along a planned route: then there is /fix '
                        '(NavSatFix), odometry that drifts, and no map image. Needs ROS 2, except with --bag, which '
                        'writes all of these but /tf, and truth.json.', EXAMPLES)
    parser.add_argument('--rate', type=float, default=default.rate, help='sweeps per second (default %(default)s)')
    parser.add_argument('--speed', type=float, default=default.speed, help='m/s on straights (default %(default)s)')
    parser.add_argument('--seed', type=int, default=default.seed,
                        help='seed of the simulated town (default %(default)s)')
    parser.add_argument('--lidar', choices=list(PRESETS), default=default.lidar, help='sensor (default %(default)s)')
    parser.add_argument('--map-shift', type=float, nargs=2, default=default.map_shift, metavar=('X', 'Y'),
                        help='map error: metres forward and left (default 1.5 -1.5)')
    parser.add_argument('--map-yaw', type=float, default=math.degrees(default.map_yaw), metavar='DEG',
                        help='map error: rotation in degrees, left positive (default 3)')
    parser.add_argument('--map', action=argparse.BooleanOptionalAction, default=None,
                        help='publish map images (default: unless --osm is given)')
    parser.add_argument('--route', action=argparse.BooleanOptionalAction, default=default.route,
                        help='draw the route in red into the map image')
    add_city_options(parser)
    parser.add_argument('--duration', type=float, default=0.0, metavar='SECONDS',
                        help='stop after this much of the drive (default, and 0: at its end)')
    parser.add_argument('--bag', type=Path, metavar='DIR', help='write a recording (mcap) instead of publishing; '
                        'does not need ROS')
    parser.add_argument('--loop', action='store_true', help='start again at the end, until stopped')
    parser.add_argument('--clock', action='store_true',
                        help='publish /clock, and stamps that start at 1 s, for nodes with use_sim_time')
    parser.add_argument('--quiet', action='store_true', help='show no progress bar')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options_parser().parse_args(with_negative_degrees(cli.without_ros_arguments(arguments)))
    if options.bag is not None:
        return cli.run(lambda: record(options))  # which fails when it is interrupted: half a recording is none
    return cli.run_until_stopped(lambda guard: simulate(options, arguments, guard))


def simulate(options: argparse.Namespace, ros_arguments: list[str], guard: SignalGuard) -> int:
    """Publish the drive that the options describe, until its end or a signal; returns the exit status.

    Raises ConfigurationError for options that make no drive, and where ROS 2 is missing.
    """
    with guard.hold(), cli.importing_ros('simulate'):
        from attention_fusion_ros.ros.clients.drive_publisher import DrivePublisher, prefetched
        from attention_fusion_ros.ros.clients.session import Session
        from attention_fusion_ros.simulation.drive import START_NS
        drive = _drive(options)
    guard.check()
    layout = drive.map_layout
    print(f'{len(drive)} sweeps, {drive.options.lidar}; ' + ('no map image' if not drive.options.with_map else
          f'map.resolution {layout.resolution:g} m/pixel, map.anchor {list(layout.anchor)}'), file=sys.stderr)
    with Session('attention_fusion_simulator', ros_arguments, spin=False) as session:
        def alive() -> bool:
            return session.ok() and guard.received is None

        publisher = DrivePublisher(session.node, drive, options.clock)
        while alive():
            start_ns = START_NS if options.clock else time.time_ns()
            with cli.progress(total=len(drive), unit=' sweeps', desc='drive', disable=options.quiet) as progress:
                def on_sweep(_: SimulatedSweep, __: int, bar: tqdm = progress) -> None:
                    bar.update()

                with closing(prefetched(drive, alive)) as sweeps:
                    publisher.run(sweeps, start_ns, alive, on_sweep)
            if not options.loop:
                publisher.flush()
                break
    return 0


def _drive(options: argparse.Namespace) -> SimulatedDrive:
    import torch
    torch.set_num_threads(1)  # the other cores are for the node; threads that wait for each other would slow both
    from attention_fusion_ros.simulation.sweeps import SimulatedDrive
    with_map = options.osm is None if options.map is None else options.map
    try:
        drive = DriveOptions(
            seed=options.seed, rate=options.rate, speed=options.speed, lidar=options.lidar, with_map=with_map,
            route=options.route, map_shift=tuple(options.map_shift), map_yaw=math.radians(options.map_yaw),
            duration=options.duration)
        city = city_options(options)
        if city is None:
            return SimulatedDrive(drive)
        from attention_fusion_ros.simulation.city_drive import CityDrive
        found = CityDrive(drive, city)
    except InputError:
        raise
    except ValueError as error:
        raise ConfigurationError(f'{error}') from error
    print(f'from {_place(found.degrees(found.poses(0)[0][1]))} to '
          f'{_place((found.route.latitudes[-1], found.route.longitudes[-1]))}, {found.route.length:.0f} m',
          file=sys.stderr)
    return found


def _place(degrees: tuple[float, float]) -> str:
    return f'{degrees[0]:.5f},{degrees[1]:.5f}'


def record(options: argparse.Namespace) -> int:
    """Write the drive as a recording; returns the exit status.

    Raises ConfigurationError for options that make no drive, and when the folder exists.
    """
    from attention_fusion_ros.simulation.city_options import CityOptions
    from attention_fusion_ros.simulation.recording import check_new, write_recording
    from attention_fusion_ros.stream.new_recording import done_notes, status_of
    made_by = cli.made_by('simulate', options, (CityOptions().osm if options.osm == Path() else options.osm,))
    if cli.is_done(options.bag, status := status_of(options.bag, made_by)):
        return status or 0
    check_new(options.bag)  # before a progress bar is drawn
    drive = _drive(options)
    with cli.progress(total=len(drive), unit=' sweeps', desc='drive', disable=options.quiet) as progress:
        count = write_recording(drive, options.bag, on_sweep=progress.update, notes=done_notes(made_by))
    print(f'{options.bag}: {count} sweeps')
    return 0


if __name__ == '__main__':
    sys.exit(main())
