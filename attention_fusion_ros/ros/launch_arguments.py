# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files. Importing this module needs no ROS and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from attention_fusion_ros.errors import ConfigurationError
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


def check_parameter_file(path: str, node: str) -> None:
    """Raises ConfigurationError for a file that would leave a node with its defaults, or could not be read by it.

    node: its full name (`/attention_fusion`). A missing file is ignored by launch_ros, and one with parameters of other
    nodes only by all. A file without anything in it is right: every parameter has a default.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The parameter file '{path}' cannot be read: {error}. Remedy: give the path of a "
                                 'file as params_file:=FILE.') from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The parameter file '{path}' is no YAML: {' '.join(str(error).split())}") from error
    example = "Remedy: begin it with '/**:' and '  ros__parameters:', as config/attention_fusion.yaml does."
    if content is None or content == {}:
        return
    names = list(_node_names(content)) if isinstance(content, dict) else []
    if not names:
        raise ConfigurationError(f"The parameter file '{path}' has no ros__parameters. {example}")
    if not any(_matches(name, node) for name in names):
        raise ConfigurationError(f"The parameter file '{path}' has parameters for {', '.join(names)}, but none for "
                                 f'{node}. {example}')


def _node_names(content: Mapping[Any, Any], above: str = '') -> Iterator[str]:
    """The names of the nodes in a parameter file: keys may be nested, namespace by namespace."""
    for key, value in content.items():
        name = f"{above}/{str(key).strip('/')}"
        if isinstance(value, dict):
            if 'ros__parameters' in value:
                yield name
            yield from _node_names({k: v for k, v in value.items() if k != 'ros__parameters'}, name)


def _matches(pattern: str, node: str) -> bool:
    """Whether a name of a parameter file means this node; by rclpy's rules `*` is one name, `**` any number of them."""
    expression = pattern.replace('/**', '(/\\w+)~').replace('*', '\\w+').replace('~', '*')
    return re.fullmatch(expression, node) is not None
