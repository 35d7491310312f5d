# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is sent to a running node: messages of every input, most with something wrong, parameters, transitions."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from attention_fusion_ros.config import parameters
from attention_fusion_ros.ros.messages.types import is_installed, message_class
from attention_fusion_ros.stream.inputs import INPUTS
from fuzz import wire
from fuzz.clouds import STAMP
from fuzz.good import message_of
from fuzz.mutate import NONSENSE, REAL, TEXTS, WHOLE, other_value, spoiled

NODE = '/attention_fusion'
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Of a hundred: the rest is messages.
PARAMETERS, TRANSITIONS, GOOD = 4, 1, 10
# Those that end the node for good are left out: that it ends is what they ask for.
CALLS = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE,
         Transition.TRANSITION_CLEANUP, 0, 99, 255)
MENDED = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


class Feed:
    """Publishers and clients of everything that a node takes in.

    sent: messages by topic, and calls by service.
    """

    def __init__(self, node: Node, choices: random.Random):
        self._node, self._choices = node, choices
        self.sent: Counter[str] = Counter()
        self._topics: dict[str, tuple[str, Any]] = {}
        for spec in INPUTS:
            for transport in spec.transports:
                if is_installed(transport.type):
                    topic = transport.private_topic.replace('~', NODE, 1)
                    qos = LATCHED if topic == '/tf_static' else RELIABLE
                    kind = message_class(transport.type)
                    self._topics[topic] = transport.type, node.create_publisher(kind, topic, qos)
        self._set = node.create_client(SetParameters, f'{NODE}/set_parameters')
        self._change = node.create_client(ChangeState, f'{NODE}/change_state')
        self._futures: list[tuple[str, Any]] = []
        self._number = 0
        self.refusals: Counter[str] = Counter()  # of parameters, by the words
        self.silent: list[str] = []  # calls without an answer

    def publish(self, topic: str, message: Any) -> None:
        """A message of a namespace; topic: as the node names it (`input/odometry`) or absolute."""
        topic = topic if topic.startswith('/') else f'{NODE}/{topic}'
        kind, publisher = self._topics[topic]
        publisher.publish(wire.cdr(kind, message))
        self.sent[topic.removeprefix(f'{NODE}/')] += 1

    def is_ready(self) -> bool:
        """Whether the node can be called."""
        return bool(self._change.service_is_ready() and self._set.service_is_ready())

    def is_heard(self) -> bool:
        """Whether the topics of good messages have a subscriber."""
        topics = ('/tf_static', *(f'{NODE}/input/{name}' for name in ('pointcloud', 'map_image', 'odometry')))
        return all(self._topics[topic][1].get_subscription_count() for topic in topics)

    def anything(self) -> None:
        """One message or call, chosen at random."""
        kind = self._choices.randrange(100)
        self._number += 1
        if kind < PARAMETERS:
            self.parameters([self._parameter() for _ in range(1 + self._choices.randrange(3))])
        elif kind < PARAMETERS + TRANSITIONS:
            self.transition(self._choices.choice(CALLS))
            for transition in MENDED if self._choices.randrange(4) else ():
                self.transition(transition)
        else:
            topic = self._choices.choice(list(self._topics))
            self.publish(topic, self._message(topic, good=kind >= 100 - GOOD))

    def _message(self, topic: str, good: bool) -> Any:
        stamp_ns = STAMP * 10**9 + self._number * 10**7  # time goes on
        message = message_of(self._topics[topic][0], stamp_ns, self._choices)
        return message if good else spoiled(message, self._choices, odd_types=False)

    def _parameter(self) -> Parameter:
        info = self._choices.choice(parameters())
        if info.type is list:
            value: Any = [other_value(v, self._choices) for v in info.default]
        elif self._choices.randrange(2):
            value = self._choices.choice(info.choices) if info.choices else other_value(info.default, self._choices)
        else:
            value = self._choices.choice(NONSENSE + WHOLE + REAL + TEXTS)
        name = info.name if self._choices.randrange(10) else 'no.such.parameter'
        try:
            return Parameter(name, value=value)
        except Exception:  # of no type that ROS has
            return Parameter(name, value=0.5)

    def parameters(self, wanted: list[Parameter]) -> Any:
        """Set parameters; what comes of it is looked at later."""
        request = SetParameters.Request()
        for parameter in wanted:
            try:
                request.parameters.append(parameter.to_parameter_msg())
            except Exception:  # a whole number that ROS cannot hold
                continue
        return self._call('set_parameters', self._set, request)

    def transition(self, number: int) -> Any:
        """Ask for a transition of the lifecycle."""
        request = ChangeState.Request()
        request.transition.id = number
        return self._call('change_state', self._change, request)

    def _call(self, name: str, client: Any, request: Any) -> Any:
        self.sent[name] += 1
        try:
            future = client.call_async(request)
        except Exception as error:  # what cannot be serialised is not sent
            self.sent[name] -= 1
            self.refusals[f'not sent: {type(error).__name__}'] += 1
            return None
        self._futures.append((name, future))
        return future

    def collect(self) -> None:
        """Count the answers that have come. Refusals of parameters have words."""
        waiting = []
        for name, future in self._futures:
            if not future.done():
                waiting.append((name, future))
            elif name == 'set_parameters':
                for result in future.result().results:
                    if not result.successful:
                        words = ''.join(c for c in result.reason if not c.isdigit()) or 'NO WORDS'
                        self.refusals[words[:60]] += 1
        self._futures = waiting

    def close(self) -> None:
        """Take the publishers from the graph, with what they have latched."""
        for _, publisher in self._topics.values():
            self._node.destroy_publisher(publisher)

    def unanswered(self) -> int:
        """Calls without an answer so far."""
        self.collect()
        return len(self._futures)
