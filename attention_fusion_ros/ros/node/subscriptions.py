# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every input topic: its quality of service, and what is done with its messages. All callbacks are short."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from attention_fusion_ros.decode import (
    decode_compressed_map_image,
    decode_map_image,
    decode_odometry,
    decode_static_transforms,
    decode_transforms,
)
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.ros.node.diagnostics import Topic
from attention_fusion_ros.ros.node.graph import input_topic, reliable_and_latched, subscribe, type_name
from attention_fusion_ros.ros.node.monitor import CLOUD, MAP, ODOMETRY, TRANSFORM, Health
from attention_fusion_ros.sync.stamp_waiter import StampWaiter
from attention_fusion_ros.sync.synchronizer import Synchronizer

CLOUDS = '~/input/pointcloud'
MAP_IMAGES, COMPRESSED = '~/input/map_image', '~/input/map_image/compressed'
ODOMETRIES = '~/input/odometry'
# Those of tf2.
MOVING_TRANSFORMS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
STATIC_TRANSFORMS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE,
                               durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclasses.dataclass
class Following:
    """A subscription whose quality of service follows that of its publishers.

    Best effort and volatile hears everybody, and is the start. Where every publisher is reliable it becomes reliable:
    sweeps of megabytes get lost otherwise, even on one machine. Where every one latches (and
    may_latch), it asks for what was sent before.
    """

    kind: type
    callback: Callable
    depth: int
    may_latch: bool = False
    reliable: bool = False
    latched: bool = False

    def profile(self) -> QoSProfile:
        """As it is to be now."""
        return QoSProfile(
            depth=self.depth,
            reliability=ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE)


class Inputs:
    """The subscriptions of an active node.

    on_sweep gets each PointCloud2; map images, odometry and transforms go to the pairer. on_problem(aspect, error) is
    called when one of these has to be dropped, and when sweeps are lost on the way. tf_message: the type of /tf, None
    to leave transforms alone.
    """

    def __init__(self, node: LifecycleNode, pairer: Synchronizer, companions: StampWaiter, health: Health,
                 tf_message: type | None, on_sweep: Callable[[PointCloud2], None],
                 on_problem: Callable[[str, InputError], None]):
        self._node, self._pairer, self._companions, self._health = node, pairer, companions, health
        self._on_sweep, self._on_problem = on_sweep, on_problem
        self._tf_message = tf_message
        self._tf_wanted = tf_message is not None
        self._subscriptions: dict[str, Subscription] = {}
        # Clouds last: of messages that wait together, the executor takes those of earlier subscriptions first. They
        # have depth 1, for old sweeps are worthless.
        self._following = {
            ODOMETRIES: Following(Odometry, self._on_odometry, depth=50),
            MAP_IMAGES: Following(Image, self._on_map_image, depth=10, may_latch=True),
            COMPRESSED: Following(CompressedImage, self._on_compressed, depth=10, may_latch=True),
            CLOUDS: Following(PointCloud2, self._on_cloud, depth=1)}
        if tf_message is not None:
            self._subscribe('/tf_static', tf_message, self._on_static_transforms, STATIC_TRANSFORMS)
            self._subscribe('/tf', tf_message, self._on_transforms, MOVING_TRANSFORMS)
        self.follow()

    def close(self) -> None:
        """Unsubscribe from everything. May be repeated."""
        self._following.clear()
        for name in list(self._subscriptions):
            self._unsubscribe(name)

    def want_moving_transforms(self, wanted: bool) -> None:
        """Whether /tf is of use: where all transforms are static, listening to it is wasted time. See `follow`."""
        self._tf_wanted = wanted

    def follow(self) -> None:
        """Adapt to who publishes now, and to whether /tf is wanted. To be called often."""
        for name, following in self._following.items():
            known = self._subscriptions.get(name)
            topic = known.topic_name if known is not None else self._node.resolve_topic_name(name)
            offers = reliable_and_latched(self._node, topic, type_name(following.kind))
            if offers is not None:
                reliable, latched = offers[0], offers[1] and following.may_latch
                if (reliable, latched) != (following.reliable, following.latched) and known is not None:
                    self._unsubscribe(name)
                    known = None
                following.reliable, following.latched = reliable, latched
            if known is None:
                self._subscribe(name, following.kind, following.callback, following.profile())
        if self._tf_message is not None and self._tf_wanted != ('/tf' in self._subscriptions):
            if self._tf_wanted:
                self._subscribe('/tf', self._tf_message, self._on_transforms, MOVING_TRANSFORMS)
            else:
                self._unsubscribe('/tf')

    def topics(self) -> dict[str, Topic]:
        """What the graph says about the inputs, by aspect."""
        aspects = {CLOUD: (CLOUDS,), MAP: (MAP_IMAGES, COMPRESSED), ODOMETRY: (ODOMETRIES,),
                   TRANSFORM: ('/tf_static', '/tf')}
        return {aspect: merged([input_topic(self._node, self._subscriptions[n]) for n in names
                                if n in self._subscriptions])
                for aspect, names in aspects.items() if any(n in self._subscriptions for n in names)}

    # -- callbacks -----------------------------------------------------------------------------------------------------

    def _on_cloud(self, message: PointCloud2) -> None:
        self._health.received(CLOUD)
        self._on_sweep(message)

    def _on_map_image(self, message: Image) -> None:
        self._take_map_image(message, decode_map_image)

    def _on_compressed(self, message: CompressedImage) -> None:
        self._take_map_image(message, decode_compressed_map_image)

    def _take_map_image(self, message, decode: Callable) -> None:
        self._health.received(MAP)
        try:
            image = decode(message)
            self._pairer.add_map_image(image)
            self._companions.on_message(MAP, image.stamp_ns)
        except InputError as error:
            self._on_problem(MAP, error)

    def _on_odometry(self, message: Odometry) -> None:
        self._health.received(ODOMETRY)
        try:
            self._companions.on_message(ODOMETRY, self._pairer.add_odometry(decode_odometry(message)))
        except InputError as error:
            self._on_problem(ODOMETRY, error)

    def _on_static_transforms(self, message) -> None:
        self._take_transforms(message, decode_static_transforms)

    def _on_transforms(self, message) -> None:
        self._take_transforms(message, decode_transforms)

    def _take_transforms(self, message, decode: Callable) -> None:
        try:
            self._pairer.add_transforms(decode(message))
        except InputError as error:
            self._on_problem(TRANSFORM, error)

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def _subscribe(self, name: str, kind: type, callback: Callable, qos: QoSProfile) -> None:
        self._subscriptions[name] = subscribe(self._node, kind, name, callback, qos,
                                              self._on_lost if name == CLOUDS else None)

    def _unsubscribe(self, name: str) -> None:
        self._node.destroy_subscription(self._subscriptions.pop(name))

    def _on_lost(self, count: int) -> None:
        error = InputError('lost_in_transport', 'sweeps were lost on the way to the node.', 'let the driver publish '
                           'reliable, and give it the shared memory profile fastdds.xml of this package.')
        for _ in range(count):
            self._on_problem(CLOUD, error)


def merged(topics: list[Topic]) -> Topic:
    """Several transports of one input as one."""
    return Topic(topics[0].name, sum(t.peers for t in topics), tuple(m for t in topics for m in t.mismatches))


def transform_message() -> type:
    """tf2_msgs/TFMessage. Raises ConfigurationError where it is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise ConfigurationError('use_tf needs the package tf2_msgs, which is not installed '
                                 f'({error}). Install it, or set use_tf to false and T_base_sensor.') from error
    return TFMessage
