# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files. Importing this module needs no ROS and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attention_fusion_ros.stream.inputs import launch_remappings, selectable_inputs

TRUE_OR_FALSE = ('true', 'false')


@dataclass(frozen=True)
class LaunchArgument:
    """One argument, `NAME:=VALUE`."""

    name: str
    default: str | None  # None: has to be given
    description: str
    choices: tuple[str, ...] = ()
    in_share: bool = False  # the default is a path below the share folder of this package


INPUT_ARGUMENTS = tuple(LaunchArgument(spec.name, spec.default_topic, spec.description)
                        for spec in selectable_inputs())
# Those of both launch files.
NODE_ARGUMENTS = (
    *INPUT_ARGUMENTS,
    LaunchArgument('params_file', 'config/attention_fusion.yaml', 'Parameter file of the node.', in_share=True),
    LaunchArgument('namespace', '', 'Namespace of the node and of relative topic names.'),
    LaunchArgument('device', '', 'Device of the network: auto, cpu, cuda or cuda:N. Empty: as in the parameter file.'),
    LaunchArgument('checkpoint', '', 'Path of a .safetensors checkpoint. Empty: as in the parameter file.'),
    LaunchArgument('log_level', 'info', 'Log level of the node.', ('debug', 'info', 'warn', 'error', 'fatal')),
    LaunchArgument('rviz', 'false', 'Start rviz with the displays of the node.', TRUE_OR_FALSE),
    LaunchArgument('rviz_config', 'config/attention_fusion.rviz', 'Configuration of rviz.', in_share=True),
)
VEHICLE_ARGUMENTS = (
    *NODE_ARGUMENTS,
    LaunchArgument('use_sim_time', '', 'Take the time from /clock (recordings, simulators). Empty: as in the parameter '
                   'file.', ('', *TRUE_OR_FALSE)),
    LaunchArgument('autostart', 'true', "Configure and activate the node; 'false' leaves that to 'ros2 lifecycle set'.",
                   TRUE_OR_FALSE),
)
REPLAY_ARGUMENTS = (
    LaunchArgument('bag', None, 'Folder of the recording (rosbag2; mcap or sqlite3).'),
    LaunchArgument('rate', '1.0', 'Speed: 2.0 plays twice as fast.'),
    LaunchArgument('loop', 'false', 'Start again at the end, until stopped.', TRUE_OR_FALSE),
    LaunchArgument('player', 'rosbag2', 'Player: rosbag2 is "ros2 bag play"; attention_fusion_ros is "play" of this '
                   'package, which does not need rosbag2.', ('rosbag2', 'attention_fusion_ros')),
    LaunchArgument('exit_at_end', 'false', 'Stop everything when the recording ends.', TRUE_OR_FALSE),
    *(replace(argument, default='true') if argument.name == 'rviz' else argument for argument in NODE_ARGUMENTS),
)


def remappings(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """{argument: value} -> (from, to) remappings of the node's inputs."""
    return launch_remappings({argument.name: values[argument.name] for argument in INPUT_ARGUMENTS})
