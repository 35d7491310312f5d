# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node attention_fusion on a vehicle (or beside a recording), brought up to active.

ros2 launch attention_fusion_ros attention_fusion.launch.py pointcloud:=/lidar/points map_image:=/map_image rviz:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

from attention_fusion_ros.ros.launch_arguments import INPUT_ARGUMENTS, VEHICLE_ARGUMENTS, remappings

PACKAGE = 'attention_fusion_ros'
NAME = 'attention_fusion'


def start(context):
    """The actions, once the arguments are known: an empty one leaves the parameter file's value alone."""
    def value(name):
        return LaunchConfiguration(name).perform(context)

    clock = {'use_sim_time': value('use_sim_time') == 'true'} if value('use_sim_time') else {}
    overrides = {**clock, **{name: value(name) for name in ('device', 'checkpoint') if value(name)}}
    logger = '.'.join([*filter(None, value('namespace').split('/')), NAME])
    node = LifecycleNode(
        package=PACKAGE, executable='fusion_node', name=NAME, namespace=value('namespace'), output='screen',
        emulate_tty=True, sigterm_timeout='15', parameters=[value('params_file'), *filter(None, [overrides])],
        arguments=['--ros-args', '--log-level', f"{logger}:={value('log_level')}"],
        remappings=remappings({argument.name: value(argument.name) for argument in INPUT_ARGUMENTS}))
    rviz = Node(package='rviz2', executable='rviz2', name='rviz', output='log', arguments=['-d', value('rviz_config')],
                parameters=[*filter(None, [clock])],
                condition=IfCondition(LaunchConfiguration('rviz')))
    if value('autostart') != 'true':
        return [node, rviz]

    def change(transition):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    # Only after configuring: a node that somebody deactivates by hand stays inactive.
    activate = RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='inactive',
        entities=[change(Transition.TRANSITION_ACTIVATE)]))
    explain = RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='unconfigured',
        entities=[LogInfo(msg=f'{NAME} could not be configured; its log and /diagnostics say why.')]))
    return [activate, explain, node, change(Transition.TRANSITION_CONFIGURE), rviz]


def declared(argument):
    """The action that declares an argument."""
    default = PathJoinSubstitution([FindPackageShare(PACKAGE), argument.default]) if argument.in_share \
        else argument.default
    choices = {'choices': list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(argument.name, default_value=default, description=argument.description, **choices)


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, VEHICLE_ARGUMENTS), OpaqueFunction(function=start)])
