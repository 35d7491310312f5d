# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `map_source`: a file of roads, fixes and odometry in, map image and route out."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.settings import check
from attention_fusion_ros.ros.map_source.diagnostics import COMPONENTS, MapSnapshot, statuses
from attention_fusion_ros.ros.map_source.publications import MapPublications
from attention_fusion_ros.ros.map_source.work import MapWork
from attention_fusion_ros.ros.node import managed
from attention_fusion_ros.ros.node.diagnostics import diagnostics_message
from attention_fusion_ros.ros.node.monitor import NodeMonitor

NAME = 'map_source'


class MapSourceNode(managed.ManagedNode):
    """Its topics and parameters are in the tables of docs/maps.md."""

    _work: MapWork | None

    def __init__(self, **options: Any):
        super().__init__(NAME, MapSourceConfig, check, NodeMonitor(components=COMPONENTS), **options)

    @property
    def publications(self) -> MapPublications | None:
        """The publishers of the outputs, None while the node is not configured."""
        return None if self._work is None else self._work.publications

    def snapshot(self) -> MapSnapshot:
        """The node as of now: what /diagnostics is made from."""
        with self._transition:
            work = self._work
            node = MapSnapshot(self.state, self.monitor.snapshot(), self.parameters.latest, work is not None,
                               self._error)
            # rcl: simulated time is 0 until the first message.
            node.clock_missing = (self.get_parameter('use_sim_time').value
                                  and not self.get_clock().now().nanoseconds)
            if work is not None:
                problem = work.load_problem
                node.error = '' if problem is None else f'{problem.reason}: {problem}'
                node.source, node.draw_ms = work.status, tuple(work.draw_ms)
                node.inputs, node.outputs = work.input_topics(), work.output_topics()
                node.messages = work.publications.messages
            return node

    def _make(self) -> MapWork:
        """Read the roads, advertise the outputs."""
        work = MapWork(self, self.parameters, self.monitor, self._log)
        if work.status is None:
            self.get_logger().info(f'configured; {self.parameters.latest.file} is still being read')
        else:
            self.get_logger().info(f'configured: {work.status.roads} stretches of road')
        return work

    def _diagnostics_message(self) -> DiagnosticArray:
        node = self.snapshot()
        for topic in node.inputs.values():
            for text in topic.mismatches:
                self._log.warn(f'connection {text}', text)
        hardware_id = self.get_fully_qualified_name().lstrip('/')
        return diagnostics_message(NAME, statuses(node), self.get_clock().now().to_msg(), hardware_id)


def run(arguments: list[str], activate: bool = False) -> int:
    """Run the node until it is stopped, see `managed.run`."""
    return managed.run(MapSourceNode, arguments, activate)
