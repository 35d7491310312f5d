# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads ROS 1 bags (https://wiki.ros.org/Bags/Format/2.0), by way of rosbags."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from attention_fusion_ros.stream.storage.channel import (
    ROS1,
    Channel,
    StorageError,
    StorageFile,
    StoredMessage,
    ros2_type,
)
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
