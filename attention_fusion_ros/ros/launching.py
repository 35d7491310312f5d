# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. The only module that imports `launch`: nothing else of the package needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState, StateTransition
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.ros.launch_arguments import (
    INPUT_ARGUMENTS,
    LaunchArgument,
    check_file,
    check_parameter_file,
    full_namespace,
    is_for,
    is_true,
    only_defaults,
    remappings,
    unknown_arguments,
)

PACKAGE = 'attention_fusion_ros'
FUSION_NODE, MAP_NODE = 'attention_fusion', 'map_source'
CONFIGURATIONS = {FUSION_NODE: NodeConfig, MAP_NODE: MapSourceConfig}


def in_share(path: str) -> Any:
    """A file that is installed with the package, as a substitution."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), path])


def declared(argument: LaunchArgument) -> Any:
    """The action that declares an argument."""
    default = in_share(argument.default) if argument.in_share and argument.default else argument.default
    choices = {'choices': list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(argument.name, default_value=default, description=argument.description, **choices)


def value_of(name: str, context: Any) -> str:
    """The value of a launch argument."""
    return str(LaunchConfiguration(name).perform(context))


def path_of(name: str, context: Any) -> str:
    """The value of a launch argument that names a file: `~` is home, which no shell expands behind `:=`."""
    return os.path.expanduser(value_of(name, context))


def is_set(name: str, context: Any) -> bool:
    """The value of a launch argument that is true or false."""
    return is_true(value_of(name, context))


def warn_of_unknown(context: Any, file: str, arguments: Iterable[LaunchArgument]) -> None:
    """Log what the command line gives to this launch file that is none of its arguments."""
    if is_for(file, sys.argv):
        for text in unknown_arguments(context.argv, arguments):
            get_logger('launch.user').warning(text)


def namespace_of(context: Any) -> str:
    """The namespace of the nodes, see `full_namespace`."""
    return full_namespace(value_of('namespace', context), context.launch_configurations.get('ros_namespace', ''))


def full_name(context: Any, node: str) -> str:
    """Of a node of the launch file: `/car/attention_fusion`."""
    return f"{namespace_of(context).rstrip('/')}/{node}"


def clock_of(context: Any) -> dict[str, Any]:
    """The parameter that the launch argument `use_sim_time` sets, {} where it is empty."""
    value = value_of('use_sim_time', context)
    return {'use_sim_time': is_true(value)} if value else {}


def lifecycle_node(context: Any, name: str, executable: str, file_argument: str, overrides: Mapping[str, Any],
                   topics: Sequence[tuple[str, str]]) -> Any:
    """A node of this package with what all have: namespace, clock, log level, parameter file.

    file_argument: the launch argument that names the parameter file. overrides: parameters that go before those of the
    file; texts stay texts. topics: (from, to) remappings.
    Raises ConfigurationError when the parameter file cannot be used.
    """
    namespace, path = namespace_of(context), full_name(context, name)
    params_file = path_of(file_argument, context)
    if params_file:
        check_parameter_file(params_file, path, file_argument)
        if only_defaults(params_file, path, CONFIGURATIONS[name]):
            params_file = ''
    more = {key: ParameterValue(v, value_type=str) if isinstance(v, str) else v for key, v in overrides.items()}
    more = {**clock_of(context), **more}
    logger = path.strip('/').replace('/', '.')
    return LifecycleNode(
        package=PACKAGE, executable=executable, name=name, namespace=namespace, output='screen', emulate_tty=True,
        sigterm_timeout='15', parameters=[*filter(None, [params_file, more])],
        arguments=['--ros-args', '--log-level', f"{logger}:={value_of('log_level', context)}"],
        remappings=list(topics))


def fusion_node(context: Any, topics: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
                ) -> Any:
    """The node attention_fusion of the launch arguments; an empty one leaves the parameter file's value alone.

    topics, overrides: of inputs and parameters, in place of launch arguments and of the parameter file.
    """
    topics = topics or {}
    inputs = {name: topics[name] if name in topics else value_of(name, context) for name in
              (argument.name for argument in INPUT_ARGUMENTS)}
    given = {name: value_of(name, context) for name in ('device', 'checkpoint') if value_of(name, context)}
    return lifecycle_node(context, FUSION_NODE, 'fusion_node', 'params_file',
                          {**given, **(overrides or {})}, remappings(inputs))


def rviz(context: Any) -> Any:
    """rviz, where it is asked for; in the namespace of the nodes: the topics of its configuration are relative.

    Where it is not installed, as on most vehicles, the rest starts without it.
    """
    configuration = path_of('rviz_config', context)
    if is_set('rviz', context):
        check_file('rviz_config', configuration)
        try:
            get_package_prefix('rviz2')
        except PackageNotFoundError:
            return LogInfo(msg='rviz2 is not installed: going on without it. Remedy: install it '
                           '(rosdep install does), or give rviz:=false.')
    return Node(package='rviz2', executable='rviz2', name='rviz', namespace=namespace_of(context), output='log',
                arguments=['-d', configuration],
                parameters=[*filter(None, [clock_of(context)])], condition=IfCondition(LaunchConfiguration('rviz')))


def brought_up(context: Any, node: Any, what: str, otherwise: Any) -> list[Any]:
    """A lifecycle node with the actions that configure and activate it, unless `autostart` is false.

    Its end ends the launch. what: its executable. otherwise: the action that is taken when it cannot be configured.
    """
    if not is_set('autostart', context):
        return [ends_launch(node, what), node]

    def change(transition: int) -> Any:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def after_configuring(context: Any) -> list[Any]:
        active = context.locals.event.goal_state == 'inactive'
        return [change(Transition.TRANSITION_ACTIVATE) if active else otherwise]

    # Only the first time: a node that somebody deactivates, cleans up or configures by hand stays as it was left.
    activate = RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, start_state='configuring', entities=[OpaqueFunction(function=after_configuring)],
        handle_once=True))
    return [ends_launch(node, what), activate, node, change(Transition.TRANSITION_CONFIGURE)]


def transition_of(node: str, **states: str) -> Callable[[Any], bool]:
    """What an OnStateTransition takes as `matcher` for one node: a launch may have other lifecycle nodes.

    node: its whole name. states: `start_state`, `goal_state`.
    """
    def matches(event: Any) -> bool:
        return (isinstance(event, StateTransition) and event.action.node_name == node
                and all(getattr(event, which) == state for which, state in states.items()))

    return matches


def ends_launch(action: Any, what: str, otherwise: str = '') -> Any:
    """The action that ends the whole launch when a process ends; with its error, where it failed.

    `ros2 launch` goes on without a process that died, for ever where it waits for its services. otherwise: where a
    process that ended without an error is not to end the launch, what to say then. To be placed before `action`, whose
    own handlers of the same event (the last lines of its output) come first then.
    """
    def on_exit(event: Any, context: Any) -> Any:
        if context.is_shutdown:
            return None
        if event.returncode:
            raise RuntimeError(f'{what} ended with exit code {event.returncode}; its output says why.')
        return LogInfo(msg=otherwise) if otherwise else EmitEvent(event=Shutdown(reason=f'{what} has ended'))

    return RegisterEventHandler(OnProcessExit(target_action=action, on_exit=on_exit))


def fails(message: str) -> Any:
    """The action that ends the launch with an error: exit code 1."""
    def fail(_: Any) -> None:
        raise RuntimeError(message)

    return OpaqueFunction(function=fail)
