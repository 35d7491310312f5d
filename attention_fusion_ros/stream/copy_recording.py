# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies a recording message by message, with others in between: bytes, stamps and QoS stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attention_fusion_ros.stream.recording import RawMessage, Recording
from attention_fusion_ros.stream.storage.channel import CDR, Channel

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer

NO_HASH = 'RIHS01_' + 64 * '0'  # of types that the recording does not define
PLAIN = 'ros2msg'


class RecordingCopy:
    """Every topic of a recording in another one.

    left_out: messages that could not be converted, by topic (of ROS 1 bags with damaged messages).
    """

    def __init__(self, recording: Recording, writer: Writer):
        self._recording, self._writer = recording, writer
        self.left_out: dict[str, int] = {}
        self.count = 0
        self._links: dict[tuple[str, str], Connection] = {}
        for name in recording.topics:
            for channel in recording.channels(name):
                if (name, channel.type) not in self._links:
                    self._links[name, channel.type] = self._add(channel)

    def messages(self) -> Iterator[RawMessage]:
        """Every message in recorded order, after it was written: what is written meanwhile comes right behind it."""
        for raw in self._recording.raw_messages(list(self._recording.topics)):
            if raw.data:
                self._writer.write(self._links[raw.topic, raw.type], raw.stamp_ns, raw.data)
                self.count += 1
            else:
                self.left_out[raw.topic] = self.left_out.get(raw.topic, 0) + 1
            yield raw

    def _add(self, channel: Channel) -> Connection:
        text, type_hash = '', NO_HASH
        try:
            text, type_hash = self._recording.definition(channel)
        except Exception:  # there is none, or none that can be read: the bytes are copied all the same
            pass
        if channel.serialization == CDR and channel.definition and channel.definition_format == PLAIN:
            text = channel.definition  # as it was recorded
        return self._writer.add_connection(channel.topic, channel.type, msgdef=text, rihs01=type_hash,
                                           offered_qos_profiles=self._recording.offered_qos(channel.topic))
