# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording, the node attention_fusion, and rviz: everything by the recording's clock.

ros2 launch attention_fusion_ros replay.launch.py bag:=/path/to/recording rate:=2.0 loop:=true
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.event_handlers import OnStateTransition
from launch_ros.substitutions import FindPackageShare

from attention_fusion_ros.ros import transport
from attention_fusion_ros.ros.launch_arguments import NODE_ARGUMENTS, REPLAY_ARGUMENTS

PACKAGE = 'attention_fusion_ros'


def in_share(path):
    """A file that is installed with the package."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), path])


def start(context):
    """The actions, once the arguments are known."""
    def value(name):
        return LaunchConfiguration(name).perform(context)

    command = ['ros2', 'bag', 'play'] if value('player') == 'rosbag2' else ['ros2', 'run', PACKAGE, 'play']
    command += [value('bag'), '--clock', '--rate', value('rate')]
    command += ['--loop'] if value('loop') == 'true' else []
    command += ['--quiet'] if value('player') != 'rosbag2' else []
    player = ExecuteProcess(cmd=command, name='player', output='screen', additional_env=transport.environment())
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(in_share('launch/attention_fusion.launch.py')),
        launch_arguments=[('use_sim_time', 'true'), *((a.name, value(a.name)) for a in NODE_ARGUMENTS)])
    # Loading the network takes seconds: the recording begins when the node listens, and only the first time it does.
    play = RegisterEventHandler(OnStateTransition(goal_state='active', entities=[player], handle_once=True))
    stop = RegisterEventHandler(
        OnProcessExit(target_action=player, on_exit=[EmitEvent(event=Shutdown(reason='the recording has ended'))]),
        condition=IfCondition(LaunchConfiguration('exit_at_end')))
    return [play, stop, node]


def declared(argument):
    """The action that declares an argument."""
    default = in_share(argument.default) if argument.in_share else argument.default
    choices = {'choices': list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(argument.name, default_value=default, description=argument.description, **choices)


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, REPLAY_ARGUMENTS), OpaqueFunction(function=start)])
