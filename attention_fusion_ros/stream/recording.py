# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading rosbag2 recordings (mcap or sqlite3) without ROS: which topics are there, and their messages in order.

Works on a recording's folder, on a folder that lost its metadata.yaml, and on single .mcap or .db3 files. Everything
that is wrong with a recording, or with the choice of topics in it, is an `InputError` that names cause and remedy.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import INPUTS, InputSpec, Transport, selectable_inputs

STATIC_TRANSFORMS_TOPIC = '/tf_static'
STORAGE_SUFFIXES = ('.mcap', '.db3')
NONE = 'none'  # as a topic name: leave this input out


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a recording."""

    name: str
    type: str  # for example sensor_msgs/msg/PointCloud2
    count: int  # messages


@dataclass(frozen=True)
class RawMessage:
    """A recorded message, still in its CDR bytes."""

    stamp_ns: int  # when it was recorded
    topic: str
    type: str
    data: bytes


@dataclass(frozen=True)
class InputTopic:
    """A topic of a recording that feeds an input."""

    name: str
    spec: InputSpec
    transport: Transport


class InputTopics:
    """Which topics of a recording feed which inputs.

    `topics['map_image']` is the topic of that input, None where there is none or the user excluded it.
    """

    def __init__(self, chosen: Iterable[InputTopic]):
        self._chosen = {topic.name: topic for topic in chosen}

    def __getitem__(self, input_name: str) -> str | None:
        return next((t.name for t in self._chosen.values() if t.spec.name == input_name), None)

    def topic(self, name: str) -> InputTopic:
        """What the topic of this name feeds. Raises KeyError."""
        return self._chosen[name]

    def names(self) -> list[str]:
        """Every topic that is used."""
        return list(self._chosen)

    def selected(self) -> list[tuple[InputSpec, str | None]]:
        """Each selectable input with its topic, in the order of the table."""
        return [(spec, self[spec.name]) for spec in selectable_inputs()]

    def remappings(self) -> dict[str, str]:
        """{topic as the node names it: topic of the recording}, for running the node on the recording."""
        return {t.transport.private_topic: t.name for t in self._chosen.values() if t.spec.selectable}


class Recording:
    """An open rosbag2 recording. Use as a context manager.

    Raises InputError: `recording_missing`, `recording_unreadable`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        files = _storage(self.path)
        # Imported here: only reading recordings needs it, and it takes a while to import.
        from rosbags.rosbag2 import Reader

        from attention_fusion_ros.stream.typestore import typestore
        self._types = typestore()
        self._stack = ExitStack()
        try:
            self._readers = [self._stack.enter_context(Reader(f)) for f in files]
        except Exception as error:  # the storage plugins raise anything from struct.error to sqlite3.DatabaseError
            self._stack.close()
            raise _unreadable(self.path, error) from error
        self._connections = [c for reader in self._readers for c in reader.connections]
        merged: dict[str, TopicInfo] = {}
        for connection in self._connections:
            before = merged[connection.topic].count if connection.topic in merged else 0
            merged[connection.topic] = TopicInfo(connection.topic, connection.msgtype, before + connection.msgcount)
        self.topics: dict[str, TopicInfo] = dict(sorted(merged.items()))

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the files. May be repeated."""
        self._stack.close()

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        filled = [r for r in self._readers if r.message_count]
        return (max(r.end_time for r in filled) - min(r.start_time for r in filled)) / 1e9 if filled else 0.0

    def count(self, topics: list[str]) -> int:
        """How many messages these topics hold together."""
        return sum(self.topics[t].count for t in topics)

    def is_latched(self, topic: str) -> bool:
        """Whether the topic was recorded from a publisher that keeps its messages for late subscribers."""
        profiles = [q for c in self._connections if c.topic == topic
                    for q in getattr(c.ext, 'offered_qos_profiles', [])]
        return any(q.durability.name == 'TRANSIENT_LOCAL' for q in profiles)

    def raw_messages(self, topics: list[str]) -> Iterator[RawMessage]:
        """Messages of these topics in recorded order, undecoded.

        Raises InputError `recording_unreadable` when the file breaks off.
        """
        wanted = set(topics)
        parts = []
        for reader in self._readers:
            connections = [c for c in reader.connections if c.topic in wanted]
            if connections:  # an empty list would mean 'everything' to the reader
                parts.append(reader.messages(connections=connections))
        messages = parts[0] if len(parts) == 1 else heapq.merge(*parts, key=lambda m: m[1])
        while True:
            try:
                connection, stamp_ns, data = next(messages)
            except StopIteration:
                return
            except Exception as error:
                raise _unreadable(self.path, error) from error
            yield RawMessage(stamp_ns, connection.topic, connection.msgtype, data)

    def decode(self, raw: RawMessage) -> Any:
        """The message object of the CDR bytes (fields as in ROS; byte arrays as numpy arrays).

        Raises InputError `undecodable_message`.
        """
        try:
            return self._types.deserialize_cdr(raw.data, raw.type)
        except Exception as error:  # damaged CDR shows as AssertionError, struct.error, ValueError, ...
            raise InputError('undecodable_message', f'A {raw.type} of {raw.topic} cannot be decoded: {error!r}.',
                             'Record again, or cut the damaged part out of the recording.') from error

    def input_topics(self, **wanted: str) -> InputTopics:
        """Choose the topics by type; a name given (`map_image='/map'`) takes precedence, `none` leaves an input out.

        Raises InputError: `topic_missing` (no such topic, or none of the type), `topic_ambiguous` (several of the
        type), `topic_type` (the named topic is of another type). Raises TypeError for an input that does not exist.
        """
        unknown = set(wanted) - {spec.name for spec in selectable_inputs()}
        if unknown:
            raise TypeError(f'no such input: {", ".join(sorted(unknown))}')
        chosen: list[InputTopic] = []
        # What was asked for first: a topic that is wrong for its input is not missing for another one.
        named = {spec.name: self._find(spec, wanted[spec.name], set()) for spec in selectable_inputs()
                 if wanted.get(spec.name)}
        taken = {name for name in named.values() if name is not None}
        for spec in INPUTS:
            if spec.selectable:
                name = named[spec.name] if spec.name in named else self._find(
                    spec, '', taken | {topic.name for topic in chosen})
                if name is not None:
                    chosen.append(InputTopic(name, spec, spec.transport_of(self.topics[name].type)))
            else:
                chosen += [InputTopic(t.name, spec, _transport(spec, t.name)) for t in self.topics.values()
                           if t.type in spec.types]
        return InputTopics(chosen)

    def _find(self, spec: InputSpec, wanted: str, taken: set[str]) -> str | None:
        """The topic of one input. taken: topics that are those of other inputs unless they are asked for."""
        option, types = spec.option, spec.types
        kind = ' or '.join(types)
        if wanted == NONE and not spec.required:
            return None
        if wanted:
            name = _absolute(wanted)
            if name not in self.topics:
                raise InputError('topic_missing', f"The recording has no topic '{wanted}'.",
                                 f'Give {option} one of: {self._listing(types) or self._listing()}.')
            if self.topics[name].type not in types:
                raise InputError('topic_type', f"'{name}' holds {self.topics[name].type}, not {kind}.",
                                 f'Give {option} one of: {self._listing(types) or "(none of this type)"}.')
            return name
        found = [t for t in self.topics.values() if t.type in types and t.count > 0 and t.name not in taken]
        found = _first_transports(found, types)
        if len(found) > 1:
            refusal = '' if spec.required else f', or {option} none'
            raise InputError('topic_ambiguous', f'{len(found)} topics hold {kind}.',
                             f'Choose with {option}: {self._listing(types)}{refusal}.')
        if not found and spec.required:
            raise InputError('topic_missing', f'No topic of the recording holds {kind}.',
                             f'Record one; this recording has: {self._listing() or "no topics at all"}.')
        return found[0].name if found else None

    def _listing(self, types: tuple[str, ...] = ()) -> str:
        return ', '.join(f'{t.name} ({t.count} messages)' for t in self.topics.values() if not types or t.type in types)


def header_stamp_ns(message: Any) -> int:
    """`message.header.stamp` in nanoseconds."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _absolute(topic: str) -> str:
    return topic if topic.startswith('/') else f'/{topic}'


