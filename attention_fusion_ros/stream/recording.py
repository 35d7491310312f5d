# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading recordings (mcap, sqlite3, ROS 1 bags) without ROS: which topics are there, and their messages in order.

Works on a recording's folder, with or without metadata.yaml, and on single files; what the files hold counts, whatever
is said about them elsewhere. What can be read is read, and what is missing is in `Recording.losses`. Where nothing can
be read, or the choice of topics is wrong, there is an `InputError` that names cause and remedy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attention_fusion_ros.config import NodeConfig, flatten, from_flat
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.camera import camera_sign
from attention_fusion_ros.stream.input_topics import InputTopic, InputTopics, LeftOut
from attention_fusion_ros.stream.inputs import INPUTS, SWEEPS, InputSpec, Transport, cloud_inputs, selectable_inputs
from attention_fusion_ros.stream.recording_hints import NAME as HINTS_NAME
from attention_fusion_ros.stream.recording_hints import read_hints
from attention_fusion_ros.stream.storage.channel import CDR, ROS1, Channel, StoredMessage, merged
from attention_fusion_ros.stream.storage.files import SUFFIXES as STORAGE_SUFFIXES
from attention_fusion_ros.stream.storage.files import OpenFiles
from attention_fusion_ros.stream.storage.files import is_storage as is_storage
from attention_fusion_ros.stream.storage.qos import latched_qos, qos_of
from attention_fusion_ros.stream.storage.types import MessageTypes
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE

if TYPE_CHECKING:
    from rosbags.interfaces import Qos

__all__ = ['NONE', 'STATIC_TRANSFORMS_TOPIC', 'STORAGE_SUFFIXES', 'InputTopic', 'InputTopics', 'RawMessage',
           'Recording', 'TopicInfo', 'header_stamp_ns', 'is_static', 'is_storage']
STATIC_TRANSFORMS_TOPIC = '/tf_static'
GRID, GRID_SIGN = 'nav_msgs/msg/OccupancyGrid', 'an occupancy grid, whose free space is road only by your word'
RESULTS_TOPIC = '/branches/scored'
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
    channel: Channel | None = field(default=None, repr=False)  # with the definition that was recorded, if there is one


