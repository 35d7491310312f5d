# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is on the graph, as far as it has been discovered: that happens apart from services and topics that work."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import NodeNameNonExistentError


def names(question: Callable, node: str, namespace: str = '/') -> set[str]:
    """The answer to one of `get_*_names_and_types_by_node` without the types; {} as long as the node is not known."""
    try:
        return {name for name, _ in question(node, namespace)}
    except NodeNameNonExistentError:
        return set()
