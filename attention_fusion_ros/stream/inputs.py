# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of inputs: everything that is known about an input, once.

Subscriptions, /diagnostics, the choice of topics in a recording, launch arguments, command line options, benchmarks and
the README's table are made from `INPUTS`. A further input is an entry here, a decoder in `decode`, and, where
`StampedBuffer` is not enough, a buffer in `sync`; what goes with a sweep is then in `SyncedSweep.companions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attention_fusion_ros.decode import (
    decode_compressed_map_image,
    decode_map_grid,
    decode_map_image,
    decode_odometry,
    decode_static_transforms,
    decode_sweep,
    decode_transforms,
)
from attention_fusion_ros.decode.definitions import COMPRESSED_CLOUD, LIVOX_PACKAGES
from attention_fusion_ros.sync import synchronizer
from attention_fusion_ros.sync.synchronizer import Buffer

SWEEPS = 'pointcloud'  # name of the input whose messages are the sweeps


@dataclass(frozen=True)
class Transport:
    """One topic on which an input may come.

    decode: message -> decoded value; raises InputError.
    may_latch: where a publisher latches, what was sent before is asked for.
    fixed_qos: listened to in every way from the start, whatever publishers offer: what comes once must not be missed.
    optional: its message package may be missing; then nothing is subscribed.
    names: of the transport as publishers append them to the topic's name, where `topic` has a name of ours.
    """

    topic: str  # relative to the node (`input/map_image`), or absolute (`/tf`)
    type: str  # `sensor_msgs/msg/Image`
    decode: Callable[[Any], Any]
    depth: int  # messages that a subscription queues
    may_latch: bool = False
    fixed_qos: bool = False
    optional: bool = False
    names: tuple[str, ...] = ()

    @property
    def private_topic(self) -> str:
        """The topic as a node names it: `~/input/map_image`, `/tf`."""
        return self.topic if self.topic.startswith('/') else f'~/{self.topic}'


@dataclass(frozen=True)
class Reason:
    """Why an input is not used, and what to do about it."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.cause} Remedy: {self.remedy}'


@dataclass(frozen=True)
class InputSpec:
    """One input of the pipeline.

    selectable: one topic is chosen for it, by launch argument and command line option (transforms: all there are).
    only_when_named: nothing is taken from a recording for it unless its topic is given, and /diagnostics is silent
        about it while it has no publisher.
    waits: a sweep waits briefly for the message that carries its stamp.
    make_buffer: of a further input; None where the synchronizer has a buffer of this name.
    """

    name: str  # key in recordings, launch arguments and options
    component: str  # its status in /diagnostics
    label: str  # in running text: 'map image'
    transports: tuple[Transport, ...]
    description: str  # for launch --show-args
    note: str  # for the README's table
    required: bool = False
    selectable: bool = True
    only_when_named: bool = False
    waits: bool = False
    default_topic: str = ''  # of the launch files
    make_buffer: Callable[[], Buffer] | None = None
    reasons: Mapping[str, Reason] = field(default_factory=dict)  # why a result does without this input

    @property
    def option(self) -> str:
        """The command line option that chooses its topic."""
        return '--' + self.name.replace('_', '-')

    @property
    def types(self) -> tuple[str, ...]:
        """The message types of all transports, in order, each once."""
        return tuple(dict.fromkeys(t.type for t in self.transports))

    def transport_of(self, type_name: str) -> Transport:
        """The first transport of a message type. Raises KeyError."""
        for transport in self.transports:
            if transport.type == type_name:
                return transport
        raise KeyError(type_name)


MAP_REASONS = {
    'no_map': Reason('no map image has been received yet.', 'publish one, or remap input/map_image.'),
    'map_too_old': Reason('the newest map image is older than map.max_age.',
                          'publish it more often, or raise map.max_age.'),
    'map_from_future': Reason('the map image is stamped later than the sweep by more than map.max_future.',
                              'let both publishers use the same clock (use_sim_time), or raise map.max_future.'),
    'north_up_without_odometry': Reason('a north_up map image needs odometry, and there is none for the sweep.',
                                        'publish odometry (x east, y north), or draw the map heading_up and set '
                                        'map.orientation.'),
    'north_up_not_level': Reason('a north_up map image needs an odometry frame whose z axis points up; this one is '
                                 'tilted or upside down, as that of LiDAR odometry that starts as the frame of its '
                                 'sensor.',
                                 'let odometry start level (x east, y north, z up), or draw the map heading_up and set '
                                 'map.orientation.'),
    'no_odometry_at_map_stamp': Reason('odometry does not reach back to the stamp of the map image.',
                                       'publish the map image more often, or raise odometry.history and '
                                       'odometry.max_age.'),
    'map_not_placed': Reason('it is not known where the vehicle is in the frame of the map grid.',
                             'publish the transform between the two (localisation, or a static map -> odom), or '
                             'odometry in that frame.'),
    'map_without_roads': Reason('the map image shows no road around the vehicle.',
                                'check map.resolution and map.anchor, and that roads are drawn bright on dark.'),
    'map_elsewhere': Reason('the map image does not reach the surroundings of the vehicle.',
                            'check map.resolution, map.anchor and map.orientation; of an occupancy grid, its origin '
                            'and the transform between its frame and the vehicle.'),
    'camera_image': Reason('the images are those of a camera, not of a map.',
                           'name the topic of the map image (--map-image, launch argument map_image, or remap '
                           'input/map_image), or leave it out.'),
    'camera_frame': Reason('the map image is stamped in the optical frame of a camera.',
                           'if it is a camera image, remap input/map_image to the map; if it is a map, give it '
                           'another frame_id.'),
    'map_dim': Reason('the map image is dim: it stays below a fifth of its full scale, or uses its lowest bits only.',
                      'draw roads bright, up to the full scale: 255 in 8 bit, 65535 in 16 bit, 1.0 in 32FC1.'),
    'route_unclear': Reason('the map image has reddish strokes that are too dark, or that JPEG has blurred too much, '
                            'to tell a route.',
                            'draw the route in bright, pure red at least 2 pixels wide, or send PNG.'),
    'map_all_road': Reason('the map image is bright everywhere around the vehicle: all of it would be road.',
                           'draw roads bright on a dark background (below a fifth of the full scale), and nothing '
                           'else.'),
    'map_inverted': Reason('most of the map image is bright and the rest dark, like roads drawn dark on light.',
                           'invert the image: roads bright, everything else dark (below a fifth of the full scale).'),
}

ODOMETRY_REASONS = {
    'no_odometry': Reason('no usable odometry has been received yet.', 'publish it, or remap input/odometry.'),
    'odometry_too_old': Reason('the newest odometry before the sweep is older than odometry.max_age.',
                               'publish it more often or with less delay, let both publishers use the same clock '
                               '(use_sim_time), or raise odometry.max_age.'),
    'odometry_from_future': Reason('all odometry is stamped later than the sweep.',
                                   'let both publishers use the same clock (use_sim_time).'),
}


MAX_LIDARS = 4


def cloud_transports(name: str) -> tuple[Transport, ...]:
    """The transports of an input whose messages are sweeps. Depth 1, for old ones are worthless."""
    topic = f'input/{name}'
    return (
        Transport(topic, 'sensor_msgs/msg/PointCloud2', decode_sweep, depth=1),
        Transport(f'{topic}/compressed', COMPRESSED_CLOUD, decode_sweep, depth=1, optional=True,
                  names=('draco', 'zlib', 'zstd')),  # as point_cloud_transport names its topics
        *(Transport(f'{topic}/{package}', f'{package}/msg/CustomMsg', decode_sweep, depth=1, optional=True)
          for package in LIVOX_PACKAGES))


def _further_lidar(number: int) -> InputSpec:
    name = f'{SWEEPS}_{number}'
    return InputSpec(
        name=name, component=f'input cloud {number}', label=f'point cloud {number}', transports=cloud_transports(name),
        description=f'Topic of LiDAR {number}, sensor_msgs/PointCloud2 (optional input).',
        note='optional: put together with the others to one sweep', only_when_named=True)


INPUTS: tuple[InputSpec, ...] = (
    InputSpec(
        name=SWEEPS, component='input cloud', label='point cloud',
        transports=cloud_transports(SWEEPS),
        description='Topic of the sweeps, sensor_msgs/PointCloud2; or of a transport of point_cloud_transport '
        '(.../zstd, .../zlib, .../draco).',
        note='of waiting sweeps only the newest is processed (at the start two more); compressed and Livox messages '
        'where their packages are installed', required=True, default_topic='lidar/points'),
    *(_further_lidar(number) for number in range(2, MAX_LIDARS + 1)),
    InputSpec(
        name=synchronizer.MAP_IMAGE, component='map image', label='map image',
        transports=(
            Transport('input/map_image', 'sensor_msgs/msg/Image', decode_map_image, depth=10, may_latch=True),
            Transport('input/map_image/compressed', 'sensor_msgs/msg/CompressedImage', decode_compressed_map_image,
                      depth=10, may_latch=True),
            Transport('input/map_image/grid', 'nav_msgs/msg/OccupancyGrid', decode_map_grid, depth=1, may_latch=True)),
        description='Topic of the topological map image, sensor_msgs/Image; its compressed version is expected on '
        '.../compressed.',
        note='mono8, 8UC1, mono16, 16UC1, 32FC1, rgb8, bgr8, rgba8, bgra8; bright = road, a clearly red stroke = the '
        'route; of an OccupancyGrid, free = road (docs/inputs.md)', waits=True, default_topic='map_image',
        reasons=MAP_REASONS),
    InputSpec(
        name=synchronizer.ODOMETRY, component='odometry', label='odometry',
        transports=(Transport('input/odometry', 'nav_msgs/msg/Odometry', decode_odometry, depth=50),),
        description='Topic of nav_msgs/Odometry (optional input).',
        note="optional: moves the map image and older sweeps to the sweep's time; without it, `frames.odom` on /tf",
        waits=True, default_topic='odom',
        reasons=ODOMETRY_REASONS),
    InputSpec(
        name=synchronizer.TRANSFORMS, component='transform', label='transforms',
        transports=(
            Transport('/tf_static', 'tf2_msgs/msg/TFMessage', decode_static_transforms, depth=100, may_latch=True,
                      fixed_qos=True),
            Transport('/tf', 'tf2_msgs/msg/TFMessage', decode_transforms, depth=100, fixed_qos=True)),
        description='Transforms between frames, tf2_msgs/TFMessage.',
        note='sensor to base_link; not needed with use_tf false and T_base_sensor', selectable=False),
)


def input_named(name: str, inputs: Iterable[InputSpec] = INPUTS) -> InputSpec:
    """The input of this name. Raises KeyError."""
    for spec in inputs:
        if spec.name == name:
            return spec
    raise KeyError(name)


def is_cloud(spec: InputSpec) -> bool:
    """Whether the messages of an input are sweeps, or parts of them."""
    return spec.name == SWEEPS or spec.name.startswith(f'{SWEEPS}_')


def cloud_inputs(inputs: Iterable[InputSpec] = INPUTS) -> tuple[InputSpec, ...]:
    """The inputs whose messages are sweeps, or parts of them, in the order of the table."""
    return tuple(spec for spec in inputs if is_cloud(spec))


def selectable_inputs(inputs: Iterable[InputSpec] = INPUTS) -> tuple[InputSpec, ...]:
    """The inputs for which one topic is chosen, in the order of the table."""
    return tuple(spec for spec in inputs if spec.selectable)


def default_topics(inputs: Iterable[InputSpec] = INPUTS) -> dict[str, str]:
    """{input name: absolute topic}: what `simulate` and the benchmarks publish, and launch files subscribe to."""
    return {spec.name: f'/{spec.default_topic}' for spec in selectable_inputs(inputs) if spec.default_topic}


def launch_remappings(topics: Mapping[str, str], inputs: Iterable[InputSpec] = INPUTS) -> list[tuple[str, str]]:
    """{input name: topic} -> (from, to) remappings of the node, for every transport of the inputs named.

    Further transports of an input are expected below its topic, as image_transport does: `TOPIC/compressed`. A topic
    that ends in the name of a transport (`TOPIC/zstd`) is that of this transport alone.
    """
    found = []
    for spec in selectable_inputs(inputs):
        if topics.get(spec.name):
            first = spec.transports[0].topic
            own = [t for t in spec.transports if topics[spec.name].rpartition('/')[2] in t.names]
            for transport in own:
                found.append((transport.private_topic, topics[spec.name]))
            for transport in () if own else spec.transports:
                found.append((transport.private_topic, topics[spec.name] + transport.topic.removeprefix(first)))
    return found
