# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies a recording message by message, with others in between: bytes, stamps and QoS stay as they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.stream import recording_hints as hints
from attention_fusion_ros.stream.recording import RawMessage, Recording, is_storage
from attention_fusion_ros.stream.storage import metadata
from attention_fusion_ros.stream.storage.channel import CDR, Channel
from attention_fusion_ros.stream.storage.sqlite import LOGS

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer

NO_HASH = 'RIHS01_' + 64 * '0'  # of types that the recording does not define
PLAIN = 'ros2msg'


def copy_beside(recording: Recording, to: Path) -> None:
    """Copy what else is in the folder of a recording (truth.json of simulated drives), but not its own files."""
    if not recording.path.is_dir():
        return
    own = {metadata.NAME, hints.NAME}
    for file in sorted(recording.path.iterdir()):
        if file.is_file() and file.name not in own and not is_storage(file) and not file.name.endswith(LOGS):
            shutil.copyfile(file, to / file.name)


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
