# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node attention_fusion on a vehicle (or beside a recording), brought up to active.

ros2 launch attention_fusion_ros attention_fusion.launch.py pointcloud:=/lidar/points map_image:=/map_image rviz:=true
"""

from launch import LaunchDescription
from launch.actions import EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from attention_fusion_ros.ros.launch_arguments import (
    INPUT_ARGUMENTS,
    VEHICLE_ARGUMENTS,
    check_parameter_file,
    remappings,
)
from attention_fusion_ros.ros.launching import PACKAGE, declared, ends_launch, value_of

NAME = 'attention_fusion'


def start(context):
    """The actions, once the arguments are known: an empty one leaves the parameter file's value alone."""
    def value(name):
        return value_of(name, context)

    namespace = '/'.join(filter(None, value('namespace').split('/')))
    if value('params_file'):
        check_parameter_file(value('params_file'), '/'.join(['', *filter(None, [namespace]), NAME]))
    clock = {'use_sim_time': value('use_sim_time') == 'true'} if value('use_sim_time') else {}
    overrides = {**clock, **{name: value(name) for name in ('device', 'checkpoint') if value(name)}}
    logger = '.'.join([*namespace.split('/'), NAME]).lstrip('.')
    node = LifecycleNode(
        package=PACKAGE, executable='fusion_node', name=NAME, namespace=namespace, output='screen',
        emulate_tty=True, sigterm_timeout='15', parameters=[*filter(None, [value('params_file'), overrides])],
        arguments=['--ros-args', '--log-level', f"{logger}:={value('log_level')}"],
        remappings=remappings({argument.name: value(argument.name) for argument in INPUT_ARGUMENTS}))
    # In the namespace of the node: the topics of its configuration are relative.
    rviz = Node(package='rviz2', executable='rviz2', name='rviz', namespace=namespace, output='log',
                arguments=['-d', value('rviz_config')], parameters=[*filter(None, [clock])],
                condition=IfCondition(LaunchConfiguration('rviz')))
    if value('autostart') != 'true':
        return [ends_launch(node, 'fusion_node'), node, rviz]

    def change(transition):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def after_configuring(context):
        if context.locals.event.goal_state == 'inactive':
            return [change(Transition.TRANSITION_ACTIVATE)]
        return [LogInfo(msg=f'{NAME} could not be configured; its log and /diagnostics say why.')]

    # Only the first time: a node that somebody deactivates, cleans up or configures by hand stays as it was left.
    activate = RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', entities=[OpaqueFunction(function=after_configuring)],
        handle_once=True))
    return [ends_launch(node, 'fusion_node'), activate, node, change(Transition.TRANSITION_CONFIGURE), rviz]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, VEHICLE_ARGUMENTS), OpaqueFunction(function=start)])
