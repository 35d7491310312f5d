# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node attention_fusion on a vehicle (or beside a recording), brought up to active.

ros2 launch attention_fusion_ros attention_fusion.launch.py pointcloud:=/lidar/points map_image:=/map_image rviz:=true
"""

from launch import LaunchDescription
from launch.actions import LogInfo, OpaqueFunction

from attention_fusion_ros.ros.launch_arguments import VEHICLE_ARGUMENTS
from attention_fusion_ros.ros.launching import (
    FUSION_NODE,
    brought_up,
    declared,
    full_name,
    fusion_node,
    rviz,
    warn_of_unknown,
)


def start(context):
    """The actions, once the arguments are known."""
    warn_of_unknown(context, __file__, VEHICLE_ARGUMENTS)
    name = full_name(context, FUSION_NODE)
    failed = LogInfo(msg=f'{name} could not be configured; its log and /diagnostics say why.')
    return [*brought_up(context, fusion_node(context), 'fusion_node', failed), rviz(context)]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, VEHICLE_ARGUMENTS), OpaqueFunction(function=start)])
