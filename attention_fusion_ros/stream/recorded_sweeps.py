# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording pulled through a `SweepStream`: every sweep in recorded order with what belongs to it (`replay`,
`train --bags`), and where the vehicle was.

Sweeps wait as in the node, in recorded instead of real time, so both give the same numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import SyncedSweep
from attention_fusion_ros.decode.message import stamp_and_frame
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.decoded import DecodedSweep
from attention_fusion_ros.stream.inputs import SWEEPS, InputSpec, is_cloud
from attention_fusion_ros.stream.recording import InputTopics, RawMessage, Recording, header_stamp_ns, is_static
from attention_fusion_ros.stream.sweeps import MAX_WAIT_NS, OnBasePose, SweepStream
from attention_fusion_ros.sync.clocks import ClockDifference
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE, ODOMETRY, TRANSFORMS


@dataclass(frozen=True)
class DroppedSweep:
    """A sweep of a recording that cannot be used, and why."""

    stamp_ns: int  # of its header; when it was recorded, where that cannot be read
    error: InputError


@dataclass(frozen=True)
class _Waiting:
    """A sweep of a recording in the queue."""

    since_ns: int  # recorded
    sweep: DecodedSweep | DroppedSweep


def synced_sweeps(recording: Recording, topics: InputTopics, config: NodeConfig, limit: int = 0,
                  on_drop: Callable[[str, InputError], None] | None = None,
                  on_base_pose: OnBasePose | None = None,
                  on_clocks: Callable[[ClockDifference], None] | None = None) -> Iterator[SyncedSweep | DroppedSweep]:
    """Every sweep of a recording in recorded order, with what belongs to it or the reason why it is dropped.

    Static transforms are read first: they hold from the start, wherever they stand. limit: only the first so many
    sweeps, 0 for all. on_drop(topic, error) is called when a message other than a sweep cannot be used;
    on_clocks(difference), at the end, where sweeps and other inputs are stamped by different clocks.
    What cannot be read is in `recording.losses` afterwards. Raises ConfigurationError for a T_base_sensor that is no
    rigid transform.
    """
    puller = _Puller(recording, topics, config, on_drop, on_base_pose)
    static = [name for name in topics.names() if is_static(name)]
    for raw in recording.raw_messages(static):
        puller.take(raw)
    moving = recording.raw_messages([name for name in topics.names() if name not in static])
    yield from islice(_sweeps_of(moving, puller), limit or None)
    if on_clocks is not None and (difference := puller.clock_difference()) is not None:
        on_clocks(difference)


def _sweeps_of(messages: Iterator[RawMessage], puller: _Puller) -> Iterator[SyncedSweep | DroppedSweep]:
    waiting: deque[_Waiting] = deque()
    now_ns = 0
    for raw in messages:
        waiting.extend(puller.overdue(now_ns, raw.stamp_ns))
        now_ns = raw.stamp_ns
        while waiting and _is_over(waiting[0].since_ns, now_ns):
            yield puller.complete(waiting.popleft())
        waiting.extend(puller.take(raw))
        while waiting and puller.is_ready(waiting[0]):
            yield puller.complete(waiting.popleft())
    waiting.extend(puller.rest(now_ns))
    while waiting:
        yield puller.complete(waiting.popleft())


