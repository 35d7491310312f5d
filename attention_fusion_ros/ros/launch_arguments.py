# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files. Importing this module needs no ROS and changes nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attention_fusion_ros.config import flatten, parameters
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.map_source.inputs import ALIGNMENT, MAP_INPUTS
from attention_fusion_ros.stream.inputs import launch_remappings, selectable_inputs
from attention_fusion_ros.utils import outside
from attention_fusion_ros.utils.parameter_file import matches, node_names, sections

# As launch's own conditions take them; other packages (nav2) and launch files in Python write the long ones.
TRUE_OR_FALSE = ('true', 'false', 'True', 'False')
# Names as rcl takes them in a remapping, whose errors tell neither the argument nor what is wrong with it.
TOPIC = re.compile(r'(~/|/)?[A-Za-z_{][\w{}]*(/[A-Za-z_{][\w{}]*)*', re.ASCII)
NAMESPACE = re.compile(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)
NAMES = 'names are of letters, digits and underscores, do not begin with a digit, and are divided by single slashes'


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
    LaunchArgument('params_file', 'config/attention_fusion.yaml', 'Parameter file of attention_fusion.', in_share=True),
    LaunchArgument('namespace', '', 'Namespace of nodes, and of relative topic names.'),
    LaunchArgument('device', '', 'Device of the network: auto, cpu, cuda or cuda:N. Empty: as in the parameter file.'),
    LaunchArgument('checkpoint', '', 'Path of a .safetensors checkpoint. Empty: as in the parameter file.'),
    LaunchArgument('log_level', 'info', 'Log level of the nodes.', ('debug', 'info', 'warn', 'error', 'fatal')),
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
# Of vehicle.launch.py: inputs of both nodes, and how they are wired to each other.
MAP_IMAGE_TOPIC, MAP_ALIGNMENT_TOPIC = 'map_source/map_image', 'attention_fusion/map_alignment'
MAP_INPUT_ARGUMENTS = tuple(LaunchArgument(spec.name, spec.default_topic, spec.description)
                            for spec in selectable_inputs(MAP_INPUTS)
                            if spec.name not in {ALIGNMENT, *(argument.name for argument in INPUT_ARGUMENTS)})
MAP_VEHICLE_ARGUMENTS = (
    LaunchArgument('osm', None, 'File of roads: an OpenStreetMap extract (.osm, .osm.gz, .osm.pbf) or GeoJSON.'),
    *MAP_INPUT_ARGUMENTS,
    LaunchArgument('goal', '', 'Where to go, "latitude,longitude" in degrees; waypoints and goal separated by '
                   'semicolons. Empty: as in map_params.'),
    LaunchArgument('datum', '', 'Origin of the local frame, "latitude,longitude". Empty: as in map_params, where it is '
                   'the first good fix by default.'),
    LaunchArgument('publish_tf', '', 'Publish the transform map -> odom. Empty: as in map_params.',
                   ('', *TRUE_OR_FALSE)),
    LaunchArgument('map_params', 'config/map_source.yaml', 'Parameter file of map_source.', in_share=True),
    *(argument for argument in VEHICLE_ARGUMENTS if argument.name != 'map_image'),
)
# What image and vehicle frame both nodes have to agree about.
SHARED_PARAMETERS = ('map.resolution', 'map.anchor', 'map.orientation', 'frames.base', 'frames.odom')


def is_true(value: str) -> bool:
    """Whether one of TRUE_OR_FALSE means true."""
    return value.lower() == 'true'


def unknown_arguments(given: Iterable[str], declared: Iterable[LaunchArgument]) -> list[str]:
    """What to say about each `NAME:=VALUE` of a command line whose name is not declared; launch ignores them."""
    known = [argument.name for argument in declared]
    found = []
    for text in given:
        name, assigned, _ = text.partition(':=')
        if assigned and name not in known and not name.startswith('launch-prefix'):  # of ros2 launch itself
            near = difflib.get_close_matches(name, known, n=1)
            found.append(f"'{text}' changes nothing: the launch file has no argument '{name}'. "
                         + (f"Did you mean '{near[0]}'?" if near else 'Remedy: see --show-args.'))
    return found


def is_for(file: str, command_line: Iterable[str]) -> bool:
    """Whether a command line starts this launch file, and not another one that includes it."""
    return any(Path(argument).name == Path(file).name for argument in command_line)


