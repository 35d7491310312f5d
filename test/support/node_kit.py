# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the node share: a graph of their own, a node spinning in it, and messages to feed it."""

from __future__ import annotations

import array
import re
import sys
import threading
import time
from collections import defaultdict

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.messages import sensors
from attention_fusion_ros.ros.messages.types import type_name
from attention_fusion_ros.ros.node.node import AttentionFusionNode
from attention_fusion_ros.ros.node.spinning import spin
from attention_fusion_ros.stream.inputs import INPUTS, InputSpec, Transport

NODE = '/attention_fusion'
TIMEOUT = 60.0  # s; for machines with much else to do
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
T0 = 1_700_000_000.0  # s, stamps of the tests begin here
UNTRAINED = {'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu', 'threads': 1,
             'diagnostics.period': 0.1, 'diagnostics.log_throttle': 0.0}


def wait_until(condition, what: str, timeout: float = TIMEOUT):
    """The first true value of condition(); fails with `what` when there is none in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f'not within {timeout:g} s: {what}')


class Graph:
    """A domain of its own, with the node under test (`node`) and a `probe` to talk to it, each with its own context.

    parameters: of the node, besides UNTRAINED.
    """

    def __init__(self, parameters=None, create_pipeline=None, arguments=(), active=True):
        self.context, self._probe_context, self._domain = rclpy.Context(), rclpy.Context(), ReservedDomain()
        domain = self._domain.id
        rclpy.init(args=['--ros-args', *arguments] if arguments else None, context=self.context, domain_id=domain)
        rclpy.init(context=self._probe_context, domain_id=domain)
        overrides = [Parameter(name, value=value) for name, value in {**UNTRAINED, 'use_tf': False,
                                                                      **(parameters or {})}.items()]
        options = {'context': self.context, 'parameter_overrides': overrides}
        if create_pipeline is not None:
            options['create_pipeline'] = create_pipeline
        self.node = AttentionFusionNode(**options)
        self.probe = rclpy.create_node('probe', context=self._probe_context)
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._spin, self._spin_probe)]
        for thread in self._threads:
            thread.start()
        self.received = defaultdict(list)
        self._publishers = {}
        self.diagnostics: dict[str, object] = {}
        self.probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        wait_until(lambda: 'attention_fusion' in self.probe.get_node_names(), 'the node is found')
        if active:
            self.node.trigger_configure()
            self.node.trigger_activate()

    def _spin(self):
        try:
            spin(self.node, self.errors.append)  # reported by close(): a callback must never raise
        except ExternalShutdownException:
            pass

    def _spin_probe(self):
        executor = SingleThreadedExecutor(context=self._probe_context)
        executor.add_node(self.probe)
        while self._probe_context.ok():
            try:
                executor.spin_once(timeout_sec=0.2)
            except Exception:
                if self._probe_context.ok() and not isinstance(sys.exc_info()[1], InvalidHandle):
                    raise

    def _on_diagnostics(self, message):
        for status in message.status:
            self.diagnostics[status.name.removeprefix('attention_fusion: ')] = status

    def close(self):
        self.node.destroy_node()
        self.probe.destroy_node()
        self.context.try_shutdown()
        self._probe_context.try_shutdown()
        for thread in self._threads:
            thread.join(10.0)
        # A context gives its ports back when it is collected: until then they are what keeps others off.
        self._domain.close()
        assert not self.errors, self.errors

    # -- talking -------------------------------------------------------------------------------------------------------

    def publisher(self, name: str, kind: type, qos=RELIABLE):
        """A publisher that the node has found; name: below the node, or absolute."""
        topic = name if name.startswith('/') else f'{NODE}/{name}'
        if (topic, kind) not in self._publishers:
            self._publishers[topic, kind] = self.probe.create_publisher(kind, topic, qos), qos.reliability
        publisher, reliability = self._publishers[topic, kind]
        wait_until(lambda: publisher.get_subscription_count() > 0, f'the node listens to {topic}')
        wait_until(lambda: self.node.count_publishers(topic) > 0, f'the node has found {topic}')
        if not name.startswith('/'):
            wait_until(lambda: any(i.node_name == 'attention_fusion' and i.qos_profile.reliability == reliability
                                   for i in self.probe.get_subscriptions_info_by_topic(topic)),
                       f'the subscription to {topic} follows the publisher')
        return publisher

    def subscribe(self, name: str, kind: type, qos=RELIABLE):
        """Collect messages in self.received[name] once the node sees the subscription; name: as of `publisher`."""
        topic = name if name.startswith('/') else f'{NODE}/{name}'
        subscription = self.probe.create_subscription(kind, topic, self.received[name].append, qos)
        publisher = next(p for p in self.node.publications.all() if p.topic_name == topic)
        wait_until(lambda: publisher.get_subscription_count() > 0, f'the node sees the subscriber of {topic}')
        wait_until(lambda: subscription.get_publisher_count() > 0 if hasattr(subscription, 'get_publisher_count')
                   else self.probe.count_publishers(topic), f'{topic} is found')
        return subscription

    def send(self, message, name: str | None = None):
        """Publish on the topic called `name`; without it, on the first input of the message's type."""
        kind = type(message)
        qos = LATCHED if kind is TFMessage else RELIABLE
        self.publisher(name or input_of(message)[1].topic, kind, qos).publish(message)

    def call(self, kind: type, name: str, request, timeout: float = TIMEOUT):
        """Call a service of the node and wait for the answer."""
        client = self.probe.create_client(kind, f'{NODE}/{name}')
        try:
            assert client.wait_for_service(timeout), name
            future = client.call_async(request)
            wait_until(future.done, f'{name} answers', timeout)
            return future.result()
        finally:
            self.probe.destroy_client(client)

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def results(self) -> int:
        return self.node.monitor.snapshot().results.count

    @property
    def last(self):
        """The last result, as the monitor remembers it."""
        return self.node.monitor.snapshot().last

    @property
    def drops(self):
        """Dropped sweeps by reason."""
        return self.node.monitor.snapshot().sweep_drops

    def dropped(self, component: str, reason: str) -> int:
        """Messages dropped by a component of the node."""
        return self.node.monitor.snapshot().components[component].dropped.get(reason, 0)

    def count(self, component: str) -> int:
        """Messages received by a component of the node."""
        return self.node.monitor.snapshot().components[component].received.count

    def take(self, message, name: str | None = None):
        """Send a message and wait until the node has it; where it got lost on the way, again."""
        component = input_of(message, name)[0].component
        before, end = self.count(component), time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.send(message, name)
            again = time.monotonic() + 10.0
            while time.monotonic() < again:
                if self.count(component) > before:
                    return
                time.sleep(0.005)
        raise AssertionError(f'the {component} has not come')

    def sweep(self, seconds: float, **options):
        """Send a good sweep and wait for its result; where one got lost on the way, again."""
        def outcome():
            monitor = self.node.monitor.snapshot()
            return monitor.results.count > before and monitor.last.stamp_ns == nanoseconds(seconds)

        before, end = self.results, time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.send(cloud(seconds, **options))
            again = time.monotonic() + 10.0
            while time.monotonic() < again:
                if outcome():
                    return
                time.sleep(0.005)
        raise AssertionError(f'no result; dropped: {dict(self.drops)}')

    def status(self, aspect: str, condition, what: str):
        """Wait for a /diagnostics status of this aspect that meets the condition."""
        def met():
            status = self.diagnostics.get(aspect)
            return status if status is not None and condition(status) else None
        try:
            return wait_until(met, f'diagnostics of {aspect}: {what}')
        except AssertionError as error:
            status = self.diagnostics.get(aspect)
            raise AssertionError(f'{error}; last: {status.message if status else None} '
                                 f'{values(status) if status else None}') from None


