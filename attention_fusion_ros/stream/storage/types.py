# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bytes -> message objects, by the definitions that were recorded with them, else by those that are known."""

from __future__ import annotations

from typing import Any

from attention_fusion_ros.stream.storage.channel import ROS1, Channel
from attention_fusion_ros.stream.typestore import typestore

IDL_SEPARATOR = '=' * 80 + '\n'


class MessageTypes:
    """Message types of a recording.

    A type without a recorded definition is as ROS 2 has it since Humble. With one it is what was recorded: types of
    other packages can be read, and those that changed between distributions as well.
    """

    def __init__(self) -> None:
        self._standard = typestore()
        self._stores: dict[tuple[str, str], Any] = {}

    def is_standard(self, channel: Channel) -> bool:
        """Whether the type is known and as ROS 2 has it."""
        return self._store(channel) is self._standard and channel.type in self._standard.fielddefs

    def decode(self, data: bytes, channel: Channel) -> Any:
        """The message. Raises whatever damaged bytes lead to, and KeyError for a type without a definition."""
        store = self._store(channel)
        if channel.serialization == ROS1:
            return store.deserialize_ros1(data, channel.type)
        return store.deserialize_cdr(data, channel.type)

    def as_cdr(self, data: bytes, channel: Channel) -> bytes:
        """The message as ROS 2 sends it. Raises as `decode`."""
        return bytes(self._store(channel).ros1_to_cdr(data, channel.type)) if channel.serialization == ROS1 else data

    def definition(self, channel: Channel) -> tuple[str, str]:
        """Definition and hash of the type as ROS 2 has them. Raises KeyError where there is none."""
        store = self._store(channel)
        return store.generate_msgdef(channel.type, ros_version=2)[0], store.hash_rihs01(channel.type)

    def _store(self, channel: Channel) -> Any:
        key = channel.type, channel.definition
        if key not in self._stores:
            self._stores[key] = self._store_of(channel)
        return self._stores[key]

    def _store_of(self, channel: Channel) -> Any:
        from rosbags.typesys import Stores, get_typestore
        try:
            recorded = _recorded_types(channel)
        except Exception:  # a definition that is cut off, or of another language
            return self._standard
        known = self._standard.fielddefs
        if channel.type not in recorded or all(known.get(name) == fields for name, fields in recorded.items()
                                               if not _is_header(name)):
            return self._standard
        store = get_typestore(Stores.EMPTY)
        # Headers of ROS 1 have one field more, which rosbags passes over.
        store.register({**{name: known[name] for name in known if name.startswith('builtin_interfaces/')},
                        **recorded, 'std_msgs/msg/Header': known['std_msgs/msg/Header']})
        return store


def _is_header(name: str) -> bool:
    return name in ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration')


def _recorded_types(channel: Channel) -> dict[str, Any]:
    """{name: fields} of the definition that was recorded; {} without any."""
    from rosbags.typesys import get_types_from_idl, get_types_from_msg
    if not channel.definition:
        return {}
    if channel.definition_format != 'ros2idl':
        return dict(get_types_from_msg(channel.definition, channel.type))
    found: dict[str, Any] = {}
    texts = [channel.definition]
    if channel.definition.startswith(f'{IDL_SEPARATOR}IDL: '):
        texts = [part.partition('\n')[2] for part in channel.definition.split(IDL_SEPARATOR)[1:]]
    for text in texts:
        found.update(get_types_from_idl(text))
    return found