class Recording:
    """An open recording. Use as a context manager.

    notes: what was left out, mended, or is said differently elsewhere, a sentence each. losses: what cannot be read;
    grows while messages are read. hints: what a replay.yaml beside it says of its topics and parameters.

    Raises InputError: `recording_missing`, `recording_unreadable`.
    """

    def __init__(self, path: str | Path):
        self._opened = OpenFiles(Path(path))
        self.path = self._opened.path
        self.notes = list(self._opened.notes)
        self.hints = read_hints(self.path)
        if self.hints.problem:
            self.notes.append(f'{HINTS_NAME} is not used: {self.hints.problem}.')
        self._numbers: list[str] = []  # of messages, where they show a loss
        self._types = MessageTypes()
        self._files = self._opened.files
        for file in self._files:
            self.notes += file.notes
        by_topic: dict[str, Counter[str]] = {}
        for channel in (self._typed(c) for file in self._files for c in file.channels):
            by_topic.setdefault(channel.topic, Counter())[channel.type] += channel.count
        # Of a topic with several types that of most messages; messages of the others are refused by name.
        self.topics: dict[str, TopicInfo] = {
            name: TopicInfo(name, types.most_common(1)[0][0], sum(types.values()))
            for name, types in sorted(by_topic.items()) if any(types)}
        untyped = sorted(set(by_topic) - set(self.topics))
        if untyped:
            self.notes.append(f'left out, for the recording does not say their type: {", ".join(untyped)}.')
        self._compare_with_metadata()
        self.position_ns: int | None = None  # when the newest message was recorded that has been read

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the files. May be repeated."""
        self._opened.close()

    @property
    def losses(self) -> list[str]:
        """What cannot be read, a sentence each."""
        return [*self._opened.losses, *(loss for file in self._files for loss in file.losses), *self._numbers]

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        filled = [file for file in self._files if file.end_ns >= file.start_ns]
        return (max(f.end_ns for f in filled) - min(f.start_ns for f in filled)) / 1e9 if filled else 0.0

    @property
    def storage(self) -> str:
        """mcap or sqlite3: what most of its files are; mcap for ROS 1 bags."""
        sqlite = sum(file.path.suffix == '.db3' or '.db3.' in file.path.name for file in self._files)
        return 'sqlite3' if 2 * sqlite > len(self._files) else 'mcap'

    @property
    def is_ros1(self) -> bool:
        """Whether it holds messages as ROS 1 sends them."""
        return any(channel.serialization == ROS1 for file in self._files for channel in file.channels)

    def count(self, topics: list[str]) -> int:
        """How many messages these topics hold together."""
        return sum(self.topics[t].count for t in topics)

    def channels(self, topic: str) -> list[Channel]:
        """Where a topic is found in the files, with types and definitions."""
        return [self._typed(c) for file in self._files for c in file.channels if c.topic == topic]

    def is_latched(self, topic: str) -> bool:
        """Whether the topic was recorded from a publisher that keeps its messages for late subscribers.

        What metadata.yaml says comes first, as for rosbag2: it is where users change it.
        """
        metadata = self._opened.metadata
        if topic in metadata.profiles:
            return topic in metadata.latched
        return any(channel.latched for channel in self.channels(topic))

    def offered_qos(self, topic: str) -> list[Qos]:
        """The profiles that the topic was recorded with; [] where they are not known. As for `is_latched`."""
        channels = self.channels(topic)
        profiles = self._opened.metadata.profiles.get(topic) or next((c.profiles for c in channels if c.profiles), '')
        if not profiles and any(c.serialization != CDR and c.latched for c in channels):
            return [latched_qos()]
        return qos_of(profiles)

    def is_ros2_type(self, topic: str) -> bool:
        """Whether messages of a topic are what ROS 2 sends: of ROS 1 bags those whose type has the same fields."""
        return all(channel.serialization == CDR or self._types.is_standard(channel)
                   for channel in self.channels(topic))

    def raw_messages(self, topics: list[str]) -> Iterator[RawMessage]:
        """Messages of these topics in recorded order, undecoded.

        What cannot be read is left out and is in `losses` afterwards.
        """
        wanted = set(topics)
        parts = [(file.start_ns, partial(file.messages, wanted)) for file in self._files
                 if any(c.topic in wanted for c in file.channels)]
        read: Counter[str] = Counter()
        for stored in merged(parts):
            read[stored.channel.topic] += 1
            self.position_ns = stored.stamp_ns
            yield self._raw(stored)
        missing = {name: (read[name], self.topics[name].count) for name in sorted(wanted & set(self.topics))
                   if read[name] != self.topics[name].count}
        if missing and not self.losses:  # else the cause is known
            self._numbers.append('The files hold other numbers of messages than their index says: ' + ', '.join(
                f'{name} {count} instead of {said}' for name, (count, said) in missing.items()) + '.')

    def decode(self, raw: RawMessage) -> Any:
        """The message object of the CDR bytes (fields as in ROS; byte arrays as numpy arrays).

        Raises InputError `undecodable_message`.
        """
        channel = raw.channel or Channel(raw.topic, raw.type, 0)
        try:
            return self._types.decode(raw.data, channel)
        except Exception as error:  # damaged CDR shows as AssertionError, struct.error, ValueError, ...
            raise InputError('undecodable_message', f'A {raw.type} of {raw.topic} cannot be decoded: {error!r}.',
                             'if there are many, compare the message package of its sender with that of ROS 2; the '
                             'other messages are used.') from error

    def definition(self, channel: Channel) -> tuple[str, str]:
        """Definition and hash (REP-2016) of a channel's type, for writing it. Raises KeyError where there is none."""
        return self._types.definition(channel)

    def _raw(self, stored: StoredMessage) -> RawMessage:
        channel, data = self._typed(stored.channel), stored.data
        if channel.serialization != CDR:
            try:
                data, channel = self._types.as_cdr(data, channel), replace(channel, serialization=CDR)
            except Exception:  # as in `decode`, which names it
                data = b''
        return RawMessage(stored.stamp_ns, channel.topic, channel.type, data, channel)

    def _typed(self, channel: Channel) -> Channel:
        """A channel whose type only metadata.yaml names, as of mcap files without schemas, gets it from there."""
        return channel if channel.type else replace(channel, type=self._opened.metadata.types.get(channel.topic, ''))

    def _compare_with_metadata(self) -> None:
        """Say where metadata.yaml counts other messages than the files hold; what is lost is told with that."""
        metadata = self._opened.metadata
        held = {name: info.count for name, info in self.topics.items()}
        different = {name: (held.get(name, 0), said) for name, said in metadata.counts.items()
                     if held.get(name, 0) != said}
        if not different:
            return
        numbers = ', '.join(f'{name} {there} of {said}' for name, (there, said) in sorted(different.items()))
        if self.losses:
            self._numbers.append(f'Messages that are there, of those that metadata.yaml announces: {numbers}.')
        else:
            self.notes.append(f'metadata.yaml announces other numbers of messages than the files hold, which are used: '
                              f'{numbers}.')

    def input_topics(self, **wanted: str) -> InputTopics:
        """Choose the topics by type; a name given (`map_image='/map'`) takes precedence, then one that a replay.yaml
        beside the recording names; `none` leaves an input out.

        A map image is never chosen among topics that look like a camera's; see `InputTopics.left_out`.
        Raises InputError: `topic_missing` (no such topic, or none of the type), `topic_ambiguous` (several of the
        type), `topic_type` (the named topic is of another type), `topic_taken` (by another input). Raises TypeError for
        an input that does not exist.
        """
        unknown = set(wanted) - {spec.name for spec in selectable_inputs()}
        if unknown:
            raise TypeError(f'no such input: {", ".join(sorted(unknown))}')
        hinted = {spec.name: self.hints.topics[spec.name] for spec in selectable_inputs()
                  if self.hints.topics.get(spec.name) in {*self.topics, NONE}}
        wanted = {**hinted, **{name: topic for name, topic in wanted.items() if topic}}
        chosen: list[InputTopic] = []
        left_out: dict[str, LeftOut] = {}
        # What was asked for first: a topic that is wrong for its input is not missing for another one.
        named = {spec.name: self._find(spec, wanted[spec.name], {}) for spec in selectable_inputs()
                 if wanted.get(spec.name)}
        taken = {**dict.fromkeys(_results(self.topics), ''), **_by_topic(named)}
        for spec in INPUTS:
            if spec.selectable:
                if spec.name in named:
                    name = named[spec.name]
                else:
                    others = {} if spec.name != MAP_IMAGE else self._no_maps(spec)
                    name = self._find(spec, '', {
                        **dict.fromkeys(others, ''), **taken, **{topic.name: topic.spec.option for topic in chosen}})
                    if others and name is None:
                        left_out[spec.name] = _left_out(spec, others)
                if name is not None:
                    chosen.append(InputTopic(name, spec, spec.transport_of(self.topics[name].type)))
            else:
                names = [t.name for t in self.topics.values() if t.type in spec.types]
                sweeps = next((topic.name for topic in chosen if topic.spec.name == SWEEPS), '')
                chosen += [InputTopic(name, spec, _transport(spec, name)) for name in _in_namespace_of(names, sweeps)]
        return InputTopics(chosen, left_out)

    def configured(self, config: NodeConfig, topics: InputTopics) -> NodeConfig:
        """A configuration with `parameters`, as far as it has the defaults there: what was chosen otherwise counts."""
        own = {name: value for name, value in self.parameters(topics).items()
               if flatten(asdict(config))[name] == flatten(asdict(type(config)()))[name]}
        found: NodeConfig = from_flat({**flatten(asdict(config)), **own})
        return found if own else config

    def find_topic(self, spec: InputSpec, wanted: str = '') -> str | None:
        """The topic of one input that needs not be in the table; wanted: as for `input_topics`. Raises as that does."""
        return self._find(spec, wanted, dict.fromkeys(_results(self.topics), ''))

    def _no_maps(self, spec: InputSpec) -> dict[str, str]:
        """{topic: why} of the topics that are of the map image's type, but no map as far as can be told."""
        types = {t.name: t.type for t in self.topics.values()}
        found = {}
        for topic in self.topics.values():
            if topic.type == GRID:
                found[topic.name] = GRID_SIGN
            elif topic.type in spec.types and topic.count:
                if sign := camera_sign(topic.name, self._first_frame(topic.name), types):
                    found[topic.name] = sign
        return found

    def _first_frame(self, topic: str) -> str:
        """The frame of the first message of a topic, '' where it cannot be read."""
        try:
            raw = next(self.raw_messages([topic]), None)
            return '' if raw is None else str(self.decode(raw).header.frame_id)
        except (InputError, AttributeError):
            return ''

    def parameters(self, topics: InputTopics) -> dict[str, Any]:
        """Parameters of the node that belong to the map image chosen, by dotted name; {} where none are known."""
        known = self.hints.topics.get(MAP_IMAGE)
        return dict(self.hints.parameters) if known is not None and known == topics[MAP_IMAGE] else {}

    def further_clouds(self, topics: InputTopics) -> list[TopicInfo]:
        """The topics with clouds that are not used: further LiDARs, or what was made of the clouds that are."""
        used = {*topics.names(), *_results(self.topics)}
        types = {name for spec in cloud_inputs() for name in spec.types}
        return [topic for topic in self.topics.values() if topic.type in types and topic.count
                and not any(topic.name == name or topic.name.startswith(f'{name}/') for name in used)]

    def _find(self, spec: InputSpec, wanted: str, taken: Mapping[str, str]) -> str | None:
        """The topic of one input.

        taken: topics that are left alone unless they are asked for, and the option of the input that has each, '' for
        none.
        """
        option, types = spec.option, spec.types
        kind = ' or '.join(types)
        if wanted == NONE and not spec.required or spec.only_when_named and not wanted:
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
            more = next((f' To use several, name the others with {other.option}, ...' for other in selectable_inputs()
                         if other.only_when_named and other.types == types), '')
            raise InputError('topic_ambiguous', f'{len(found)} topics hold {kind}.',
                             f'Choose with {option}: {self._listing(types)}{refusal}.{more}')
        if not found and spec.required:
            results = _results(self.topics)
            for topic in self.topics.values():
                if topic.type in types and taken.get(topic.name):
                    raise InputError(
                        'topic_taken', f"No topic is left for the {spec.label}: {taken[topic.name]} has taken "
                        f"'{topic.name}'.", f'give {option} {topic.name}, and {taken[topic.name]} only for a further '
                        f'topic; this recording has: {self._listing(types)}.')
            counts = [t.count for t in self.topics.values() if t.type in types and t.name not in results]
            if results and not counts:
                raise InputError('topic_missing', 'The recording holds results of the node, but no point clouds that '
                                 'were put into it.', 'give the recording that they were made of, or write both to one '
                                 'with replay --bag DIR --with-inputs.')
            if self.losses and not any(counts):
                raise InputError('topic_missing', f'No topic that can be read holds {kind}. ' + ' '.join(self.losses),
                                 'get the file again from where it was recorded, or use another one; this recording '
                                 f'has: {self._listing() or "no topics at all"}.')
            if counts and not any(counts):
                raise InputError('topic_missing', f'{kind} was recorded, but no message came: {self._listing(types)}.',
                                 'check that the driver ran, and its name and QoS in the recording.')
            raise InputError('topic_missing', f'No topic of the recording holds {kind}.'
                             + ''.join(f' {note}' for note in self.notes),
                             f'Record one; this recording has: {self._listing() or "no topics at all"}.')
        return found[0].name if found else None

    def _listing(self, types: tuple[str, ...] = ()) -> str:
        return ', '.join(f'{t.name} ({t.count} messages)' for t in self.topics.values() if not types or t.type in types)


