# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A sweep on its way through the stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from attention_fusion_ros.contracts import PointCloud

FIRST = 'pointcloud'  # name of the input of the first LiDAR


@dataclass(frozen=True)
class DecodedSweep:
    """A sweep that waits for what belongs to it: one message, or several that were put together."""

    cloud: PointCloud  # of the first sensor
    decode_ms: float
    received_ns: int | None = None  # when it was received, where that is known
    input_name: str = FIRST
    others: tuple[DecodedSweep, ...] = ()  # further messages of the same sweep, each without others
    several: bool = False  # of a vehicle with several LiDARs, of which others may be silent
    warnings: Mapping[str, str] = field(default_factory=dict)  # reason -> what is missing in the sweep, and the remedy

    @property
    def stamp_ns(self) -> int:
        """The stamp of the latest message."""
        return max(part.cloud.stamp_ns for part in self.messages())

    def messages(self) -> Iterator[DecodedSweep]:
        """Each message."""
        yield self
        yield from self.others
