# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every output topic: its type, its quality of service, and what makes its message. Nothing is made for nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from std_msgs.msg import Float32MultiArray, Float64
from visualization_msgs.msg import MarkerArray

from attention_fusion_ros.contracts import FusionResult, PointCloud
from attention_fusion_ros.ros.messages import encode, encode_dense
from attention_fusion_ros.sync.synchronizer import SyncedInputs

STAGES = ('decode', 'bev', 'network', 'postprocess', 'total', 'data_age')
MAP_ALIGNMENT = '~/map_alignment'
RELIABLE = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
# Displays of OccupancyGrid ask for a latched map by default; a publisher that keeps its last one satisfies everybody.
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Fused:
    """A result with what it was made from."""

    result: FusionResult
    cloud: PointCloud
    pairing: SyncedInputs
    explain: Callable[[FusionResult], dict[str, np.ndarray]]  # Grad-CAM, by stage; costs a run with gradients


class Output(NamedTuple):
    """One topic. make: (Fused, frame) -> message, or None when there is nothing to say."""

    name: str
    type: type
    make: Callable[[Fused, str], Any]
    qos: QoSProfile = RELIABLE


def _of_result(encoder: Callable) -> Callable[[Fused, str], Any]:
    """An encoder of (result, header) in the vehicle frame."""
    return lambda fused, frame: encoder(fused.result, encode.header(fused.result.stamp_ns, frame))


def _points(fused: Fused, frame: str) -> PointCloud2:
    del frame  # the cloud stays in its own
    return encode_dense.attention_points(fused.result, fused.cloud, fused.pairing.motion.T_base_sensor,
                                         encode.header(fused.cloud.stamp_ns, fused.cloud.frame_id))


def _gradcam(fused: Fused, frame: str) -> OccupancyGrid | None:
    return encode_dense.gradcam(fused.result, fused.explain(fused.result),
                                encode.header(fused.result.stamp_ns, frame))


# In the order of publishing: what is steered by first, pictures next, and what needs the network once more last.
OUTPUTS = (
    Output('~/direction', PoseWithCovarianceStamped, _of_result(encode.direction)),
    Output('~/branches', PoseArray, _of_result(encode.branches)),
    Output('~/branches/scored', PointCloud2, _of_result(encode.scored_branches)),
    Output('~/distribution', LaserScan, _of_result(encode.distribution)),
    Output('~/heatmap/channels', Float32MultiArray, _of_result(encode.channels)),
    Output(MAP_ALIGNMENT, PoseWithCovarianceStamped, _of_result(encode.map_alignment)),
    Output('~/markers', MarkerArray, _of_result(encode.markers)),
    Output('~/heatmap/spatial', OccupancyGrid, _of_result(encode_dense.spatial), LATCHED),
    Output('~/attention_points', PointCloud2, _points),
    Output('~/heatmap/image', Image, _of_result(encode_dense.picture)),
    Output('~/heatmap/gradcam', OccupancyGrid, _gradcam, LATCHED),
)


class Outputs:
    """The publishers of a configured node."""

    def __init__(self, node: LifecycleNode, frame: str):
        self._node, self._frame = node, frame
        self.made: Counter = Counter()  # messages made, by topic
        self.publishers = {o.name: node.create_lifecycle_publisher(o.type, o.name, o.qos) for o in OUTPUTS}
        self._times = {stage: node.create_lifecycle_publisher(
            Float64, f'~/debug/processing_time/{stage}_ms', RELIABLE) for stage in STAGES}

    def all(self) -> list:
        """Every publisher."""
        return [*self.publishers.values(), *self._times.values()]

    def wanted(self, name: str) -> bool:
        """Whether anybody subscribes to the topic of this name in OUTPUTS."""
        return bool(self.publishers[name].get_subscription_count())

    def publish(self, fused: Fused) -> None:
        """Make and send the messages that somebody listens to."""
        for output in OUTPUTS:
            publisher = self.publishers[output.name]
            if not publisher.get_subscription_count():
                continue
            self.made[output.name] += 1
            message = output.make(fused, self._frame)
            if message is not None:
                publisher.publish(message)

    def publish_times(self, stage_ms: dict[str, float]) -> None:
        """Durations in milliseconds by stage."""
        for stage, publisher in self._times.items():
            if stage in stage_ms and publisher.get_subscription_count():
                publisher.publish(encode.milliseconds(stage_ms[stage]))

    def close(self) -> None:
        """Take the topics off the graph. May be repeated."""
        for publisher in self.all():
            self._node.destroy_lifecycle_publisher(publisher)
        self.publishers.clear()
        self._times.clear()
