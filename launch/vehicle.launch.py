# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole chain on a vehicle: map_source draws the map image from a file of roads, attention_fusion uses it.

ros2 launch attention_fusion_ros vehicle.launch.py osm:=city.osm.pbf pointcloud:=/lidar/points fix:=/gps/fix \
    odometry:=/odom goal:="49.44,7.76" rviz:=true
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from attention_fusion_ros.ros.launch_arguments import (
    MAP_ALIGNMENT_TOPIC,
    MAP_IMAGE_TOPIC,
    MAP_VEHICLE_ARGUMENTS,
    map_remappings,
    shared_parameters,
)
from attention_fusion_ros.ros.launching import (
    FUSION_NODE,
    MAP_NODE,
    brought_up,
    declared,
    fails,
    full_name,
    fusion_node,
    lifecycle_node,
    rviz,
    value_of,
)


def start(context):
    """The actions, once the arguments are known: an empty one leaves the parameter file's value alone."""
    def value(name):
        return value_of(name, context)

    roads = Path(value('osm')).expanduser()
    if not roads.is_file():
        raise RuntimeError(f"There is no file of roads '{roads}'. Remedy: give osm:=FILE, an extract of OpenStreetMap "
                           '(.osm, .osm.gz, .osm.pbf; docs/maps.md says where to get one).')
    # What both nodes have to agree about goes to both, whichever file it stands in.
    shared = shared_parameters({value('params_file'): full_name(context, FUSION_NODE),
                                value('map_params'): full_name(context, MAP_NODE)})
    given = {name: value(name) for name in ('goal', 'datum') if value(name)}
    if value('publish_tf'):
        given['publish_tf'] = value('publish_tf') == 'true'
    source = lifecycle_node(context, MAP_NODE, 'map_source', value('map_params'),
                            {**shared, **given, 'file': str(roads)},
                            map_remappings(value, MAP_ALIGNMENT_TOPIC))
    node = fusion_node(context, {'map_image': MAP_IMAGE_TOPIC}, shared)

    def unusable(name):
        return fails(f'{name} could not be configured; its log says why.')
    return [*brought_up(context, source, 'map_source', unusable(MAP_NODE)),
            *brought_up(context, node, 'fusion_node', unusable(FUSION_NODE)), rviz(context)]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, MAP_VEHICLE_ARGUMENTS), OpaqueFunction(function=start)])
