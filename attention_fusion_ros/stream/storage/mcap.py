# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads mcap files (https://mcap.dev/spec), of every profile, with or without summary, and those that break off.

With a good summary only the chunks asked for are read. Otherwise all records are passed once when the file is opened.
"""

from __future__ import annotations

from binascii import crc32
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from attention_fusion_ros.stream.storage.channel import (
    CDR,
    ROS1,
    Channel,
    StorageError,
    StoredMessage,
    is_latched,
    merged,
    ros2_type,
)
from attention_fusion_ros.stream.storage.compression import (
    MAX_BYTES,
    decompress,
    decompress_beginning,
    decompress_message,
)
from attention_fusion_ros.stream.storage.fields import Fields

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = 1, 2, 3, 4, 5, 6, 8, 11, 15
RECORD_HEAD = 9  # bytes: kind and length
CHUNK_HEAD = 40  # of a chunk record without the name of its compression and its records
MESSAGE_HEAD = 22  # bytes of a message record before the message itself
FOOTER_BYTES = RECORD_HEAD + 20 + len(MAGIC)


@dataclass(frozen=True)
class _Schema:
    name: str
    encoding: str
    text: str


@dataclass(frozen=True)
class _ChannelRecord:
    schema: int
    topic: str
    encoding: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class _Chunk:
    offset: int  # of the record's content
    length: int  # of that, as far as it is there
    start_ns: int
    channels: frozenset[int] | None = None  # None: unknown
    whole: bool = True


@dataclass
class _Index:
    """What is known about a file without its messages."""

    schemas: dict[int, _Schema] = field(default_factory=dict)
    channels: dict[int, _ChannelRecord] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    chunks: list[_Chunk] = field(default_factory=list)
    loose: list[tuple[int, int, int]] = field(default_factory=list)  # log time, offset, length: not in a chunk
    start_ns: int = 2**63 - 1
    end_ns: int = 0

    def record(self, kind: int, content: bytes) -> None:
        """Take in a schema, a channel, or the channel and time of a message."""
        read = Fields(content)
        if kind == SCHEMA:
            number = read.uint16()
            self.schemas[number] = _Schema(read.text(), read.text(), read.text())
        elif kind == CHANNEL:
            number = read.uint16()
            self.channels[number] = _ChannelRecord(read.uint16(), read.text(), read.text(), read.texts())
        elif kind == MESSAGE:
            number, _, stamp_ns = read.uint16(), read.uint32(), read.uint64()
            if len(content) < MESSAGE_HEAD:
                raise IndexError('a message without its head')
            self.counts[number] += 1
            self.start_ns, self.end_ns = min(self.start_ns, stamp_ns), max(self.end_ns, stamp_ns)


class McapFile:
    """See `StorageFile`. Raises StorageError for a file that is no mcap file or ends within its header."""

    def __init__(self, path: Path):
        self.path = path
        self.notes: list[str] = []
        self.losses: list[str] = []
        self._file: BinaryIO = open(path, 'rb')
        try:
            self._size = path.stat().st_size
            self._index = self._from_summary() or self._from_records()
        except BaseException:
            self._file.close()
            raise
        self._readable: dict[int, Channel] = {}
        other: Counter[str] = Counter()
        for number, record in self._index.channels.items():
            schema = self._index.schemas.get(record.schema, _Schema('', '', ''))
            if record.encoding in (CDR, ROS1):
                self._readable[number] = Channel(
                    record.topic, ros2_type(schema.name), self._index.counts[number], record.encoding, schema.text,
                    schema.encoding, is_latched(record.metadata.get('offered_qos_profiles')),
                    record.metadata.get('offered_qos_profiles', ''))
            else:
                other[f"{record.topic} ({record.encoding or 'no encoding'})"] += self._index.counts[number]
        if other:
            self.notes.append(f'{path.name}: left out, for they are not of ROS: {", ".join(sorted(other))}.')
        self.channels = list(self._readable.values())
        filled = any(self._index.counts.values())
        self.start_ns, self.end_ns = (self._index.start_ns, self._index.end_ns) if filled else (2**63 - 1, 0)

    def close(self) -> None:
        """Free the file."""
        self._file.close()

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """See `StorageFile`."""
        wanted = {number: channel for number, channel in self._readable.items() if channel.topic in topics}
        chunks = [chunk for chunk in self._index.chunks
                  if chunk.channels is None or not chunk.channels.isdisjoint(wanted)]
        parts: list[tuple[int, Callable[[], Iterator[StoredMessage]]]] = [
            (chunk.start_ns, partial(self._of_chunk, chunk, wanted)) for chunk in chunks]
        if self._index.loose:
            parts.append((min(self._index.loose)[0], partial(self._loose, wanted)))
        yield from merged(parts)

    def _of_chunk(self, chunk: _Chunk, wanted: dict[int, Channel]) -> Iterator[StoredMessage]:
        content = self._content(chunk)
        found = []
        for kind, start, end in _records(content):
            if kind == MESSAGE:
                message = self._message(memoryview(content)[start:end], wanted)
                if message is not None:
                    found.append(message)
        found.sort(key=lambda message: message.stamp_ns)
        return iter(found)

    def _loose(self, wanted: dict[int, Channel]) -> Iterator[StoredMessage]:
        for _, offset, length in sorted(self._index.loose):
            self._file.seek(offset)
            message = self._message(memoryview(self._file.read(length)), wanted)
            if message is not None:
                yield message

    def _message(self, content: memoryview, wanted: dict[int, Channel]) -> StoredMessage | None:
        if len(content) < MESSAGE_HEAD:
            return None  # told when the file was opened, or by the number of messages
        read = Fields(content)
        channel = wanted.get(read.uint16())
        if channel is None:
            return None
        read.uint32()  # sequence
        stamp_ns = read.uint64()
        read.uint64()  # publish time
        data = read.rest()
        try:
            return StoredMessage(stamp_ns, channel, decompress_message(data))
        except ValueError:
            return StoredMessage(stamp_ns, channel, data)  # refused when it is decoded, by name

    def _content(self, chunk: _Chunk) -> bytes:
        """The records of a chunk; of a damaged one those before the damage, where that can be known."""
        self._file.seek(chunk.offset)
        try:
            head = Fields(self._file.read(min(chunk.length, 28 + 4)))
            head.skip(16)
            size, checksum, name_length = head.uint64(), head.uint32(), head.uint32()
            name = bytes(self._file.read(min(name_length, max(0, chunk.length - CHUNK_HEAD)))).decode(errors='replace')
            if chunk.whole and name_length > chunk.length - CHUNK_HEAD:
                raise ValueError('it contradicts itself')
            packed_length = Fields(self._file.read(8)).uint64()
            packed = self._file.read(max(0, min(packed_length, chunk.length - CHUNK_HEAD - name_length)))
            if chunk.whole and len(packed) < packed_length:
                self._lost(f'{self.path.name}: the chunk at byte {chunk.offset} is shorter than it says; the messages '
                           'that it holds are used.')
            if not chunk.whole or len(packed) < packed_length:
                return decompress_beginning(packed, name, min(size, MAX_BYTES))
            content = decompress(packed, name, min(size, MAX_BYTES))
        except (ValueError, IndexError) as error:
            self._lost(f'{self.path.name}: the chunk at byte {chunk.offset} cannot be unpacked ({error}); its messages '
                       'are left out.')
            return b''
        if len(content) != size or (checksum and crc32(content) != checksum):
            self._lost(f'{self.path.name}: the checksum of the chunk at byte {chunk.offset} is wrong; its messages are '
                       'left out.')
            return b''
        return content

    def _take(self, index: _Index, kind: int, content: bytes) -> bool:
        """Take in a record; False, and a loss, for one that is too short for what it says."""
        try:
            index.record(kind, content)
            return True
        except IndexError:
            self._lost(f'{self.path.name}: a record that contradicts itself is left out.')
            return False

    def _lost(self, text: str) -> None:
        if text not in self.losses:
            self.losses.append(text)

    # -- the index -----------------------------------------------------------------------------------------------------

    def _from_summary(self) -> _Index | None:
        """The index at the end of the file; None where it is missing, incomplete, or not that of this file."""
        if self._size < FOOTER_BYTES + len(MAGIC):
            return None
        self._file.seek(-FOOTER_BYTES, 2)
        tail = self._file.read()
        start = int.from_bytes(tail[RECORD_HEAD:RECORD_HEAD + 8], 'little')
        if tail[0] != FOOTER or not tail.endswith(MAGIC) or not 0 < start < self._size - FOOTER_BYTES:
            return None
        self._file.seek(start)
        content = self._file.read(self._size - FOOTER_BYTES - start)
        index, statistics = _Index(), None
        try:
            for kind, begin, end in _records(content):
                read = Fields(content[begin:end])
                if kind == CHUNK_INDEX:
                    first, _, offset, length = (read.uint64() for _ in range(4))
                    if offset + length > start:
                        return None
                    index.chunks.append(_Chunk(offset + RECORD_HEAD, length - RECORD_HEAD, first,
                                               frozenset(read.offsets()) or None))
                elif kind == STATISTICS:
                    messages = read.uint64()
                    read.skip(2 + 4 + 4 + 4)
                    chunks = read.uint32()
                    index.start_ns, index.end_ns = read.uint64(), read.uint64()
                    index.counts.update(read.counts())
                    statistics = messages, chunks
                else:
                    index.record(kind, content[begin:end])
        except (IndexError, UnicodeDecodeError):
            return None
        counted = sum(index.counts.values())
        known = all(record.schema in index.schemas for record in index.channels.values() if record.schema)
        # Messages outside of chunks are in no index.
        indexed: set[int] = set().union(*(chunk.channels or () for chunk in index.chunks))
        good = statistics == (counted, len(index.chunks)) and bool(index.chunks) == bool(counted) and known and all(
            index.counts[number] for number in indexed)
        return index if good and set(index.counts) <= set(index.channels) and index.channels else None

    def _from_records(self) -> _Index:
        """The index made by passing all records."""
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise StorageError('it does not begin as an mcap file')
        index, ended, position = _Index(), False, len(MAGIC)
        while position + RECORD_HEAD <= self._size:
            self._file.seek(position)
            head = self._file.read(RECORD_HEAD)
            kind, length, content = head[0], int.from_bytes(head[1:], 'little'), position + RECORD_HEAD
            if kind in (DATA_END, FOOTER):
                ended = True
                break
            whole = content + length <= self._size
            there = min(length, self._size - content)
            if kind == CHUNK and there > CHUNK_HEAD:
                self._pass_chunk(index, _Chunk(content, there, 0, whole=whole))
            elif kind == CHUNK and whole and there < CHUNK_HEAD:
                self._lost(f'{self.path.name}: a record that contradicts itself is left out.')
            elif whole and kind in (SCHEMA, CHANNEL, MESSAGE):
                record = self._file.read(length if kind != MESSAGE else min(length, MESSAGE_HEAD))
                if self._take(index, kind, record) and kind == MESSAGE:
                    index.loose.append((int.from_bytes(record[6:14], 'little'), content, length))
            if not whole:
                break
            position = content + length
        if not ended:
            count = sum(index.counts.values())
            if position < self._size:
                self.losses.append(f'{self.path.name} breaks off ' + (
                    f'after {count} messages, as when recording is interrupted; these are used.' if count else
                    'before its first message.'))
            else:
                self.notes.append(f'{self.path.name} has no end mark, as when recording is interrupted; its {count} '
                                  'messages are used.')
        return index

    def _pass_chunk(self, index: _Index, chunk: _Chunk) -> None:
        before, own = index.counts.copy(), _Index()
        content = self._content(chunk)
        for kind, start, end in _records(content):
            record = content[start:end if kind != MESSAGE else min(end, start + MESSAGE_HEAD)]
            if self._take(index, kind, record) and kind == MESSAGE:
                own.record(kind, record)
        channels = frozenset(number for number in index.counts if index.counts[number] != before[number])
        if channels:
            index.chunks.append(_Chunk(chunk.offset, chunk.length, own.start_ns, channels, chunk.whole))


def _records(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each whole record."""
    position = 0
    while position + RECORD_HEAD <= len(content):
        length = int.from_bytes(content[position + 1:position + RECORD_HEAD], 'little')
        start = position + RECORD_HEAD
        if start + length > len(content):
            return
        yield content[position], start, start + length
        position = start + length
