# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of topics after remapping: two with different types cannot be one topic, and neither can two inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rclpy.node import Node

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.messages.types import is_installed
from attention_fusion_ros.ros.outputs import OutputSpec
from attention_fusion_ros.stream.inputs import InputSpec


def check_topics(node: Node, inputs: Sequence[InputSpec], outputs: Iterable[OutputSpec]) -> None:
    """Raises ConfigurationError where remapping gives one name to topics of different types, or to two inputs.

    The middleware refuses the second type, with words that tell neither name nor cause, while the node is activated;
    of two inputs on one topic both would get every message.
    """
    wanted = [(f'{spec.label} (~/{t.topic})' if not t.topic.startswith('/') else f'{spec.label} ({t.topic})',
               t.private_topic, t.type) for spec in inputs for t in spec.transports
              if not t.optional or is_installed(t.type)]
    wanted += [(f'output {spec.topic}', spec.topic, spec.type) for spec in outputs]
    known: dict[str, tuple[str, str]] = {}
    for what, topic, kind in wanted:
        name, short = node.resolve_topic_name(topic), kind.replace('/msg/', '/')
        other, other_kind = known.setdefault(name, (what, short))
        if other_kind != short:
            raise ConfigurationError(f'{name} is to be both {other}, of type {other_kind}, and {what}, of type '
                                     f'{short}. Remedy: remap one of them to another topic.')
    taken: dict[str, InputSpec] = {}
    for spec in inputs:
        for topic in (t.private_topic for t in spec.transports if not t.optional or is_installed(t.type)):
            other_spec = taken.setdefault(node.resolve_topic_name(topic), spec)
            if other_spec is not spec:
                raise ConfigurationError(f'{node.resolve_topic_name(topic)} is to be both {other_spec.label} and '
                                         f'{spec.label}. Remedy: remap one of them to another topic.')
