# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""metadata.yaml of rosbag2: what a recording should hold. It may be old, edited, damaged or that of other files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from attention_fusion_ros.stream.storage.channel import is_latched
from attention_fusion_ros.utils import outside

NAME = 'metadata.yaml'


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says, as far as it can be understood. Nothing in it is needed."""

    files: tuple[str, ...] = ()  # names, without folders: recordings are moved
    counts: Mapping[str, int] = field(default_factory=dict)  # messages by topic
    types: Mapping[str, str] = field(default_factory=dict)  # by topic
    latched: frozenset[str] = frozenset()  # topics
    profiles: Mapping[str, Any] = field(default_factory=dict)  # offered QoS by topic, where it is known
    storage: str = ''  # identifier of the plugin
    custom: Mapping[str, str] = field(default_factory=dict)  # what its writer has noted (since version 6)
    problem: str = ''  # why nothing of it could be used


def read_metadata(folder: Path) -> Metadata | None:
    """The metadata of a recording's folder, None without any."""
    file = folder / NAME
    if not file.exists():
        return None
    try:
        content = outside.read_yaml(file, errors='replace')
    except (OSError, ValueError) as error:
        return Metadata(problem=' '.join(str(error).split()))
    content = content.get('rosbag2_bagfile_information') if isinstance(content, dict) else None
    if not isinstance(content, dict):
        return Metadata(problem='there is no rosbag2_bagfile_information in it')
    topics = list(_topics(content))
    files, custom = content.get('relative_file_paths'), content.get('custom_data')
    return Metadata(
        files=tuple(PurePosixPath(str(name)).name for name in files) if isinstance(files, list) else (),
        counts={name: count for name, _, count, _ in topics},
        types={name: kind for name, kind, _, _ in topics if kind},
        latched=frozenset(name for name, _, _, profiles in topics if is_latched(profiles)),
        profiles={name: profiles for name, _, _, profiles in topics if profiles},
        storage=str(content.get('storage_identifier') or ''),
        custom={str(key): str(value) for key, value in custom.items()} if isinstance(custom, dict) else {})


def _topics(content: dict[str, Any]) -> Iterator[tuple[str, str, int, Any]]:
    """Name, type, count and offered QoS of each topic that is there."""
    entries = content.get('topics_with_message_count')
    for entry in entries if isinstance(entries, list) else ():
        about = entry.get('topic_metadata') if isinstance(entry, dict) else None
        if isinstance(about, dict) and about.get('name'):
            count = entry.get('message_count')
            yield (str(about['name']), str(about.get('type') or ''), count if isinstance(count, int) else 0,
                   about.get('offered_qos_profiles'))
