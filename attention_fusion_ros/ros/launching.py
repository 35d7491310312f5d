# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. The only module that imports `launch`: nothing else of the package needs it."""

from __future__ import annotations

from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from attention_fusion_ros.ros.launch_arguments import LaunchArgument

PACKAGE = 'attention_fusion_ros'


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


def ends_launch(action: Any, what: str, success: bool = True) -> Any:
    """The action that ends the whole launch when a process ends; with its error, where it failed.

    `ros2 launch` goes on without a process that died, for ever where it waits for its services. success: whether a
    process that ended without an error ends the launch, too. To be placed before `action`, whose own handlers of the
    same event (the last lines of its output) come first then.
    """
    def on_exit(event: Any, context: Any) -> Any:
        if context.is_shutdown:
            return None
        if event.returncode:
            raise RuntimeError(f'{what} ended with exit code {event.returncode}; its output says why.')
        return EmitEvent(event=Shutdown(reason=f'{what} has ended')) if success else None

    return RegisterEventHandler(OnProcessExit(target_action=action, on_exit=on_exit))


def fails(message: str) -> Any:
    """The action that ends the launch with an error: exit code 1."""
    def fail(_: Any) -> None:
        raise RuntimeError(message)

    return OpaqueFunction(function=fail)