def full_namespace(given: str, around: str = '') -> str:
    """The namespace that nodes get, '/fleet/car', '/' for none: `given` within `around`, unless it begins with a slash.

    given: the launch argument `namespace`. around: what PushRosNamespace has set in a file that includes ours.
    Raises ConfigurationError where the argument is no name.
    """
    around = '' if given.startswith('/') else around
    inner, outer = ('/'.join(filter(None, name.split('/'))) for name in (given, around))
    if inner and not NAMESPACE.fullmatch(inner):
        raise ConfigurationError(f'namespace:={given} is no namespace: {NAMES}. Remedy: namespace:=car')
    return '/' + '/'.join(filter(None, [outer, inner]))


def _check_topics(values: Mapping[str, str]) -> None:
    """Raises ConfigurationError where a topic is none. values: argument -> topic, '' for none."""
    for name, topic in values.items():
        if topic and not TOPIC.fullmatch(topic):
            raise ConfigurationError(f'{name}:={topic} is no name of a topic: {NAMES}. Remedy: {name}:=/a/topic')


def check_file(argument: str, path: str) -> None:
    """Raises ConfigurationError where the file that an argument names is not there."""
    if not Path(path).is_file():
        raise ConfigurationError(f"There is no file '{path}'. Remedy: give the path of a file as {argument}:=FILE.")


def map_remappings(value_of: Callable[[str], str], map_alignment: str) -> list[tuple[str, str]]:
    """(from, to) remappings of the inputs of map_source. value_of: argument -> its value."""
    topics = {spec.name: value_of(spec.name) for spec in selectable_inputs(MAP_INPUTS) if spec.name != ALIGNMENT}
    _check_topics(topics)
    return launch_remappings({**topics, ALIGNMENT: map_alignment}, MAP_INPUTS)


def shared_parameters(files: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Those of SHARED_PARAMETERS that a file changes, for both nodes.

    files: (path, full name of the node it is for, launch argument that names it); '' for no file.

    Raises ConfigurationError where two files say different things, neither of which is the default.
    """
    defaults = {info.name: info.default for info in parameters() if info.name in SHARED_PARAMETERS}
    found: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for path, node, argument in files:
        if not path:
            continue
        check_parameter_file(path, node, argument)
        for name, value in _values(outside.read_yaml(path) or {}, node).items():
            if name not in defaults or value == defaults[name]:
                continue
            if name in found and found[name] != value:
                raise ConfigurationError(
                    f"Parameter '{name}' is {found[name]} in '{said_by[name]}' and {value} in '{path}', but both nodes "
                    'have to agree about it. Remedy: set it in one of the two files.')
            found[name], said_by[name] = value, path
    return found


def only_defaults(path: str, node: str, config_type: type) -> bool:
    """Whether a parameter file that can be used leaves a node at its defaults, as the one that ships does.

    To a node it makes no difference; but it would go before SetParameter in a launch file that includes ours.
    """
    defaults = {info.name: info.default for info in parameters(config_type)}
    return all(name in defaults and type(value) is type(defaults[name]) and value == defaults[name]
               for name, value in _values(outside.read_yaml(path) or {}, node).items())


def _values(content: Mapping[Any, Any], node: str) -> dict[str, Any]:
    """The parameters of a file for a node, flat; later ones go before earlier ones, as in rcl."""
    found: dict[str, Any] = {}
    for name, values in sections(content):
        if isinstance(values, dict) and matches(name, node):
            found.update(flatten(values))
    return found


def remappings(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """{argument: value} -> (from, to) remappings of the node's inputs."""
    topics = {argument.name: values[argument.name] for argument in INPUT_ARGUMENTS}
    _check_topics(topics)
    return launch_remappings(topics)


def check_parameter_file(path: str, node: str, argument: str = 'params_file') -> None:
    """Raises ConfigurationError for a file that would leave a node with its defaults, or could not be read by it.

    node: its full name (`/attention_fusion`). argument: the launch argument that names the file. A missing file is
    ignored by launch_ros, and one with parameters of other nodes only by all. A file without anything in it is right:
    every parameter has a default.
    """
    try:
        content = outside.read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The parameter file '{path}' cannot be read: {error}. Remedy: give the path of a "
                                 f'file as {argument}:=FILE.') from error
    except ValueError as error:
        raise ConfigurationError(f"The parameter file '{path}' is no YAML: {' '.join(str(error).split())}") from error
    example = "Remedy: begin it with '/**:' and '  ros__parameters:', as config/attention_fusion.yaml does."
    if content is None or content == {}:
        return
    names = node_names(content) if isinstance(content, dict) else []
    if not names:
        raise ConfigurationError(f"The parameter file '{path}' has no ros__parameters. {example}")
    if not any(matches(name, node) for name in names):
        raise ConfigurationError(f"The parameter file '{path}' has parameters for {', '.join(names)}, but none for "
                                 f'{node}. {example}')
