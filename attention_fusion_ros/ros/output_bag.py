# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes what the node would publish about each sweep as a recording (mcap), with and without ROS."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

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
from attention_fusion_ros.ros.messages import encode
from attention_fusion_ros.ros.messages.classes import serialize
from attention_fusion_ros.ros.messages.encoders import ENCODERS, STAGE_OUTPUTS, Encoder, head_of
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.outputs import LATCHED_DEPTH, OUTPUTS, RELIABLE_DEPTH, OutputSpec
from attention_fusion_ros.stream.recording import RawMessage, Recording, is_static

NODE = '/attention_fusion'  # its name, in the default namespace
METADATA_VERSION: Literal[8, 9] = 8  # the newest that every distribution since Humble reads with its QoS profiles
STATIC_DEPTH = 100  # recordings merge several broadcasters of /tf_static


def qos(depth: int, latched: bool) -> Qos:
    """A reliable profile, as it is offered."""
    zero = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE, zero, zero,
               QosLiveliness.AUTOMATIC, zero, False)


def topic_of(spec: OutputSpec) -> str:
    """The absolute name of an output."""
    return spec.name if spec.name.startswith('/') else f'{NODE}/{spec.name}'


class OutputBag:
    """The recording of all outputs. Use as a context manager: only what is complete gets the name asked for.

    folder: of the recording; must not exist. base_frame: in which results are given. inputs: a recording whose messages
    are copied between them, None for the outputs alone.

    failures: output -> why its first failed message could not be made; the others are written all the same. left_out:
    topics of `inputs` that cannot be copied, and why. counts: messages written, by topic.

    Raises ConfigurationError when the folder exists.
    """

    def __init__(self, folder: Path, base_frame: str, inputs: Recording | None = None):
        if folder.exists():
            raise ConfigurationError(f"'{folder}' exists already; a recording is written to a new folder")
        self._folder, self._base_frame, self._inputs = folder, base_frame, inputs
        self.failures: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._topics: dict[str, Connection] = {}
        self._pending: Iterator[RawMessage] = iter(())
        self._next: RawMessage | None = None

    @property
    def count(self) -> int:
        """Messages written."""
        return sum(self.counts.values())

    def __enter__(self) -> OutputBag:
        parent = self._folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        # Beside the place it goes to, so that it can be moved there in one step.
        self._work = Path(tempfile.mkdtemp(prefix=f'.{self._folder.name}.', suffix='.partial', dir=parent))
        self._writer = Writer(self._work / self._folder.name, version=METADATA_VERSION,
                              storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        for spec in OUTPUTS:
            self._topics[topic_of(spec)] = self._writer.add_connection(
                topic_of(spec), spec.type.replace('/', '/msg/'), typestore=STORE,
                offered_qos_profiles=[qos(LATCHED_DEPTH if spec.latched else RELIABLE_DEPTH, spec.latched)])
        if self._inputs is not None:
            self._pending = self._inputs.raw_messages(self._add_inputs(self._inputs))
            self._next = next(self._pending, None)
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
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def write(self, sweep: PublishedSweep, stage_ms: Mapping[str, float], recorded_ns: int) -> None:
        """Write every message about a sweep.

        stage_ms: durations by stage. recorded_ns: when the newest message was recorded that went into the result.
        """
        self._copy_inputs(recorded_ns)
        for spec, encoder in ENCODERS.items():
            self._write(spec.name, topic_of(spec), recorded_ns,
                        partial(self._encode, spec, encoder, sweep))
        for stage, name in STAGE_OUTPUTS.items():
            if stage in stage_ms:
                self._write(name, f'{NODE}/{name}', recorded_ns, partial(encode.milliseconds, stage_ms[stage]))

    def _encode(self, spec: OutputSpec, encoder: Encoder, sweep: PublishedSweep) -> Any:
        return encoder(sweep, head_of(spec, sweep, self._base_frame))

    def _write(self, name: str, topic: str, stamp_ns: int, make: Callable[[], Any]) -> None:
        try:
            message = make()
            if message is None:
                return
            data = serialize(message)
        except Exception as error:  # one output must not cost the others, as in the node
            self.failures.setdefault(name, f'{type(error).__name__}: {error}')
            return
        self._put(topic, stamp_ns, data)

    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._writer.write(self._topics[topic], stamp_ns, data)
        self.counts[topic] += 1

    def _add_inputs(self, inputs: Recording) -> list[str]:
        """The topics of the recording that are copied."""
        copied = []
        for name, info in inputs.topics.items():
            if name in self._topics:
                self.left_out[name] = 'the results written here have this name'
                continue
            try:
                definition, type_hash = inputs.definition(inputs.channels(name)[0])
            except Exception:  # there is no definition, or none that can be read
                self.left_out[name] = f'the recording does not say what {info.type} is'
                continue
            static = is_static(name)
            self._topics[name] = self._writer.add_connection(
                name, info.type, msgdef=definition, rihs01=type_hash, offered_qos_profiles=[
                    qos(STATIC_DEPTH if static else RELIABLE_DEPTH, static or inputs.is_latched(name))])
            copied.append(name)
        return copied

    def _copy_inputs(self, until_ns: int | None) -> None:
        """Copy what was recorded up to a time, None for the rest."""
        while self._next is not None and (until_ns is None or self._next.stamp_ns <= until_ns):
            if self._next.data:
                self._put(self._next.topic, self._next.stamp_ns, self._next.data)
            self._next = next(self._pending, None)
