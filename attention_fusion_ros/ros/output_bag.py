# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes what the node would publish about each sweep as a recording (mcap), with and without ROS."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection

from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.outputs import LATCHED_DEPTH, RELIABLE_DEPTH, OutputSpec
from attention_fusion_ros.ros.result_sink import ResultSink, topic_of
from attention_fusion_ros.stream.new_recording import NewRecording
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.storage.qos import reliable_qos

STATIC_DEPTH = 100  # recordings merge several broadcasters of /tf_static


class OutputBag(ResultSink):
    """The recording of all outputs. Use as a context manager: only what is complete gets the name asked for.

    folder: of the recording; must not exist. made_by: see `NewRecording`. The rest is as for `ResultSink`.

    Raises ConfigurationError when the folder exists, or there is no room for it.
    """

    def __init__(self, folder: Path, base_frame: str, inputs: Recording | None = None, made_by: str = ''):
        super().__init__(base_frame, inputs)
        self._recording = NewRecording(folder, made_by=made_by)
        self._topics: dict[str, Connection] = {}
        self._finished = False

    def __enter__(self) -> OutputBag:
        self._recording.__enter__()
        self._writer = self._recording.writer
        self._open_topics()
        return self

    def finish(self, status: int = 0) -> None:
        """Write what is left; the recording gets its name when the context ends. status: see `NewRecording.finish`.

        Raises ConfigurationError when there is no room.
        """
        if not self._finished:
            self._finished = True
            self._copy_inputs(None)
            self._recording.finish(status)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            try:
                self.finish()
            except BaseException as failure:
                self._recording.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._recording.__exit__(kind, error, trace)

    def _open_output(self, spec: OutputSpec) -> None:
        self._topics[topic_of(spec)] = self._writer.add_connection(
            topic_of(spec), spec.type.replace('/', '/msg/'), typestore=STORE,
            offered_qos_profiles=[reliable_qos(LATCHED_DEPTH if spec.latched else RELIABLE_DEPTH, spec.latched)])

    def _open_input(self, name: str, type_: str, definition: tuple[str, str], static: bool, latched: bool) -> None:
        text, type_hash = definition
        self._topics[name] = self._writer.add_connection(
            name, type_, msgdef=text, rihs01=type_hash,
            offered_qos_profiles=[reliable_qos(STATIC_DEPTH if static else RELIABLE_DEPTH, latched)])

    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._writer.write(self._topics[topic], stamp_ns, data)

