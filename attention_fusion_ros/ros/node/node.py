# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `attention_fusion`: point clouds and map images in, road directions and attention heatmaps out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.ros.node import managed
from attention_fusion_ros.ros.node.configured import Configured
from attention_fusion_ros.ros.node.diagnostics import DiagnosticsBuilder, NodeSnapshot
from attention_fusion_ros.ros.node.monitor import NodeMonitor
from attention_fusion_ros.ros.node.publications import Publications
from attention_fusion_ros.sync.synchronizer import sensor_pose

NAME = 'attention_fusion'


class AttentionFusionNode(managed.ManagedNode):
    """Its topics and parameters are in the README's tables.

    create_pipeline is called with the configuration at every configure transition.
    """

    _work: Configured | None

    def __init__(self, create_pipeline: Callable[[NodeConfig], FusionPipeline] = FusionPipeline, **options: Any):
        self._create_pipeline = create_pipeline
        self._diagnostics_builder = DiagnosticsBuilder()
        super().__init__(NAME, NodeConfig, sensor_pose, NodeMonitor(), **options)

    @property
    def publications(self) -> Publications | None:
        """The publishers of the outputs, None while the node is not configured."""
        return None if self._work is None else self._work.publications

    def snapshot(self) -> NodeSnapshot:
        """The node as of now: what /diagnostics is made from."""
        with self._transition:
            now_ns, configured = self.get_clock().now().nanoseconds, self._work
            node = NodeSnapshot(self.state, self.monitor.snapshot(), error=self._error)
            # rcl: simulated time is 0 until the first message.
            node.clock_missing = self.get_parameter('use_sim_time').value and not now_ns
            if configured is not None:
                node.config, node.pipeline = configured.config, configured.pipeline
                node.inputs, node.outputs = configured.input_topics(), configured.output_topics()
                node.ages_s = configured.ages_s(now_ns)
                node.clocks = configured.clocks()
                node.messages = configured.publications.messages
                node.alignment_wanted = configured.publications.has_subscribers('map_alignment')
            return node

    def _make(self) -> Configured:
        """Load the network, run it once, advertise the outputs."""
        configured = Configured(self, self.parameters, self.monitor, self._log, self._create_pipeline)
        network = configured.pipeline.info
        self.get_logger().info(f'configured: {network.checkpoint_name} on {network.device}')
        if not network.trained:
            self.get_logger().warning('UNTRAINED weights: directions and heatmaps are meaningless')
        return configured

    def _diagnostics_message(self) -> DiagnosticArray:
        node = self.snapshot()
        self._log_connections(node)
        return self._diagnostics_builder.message(node, self.get_clock().now().to_msg(), NAME)

    def _log_connections(self, node: NodeSnapshot) -> None:
        """Publishers that cannot be heard, those whose messages are missing although they can, and subscribers that
        cannot hear.
        """
        for component, topic in node.inputs.items():
            notes = topic.notes if node.monitor.recent_problem(component) else ()
            for text in (*topic.mismatches, *notes):
                self._log.warn(f'connection {text}', text)
        for topic in node.outputs:
            for text in topic.mismatches:
                self._log.warn(f'connection {text}', text)


def run(arguments: list[str], activate: bool = False) -> int:
    """Run the node until it is stopped, see `managed.run`."""
    return managed.run(AttentionFusionNode, arguments, activate)
