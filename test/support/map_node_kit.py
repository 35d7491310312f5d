# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of `map_source` share: a graph of its own with the node in it, and a vehicle that drives."""

from __future__ import annotations

import array
import math
import threading
import time
from collections import defaultdict

import numpy as np

from support.node_kit import LATCHED, RELIABLE, TIMEOUT, wait_until

# After node_kit, which keeps the graph on this machine.
import rclpy  # isort: skip
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, Imu, NavSatFix
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from attention_fusion_ros.geometry import quaternion_from_yaw
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.map_source.node import MapSourceNode
from attention_fusion_ros.ros.messages import sensors
from attention_fusion_ros.ros.node.spinning import spin

START_NS = 1_700_000_000_000_000_000
OUTPUTS = {'map_image': Image, 'position': PoseWithCovarianceStamped, 'position/fix': NavSatFix, 'route': Path,
           'route/geojson': String, 'roads': MarkerArray}


class MapGraph:
    """A domain of its own, with the node under test (`node`) and a `probe` to talk to it.

    namespaces: of the nodes, one a node; `node` is the first of them.
    """

    def __init__(self, parameters=None, active=True, namespaces=('',), arguments=()):
        self._domain = ReservedDomain()
        self._probe_context = rclpy.Context()
        rclpy.init(context=self._probe_context, domain_id=self._domain.id)
        self.probe = rclpy.create_node('probe', context=self._probe_context)
        self.errors: list[BaseException] = []
        self.nodes: list[MapSourceNode] = []
        self._contexts, self._threads, self._added = [], [], []
        overrides = [Parameter(name, value=value) for name, value in {
            'diagnostics.period': 0.1, 'diagnostics.log_throttle': 0.0, **(parameters or {})}.items()]
        for namespace in namespaces:
            self.nodes.append(self.add(MapSourceNode, overrides, arguments, namespace=namespace))
        self._start(self._spin_probe)
        self.received = defaultdict(list)
        self._publishers = {}
        self.diagnostics: dict[str, object] = {}
        self.probe.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        if active:
            for node in self.nodes:
                assert str(node.trigger_configure()).endswith('SUCCESS')
                assert str(node.trigger_activate()).endswith('SUCCESS')

    def add(self, kind: type, overrides, arguments=(), **options):
        """A node of this kind in the domain, spinning; ended by close()."""
        context = rclpy.Context()
        rclpy.init(args=['--ros-args', *arguments] if arguments else None, context=context, domain_id=self._domain.id)
        node = kind(context=context, parameter_overrides=overrides, **options)
        self._contexts.append(context)
        self._added.append(node)
        self._start(lambda: spin(node, self.errors.append))
        return node

    @property
    def node(self) -> MapSourceNode:
        return self.nodes[0]

    def _start(self, target):
        def run():
            try:
                target()
            except ExternalShutdownException:
                pass
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _spin_probe(self):
        executor = SingleThreadedExecutor(context=self._probe_context)
        executor.add_node(self.probe)
        while self._probe_context.ok():
            executor.spin_once(timeout_sec=0.2)

    def _on_diagnostics(self, message):
        for status in message.status:
            self.diagnostics[status.hardware_id, status.name.removeprefix('map_source: ')] = status

    def close(self):
        for node in self._added:
            node.destroy_node()
        self.probe.destroy_node()
        for context in (*self._contexts, self._probe_context):
            context.try_shutdown()
        for thread in self._threads:
            thread.join(10.0)
        self._domain.close()
        assert not self.errors, self.errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- talking -------------------------------------------------------------------------------------------------------

    def publisher(self, topic: str, kind: type, qos=RELIABLE):
        """A publisher that the node listens to."""
        name = topic if topic.startswith('/') else f'{self.node.get_fully_qualified_name()}/{topic}'
        if name not in self._publishers:
            self._publishers[name] = self.probe.create_publisher(kind, name, qos)
        publisher = self._publishers[name]
        wait_until(lambda: publisher.get_subscription_count() > 0, f'the node listens to {name}')
        if qos is RELIABLE:
            wait_until(lambda: all(i.qos_profile.reliability == RELIABLE.reliability
                                   for i in self.probe.get_subscriptions_info_by_topic(name)),
                       f'the subscription to {name} follows the publisher')
        return publisher

    def send(self, topic: str, message, component: str):
        """Publish, and wait until the node has it; where it got lost on the way, again."""
        before, end = self.count(component), time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.publisher(topic, type(message)).publish(message)
            again = time.monotonic() + 5.0
            while time.monotonic() < again:
                if self.count(component) > before:
                    return
                time.sleep(0.001)
        raise AssertionError(f'{topic} has not come')

    def count(self, component: str) -> int:
        return self.node.monitor.snapshot().components[component].received.count

    def dropped(self, component: str, reason: str) -> int:
        return self.node.monitor.snapshot().components[component].dropped.get(reason, 0)

    def subscribe(self, *names: str, namespace: str = ''):
        """Collect messages in self.received[name] once the node sees the subscriptions."""
        for name in names:
            topic = f'{namespace}/map_source/{name}'
            key = f'{namespace}/{name}'.lstrip('/') if namespace else name
            self.probe.create_subscription(OUTPUTS[name], topic, self.received[key].append,
                                           LATCHED if name not in ('position', 'position/fix') else RELIABLE)
            wait_until(lambda topic=topic: any(
                p.topic_name == topic and p.get_subscription_count() for node in self.nodes
                for p in (node.publications.all() if node.publications else ())), f'the node sees {topic}')

    def call(self, kind: type, name: str, request):
        client = self.probe.create_client(kind, f'{self.node.get_fully_qualified_name()}/{name}')
        try:
            assert client.wait_for_service(TIMEOUT), name
            future = client.call_async(request)
            wait_until(future.done, f'{name} answers')
            return future.result()
        finally:
            self.probe.destroy_client(client)

    # -- looking -------------------------------------------------------------------------------------------------------

    def wait_for(self, name: str, condition=lambda message: True, what: str = ''):
        """The first message of a topic that meets the condition."""
        return wait_until(lambda: next((m for m in list(self.received[name]) if condition(m)), None),
                          f'{name} {what}')

    def status(self, component: str, condition, what: str, node: str = 'map_source'):
        """Wait for a /diagnostics status that meets the condition."""
        def met():
            status = self.diagnostics.get((node, component))
            return status if status is not None and condition(status) else None
        try:
            return wait_until(met, f'diagnostics of {component}: {what}')
        except AssertionError as error:
            raise AssertionError(f'{error}; last: {self.diagnostics.get((node, component))}') from None


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.width, 3)


