# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Starting rclpy: errors say what to do, and a folder for logs that cannot be written keeps nothing from running."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.utilities import get_rmw_implementation_identifier

from attention_fusion_ros.errors import ConfigurationError

DOMAIN = 'ROS_DOMAIN_ID'
HIGHEST_DOMAIN = 232  # RTPS 2.2, 9.6.1.1: ports of later ones are beyond 65535
RTPS = ('fastrtps', 'cyclonedds', 'connext')  # middlewares with such ports; Fast DDS ends the process, without an error
WITHOUT_LOG_FILE = ('--ros-args', '--disable-external-lib-logs')
# Words of rcl and rmw -> the remedy.
REMEDIES = {
    DOMAIN: f'set {DOMAIN} to a number from 0 to {HIGHEST_DOMAIN}.',
    'resolve peer': 'correct ROS_STATIC_PEERS: names of machines that can be resolved, or addresses, divided by ;.',
    'opening YAML file': 'give the path of a parameter file that is there and may be read, after --params-file.',
}
OTHERWISE = 'correct the arguments after --ros-args; a parameter file begins as config/attention_fusion.yaml does.'


def init(arguments: Sequence[str] = (), context: Context | None = None, domain_id: int | None = None) -> None:
    """`rclpy.init`. arguments: the command line, for its `--ros-args`. Where no log file can be written, without one.

    Raises ConfigurationError when rclpy cannot use arguments or environment.
    """
    if domain_id is None:
        _check_domain()
    folder = log_folder()
    if folder is None or not _can_write(folder):
        reason = 'HOME is not set' if folder is None else f'{folder} cannot be written'
        print(f'WARNING: there is no log file: {reason}. Remedy: set ROS_LOG_DIR to a folder that can be written.',
              file=sys.stderr)
        arguments = [*arguments, *WITHOUT_LOG_FILE]
    try:
        rclpy.init(args=list(arguments), context=context, domain_id=domain_id)
    except Exception as error:
        raise explained(error) from error


def log_folder() -> Path | None:
    """Where rcl writes log files (its logging_dir.c), None where it cannot tell: without HOME."""
    home = os.environ.get('HOME', '')
    for variable, below in (('ROS_LOG_DIR', ''), ('ROS_HOME', 'log'), ('HOME', '.ros/log')):
        if value := os.environ.get(variable):
            return Path(home + value[1:] if value.startswith('~') else value) / below
    return None


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def explained(error: Exception) -> ConfigurationError:
    """What rclpy has raised, in one line and with what to do about it."""
    text = one_line(str(error))
    return ConfigurationError(f'{text}. Remedy: '
                              + next((remedy for words, remedy in REMEDIES.items() if words in text), OTHERWISE))


def is_environment(error: Exception) -> bool:
    """Whether an error that rclpy raised later, when the first node was made, comes from the environment."""
    return any(words in str(error) for words in REMEDIES)


def one_line(text: str) -> str:
    """An error of rcl in one line, without where in rcl it was raised."""
    return ' '.join(re.sub(r',? at \S+\.c(pp)?:\d+', '', text).split()).rstrip(' .,')


def _check_domain() -> None:
    value = os.environ.get(DOMAIN, '').strip()
    if value.isdigit() and int(value) > HIGHEST_DOMAIN and any(n in get_rmw_implementation_identifier() for n in RTPS):
        raise ConfigurationError(f'{DOMAIN} is {value}, and there are none beyond {HIGHEST_DOMAIN}. Remedy: '
                                 f'{REMEDIES[DOMAIN]}')
