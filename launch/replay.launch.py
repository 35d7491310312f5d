# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording, the node attention_fusion, and rviz: everything by the recording's clock.

ros2 launch attention_fusion_ros replay.launch.py bag:=/path/to/recording rate:=2.0 loop:=true
"""

import shutil
from pathlib import Path

from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, RegisterEventHandler
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node
from launch_ros.event_handlers import OnStateTransition

from attention_fusion_ros.ros import transport
from attention_fusion_ros.ros.launch_arguments import NODE_ARGUMENTS, REPLAY_ARGUMENTS
from attention_fusion_ros.ros.launching import (
    FUSION_NODE,
    PACKAGE,
    declared,
    ends_launch,
    fails,
    full_name,
    in_share,
    is_set,
    path_of,
    transition_of,
    value_of,
    warn_of_unknown,
)

# Until subscribers have found the publishers: what is recorded at the very start would be lost.
DISCOVERY_S = '1.0'
AT_THE_END = 'The recording has ended. Ctrl-C ends the rest, too, as exit_at_end:=true does by itself.'
# Whatever else is set where this file is included: the recording has the clock, and is played to an active node.
GIVEN = (('use_sim_time', 'true'), ('autostart', 'true'))


def player_of(context):
    """The process that plays the recording. Each is started itself, not by a wrapper that keeps signals from it."""
    def value(name):
        return value_of(name, context)

    options = [path_of('bag', context), '--clock', '--rate', value('rate'),
               *(['--loop'] if is_set('loop', context) else [])]
    if value('player') == 'rosbag2':
        if shutil.which('ros2') is None:
            raise RuntimeError("There is no 'ros2' on the PATH. Remedy: source ROS 2, or give "
                               'player:=attention_fusion_ros.')
        # A recording without QoS profiles is played volatile: static transforms would reach nobody who comes later.
        qos = in_share('config/replay_qos.yaml').perform(context)
        return ExecuteProcess(cmd=['ros2', 'bag', 'play', *options, '--delay', DISCOVERY_S,
                                   '--qos-profile-overrides-path', qos],
                              name='player', output='screen', additional_env=transport.environment())
    return Node(package=PACKAGE, executable='play', output='screen', arguments=[*options, '--quiet'],
                additional_env=transport.environment())


def start(context):
    """The actions, once the arguments are known."""
    warn_of_unknown(context, __file__, REPLAY_ARGUMENTS)
    bag = path_of('bag', context)
    if not Path(bag).exists():
        raise RuntimeError(f"There is no recording '{bag}'. Remedy: give bag:=FOLDER, a rosbag2 recording.")
    player = player_of(context)
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(in_share('launch/attention_fusion.launch.py')),
        launch_arguments=[*GIVEN, *((a.name, value_of(a.name, context)) for a in NODE_ARGUMENTS)])
    # Loading the network takes seconds: the recording begins when the node listens, and only the first time it does.
    name = full_name(context, FUSION_NODE)
    play = RegisterEventHandler(OnStateTransition(
        matcher=transition_of(name, goal_state='active'), entities=[player], handle_once=True))
    give_up = RegisterEventHandler(OnStateTransition(
        matcher=transition_of(name, start_state='configuring', goal_state='unconfigured'),
        entities=[fails(f'{name} could not be configured, and nothing is played; its log says why.')]))
    stop = ends_launch(player, 'the player', '' if is_set('exit_at_end', context) else AT_THE_END)
    return [play, give_up, stop, node]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription([*map(declared, REPLAY_ARGUMENTS), OpaqueFunction(function=start)])