def _by_topic(named: Mapping[str, str | None]) -> dict[str, str]:
    """{topic: option} of {input name: topic}. Raises InputError `topic_taken` where two inputs have one topic."""
    found: dict[str, str] = {}
    for spec in selectable_inputs():
        topic = named.get(spec.name)
        if topic is not None and found.setdefault(topic, spec.option) != spec.option:
            raise InputError('topic_taken', f"'{topic}' is to be the topic of two inputs, {found[topic]} and "
                             f'{spec.option}.', 'give each a topic of its own, and leave out the option of an input '
                             'that there is not.')
    return found


def _left_out(spec: InputSpec, topics: Mapping[str, str]) -> LeftOut:
    listed = ', '.join(f'{name} ({why})' for name, why in topics.items())
    cameras = any(sign != GRID_SIGN for sign in topics.values())
    return LeftOut('camera_image' if cameras else 'no_map',
                   f'No topic was taken for the {spec.label}: {listed}. Remedy: if one is a map, give {spec.option} '
                   f'TOPIC; {spec.option} none leaves it out.')


def header_stamp_ns(message: Any) -> int:
    """`message.header.stamp` in nanoseconds."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _absolute(topic: str) -> str:
    return topic if topic.startswith('/') else f'/{topic}'


def _first_transports(topics: list[TopicInfo], types: tuple[str, ...]) -> list[TopicInfo]:
    """Without topics that hold the messages of another one in another transport: `/points/zstd` beside `/points`."""
    first = {topic.name for topic in topics if topic.type == types[0]}
    return [t for t in topics if t.type == types[0] or t.name.rpartition('/')[0] not in first]


def _results(topics: Iterable[str]) -> set[str]:
    """Topics of fusion nodes, as `replay --bag` and `ros2 bag record --all` write them: results, no inputs.

    A node is known by a topic that only it has. What is remapped to its inputs is below it as well.
    """
    nodes = [name.removesuffix(RESULTS_TOPIC) for name in topics if name.endswith(RESULTS_TOPIC)]
    return {name for name in topics for node in nodes
            if name.startswith(f'{node}/') and not name.startswith(f'{node}/input/')}


def is_static(topic: str) -> bool:
    """Whether a topic of transforms holds static ones: /tf_static, also in a namespace."""
    return topic.rpartition('/')[2] == STATIC_TRANSFORMS_TOPIC[1:]


def _transport(spec: InputSpec, topic: str) -> Transport:
    """The transport of an input whose topics all count, by the last part of the name: they may be in a namespace."""
    last = topic.rpartition('/')[2]
    return next((t for t in spec.transports if t.topic.rpartition('/')[2] == last), spec.transports[-1])


def _in_namespace_of(topics: list[str], sweeps: str) -> list[str]:
    """Transforms in the namespaces of the sweeps; all where there are none: of two robots only one is meant."""
    own = [t for t in topics if sweeps.startswith(t.rpartition('/')[0] + '/')]
    return own if any(t.rpartition('/')[0] for t in own) else topics
