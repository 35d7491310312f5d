# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes what the node would publish about each sweep as a recording (mcap), with and without ROS."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.outputs import LATCHED_DEPTH, RELIABLE_DEPTH, OutputSpec
from attention_fusion_ros.ros.result_sink import ResultSink, topic_of
from attention_fusion_ros.stream.recording import Recording

METADATA_VERSION: Literal[8, 9] = 8  # the newest that every distribution since Humble reads with its QoS profiles
STATIC_DEPTH = 100  # recordings merge several broadcasters of /tf_static


def qos(depth: int, latched: bool) -> Qos:
    """A reliable profile, as it is offered."""
    zero = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE, zero, zero,
               QosLiveliness.AUTOMATIC, zero, False)


class OutputBag(ResultSink):
    """The recording of all outputs. Use as a context manager: only what is complete gets the name asked for.

    folder: of the recording; must not exist. The rest is as for `ResultSink`.

    Raises ConfigurationError when the folder exists, or there is no room for it.
    """

    def __init__(self, folder: Path, base_frame: str, inputs: Recording | None = None):
        super().__init__(base_frame, inputs)
        if folder.exists():
            raise ConfigurationError(f"'{folder}' exists already. Remedy: give a new folder, or remove that one.")
        self._folder = folder
        self._topics: dict[str, Connection] = {}

    def __enter__(self) -> OutputBag:
        parent = self._folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        # Beside the place it goes to, so that it can be moved there in one step.
        self._work = Path(tempfile.mkdtemp(prefix=f'.{self._folder.name}.', suffix='.partial', dir=parent))
        self._writer = Writer(self._work / self._folder.name, version=METADATA_VERSION,
                              storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._open_topics()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._copy_inputs(None)
                self._writer.close()
                os.rename(self._work / self._folder.name, self._folder)
            else:
                self._writer.abort()
        except OSError as failure:
            error = error or failure
            if not _is_full(error):
                raise
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        if isinstance(error, OSError) and _is_full(error):
            raise ConfigurationError(f"'{self._folder}' cannot be written: {error.strerror}. Remedy: make room there, "
                                     'or give another folder.') from error

    def _open_output(self, spec: OutputSpec) -> None:
        self._topics[topic_of(spec)] = self._writer.add_connection(
            topic_of(spec), spec.type.replace('/', '/msg/'), typestore=STORE,
            offered_qos_profiles=[qos(LATCHED_DEPTH if spec.latched else RELIABLE_DEPTH, spec.latched)])

    def _open_input(self, name: str, type_: str, definition: tuple[str, str], static: bool, latched: bool) -> None:
        text, type_hash = definition
        self._topics[name] = self._writer.add_connection(
            name, type_, msgdef=text, rihs01=type_hash,
            offered_qos_profiles=[qos(STATIC_DEPTH if static else RELIABLE_DEPTH, latched)])

    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._writer.write(self._topics[topic], stamp_ns, data)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