def fix_message(ns: int, latitude: float, longitude: float, std: float = 1.0, status: int = 0,
                frame: str = 'gnss') -> NavSatFix:
    message = NavSatFix(header=sensors.header(ns, frame), latitude=float(latitude), longitude=float(longitude),
                        altitude=200.0, position_covariance_type=2 if std else 0)
    message.status.status = status
    message.position_covariance = [std**2, 0.0, 0.0, 0.0, std**2, 0.0, 0.0, 0.0, 4 * std**2]
    return message


def imu_message(ns: int, yaw: float, std: float = math.radians(1.0), frame: str = '') -> Imu:
    message = Imu(header=sensors.header(ns, frame))
    q = message.orientation
    q.x, q.y, q.z, q.w = quaternion_from_yaw(yaw)
    message.orientation_covariance = array.array('d', [1e-4, 0, 0, 0, 1e-4, 0, 0, 0, std**2])
    return message


def goal_message(x: float, y: float, frame: str = 'map') -> PoseStamped:
    message = PoseStamped(header=sensors.header(0, frame))
    message.pose.position.x, message.pose.position.y = float(x), float(y)
    message.pose.orientation.w = 1.0
    return message


def path_message(points, frame: str = 'map') -> Path:
    return Path(header=sensors.header(0, frame), poses=[goal_message(x, y, frame) for x, y in points])


def alignment_message(ns: int, dx: float, dy: float, dyaw: float, std: float = 0.4,
                      turn_std: float = math.radians(1.0)) -> PoseWithCovarianceStamped:
    message = PoseWithCovarianceStamped(header=sensors.header(ns, 'base_link'))
    pose = message.pose.pose
    pose.position.x, pose.position.y = float(dx), float(dy)
    q = pose.orientation
    q.x, q.y, q.z, q.w = quaternion_from_yaw(dyaw)
    covariance = np.diag([std**2, std**2, 1e-6, 1e-6, 1e-6, turn_std**2])
    message.pose.covariance = covariance.ravel().tolist()
    return message


class Wire:
    """Where a `Vehicle` sends what it measures: as messages to the node of a graph."""

    def __init__(self, graph: MapGraph, odom_frame: str = 'odom'):
        self.graph, self.odom_frame = graph, odom_frame

    def odometry(self, ns: int, pose: Pose2):
        self.graph.send('input/odometry', sensors.odometry(pose, sensors.header(ns, self.odom_frame)), 'odometry')

    def fix(self, ns: int, latitude: float, longitude: float, std: float):
        self.graph.send('input/fix', fix_message(ns, latitude, longitude, std), 'fix')
