# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Message types by name."""

from __future__ import annotations

import importlib
from typing import Any

from attention_fusion_ros.errors import InputError


def message_class(type_name: str) -> Any:
    """`sensor_msgs/Image` or `sensor_msgs/msg/Image` -> the class.

    Raises InputError `message_type_missing` when its package is not installed.
    """
    package, name = type_name.split('/')[0], type_name.split('/')[-1]
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise InputError('message_type_missing', f'{type_name} is not installed ({error}).',
                         f'Install the message package {package}, or leave the topic out with --topics.') from error


def is_installed(type_name: str) -> bool:
    """Whether `message_class` finds a type."""
    try:
        message_class(type_name)
    except InputError:
        return False
    return True


def type_name(kind: Any) -> str:
    """A message class -> `sensor_msgs/msg/PointCloud2`."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
