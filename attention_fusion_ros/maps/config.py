# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the map source in one place, as `attention_fusion_ros.config` has those of the fusion node.

The ROS parameters of `map_source`, `config/map_source.yaml` and the table in docs/maps.md are made from this file. What
both nodes have to agree about has the same name in both: `map.resolution`, `map.anchor`, `map.orientation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from attention_fusion_ros.config import DiagnosticsConfig, parameter

SOURCES = ('fix', 'odometry', 'tf')
COORDINATES = ('enu', 'utm', 'ecef')


@dataclass(frozen=True)
class MapFramesConfig:
    """Names of frames."""

    base: str = parameter('base_link', 'Vehicle frame (REP-105): x forward, y left, origin on the ground.',
                          read_only=True)
    odom: str = parameter('odom', 'Frame of odometry: the child of tf map -> odom, and where no odometry message comes '
                          'the parent of the vehicle frame on /tf.', read_only=True)
    map: str = parameter('map', 'Local frame: metres east and north of the datum. Route, roads and position are in it.',
                         read_only=True)
    earth: str = parameter('utm', 'Frame on /tf that is fixed to the earth, for position.source tf.', read_only=True)


@dataclass(frozen=True)
class PositionConfig:
    """Where the position comes from, and how well it has to be known."""

    source: str = parameter(
        'fix', 'fix: NavSatFix on input/fix, with odometry between fixes. odometry: input/odometry is in earth-fixed '
        'coordinates already. tf: the vehicle frame in frames.earth.', choices=SOURCES, read_only=True)
    coordinates: str = parameter(
        'enu', 'Of position.source odometry and tf. enu: metres east and north of the datum (which has to be given). '
        'utm: easting and northing of position.utm_zone. ecef: earth-centred (the frame `earth` of REP-105; tf only).',
        choices=COORDINATES, read_only=True)
    utm_zone: str = parameter('', 'Zone of position.coordinates utm: 32N, 23S.', read_only=True)
    antenna: list[float] = parameter(
        [0.0, 0.0], 'Where the antenna is: x ahead, y left of the vehicle frame. Used where tf does not know the frame '
        'of the fix.', 'm', -50.0, 50.0, read_only=True)
    imu: str = parameter(
        'absolute', 'absolute: the yaw on input/imu is counted from true east (dual antenna, INS; REP-103). off: it is '
        'not used.', choices=('absolute', 'off'), read_only=True)
    imu_yaw: float = parameter(
        0.0, 'Added to the yaw on input/imu: how the sensor is turned against the vehicle, and the declination of a '
        'compass. Where tf knows how the frame of the sensor is mounted, that counts besides.', 'rad', -math.pi,
        math.pi, read_only=True)
    fix_std: float = parameter(4.0, 'Standard deviation of fixes without a covariance.', 'm', 0.01, 100.0,
                               read_only=True)
    max_std: float = parameter(15.0, 'Standard deviation of the position beyond which there is no image.', 'm', 0.1,
                               200.0, read_only=True)
    max_heading_std: float = parameter(
        math.radians(15.0), 'Standard deviation of the heading beyond which there is no image.', 'rad', 0.01, 1.5,
        read_only=True)
    use_alignment: bool = parameter(
        True, 'Correct the position by what the fusion node publishes as map_alignment, as far as fixes allow.',
        read_only=True)


@dataclass(frozen=True)
class ImageConfig:
    """How the map image lies, what is drawn, and when."""

    resolution: float = parameter(0.25, 'Size of a pixel on the ground; the same as of the fusion node.', 'm/pixel',
                                  0.01, 20.0)
    anchor: list[float] = parameter(
        [0.5, 0.5], 'Position of the vehicle in the image: column and row as fractions of width and height; the same '
        'as of the fusion node.', '', 0.0, 1.0)
    orientation: str = parameter(
        'heading_up', 'Which direction is up; the same as of the fusion node, where north_up needs odometry whose x '
        'axis points east.', choices=('heading_up', 'north_up'))
    width: int = parameter(480, 'Columns of the image.', 'pixels', 16, 4096)
    height: int = parameter(480, 'Rows of the image.', 'pixels', 16, 4096)
    road_width: float = parameter(0.0, 'Width of every road; 0: by its tags or its kind.', 'm', 0.0, 50.0)
    route_width: float = parameter(2.0, 'Width of the red stroke.', 'm', 0.1, 20.0)
    route_behind: float = parameter(5.0, 'How much of the route behind the vehicle is drawn.', 'm', 0.0, 100.0)
    layers: str = parameter('own', 'own: of bridges and tunnels, those that lead to the road of the vehicle. all: all.',
                            choices=('own', 'all'))
    min_distance: float = parameter(0.5, 'Way after which there is a new image.', 'm', 0.0, 100.0)
    min_turn: float = parameter(math.radians(2.0), 'Turn after which there is a new image.', 'rad', 0.0, math.pi)
    min_period: float = parameter(0.1, 'Shortest time between two images.', 's', 0.0, 60.0)
    max_period: float = parameter(
        1.0, 'Longest time between two images, also at a standstill; less than map.max_age of the fusion node.', 's',
        0.05, 3600.0)


@dataclass(frozen=True)
class RoadsConfig:
    """Roads for displays."""

    radius: float = parameter(150.0, 'How far around the vehicle roads are published as markers.', 'm', 10.0, 2000.0)
    period: float = parameter(2.0, 'Shortest time between two of these messages.', 's', 0.1, 60.0)


@dataclass(frozen=True)
class MapSourceConfig:
    """All parameters. Read-only ones cannot change while the node runs."""

    file: str = parameter(
        '', 'Path of the roads: .osm, .osm.gz, .osm.bz2, .osm.pbf (osmium), .geojson (lines, or a route graph of '
        'nav2).', read_only=True)
    kinds: str = parameter(
        '', 'Values of `highway` that count, separated by commas. Empty: streets with a carriageway, without service '
        'roads and tracks.', read_only=True)
    cache: str = parameter('', 'Folder in which files that were read are kept. Empty: ~/.cache/attention_fusion_ros.',
                           read_only=True)
    datum: str = parameter(
        '', 'Origin of the local frame: "latitude, longitude" in degrees, and height in metres by choice. Empty: the '
        'first good fix.', read_only=True)
    goal: str = parameter(
        '', 'Where to go: "latitude, longitude" in degrees; several, separated by semicolons, are waypoints. Empty: no '
        'route.')
    use_tf: bool = parameter(True, 'Listen to /tf and /tf_static.', read_only=True)
    publish_tf: bool = parameter(False, 'Publish the transform frames.map -> frames.odom.', read_only=True)
    frames: MapFramesConfig = field(default_factory=MapFramesConfig)
    position: PositionConfig = field(default_factory=PositionConfig)
    map: ImageConfig = field(default_factory=ImageConfig)
    roads: RoadsConfig = field(default_factory=RoadsConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
