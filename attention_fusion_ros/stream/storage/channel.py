# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the readers of all formats have in common."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from attention_fusion_ros.utils import outside

CDR, ROS1 = 'cdr', 'ros1'  # serialisations that are read
MAKE_ROOM = 'make room there, or set TMPDIR to a folder with more.'  # for what is read from a copy
TRANSIENT_LOCAL = ('transient_local', 1, '1')  # as written since version 9 of the metadata, and before (rmw/types.h)


@dataclass(frozen=True)
class Channel:
    """The messages of one topic and type in one file."""

    topic: str
    type: str  # sensor_msgs/msg/PointCloud2
    count: int  # messages
    serialization: str = CDR
    definition: str = ''  # of the type, as recorded with it
    definition_format: str = ''  # ros2msg, ros2idl, ros1msg
    latched: bool = False  # recorded from a publisher that keeps its messages for late subscribers
    profiles: str = ''  # offered QoS, in YAML as it was recorded


@dataclass(frozen=True)
class StoredMessage:
    """A message in its bytes."""

    stamp_ns: int  # when it was recorded
    channel: Channel
    data: bytes


class StorageFile(Protocol):
    """An open file of a recording.

    channels: what can be read. notes: what was found and left out or mended. losses: what cannot be read; there may be
    more of them after reading.
    """

    path: Path
    channels: list[Channel]
    start_ns: int
    end_ns: int
    notes: list[str]
    losses: list[str]

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """Messages of these topics in recorded order; what is damaged is left out and added to `losses`."""

    def close(self) -> None:
        """Free the file."""


class StorageError(Exception):
    """Nothing of a file can be read; the text says why. remedy: '' where there is none but another file."""

    def __init__(self, cause: str, remedy: str = ''):
        super().__init__(cause)
        self.remedy = remedy


def merged(parts: Iterable[tuple[int, Callable[[], Iterator[Any]]]]) -> Iterator[Any]:
    """Items with a `stamp_ns` of several parts in order; a part is opened only when its turn comes.

    parts: (stamp of the first item, function that opens the part). Within a part items are in order.
    """
    waiting = sorted(enumerate(parts), key=lambda part: (part[1][0], part[0]), reverse=True)
    heap: list[tuple[int, int, Any, Iterator[Any]]] = []

    def push(number: int, items: Iterator[Any]) -> None:
        item = next(items, None)
        if item is not None:
            heapq.heappush(heap, (item.stamp_ns, number, item, items))

    while waiting or heap:
        while waiting and (not heap or waiting[-1][1][0] <= heap[0][0]):
            number, (_, opened) = waiting.pop()
            push(number, opened())
        if heap:
            _, number, item, items = heapq.heappop(heap)
            yield item
            push(number, items)


def is_latched(profiles: object) -> bool:
    """Whether offered QoS profiles, as text or as read from YAML, keep messages for late subscribers.

    Profiles are written differently by every distribution and edited by hand: what cannot be understood says nothing.
    """
    if isinstance(profiles, str):
        try:
            profiles = outside.parse_yaml(profiles)
        except ValueError:
            return False
    return isinstance(profiles, list) and any(
        isinstance(p, dict) and p.get('durability') in TRANSIENT_LOCAL for p in profiles)


def ros2_type(name: str) -> str:
    """`sensor_msgs/PointCloud2`, as ROS 1 writes it, -> `sensor_msgs/msg/PointCloud2`."""
    package, _, rest = name.partition('/')
    name = f'{package}/msg/{rest}' if rest and '/' not in rest else name
    return 'tf2_msgs/msg/TFMessage' if name == 'tf/msg/tfMessage' else name  # the same fields
