# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of a simulated drive through a real city: where from and to, and what is wrong with its sensors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.city_options import CityOptions, Degrees
from attention_fusion_ros.simulation.sensors.navigation_errors import GnssErrors, ImuErrors, OdometryErrors

PLACES = ('--start', '--goal', '--datum')


def degrees(text: str) -> Degrees:
    """The type of an option that is a place: latitude,longitude."""
    try:
        latitude, longitude = (float(part) for part in re.split(r'[,\s]+', text.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not LAT,LON in degrees, such as 42.3467,-71.0298") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise argparse.ArgumentTypeError(f"'{text}' lies nowhere: give latitude (-90 to 90) first, then longitude "
                                         '(-180 to 180)')
    return latitude, longitude


def with_negative_degrees(arguments: Sequence[str]) -> list[str]:
    """The command line with places in the south tied to their option: argparse takes -33.8,151.2 for an option."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] in PLACES and re.match(r'-[\d.]', argument):
            found[-1] += f'={argument}'
        else:
            found.append(argument)
    return found


def add_city_options(parser: argparse.ArgumentParser) -> None:
    """What `city_options` reads."""
    gnss, odometry, imu = GnssErrors(), OdometryErrors(), ImuErrors()
    group = parser.add_argument_group('a real city', 'Without --start or --goal, the seed chooses places some hundred '
                                      'metres apart. Deviations are standard deviations.')
    group.add_argument('--osm', type=Path, nargs='?', const=Path(), metavar='FILE',
                       help='drive through the roads of this file (.osm, .osm.gz, .osm.pbf, .geojson); without FILE: '
                       'those of the extract that ships with the package, in Boston')
    group.add_argument('--start', type=degrees, metavar='LAT,LON', help='where the drive begins, degrees')
    group.add_argument('--goal', type=degrees, action='append', default=[], metavar='LAT,LON',
                       help='where it ends; given several times, the earlier ones are places on the way')
    group.add_argument('--left-hand', action='store_true', help='traffic keeps to the left')
    group.add_argument('--fix', action=argparse.BooleanOptionalAction, default=True,
                       help='publish /fix, sensor_msgs/NavSatFix; its covariance is that of noise and bias')
    group.add_argument('--fix-rate', type=float, default=gnss.rate, metavar='HZ', help='(default %(default)s)')
    group.add_argument('--fix-noise', type=float, default=gnss.noise, metavar='M',
                       help='white noise of each horizontal axis (default %(default)s)')
    group.add_argument('--fix-bias', type=float, default=gnss.bias, metavar='M',
                       help='bias of each horizontal axis, which wanders (default %(default)s)')
    group.add_argument('--fix-bias-time', type=float, default=gnss.bias_time, metavar='SECONDS',
                       help='time in which it becomes another one (default %(default)s)')
    group.add_argument('--fix-losses', type=float, default=gnss.losses, metavar='PER_MINUTE',
                       help='how often there is no fix for some seconds (default %(default)s)')
    group.add_argument('--fix-lost', type=float, nargs=2, action='append', default=[], metavar=('FROM', 'SECONDS'),
                       help='no fix from so many seconds after the start on, for so long; may be repeated')
    group.add_argument('--fix-jumps', type=float, default=gnss.jumps, metavar='PER_MINUTE',
                       help='how often multipath throws it off for some seconds, which its covariance does not tell '
                       '(default %(default)s)')
    group.add_argument('--fix-jump', type=float, default=gnss.jump, metavar='M',
                       help='how far, in the mean (default %(default)s)')
    group.add_argument('--odometry-scale', type=float, default=odometry.scale, metavar='SHARE',
                       help='by which distances are too long (default %(default)s)')
    group.add_argument('--odometry-turn', type=float, default=odometry.turn, metavar='DEG',
                       help='error of the yaw after a metre; it grows with the root of the way (default %(default)s)')
    group.add_argument('--imu', action='store_true', help='publish /heading too, sensor_msgs/Imu with absolute yaw')
    group.add_argument('--imu-noise', type=float, default=imu.noise, metavar='DEG', help='(default %(default)s)')
    group.add_argument('--imu-bias', type=float, default=imu.bias, metavar='DEG',
                       help='drawn once for the whole drive (default %(default)s)')


def city_options(options: argparse.Namespace) -> CityOptions | None:
    """What was chosen, None without --osm.

    Raises ValueError for numbers that make no sensor, ConfigurationError for places without a city.
    """
    if options.osm is None:
        if options.start or options.goal:
            raise ConfigurationError('--start and --goal are places in a real city. Remedy: add --osm, or --osm FILE')
        return None
    gnss = GnssErrors(options.fix_rate, options.fix_noise, options.fix_bias, options.fix_bias_time, options.fix_losses,
                      lost=tuple(tuple(pair) for pair in options.fix_lost), jumps=options.fix_jumps,
                      jump=options.fix_jump)
    return CityOptions(
        CityOptions().osm if options.osm == Path() else options.osm, options.start, tuple(options.goal),
        options.left_hand, gnss if options.fix else None,
        OdometryErrors(options.odometry_scale, options.odometry_turn),
        ImuErrors(options.imu_noise, options.imu_bias) if options.imu else None)
