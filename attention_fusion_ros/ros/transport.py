# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Environment variables for the middleware: room for large messages, and staying on this machine.

Importing this module changes nothing, and needs no ROS.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROFILE = Path(__file__).parent / 'fastdds.xml'
# By distribution: since Kilted (rclpy 9), which warns of the other one, and until Jazzy.
VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
# Any of these says that the user has set up transports.
SET_BY_USER = (*VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS', 'RMW_FASTRTPS_USE_QOS_FROM_XML')
IN_WORKING_DIRECTORY = 'DEFAULT_FASTRTPS_PROFILES.xml'  # Fast DDS reads this one by itself
SHARED_MEMORY = '/dev/shm'
NEEDED_BYTES = 128 * 2**20  # free there: a segment that outgrows it would end the process
# By distribution: since Iron, and in Humble.
LOCAL_ONLY = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_LOCALHOST_ONLY': '1'}


def environment() -> dict[str, str]:
    """What to add to the environment of a process that sends or receives sweeps; {} where nothing should be changed.

    Without effect on middlewares other than Fast DDS.
    """
    if any(os.environ.get(name) for name in SET_BY_USER) or Path(IN_WORKING_DIRECTORY).exists():
        return {}
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError:
        return {}
    return {variable(): str(PROFILE)} if state.f_bavail * state.f_frsize >= NEEDED_BYTES else {}


def variable() -> str:
    """The name of the variable by which Fast DDS is given its profile."""
    try:  # not ROS_DISTRO, which wheels do not set
        major = int(importlib.metadata.version('rclpy').split('.')[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return VARIABLES[1]
    return VARIABLES[major < 9]


def local_only() -> dict[str, str]:
    """What to add to the environment of processes that should find each other on this machine only.

    {} where the user has chosen a range.
    """
    if any(os.environ.get(name) for name in LOCAL_ONLY):
        return {}
    name = 'ROS_LOCALHOST_ONLY' if os.environ.get('ROS_DISTRO') == 'humble' else 'ROS_AUTOMATIC_DISCOVERY_RANGE'
    return {name: LOCAL_ONLY[name]}


@contextmanager
def applied(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process, and put back what was there afterwards.

    Middlewares read their variables when a context and its first node are made.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def configure_fastdds_shared_memory() -> None:
    """Add `environment` to that of this process for good: for executables, before rclpy.init."""
    os.environ.update(environment())
