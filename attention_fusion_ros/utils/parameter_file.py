# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""ROS parameter files, as YAML gives them: which nodes they are for, by the rules of rcl and rclpy.

Keys are names of nodes, nested namespace by namespace or in one with slashes; `*` is one name, `**` any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

SECTION = 'ros__parameters'
WILDCARDS = {'/**': r'(/\w+)*', '*': r'\w+'}


def sections(content: Mapping[Any, Any], above: str = '') -> Iterator[tuple[str, Any]]:
    """(name, what is below its ros__parameters) of every node that is named, in order."""
    for key, value in content.items():
        name = f"{above}/{str(key).strip('/')}"
        if isinstance(value, dict):
            if SECTION in value:
                yield name, value[SECTION]
            yield from sections({k: v for k, v in value.items() if k != SECTION}, name)


def node_names(content: Mapping[Any, Any]) -> list[str]:
    """The names of the nodes in a parameter file."""
    return [name for name, _ in sections(content)]


def matches(pattern: str, node: str) -> bool:
    """Whether a name of a parameter file means this node, by its full name (`/attention_fusion`)."""
    parts = re.split(r'(/\*\*|\*)', pattern)
    return re.fullmatch(''.join(WILDCARDS.get(part) or re.escape(part) for part in parts), node) is not None
