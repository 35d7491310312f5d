# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What each process of this package may do on the graph, and that as an SROS2 policy. Plain data, without ROS.

Made from the tables of inputs and outputs, as the launch files wire them: what is not named is denied. The format is
that of sros2's policy version 0.2.0 (`ros2 security generate_artifacts -p FILE`), of which it makes DDS permissions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attention_fusion_ros.ros.launch_arguments import MAP_ALIGNMENT_TOPIC, MAP_IMAGE_TOPIC
from attention_fusion_ros.ros.map_source.inputs import ALIGNMENT, MAP_INPUTS
from attention_fusion_ros.ros.map_source.outputs import MAP_OUTPUTS
from attention_fusion_ros.ros.outputs import OUTPUTS, OutputSpec
from attention_fusion_ros.stream.inputs import INPUTS, InputSpec, default_topics, launch_remappings
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE

FUSION, MAP_SOURCE, PLAYER, LAUNCH = 'attention_fusion', 'map_source', 'attention_fusion_player', 'launch_ros_*'
# What rclpy makes for every node (rclpy/node.py; get_type_description since Iron) and for lifecycle nodes.
NODE_TOPICS = ('/rosout', '/parameter_events')
PARAMETER_SERVICES = ('describe_parameters', 'get_parameter_types', 'get_parameters', 'list_parameters',
                      'set_parameters', 'set_parameters_atomically')
TYPE_SERVICES = ('get_type_description',)
CHANGE_STATE, TRANSITION_EVENT = 'change_state', 'transition_event'
LIFECYCLE_SERVICES = (CHANGE_STATE, 'get_state', 'get_available_states', 'get_available_transitions',
                      'get_transition_graph')
CLOCK, TRANSFORMS, DIAGNOSTICS = '/clock', ('/tf', '/tf_static'), '/diagnostics'


@dataclass(frozen=True)
class Access:
    """What one node may do; absolute names. Nothing in this package uses actions."""

    enclave: str
    node: str
    publish: frozenset[str]
    subscribe: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()
    request: frozenset[str] = frozenset()


def fusion_access(topics: Mapping[str, str] | None = None, sim_time: bool = False, publish_tf: bool = False) -> Access:
    """Of the fusion node. topics: input -> topic, where it is not that of the launch file. publish_tf: whether the
    parameter `frames.map_image` is set.
    """
    return _lifecycle_node(FUSION, OUTPUTS, INPUTS, {**default_topics(), **(topics or {})}, sim_time,
                           TRANSFORMS[:1] if publish_tf else ())


def map_access(topics: Mapping[str, str] | None = None, sim_time: bool = False, publish_tf: bool = False) -> Access:
    """Of map_source. publish_tf: whether the parameter of this name is set."""
    wired = {**default_topics(MAP_INPUTS), ALIGNMENT: f'/{MAP_ALIGNMENT_TOPIC}', **(topics or {})}
    return _lifecycle_node(MAP_SOURCE, MAP_OUTPUTS, MAP_INPUTS, wired, sim_time, TRANSFORMS[:1] if publish_tf else (),
                           ('set_goal',))


def player_access(topics: Iterable[str] = ()) -> Access:
    """Of `play`. topics: of the recording; by default those that the node listens to in the launch file."""
    published = tuple(topics) or (*default_topics().values(), *TRANSFORMS)
    return Access(f'/{PLAYER}', PLAYER, frozenset((*NODE_TOPICS, *published, CLOCK)),
                  reply=_below(PLAYER, TYPE_SERVICES))


def launch_access(nodes: Iterable[Access]) -> Access:
    """Of the launch process, which brings lifecycle nodes up (launch_ros.actions.LifecycleNode)."""
    names = [access.node for access in nodes if access.reply >= _below(access.node, LIFECYCLE_SERVICES)]
    return Access('/launch', LAUNCH, frozenset(NODE_TOPICS),
                  frozenset(f'/{name}/{TRANSITION_EVENT}' for name in names),
                  _below(LAUNCH, (*PARAMETER_SERVICES, *TYPE_SERVICES)),
                  frozenset(f'/{name}/{CHANGE_STATE}' for name in names))


def scenarios() -> dict[str, tuple[Access, ...]]:
    """The policies that ship, by the launch file that they are for."""
    vehicle = fusion_access({MAP_IMAGE: f'/{MAP_IMAGE_TOPIC}'}), map_access()
    replay = fusion_access(sim_time=True), player_access()
    return {name: (*nodes, launch_access(nodes)) for name, nodes in (('vehicle', vehicle), ('replay', replay))}


def policy(accesses: Iterable[Access], head: str = '') -> str:
    """The policy file; an enclave for each, in the given order. head: lines of a comment."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', *([f'<!-- {head} -->'] if head else []),
             '<policy version="0.2.0">', '  <enclaves>']
    for access in accesses:
        lines += [f'    <enclave path="{access.enclave}">', '      <profiles>',
                  f'        <profile ns="/" node="{access.node}">']
        for kind, right, names in (('topic', 'publish', access.publish), ('topic', 'subscribe', access.subscribe),
                                   ('service', 'reply', access.reply), ('service', 'request', access.request)):
            if names:
                lines += [f'          <{kind}s {right}="ALLOW">',
                          *(f'            <{kind}>{name}</{kind}>' for name in sorted(names)),
                          f'          </{kind}s>']
        lines += ['        </profile>', '      </profiles>', '    </enclave>']
    return '\n'.join([*lines, '  </enclaves>', '</policy>', ''])


def _lifecycle_node(node: str, outputs: Iterable[OutputSpec], inputs: Iterable[InputSpec], topics: Mapping[str, str],
                    sim_time: bool, publish: Iterable[str] = (), reply: Iterable[str] = ()) -> Access:
    inputs = tuple(inputs)
    remapped = dict(launch_remappings(topics, inputs))
    own = {t.private_topic for spec in inputs for t in spec.transports}
    subscribe = {_absolute(node, remapped.get(topic, topic)) for topic in own}
    return Access(
        f'/{node}', node,
        frozenset((*NODE_TOPICS, DIAGNOSTICS, f'/{node}/{TRANSITION_EVENT}', *publish,
                   *(_absolute(node, spec.topic) for spec in outputs))),
        frozenset((*subscribe, *((CLOCK,) if sim_time else ()))),
        _below(node, (*PARAMETER_SERVICES, *TYPE_SERVICES, *LIFECYCLE_SERVICES, *reply)))


def _absolute(node: str, topic: str) -> str:
    return topic.replace('~', f'/{node}', 1) if topic.startswith('~') else f"/{topic.lstrip('/')}"


def _below(node: str, names: Iterable[str]) -> frozenset[str]:
    return frozenset(f'/{node}/{name}' for name in names)
