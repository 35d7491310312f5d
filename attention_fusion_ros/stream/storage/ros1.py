# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads ROS 1 bags (https://wiki.ros.org/Bags/Format/2.0), by way of rosbags."""

from __future__ import annotations

import bz2
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attention_fusion_ros.stream.storage.channel import (
    ROS1,
    Channel,
    StorageError,
    StorageFile,
    StoredMessage,
    ros2_type,
)
from attention_fusion_ros.stream.storage.compression import decompress
from attention_fusion_ros.stream.storage.ros1_scan import ScannedRos1File

MAGIC = b'#ROSBAG V2.0\n'


def open_bag(path: Path) -> StorageFile:
    """A bag with or without its index."""
    try:
        return Ros1File(path)
    except StorageError:
        scanned = ScannedRos1File(path)
        if not scanned.channels:
            raise
        return scanned


def _bound_chunks(reader: Any) -> None:
    """Let rosbags unpack no chunk beyond what `compression.decompress` allows; its own functions know no limit."""
    import lz4.frame  # comes with rosbags
    names = {bz2.decompress: 'bz2', lz4.frame.decompress: 'lz4'}
    for position, chunk in reader.chunks.items():
        if chunk.decompressor in names:
            bounded = partial(decompress, name=names[chunk.decompressor])
            reader.chunks[position] = chunk._replace(decompressor=bounded)


class Ros1File:
    """See `StorageFile`. Raises StorageError for a bag without a usable index."""

    def __init__(self, path: Path):
        from rosbags.rosbag1 import Reader
        self.path = path
        self.notes: list[str] = []
        self.losses: list[str] = []
        self._reader = Reader(path)
        try:
            self._reader.open()
        except Exception as error:  # ReaderError, and whatever damaged numbers lead to
            raise StorageError(f'its index cannot be used ({str(error).rstrip(".")})') from error
        _bound_chunks(self._reader)
        self._channels = {
            connection.id: Channel(connection.topic, ros2_type(connection.msgtype), connection.msgcount, ROS1,
                                   connection.msgdef.data, 'ros1msg', bool(getattr(connection.ext, 'latching', 0)))
            for connection in self._reader.connections}
        self.channels = list(self._channels.values())
        filled = self._reader.message_count
        self.start_ns, self.end_ns = (self._reader.start_time, self._reader.end_time - 1) if filled else (2**63 - 1, 0)

    def close(self) -> None:
        """Free the file."""
        self._reader.close()

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """See `StorageFile`."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:  # an empty list would mean 'everything' to the reader
            return
        try:
            for connection, stamp_ns, data in self._reader.messages(connections=connections):
                yield StoredMessage(stamp_ns, self._channels[connection.id], bytes(data))
        except Exception as error:  # ReaderError, and whatever decompressors raise
            self.losses.append(f'{self.path.name} is damaged or breaks off: {error}')
