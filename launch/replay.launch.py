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

PACKAGE = 'attention_fusion_ros'


def in_share(*path):
    """A file that is installed with the package."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *path])


# (name, default (None: has to be given), description[, choices])
ARGUMENTS = (
    ('bag', None, 'Folder of the recording (rosbag2; mcap or sqlite3).'),
    ('rate', '1.0', 'Speed: 2.0 plays twice as fast.'),
    ('loop', 'false', 'Start again at the end, until stopped.', ['true', 'false']),
    ('player', 'rosbag2', 'What plays it: "ros2 bag play", or "play" of this package, which needs no rosbag2.',
     ['rosbag2', 'attention_fusion_ros']),
    ('exit_at_end', 'false', 'Stop everything when the recording ends.', ['true', 'false']),
    ('pointcloud', 'lidar/points', 'Topic of the sweeps, sensor_msgs/PointCloud2.'),
    ('map_image', 'map_image', 'Topic of the topological map image, sensor_msgs/Image; its compressed twin is expected '
     'below it, on .../compressed.'),
    ('odometry', 'odom', 'Topic of nav_msgs/Odometry (optional input).'),
    ('params_file', in_share('config', 'attention_fusion.yaml'), 'Parameter file of the node.'),
    ('namespace', '', 'Namespace of the node and of relative topic names.'),
    ('device', '', 'Where the network runs: auto, cpu, cuda or cuda:N; empty for what the parameter file says.'),
    ('checkpoint', '', 'Path of a .safetensors checkpoint; empty for what the parameter file says.'),
    ('log_level', 'info', 'Log level of the node.', ['debug', 'info', 'warn', 'error', 'fatal']),
    ('rviz', 'true', 'Start rviz with the displays of the node.', ['true', 'false']),
    ('rviz_config', in_share('config', 'attention_fusion.rviz'), 'Configuration of rviz.'),
)
# What goes on to attention_fusion.launch.py as it is.
PASSED_ON = ('pointcloud', 'map_image', 'odometry', 'params_file', 'namespace', 'device', 'checkpoint', 'log_level',
             'rviz', 'rviz_config')


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
        PythonLaunchDescriptionSource(in_share('launch', 'attention_fusion.launch.py')),
        launch_arguments=[('use_sim_time', 'true'), *((name, value(name)) for name in PASSED_ON)])
    # Loading the network takes seconds: the recording begins when the node listens, and only the first time it does.
    play = RegisterEventHandler(OnStateTransition(goal_state='active', entities=[player], handle_once=True))
    stop = RegisterEventHandler(
        OnProcessExit(target_action=player, on_exit=[EmitEvent(event=Shutdown(reason='the recording has ended'))]),
        condition=IfCondition(LaunchConfiguration('exit_at_end')))
    return [play, stop, node]


def generate_launch_description():
    """Called by ros2 launch."""
    declared = [DeclareLaunchArgument(name, description=description,
                                      **({} if default is None else {'default_value': default}),
                                      **({'choices': choices[0]} if choices else {}))
                for name, default, description, *choices in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
