# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the sqlite3 files of rosbag2, of every schema, with a write-ahead log beside them, and those that break off."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from attention_fusion_ros.stream.storage.channel import (
    CDR,
    MAKE_ROOM,
    Channel,
    StorageError,
    StoredMessage,
    is_latched,
    ros2_type,
)
from attention_fusion_ros.stream.storage.compression import decompress_message

MAGIC = b'SQLite format 3\x00'
LOGS = ('-wal', '-journal')  # what an interrupted writer leaves beside the file; it belongs to the data


class SqliteFile:
    """See `StorageFile`. Raises StorageError for a file without the tables of rosbag2."""

    def __init__(self, path: Path):
        self.path = path
        self.notes: list[str] = []
        self.losses: list[str] = []
        self._copy: TemporaryDirectory[str] | None = None
        self._rows: list[tuple[int, int, int]] | None = None  # of a damaged file: timestamp, id, topic
        try:
            self._database = self._open()
            self._channels = self._read_channels()
        except sqlite3.Error as error:
            self.close()
            raise StorageError(f'it is no recording of rosbag2 ({error})') from error
        except BaseException:
            self.close()
            raise
        self.channels = list(self._channels.values())

    def close(self) -> None:
        """Free the file."""
        if hasattr(self, '_database'):
            self._database.close()
        if self._copy is not None:
            self._copy.cleanup()

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """See `StorageFile`."""
        wanted = {number: channel for number, channel in self._channels.items() if channel.topic in topics}
        last = -1, -1
        if self._rows is None:
            marks = ','.join('?' * len(wanted))
            try:
                rows = self._database.execute(f'SELECT timestamp, id, topic_id, data FROM messages WHERE topic_id IN '
                                              f'({marks}) ORDER BY timestamp, id', list(wanted))
                for stamp_ns, number, topic, data in rows:
                    if isinstance(stamp_ns, int) and isinstance(data, bytes):
                        yield _message(stamp_ns, wanted[topic], data)
                        last = stamp_ns, number
                    else:  # SQLite holds anything in any column
                        self._lost(f'{self.path.name} is damaged: it holds messages without a time, or without data.')
                return
            except sqlite3.DatabaseError:  # the index on timestamps, or a page of the data
                self._rows = self._salvage()
        lost = 0
        for stamp_ns, number, topic in self._rows:
            if topic not in wanted or (stamp_ns, number) <= last:
                continue
            try:
                row = self._database.execute('SELECT data FROM messages WHERE id = ?', (number,)).fetchone()
            except sqlite3.DatabaseError:
                row = None
            if row is None or not isinstance(row[0], bytes):
                lost += 1
            else:
                yield _message(stamp_ns, wanted[topic], row[0])
        if lost:
            self._lost(f'{self.path.name} is damaged or breaks off: {lost} messages cannot be read.')

    def _open(self) -> sqlite3.Connection:
        """The database; with a log beside it what the log holds counts, and the file itself is not written to."""
        logs = [self.path.with_name(self.path.name + suffix) for suffix in LOGS]
        logs = [log for log in logs if log.exists() and log.stat().st_size]
        if not logs:
            database = _connect(self.path, 'immutable=1')
            if self._breaks_off():  # otherwise SQLite refuses all of it (btree.c, lockBtree)
                database.execute('PRAGMA writable_schema = ON')
            return database
        self._copy = TemporaryDirectory(prefix='attention_fusion_')
        try:
            for file in (self.path, *logs):
                shutil.copyfile(file, Path(self._copy.name) / file.name)
        except OSError as error:
            raise StorageError(f'it cannot be copied to {self._copy.name}, to apply its log: {error.strerror}',
                               MAKE_ROOM) from error
        self.notes.append(f"{self.path.name}: read with what '{logs[0].name}' holds, as the recorder was interrupted.")
        return _connect(Path(self._copy.name) / self.path.name, 'mode=rw')

    def _read_channels(self) -> dict[int, Channel]:
        columns = {row[1] for row in self._database.execute('PRAGMA table_info(topics)')}
        optional = [name if name in columns else "''" for name in ('serialization_format', 'offered_qos_profiles')]
        topics = self._database.execute(f'SELECT id, name, type, {", ".join(optional)} FROM topics ORDER BY id'
                                        ).fetchall()
        definitions: dict[str, tuple[str, str]] = {}
        try:
            for name, encoding, text in self._database.execute(
                    'SELECT topic_type, encoding, encoded_message_definition FROM message_definitions'):
                definitions[name] = text or '', encoding or ''
        except sqlite3.Error:  # there is no such table before Iron
            pass
        counts = self._counts()
        found, other = {}, []
        for number, name, kind, serialization, profiles in topics:
            if not isinstance(name, str) or not isinstance(kind, str):
                self._lost(f'{self.path.name} is damaged: it holds a topic without a name, or without a type.')
            elif serialization in (CDR, '', None):
                text, encoding = definitions.get(kind, ('', ''))
                found[number] = Channel(name, ros2_type(kind), counts[number], CDR, text, encoding,
                                        is_latched(profiles), profiles or '')
            else:
                other.append(f'{name} ({serialization})')
        if other:
            self.notes.append(f'{self.path.name}: left out, for they are not of ROS: {", ".join(other)}.')
        return found

    def _counts(self) -> Counter[int]:
        """Messages of each topic, and the first and last stamp."""
        counts: Counter[int] = Counter()
        self.start_ns, self.end_ns = 2**63 - 1, 0
        try:
            if self._breaks_off():
                raise sqlite3.DatabaseError
            rows = self._database.execute('SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages '
                                          'NOT INDEXED GROUP BY topic_id').fetchall()
        except sqlite3.OperationalError:  # there is no such table
            raise
        except sqlite3.DatabaseError:
            self._rows = self._salvage()
            self._lost(f'{self.path.name} is damaged or breaks off: {len(self._rows)} messages are there and used.')
            counts.update(topic for _, _, topic in self._rows)
            if self._rows:
                self.start_ns, self.end_ns = self._rows[0][0], self._rows[-1][0]
            return counts
        for topic, count, first, last in rows:
            counts[topic] = count
            if not (isinstance(first, int) and isinstance(last, int)):  # told where the messages are read
                continue
            self.start_ns, self.end_ns = min(self.start_ns, first), max(self.end_ns, last)
        return counts

    def _breaks_off(self) -> bool:
        """Whether the file is shorter than it says (https://sqlite.org/fileformat2.html, section 1.3)."""
        if self._copy is not None:
            return False
        with open(self.path, 'rb') as file:
            head = file.read(100)
        page = int.from_bytes(head[16:18], 'big')
        pages, same = int.from_bytes(head[28:32], 'big'), head[24:28] == head[92:96]
        return same and self.path.stat().st_size < pages * (65536 if page == 1 else page)

    def _salvage(self) -> list[tuple[int, int, int]]:
        """(timestamp, id, topic) of all messages that can be reached from either end of the table, in order."""
        found: dict[int, tuple[int, int, int]] = {}
        for direction in ('ASC', 'DESC'):
            try:
                for number, topic, stamp_ns in self._database.execute(
                        f'SELECT id, topic_id, timestamp FROM messages NOT INDEXED ORDER BY id {direction}'):
                    if number in found:
                        break
                    if isinstance(stamp_ns, int):
                        found[number] = stamp_ns, number, topic
            except sqlite3.DatabaseError:
                continue
        rows = []
        for row in sorted(found.values()):
            try:  # the length needs the last page of the message
                if self._database.execute('SELECT substr(data, -1) FROM messages WHERE id = ?', (row[1],)).fetchone():
                    rows.append(row)
            except sqlite3.DatabaseError:
                continue
        return rows

    def _lost(self, text: str) -> None:
        if text not in self.losses:
            self.losses.append(text)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(f'file:{quote(str(path.absolute()))}?{mode}', uri=True, check_same_thread=False)
    database.text_factory = lambda text: text.decode(errors='replace')
    return database


def _message(stamp_ns: int, channel: Channel, data: bytes) -> StoredMessage:
    try:
        return StoredMessage(stamp_ns, channel, decompress_message(data))
    except ValueError:
        return StoredMessage(stamp_ns, channel, data)  # refused when it is decoded, by name
