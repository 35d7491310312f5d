# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole chain on a vehicle: map_source draws the map image from a file of roads, attention_fusion uses it.

ros2 launch attention_fusion_ros vehicle.launch.py osm:=city.osm.pbf pointcloud:=/lidar/points fix:=/gps/fix \
    odometry:=/odom goal:="49.44,7.76" rviz:=true
"""

import os

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from attention_fusion_ros.ros.launch_arguments import (
    MAP_ALIGNMENT_TOPIC,
    MAP_IMAGE_TOPIC,
    MAP_VEHICLE_ARGUMENTS,
    is_true,
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
    path_of,
    rviz,
    value_of,
    warn_of_unknown,
)


def start(context):
    """The actions, once the arguments are known: an empty one leaves the parameter file's value alone."""
    def value(name):
        return value_of(name, context)

    warn_of_unknown(context, __file__, MAP_VEHICLE_ARGUMENTS)
    roads = path_of('osm', context)
    if not os.path.isfile(roads):
        raise RuntimeError(f"There is no file of roads '{roads}'. Remedy: give osm:=FILE, an extract of OpenStreetMap "
                           '(.osm, .osm.gz, .osm.pbf; docs/maps.md says where to get one).')
    # What both nodes have to agree about goes to both, whichever file it stands in.
    shared = shared_parameters((path_of(argument, context), full_name(context, node), argument)
                               for argument, node in (('params_file', FUSION_NODE), ('map_params', MAP_NODE)))
    given = {name: value(name) for name in ('goal', 'datum') if value(name)}
    if value('publish_tf'):
        given['publish_tf'] = is_true(value('publish_tf'))
    source = lifecycle_node(context, MAP_NODE, 'map_source', 'map_params', {**shared, **given, 'file': roads},
                            map_remappings(value, MAP_ALIGNMENT_TOPIC))
    node = fusion_node(context, {'map_image': MAP_IMAGE_TOPIC}, shared)

    def unusable(name):
        return fails(f'{full_name(context, name)} could not be configured; its log says why.')
    return [*brought_up(context, source, 'map_source', unusable(MAP_NODE)),
            *brought_up(context, node, 'fusion_node', unusable(FUSION_NODE)), rviz(context)]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, MAP_VEHICLE_ARGUMENTS), OpaqueFunction(function=start)])
