# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Room for large messages: a Fast DDS profile for our own processes, unless the user has set up the middleware."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).parent / 'fastdds.xml'
VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
# Any of these says that somebody has thought about transports.
SET_BY_USER = (VARIABLE, 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS', 'RMW_FASTRTPS_USE_QOS_FROM_XML')
IN_WORKING_DIRECTORY = 'DEFAULT_FASTRTPS_PROFILES.xml'  # Fast DDS reads this one by itself
SHARED_MEMORY = '/dev/shm'
NEEDED = 128 * 2**20  # bytes free there: a segment that outgrows it would end the process


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
    return {VARIABLE: str(PROFILE)} if state.f_bavail * state.f_frsize >= NEEDED else {}


def configure_fastdds_shared_memory() -> None:
    """To be called by executables, before rclpy.init."""
    os.environ.update(environment())