def base_poses(recording: Recording, topics: InputTopics, config: NodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """Where the base frame was all along a recording: stamps (F,) int64 ns, ascending, and T_odom_base (F, 4, 4).

    From odometry and transforms alone, converted as for the sweeps; what cannot be used is left out.
    """
    found: dict[int, np.ndarray] = {}
    puller = _Puller(recording, topics, config, None, found.__setitem__)
    used = [name for name in topics.names() if topics.topic(name).spec.name in (ODOMETRY, TRANSFORMS)]
    static = [name for name in used if is_static(name)]
    if not config.use_tf:  # odometry of the sensor is placed by its frame alone, see OdometryBuffer
        for raw in islice(recording.raw_messages([name for name in topics.names() if name == topics[SWEEPS]]), 1):
            puller.learn_sensor_frame(raw)
    for raw in chain(recording.raw_messages(static),
                     recording.raw_messages([name for name in used if name not in static])):
        puller.take(raw)
    stamps = sorted(found)
    return np.array(stamps, np.int64), np.array([found[stamp] for stamp in stamps]).reshape(-1, 4, 4)


def _is_over(sweep_ns: int, now_ns: int) -> bool:
    """Whether a sweep recorded at one time waits no longer at another one (earlier: recordings played in a row)."""
    return not sweep_ns <= now_ns <= sweep_ns + MAX_WAIT_NS


class _Puller:
    """A recording's messages into a SweepStream; whatever is wrong with one of them costs this message only."""

    def __init__(self, recording: Recording, topics: InputTopics, config: NodeConfig,
                 on_drop: Callable[[str, InputError], None] | None, on_base_pose: OnBasePose | None):
        self._recording, self._topics, self._on_drop = recording, topics, on_drop
        self._topic = ''
        self._stream = SweepStream(config, self._dropped, on_base_pose)

    def take(self, raw: RawMessage) -> list[_Waiting]:
        """Take in a message; returns the sweeps that are whole with it, or the sweep that is dropped."""
        self._topic = raw.topic
        topic = self._topics.topic(raw.topic)
        stamp_ns = raw.stamp_ns
        try:
            message = self._recording.decode(raw)
            if not is_cloud(topic.spec):
                self._stream.take(topic.spec, topic.transport, message, raw.stamp_ns)
                return []
            stamp_ns = header_stamp_ns(message)
            self._stream.announce(topic.spec, message)
            decoded = self._stream.decode(message, raw.stamp_ns, topic.spec, topic.transport)
        except InputError as error:
            if topic.spec.name == SWEEPS:
                return [_Waiting(raw.stamp_ns, DroppedSweep(stamp_ns, error))]
            self._dropped(topic.spec, error)
            return []
        return [_Waiting(raw.stamp_ns, sweep) for sweep in self._stream.assemble(decoded, raw.stamp_ns)]

    def overdue(self, before_ns: int, now_ns: int) -> list[_Waiting]:
        """The sweeps that have waited for long enough when the next message comes; all, when time starts again."""
        if now_ns < before_ns:
            return [_Waiting(before_ns, sweep) for sweep in self._stream.rest(before_ns)]
        return [_Waiting(now_ns, sweep) for sweep in self._stream.overdue(now_ns)]

    def rest(self, now_ns: int) -> list[_Waiting]:
        """The sweeps that wait at the end."""
        return [_Waiting(now_ns, sweep) for sweep in self._stream.rest(now_ns)]

    def learn_sensor_frame(self, raw: RawMessage) -> None:
        """Take the frame of a sweep's message, and nothing else of it."""
        try:
            _, frame_id = stamp_and_frame(self._recording.decode(raw))
        except InputError:
            return
        self._stream.learn_sensor_frame(frame_id)

    def clock_difference(self) -> ClockDifference | None:
        return self._stream.clock_difference(received='the time of recording')

    def is_ready(self, waiting: _Waiting) -> bool:
        return isinstance(waiting.sweep, DroppedSweep) or self._stream.is_ready(waiting.sweep)

    def complete(self, waiting: _Waiting) -> SyncedSweep | DroppedSweep:
        if isinstance(waiting.sweep, DroppedSweep):
            return waiting.sweep
        try:
            return self._with_map_reason(self._stream.complete(waiting.sweep))
        except InputError as error:
            return DroppedSweep(waiting.sweep.stamp_ns, error)

    def _with_map_reason(self, sweep: SyncedSweep) -> SyncedSweep:
        """The sweep with the reason why the recording's images were not chosen as its map, where that is so."""
        left_out = self._topics.left_out.get(MAP_IMAGE)
        return sweep if left_out is None else replace(sweep, map_reason=left_out.reason)

    def _dropped(self, _: InputSpec, error: InputError) -> None:
        if self._on_drop is not None:
            self._on_drop(self._topic, error)