def _first_transports(topics: list[TopicInfo], types: tuple[str, ...]) -> list[TopicInfo]:
    """Without topics that hold the messages of another one in another transport: `/points/zstd` beside `/points`."""
    first = {topic.name for topic in topics if topic.type == types[0]}
    return [t for t in topics if t.type == types[0] or t.name.rpartition('/')[0] not in first]


def _transport(spec: InputSpec, topic: str) -> Transport:
    """The transport of an input whose topics all count: that of the same name, else the one of moving transforms."""
    return next((t for t in spec.transports if t.topic == topic), spec.transports[-1])


def _storage(path: Path) -> list[Path]:
    """What to open: the folder when it has its metadata, else its storage files."""
    if not path.exists():
        raise InputError('recording_missing', f'There is no recording at {path}.',
                         "Give the folder written by 'ros2 bag record', or its .mcap or .db3 file.")
    if path.is_file():
        if path.suffix not in STORAGE_SUFFIXES:
            raise InputError('recording_unreadable', f'{path} is not a rosbag2 recording.',
                             "Give the folder written by 'ros2 bag record', or its .mcap or .db3 file.")
        return [path]
    if (path / 'metadata.yaml').exists():
        return [path]
    files = sorted(f for f in path.iterdir() if f.suffix in STORAGE_SUFFIXES)
    if not files:
        raise InputError('recording_unreadable', f'{path} holds neither metadata.yaml nor .mcap or .db3 files.',
                         "Give the folder written by 'ros2 bag record', or its .mcap or .db3 file.")
    return files


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError('recording_unreadable', f"{path} cannot be read: {str(error).rstrip('.')}.",
                      "Repair it with 'ros2 bag reindex' or 'mcap recover', or record again.")
