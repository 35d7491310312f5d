# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the node would publish about each sweep as serialised messages, for a recording or a viewer; no ROS needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from attention_fusion_ros.ros.messages import encode
from attention_fusion_ros.ros.messages.classes import serialize
from attention_fusion_ros.ros.messages.encoders import ENCODERS, STAGE_OUTPUTS, Encoder, head_of
from attention_fusion_ros.ros.messages.published_sweep import PublishedSweep
from attention_fusion_ros.ros.outputs import OUTPUTS, OutputSpec
from attention_fusion_ros.stream.recording import RawMessage, Recording, is_static

NODE = '/attention_fusion'  # its name, in the default namespace


def topic_of(spec: OutputSpec) -> str:
    """The absolute name of an output."""
    return spec.name if spec.name.startswith('/') else f'{NODE}/{spec.name}'


class ResultSink(ABC):
    """Takes all outputs and by choice, between them, the messages of the recording that they were made from.

    base_frame: in which results are given. inputs: a recording whose messages are copied, None for the outputs alone.

    failures: output -> why its first failed message could not be made; the others are written all the same. left_out:
    topics of `inputs` that cannot be copied, and why. counts: messages written, by topic.
    """

    def __init__(self, base_frame: str, inputs: Recording | None = None):
        self._base_frame, self._inputs = base_frame, inputs
        self.failures: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._pending: Iterator[RawMessage] = iter(())
        self._next: RawMessage | None = None

    @property
    def count(self) -> int:
        """Messages written."""
        return sum(self.counts.values())

    def write(self, sweep: PublishedSweep, stage_ms: Mapping[str, float], recorded_ns: int) -> None:
        """Write every message about a sweep.

        stage_ms: durations by stage. recorded_ns: when the newest message was recorded that went into the result.
        """
        self._copy_inputs(recorded_ns)
        for spec, encoder in ENCODERS.items():
            self._write(spec.name, topic_of(spec), recorded_ns, partial(self._encode, spec, encoder, sweep))
        for stage, name in STAGE_OUTPUTS.items():
            if stage in stage_ms:
                self._write(name, f'{NODE}/{name}', recorded_ns, partial(encode.milliseconds, stage_ms[stage]))

    @abstractmethod
    def _open_output(self, spec: OutputSpec) -> None:
        """Prepare the topic of an output."""

    @abstractmethod
    def _open_input(self, name: str, type_: str, definition: tuple[str, str], static: bool, latched: bool) -> None:
        """Prepare a topic of the recording. definition: of its type, and its hash (REP-2016)."""

    @abstractmethod
    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Take a message in its CDR bytes."""

    def _wants(self, topic: str) -> bool:
        """Whether a message of this topic is to be made."""
        return True

    def _open_topics(self) -> None:
        """Prepare all topics, and what there is to copy."""
        for spec in OUTPUTS:
            self._open_output(spec)
        if self._inputs is not None:
            self._pending = self._inputs.raw_messages(self._open_inputs(self._inputs))
            self._next = next(self._pending, None)

    def _open_inputs(self, inputs: Recording) -> list[str]:
        """The topics of the recording that are copied."""
        outputs, copied = {topic_of(spec) for spec in OUTPUTS}, []
        for name, info in inputs.topics.items():
            if name in outputs:
                self.left_out[name] = 'the results written here have this name'
                continue
            try:
                definition = inputs.definition(inputs.channels(name)[0])
            except Exception:  # there is no definition, or none that can be read
                self.left_out[name] = f'the recording does not say what {info.type} is'
                continue
            static = is_static(name)
            self._open_input(name, info.type, definition, static, static or inputs.is_latched(name))
            copied.append(name)
        return copied

    def _copy_inputs(self, until_ns: int | None) -> None:
        """Copy what was recorded up to a time, None for the rest."""
        while self._next is not None and (until_ns is None or self._next.stamp_ns <= until_ns):
            if self._next.data:
                self._put(self._next.topic, self._next.stamp_ns, self._next.data)
                self.counts[self._next.topic] += 1
            self._next = next(self._pending, None)

    def _encode(self, spec: OutputSpec, encoder: Encoder, sweep: PublishedSweep) -> Any:
        return encoder(sweep, head_of(spec, sweep, self._base_frame))

    def _write(self, name: str, topic: str, stamp_ns: int, make: Callable[[], Any]) -> None:
        if not self._wants(topic):
            return
        try:
            message = make()
            if message is None:
                return
            data = serialize(message)
        except Exception as error:  # one output must not cost the others, as in the node
            self.failures.setdefault(name, f'{type(error).__name__}: {error}')
            return
        self._put(topic, stamp_ns, data)
        self.counts[topic] += 1
