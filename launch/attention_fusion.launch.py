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

PACKAGE = 'attention_fusion_ros'
NAME = 'attention_fusion'


def in_share(*path):
    """A file that is installed with the package."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *path])


# (name, default, description[, choices])
ARGUMENTS = (
    ('pointcloud', 'lidar/points', 'Topic of the sweeps, sensor_msgs/PointCloud2.'),
    ('map_image', 'map_image', 'Topic of the topological map image, sensor_msgs/Image; its compressed twin is expected '
     'below it, on .../compressed.'),
    ('odometry', 'odom', 'Topic of nav_msgs/Odometry (optional input).'),
    ('params_file', in_share('config', 'attention_fusion.yaml'), 'Parameter file of the node.'),
    ('namespace', '', 'Namespace of the node and of relative topic names.'),
    ('use_sim_time', '', 'Take the time from /clock (recordings, simulators); empty for what the parameter file says.',
     ['', 'true', 'false']),
    ('device', '', 'Where the network runs: auto, cpu, cuda or cuda:N; empty for what the parameter file says.'),
    ('checkpoint', '', 'Path of a .safetensors checkpoint; empty for what the parameter file says.'),
    ('autostart', 'true', 'Configure and activate the node; otherwise it waits for "ros2 lifecycle set".',
     ['true', 'false']),
    ('log_level', 'info', 'Log level of the node.', ['debug', 'info', 'warn', 'error', 'fatal']),
    ('rviz', 'false', 'Start rviz with the displays of the node.', ['true', 'false']),
    ('rviz_config', in_share('config', 'attention_fusion.rviz'), 'Configuration of rviz.'),
)


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
        remappings=[('~/input/pointcloud', value('pointcloud')), ('~/input/map_image', value('map_image')),
                    ('~/input/map_image/compressed', f"{value('map_image')}/compressed"),
                    ('~/input/odometry', value('odometry'))])
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
    complain = RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', goal_state='unconfigured',
        entities=[LogInfo(msg=f'{NAME} could not be configured; its log and /diagnostics say why.')]))
    return [activate, complain, node, change(Transition.TRANSITION_CONFIGURE), rviz]


def generate_launch_description():
    """Called by ros2 launch."""
    declared = [DeclareLaunchArgument(name, default_value=default, description=description,
                                      **({'choices': choices[0]} if choices else {}))
                for name, default, description, *choices in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