def input_of(message, topic: str | None = None) -> tuple[InputSpec, Transport]:
    """The input that takes messages of this type, on this topic if it is one of an input: else the first one."""
    wanted = type_name(type(message))
    found = [(spec, transport) for spec in INPUTS for transport in spec.transports if transport.type == wanted]
    assert found, f'no input takes {wanted}'
    return next((entry for entry in found if entry[1].topic == topic), found[0])


class NodeLog:
    """What nodes of this process have logged. capfd: pytest's fixture. (/rosout serves one node of a name only.)"""

    def __init__(self, capfd):
        self._capfd, self._text = capfd, ''

    def entries(self, *words: str) -> list[str]:
        """Entries, with the lines that belong to them, that hold all of these words."""
        self._text += self._capfd.readouterr().err
        entries = re.split(r'^(?=\[(?:INFO|WARN|ERROR)\])', self._text, flags=re.MULTILINE)
        return [entry for entry in entries if all(word in entry for word in words)]


def values(status) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def nanoseconds(seconds: float) -> int:
    return round((T0 + seconds) * 1e9)


def header(seconds: float | None, frame: str = ''):
    """Stamped with T0 + seconds; None for zero."""
    return sensors.header(0 if seconds is None else nanoseconds(seconds), frame)


def street(n: int = 6000, seed: int = 0) -> np.ndarray:
    """(n, 4) x y z intensity: flat ground and two facades, in a frame on the ground."""
    rng = np.random.default_rng(seed)
    points = np.empty((n, 4), np.float32)
    points[:, 0] = rng.uniform(-35, 35, n)
    points[:, 1] = rng.uniform(-10, 10, n)
    points[:, 2] = rng.normal(0, 0.02, n)
    walls = slice(0, n // 3)
    points[walls, 1] = np.where(rng.random(n // 3) < 0.5, 10.0, -10.0)
    points[walls, 2] = rng.uniform(0, 6, n // 3)
    points[:, 3] = rng.uniform(0, 255, n)
    return points


def cloud(seconds: float | None, points: np.ndarray | None = None, frame: str = 'lidar') -> PointCloud2:
    """points: (N, 3) x y z or (N, 4) x y z intensity; default a street, measured anew each time."""
    if points is None:
        points = street()
        points[0, 2] += 1e-5 * (round(100 * (seconds or 0.0)) % 1000)
    names = ('x', 'y', 'z', 'intensity')[:points.shape[1]]
    packed = np.empty(len(points), [(name, np.float32) for name in names])
    for i, name in enumerate(names):
        packed[name] = points[:, i]
    return sensors.point_cloud(packed, header(seconds, frame))


def road_map(size: int = 240) -> np.ndarray:
    """(size, size) uint8: a straight road from bottom to top through the middle."""
    image = np.zeros((size, size), np.uint8)
    image[:, size // 2 - 10:size // 2 + 10] = 255
    return image


def map_image(seconds: float | None, pixels: np.ndarray | None = None, encoding: str = 'mono8') -> Image:
    return sensors.image(road_map() if pixels is None else pixels, header(seconds, 'base_link'), encoding)


def compressed(seconds: float, pixels: np.ndarray | None = None) -> CompressedImage:
    import cv2
    message = CompressedImage(header=header(seconds), format='png')
    message.data = array.array('B', cv2.imencode('.png', road_map() if pixels is None else pixels)[1].tobytes())
    return message


def odometry(seconds: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, child: str = 'base_link') -> Odometry:
    return sensors.odometry((x, y, yaw), header(seconds, 'odom'), child)


def transform(parent: str, child: str, x: float = 0.0, yaw: float = 0.0, seconds: float = 0.0) -> TFMessage:
    return TFMessage(transforms=[sensors.transform((x, 0.0, 0.0), yaw, header(seconds, parent), child)])
