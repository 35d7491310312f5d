"""Every input topic: its quality of service, and what is done with its messages. All callbacks are short."""

from __future__ import annotations

from collections.abc import Callable

from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from attention_fusion_ros.contracts import ConfigurationError, InputError
from attention_fusion_ros.decode import decode_compressed_map_image, decode_map_image
from attention_fusion_ros.pairing import Pairer
from attention_fusion_ros.ros.companions import Companions
from attention_fusion_ros.ros.diagnostics import Topic
from attention_fusion_ros.ros.health import CLOUD, MAP, ODOMETRY, TRANSFORM, Health

# Best effort and volatile matches every publisher; depth 1, for old sweeps are worthless.
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
MAP_IMAGES = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
ODOMETRIES = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Those of tf2.
MOVING_TRANSFORMS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
STATIC_TRANSFORMS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE,
                               durability=DurabilityPolicy.TRANSIENT_LOCAL)

MAP_IMAGE, COMPRESSED = '~/input/map_image', '~/input/map_image/compressed'


class Inputs:
    """The subscriptions of an active node.

    on_sweep gets each PointCloud2; map images, odometry and transforms go to the pairer. on_problem(aspect, error) is
    called when one of these has to be dropped. tf_message: the type of /tf, None to leave transforms alone.
    """

    def __init__(self, node: LifecycleNode, pairer: Pairer, companions: Companions, health: Health,
                 tf_message: type | None,
                 on_sweep: Callable[[PointCloud2], None], on_problem: Callable[[str, InputError], None]):
        self._node, self._pairer, self._companions, self._health = node, pairer, companions, health
        self._on_sweep, self._on_problem = on_sweep, on_problem
        self._tf_message = tf_message
        self._subscriptions: dict[str, object] = {}
        self._latched = {MAP_IMAGE: False, COMPRESSED: False}
        self._tf_wanted = tf_message is not None
        # Cloud last: of messages that wait together, the executor takes those of earlier subscriptions first.
        if tf_message is not None:
            self._subscribe('/tf_static', tf_message, self._on_static_transforms, STATIC_TRANSFORMS)
            self._subscribe('/tf', tf_message, self._on_transforms, MOVING_TRANSFORMS)
        self._subscribe('~/input/odometry', Odometry, self._on_odometry, ODOMETRIES, may_override=True)
        self._subscribe_maps()
        self._subscribe('~/input/pointcloud', PointCloud2, self._on_cloud, NEWEST, may_override=True)

    def close(self) -> None:
        """Unsubscribe from everything. May be repeated."""
        for name in list(self._subscriptions):
            self._unsubscribe(name)

    def want_moving_transforms(self, wanted: bool) -> None:
        """Whether /tf is of use: where all transforms are static, listening to it is wasted time. See `follow`."""
        self._tf_wanted = wanted

    def follow(self) -> None:
        """Adapt to who publishes now: a latched map image needs a subscription that asks for what was sent before."""
        if not self._subscriptions:
            return
        self._subscribe_maps()
        if self._tf_message is not None and self._tf_wanted != ('/tf' in self._subscriptions):
            if self._tf_wanted:
                self._subscribe('/tf', self._tf_message, self._on_transforms, MOVING_TRANSFORMS)
            else:
                self._unsubscribe('/tf')

    def topics(self) -> dict[str, Topic]:
        """What the graph says about the inputs, by aspect."""
        return {aspect: merged([self._topic(n) for n in names if n in self._subscriptions])
                for aspect, names in ((CLOUD, ['~/input/pointcloud']), (MAP, [MAP_IMAGE, COMPRESSED]),
                                      (ODOMETRY, ['~/input/odometry']), (TRANSFORM, ['/tf_static', '/tf']))
                if any(n in self._subscriptions for n in names)}

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
            self._companions.arrived(MAP, image.stamp_ns)
        except InputError as error:
            self._on_problem(MAP, error)

    def _on_odometry(self, message: Odometry) -> None:
        self._health.received(ODOMETRY)
        try:
            self._companions.arrived(ODOMETRY, self._pairer.add_odometry(message))
        except InputError as error:
            self._on_problem(ODOMETRY, error)

    def _on_static_transforms(self, message) -> None:
        self._take_transforms(message, static=True)

    def _on_transforms(self, message) -> None:
        self._take_transforms(message, static=False)

    def _take_transforms(self, message, static: bool) -> None:
        try:
            self._pairer.add_transforms(message, static)
        except InputError as error:
            self._on_problem(TRANSFORM, error)

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def _subscribe(self, name: str, kind: type, callback: Callable, qos: QoSProfile,
                   may_override: bool = False) -> None:
        # The parameter qos_overrides.<topic>.subscription.reliability: reliable is for networks that lose packets.
        options = QoSOverridingOptions(policy_kinds=(QoSPolicyKind.RELIABILITY,)) if may_override else None
        profile = QoSProfile(depth=qos.depth, reliability=qos.reliability, durability=qos.durability)
        self._subscriptions[name] = self._node.create_subscription(
            kind, name, callback, profile, callback_group=MutuallyExclusiveCallbackGroup(),
            qos_overriding_options=options)

    def _unsubscribe(self, name: str) -> None:
        self._node.destroy_subscription(self._subscriptions.pop(name))

    def _subscribe_maps(self) -> None:
        """Subscribe to both transports; again where the publishers turn out to latch, or no longer do."""
        for name, kind, callback in ((MAP_IMAGE, Image, self._on_map_image),
                                     (COMPRESSED, CompressedImage, self._on_compressed)):
            if name in self._subscriptions:
                offers = [p.qos_profile for p in self._node.get_publishers_info_by_topic(
                    self._subscriptions[name].topic_name)]
                latched = all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL
                              and o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
                if not offers or latched == self._latched[name]:
                    continue
                self._latched[name] = latched
                self._unsubscribe(name)
            self._subscribe(name, kind, callback, LATCHED if self._latched[name] else MAP_IMAGES)

    def _topic(self, name: str) -> Topic:
        subscription = self._subscriptions[name]
        peers = self._node.get_publishers_info_by_topic(subscription.topic_name)
        return Topic(subscription.topic_name, len(peers), tuple(
            f'{peer.node_name} publishes {subscription.topic_name} with a QoS that this node cannot hear: {reason} '
            'Remedy: change that publisher, or qos_overrides of this node.'
            for peer in peers if (reason := conflict(peer.qos_profile, subscription.qos_profile))))


def output_topic(node: LifecycleNode, publisher) -> Topic:
    """What the graph says about an output."""
    peers = node.get_subscriptions_info_by_topic(publisher.topic_name)
    return Topic(publisher.topic_name, len(peers), tuple(
        f'{peer.node_name} subscribes to {publisher.topic_name} with a QoS that it cannot be served with: {reason} '
        'Remedy: let it ask for reliable or best effort, volatile.'
        for peer in peers if (reason := conflict(publisher.qos_profile, peer.qos_profile))))


def conflict(offered: QoSProfile, requested: QoSProfile) -> str:
    """Why a publisher and a subscription do not find together, '' when they do."""
    compatibility, reason = qos_check_compatible(offered, requested)
    return reason.strip() if compatibility == QoSCompatibility.ERROR else ''


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
