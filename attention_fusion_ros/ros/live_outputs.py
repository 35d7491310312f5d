# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Shows what the node would publish about each sweep of a recording in a viewer, while it is computed; without ROS."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from attention_fusion_ros.geometry import quaternion_from_rotation
from attention_fusion_ros.ros.live_server import LiveServer
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.standins import STORE, serialize, standin
from attention_fusion_ros.ros.outputs import OutputSpec
from attention_fusion_ros.ros.result_sink import NODE, ResultSink, topic_of
from attention_fusion_ros.stream.recording import Recording

TRANSFORMS = 'tf2_msgs/msg/TFMessage'
SENSOR_POSE_TOPIC = f'{NODE}/sensor_pose'  # viewers read transforms from every topic of that type


def definition_of(type_name: str) -> str:
    """The definition of a standard type with all that it holds."""
    return str(STORE.generate_msgdef(type_name, ros_version=2)[0])


class LiveOutputs(ResultSink):
    """All outputs, and the recording they are made from, on a server; only what a viewer shows is made.

    rate: speed against the recording, 0 for as fast as results come. What takes longer than in the recording is shown
    when it is there. The rest is as for `ResultSink`.
    """

    def __init__(self, server: LiveServer, base_frame: str, inputs: Recording | None = None, rate: float = 1.0):
        super().__init__(base_frame, inputs)
        self._server, self._rate = server, rate
        self._start: tuple[float, int] | None = None  # time.monotonic(), stamp [ns] of the first message
        self._transforms = inputs is not None and any(t.type == TRANSFORMS for t in inputs.topics.values())
        self._sensor_frames: set[str] = set()
        self._open_topics()
        if not self._transforms:  # else no viewer knows where the sensor is
            server.add_topic(SENSOR_POSE_TOPIC, TRANSFORMS, definition_of(TRANSFORMS), latched=True)

    def write(self, sweep: PublishedSweep, stage_ms: Mapping[str, float], recorded_ns: int) -> None:
        """As `ResultSink.write`, at the time it is due."""
        if not self._transforms:
            for source in sweep.sweep.sources:
                self._place_sensor(source.frame_id, source.T_base_sensor, recorded_ns)
        super().write(sweep, stage_ms, recorded_ns)

    def finish(self) -> None:
        """Send what comes after the last result."""
        self._copy_inputs(None)

    def _open_output(self, spec: OutputSpec) -> None:
        type_name = spec.type.replace('/', '/msg/')
        self._server.add_topic(topic_of(spec), type_name, definition_of(type_name), spec.latched)

    def _open_input(self, name: str, type_: str, definition: tuple[str, str], static: bool, latched: bool) -> None:
        self._server.add_topic(name, type_, definition[0], latched)

    def _wants(self, topic: str) -> bool:
        return self._server.is_wanted(topic)

    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._wait_until_due(stamp_ns)
        self._server.send(topic, stamp_ns, data)

    def _wait_until_due(self, stamp_ns: int) -> None:
        now = time.monotonic()
        if self._start is None or stamp_ns < self._start[1]:  # a recording of a loop begins anew
            self._start = now, stamp_ns
        if self._rate > 0:
            due = self._start[0] + (stamp_ns - self._start[1]) / 1e9 / self._rate
            if due > now:
                time.sleep(due - now)

    def _place_sensor(self, frame: str, T: np.ndarray, stamp_ns: int) -> None:
        """The pose of a sensor, from the parameters, once for every frame of a cloud."""
        if frame in self._sensor_frames or not frame or frame == self._base_frame:
            return
        self._sensor_frames.add(frame)
        pose = standin('geometry_msgs/msg/TransformStamped')(child_frame_id=frame)
        pose.header.frame_id = self._base_frame
        pose.header.stamp.sec, pose.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        place, turn = pose.transform.translation, pose.transform.rotation
        place.x, place.y, place.z = (float(v) for v in T[:3, 3])
        turn.x, turn.y, turn.z, turn.w = (float(v) for v in quaternion_from_rotation(T[:3, :3]))
        self._put(SENSOR_POSE_TOPIC, stamp_ns, serialize(standin(TRANSFORMS)(transforms=[pose])))
