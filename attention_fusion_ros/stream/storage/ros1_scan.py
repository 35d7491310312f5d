# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads ROS 1 bags without their index, as an interrupted recorder leaves them (.bag.active), record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from attention_fusion_ros.stream.storage.channel import ROS1, Channel, StoredMessage, merged, ros2_type
from attention_fusion_ros.stream.storage.compression import decompress
from attention_fusion_ros.stream.storage.fields import Fields

MESSAGE, CHUNK, CONNECTION = 2, 5, 7  # values of `op`
MAGIC_LENGTH = 13


@dataclass(frozen=True)
class _Record:
    fields: dict[str, bytes]
    start: int  # of its data
    end: int  # as its length says

    @property
    def kind(self) -> int:
        return (self.fields.get('op') or b'\0')[0]

    def number(self, name: str) -> int:
        return int.from_bytes(self.fields.get(name, b''), 'little')

    @property
    def stamp_ns(self) -> int:
        time = self.fields.get('time', bytes(8))
        return int.from_bytes(time[:4], 'little') * 10**9 + int.from_bytes(time[4:8], 'little')


class ScannedRos1File:
    """See `StorageFile`. Everything up to where the file breaks off."""

    def __init__(self, path: Path):
        self.path = path
        self.notes: list[str] = []
        self.losses: list[str] = []
        self._chunks: list[tuple[int, int, int]] = []  # first stamp, start and end of the record
        self._channels: dict[int, Channel] = {}
        self.start_ns, self.end_ns = 2**63 - 1, 0
        counts: Counter[int] = Counter()
        with open(path, 'rb') as file:
            size, position = path.stat().st_size, MAGIC_LENGTH
            while True:
                file.seek(position)
                record = _read_record(file.read(4096), position)
                if record is None or record.end > size:
                    break
                if record.kind == CHUNK:
                    file.seek(record.start)
                    self._pass(record, file.read(record.end - record.start), position, counts)
                position = record.end
        self._channels = {number: replace(channel, count=counts[number]) for number, channel in self._channels.items()}
        self.channels = list(self._channels.values())
        self.losses.append(f'{path.name} has no usable index, as when recording is interrupted; its '
                           f'{sum(counts.values())} messages that are whole are used.')

    def close(self) -> None:
        """Nothing is open between reads."""

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """See `StorageFile`."""
        wanted = {number: channel for number, channel in self._channels.items() if channel.topic in topics}
        yield from merged((first, partial(self._of_chunk, start, end, wanted)) for first, start, end in self._chunks)

    def _pass(self, chunk: _Record, data: bytes, position: int, counts: Counter[int]) -> None:
        content = _content(chunk, data)
        first: int | None = None
        for record in _records(content):
            if record.kind == CONNECTION:
                about = _fields(content[record.start:record.end])
                self._channels[record.number('conn')] = Channel(
                    record.fields.get('topic', b'').decode(errors='replace'),
                    ros2_type(about.get('type', b'').decode(errors='replace')), 0, ROS1,
                    about.get('message_definition', b'').decode(errors='replace'), 'ros1msg',
                    about.get('latching') == b'1')
            elif record.kind == MESSAGE:
                counts[record.number('conn')] += 1
                first = record.stamp_ns if first is None else min(first, record.stamp_ns)
                self.end_ns = max(self.end_ns, record.stamp_ns)
        if first is not None:
            self.start_ns = min(self.start_ns, first)
            self._chunks.append((first, position, chunk.end))

    def _of_chunk(self, start: int, end: int, wanted: dict[int, Channel]) -> Iterator[StoredMessage]:
        with open(self.path, 'rb') as file:
            file.seek(start)
            whole = file.read(end - start)
        chunk = _read_record(whole, 0)
        if chunk is None:
            return iter(())
        content = _content(chunk, whole[chunk.start:chunk.end])
        found = [StoredMessage(record.stamp_ns, wanted[record.number('conn')], content[record.start:record.end])
                 for record in _records(content) if record.kind == MESSAGE and record.number('conn') in wanted]
        return iter(sorted(found, key=lambda message: message.stamp_ns))


def _content(chunk: _Record, data: bytes) -> bytes:
    """The records of a chunk, none where it is damaged."""
    name = chunk.fields.get('compression', b'none').decode(errors='replace')
    try:
        return decompress(data, '' if name == 'none' else name)
    except (ValueError, OSError, EOFError):
        return b''


def _records(content: bytes) -> Iterator[_Record]:
    position = 0
    while position < len(content):
        record = _read_record(content, position, position)
        if record is None or record.end > len(content):
            return
        yield record
        position = record.end


def _read_record(content: bytes, position: int, offset: int = 0) -> _Record | None:
    """The record that begins at `offset` of the content, which is at `position` of the file. None where it is cut."""
    read = Fields(memoryview(content)[offset:])
    try:
        length = read.uint32()
        fields = _fields(bytes(read.take(length)))
        start = position + 4 + length + 4
        return _Record(fields, start, start + read.uint32())
    except (IndexError, ValueError):
        return None


def _fields(header: bytes) -> dict[str, bytes]:
    read, found = Fields(header), {}
    for _ in read.until_end():
        name, _, value = bytes(read.take(read.uint32())).partition(b'=')
        found[name.decode(errors='replace')] = value
    return found
