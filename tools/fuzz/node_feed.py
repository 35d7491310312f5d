# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is sent to a running node: messages of every input, most with something wrong, parameters, transitions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from attention_fusion_ros.config import parameters
from attention_fusion_ros.decode import plain_messages
from attention_fusion_ros.ros.messages.types import is_installed, message_class
from attention_fusion_ros.stream.inputs import INPUTS
from fuzz import clouds, messages, wire
from fuzz.clouds import STAMP
from fuzz.mutate import NONSENSE, REAL, TEXTS, WHOLE, other_value, spoiled

NODE = '/attention_fusion'
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MAKERS: dict[str, Callable[[random.Random], Any]] = {
    'sensor_msgs/msg/Image': messages.image, 'sensor_msgs/msg/CompressedImage': messages.compressed_image,
    'nav_msgs/msg/OccupancyGrid': messages.grid, 'nav_msgs/msg/Odometry': messages.odometry,
    'tf2_msgs/msg/TFMessage': messages.transforms}
# Of a hundred: the rest is messages.
PARAMETERS, TRANSITIONS, GOOD = 4, 1, 10
# Those that end the node for good are left out: that it ends is what they ask for.
CALLS = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE,
         Transition.TRANSITION_CLEANUP, 0, 99, 255)
MENDED = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def street(choices: random.Random, points: int = 1500) -> np.ndarray:
    """(N,) points of flat ground and two facades, in the frame of a sensor on the ground."""
    rng = np.random.default_rng(choices.randrange(2**16))
    cloud = np.zeros(points, plain_messages.VELODYNE_POINT)
    cloud['x'], cloud['y'] = rng.uniform(-35, 35, points), rng.uniform(-10, 10, points)
    cloud['z'] = rng.normal(0, 0.02, points)
    wall = rng.random(points) < 0.4
    cloud['y'][wall] = np.sign(cloud['y'][wall]) * 10.0
    cloud['z'][wall] = rng.uniform(0, 5, wall.sum())
    cloud['time'] = np.linspace(-0.1, 0.0, points)
    return cloud


def good_cloud(stamp_ns: int, seed: int) -> SimpleNamespace:
    """A sweep that is used."""
    return plain_messages.point_cloud(street(random.Random(seed)), stamp_ns, 'lidar')


def good_map(stamp_ns: int) -> SimpleNamespace:
    """A map image that is used."""
    pixels = np.zeros((240, 240), np.uint8)
    pixels[:, 110:130] = 255
    return plain_messages.image(pixels, stamp_ns, encoding='mono8')


def pose_message(stamp_ns: int, x: float) -> SimpleNamespace:
    """Odometry that is used."""
    pose = SimpleNamespace(position=SimpleNamespace(x=x, y=0.0, z=0.0),
                           orientation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0))
    return SimpleNamespace(header=plain_messages.header(stamp_ns, 'odom'), child_frame_id='base_link',
                           pose=SimpleNamespace(pose=pose, covariance=[0.0] * 36))


def mounting(stamp_ns: int) -> SimpleNamespace:
    """How the LiDAR is mounted, for /tf_static."""
    transform = SimpleNamespace(translation=SimpleNamespace(x=0.5, y=0.0, z=0.0),
                                rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0))
    return SimpleNamespace(transforms=[SimpleNamespace(header=plain_messages.header(stamp_ns, 'base_link'),
                                                       child_frame_id='lidar', transform=transform)])


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
        kind = self._topics[topic][0]
        stamp_ns = STAMP * 10**9 + self._number * 10**7  # time goes on
        if kind == 'sensor_msgs/msg/PointCloud2' and (good or self._choices.randrange(2)):
            message: Any = good_cloud(stamp_ns, self._choices.randrange(50))
        elif kind == 'sensor_msgs/msg/PointCloud2':
            message = clouds.cloud(self._choices)
        else:
            message = MAKERS.get(kind, clouds.livox)(self._choices)
        for item in getattr(message, 'transforms', [message]):
            if hasattr(item, 'header'):
                item.header.stamp = plain_messages.header(stamp_ns, '').stamp
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

    def unanswered(self) -> int:
        """Calls without an answer so far."""
        self.collect()
        return len(self._futures)
