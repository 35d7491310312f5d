# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A recording through a map source, without ROS: where the vehicle was for each image that is to be drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.localizer import Estimate
from attention_fusion_ros.maps.smoothed import LoggedSource, both
from attention_fusion_ros.maps.source import MapSource
from attention_fusion_ros.ros.map_source import inputs
from attention_fusion_ros.ros.map_source.feed import Feed
from attention_fusion_ros.stream.inputs import InputSpec, Transport
from attention_fusion_ros.stream.recording import RawMessage, Recording, is_static

POSITION_INPUTS = (inputs.FIX, inputs.ODOMETRY, inputs.IMU)  # of which one topic is chosen each
BACK_NS = 1_000_000_000  # by which stamps may be out of order; more, and the recording starts again
Key = tuple[str, int]  # a message: its topic, and its number there


@dataclass(frozen=True)
class PlannedImage:
    """An image that is due.

    after: the message with which it is due. drive: which one, counted from 0, where the recording starts again, or goes
    on so far away that there is another datum.
    """

    after: Key
    drive: int
    estimate: Estimate
    roads: LocalRoads  # around the datum of that drive


@dataclass
class ImagePlan:
    """The images of a recording, and what stood in the way.

    missed: reason -> how often no image could be drawn. refused: 'topic: reason' -> messages that were not used.
    errors: reason -> the first error of it.
    """

    images: list[PlannedImage] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    errors: dict[str, InputError] = field(default_factory=dict)
    drives: int = 1


@dataclass(frozen=True)
class _Attempt:
    stamp_ns: int
    key: Key
    drive: int
    mark: int
    found: Estimate | InputError


@dataclass(frozen=True)
class PositionTopics:
    """The topics of a recording that tell where the vehicle is, by the names of `inputs.MAP_INPUTS`."""

    chosen: Mapping[str, str]
    transforms: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str | None:
        return self.chosen.get(name)

    def source_of(self, topic: str) -> tuple[InputSpec, Transport]:
        """What a topic feeds."""
        if topic in self.transforms:
            spec = map_input(inputs.TF)
            return spec, spec.transports[0 if is_static(topic) else 1]
        name = next(name for name, chosen in self.chosen.items() if chosen == topic)
        return map_input(name), map_input(name).transports[0]


def map_input(name: str) -> InputSpec:
    """The entry of this name in the table."""
    return next(spec for spec in inputs.MAP_INPUTS if spec.name == name)


def position_topics(recording: Recording, config: MapSourceConfig, wanted: Mapping[str, str]) -> PositionTopics:
    """Choose by type what a configuration uses; wanted: by input, a topic, `none`, or '' for the only one.

    Raises InputError: topic_missing, topic_ambiguous, topic_type.
    """
    used = {spec.name for spec in inputs.inputs_used(config)}
    needed = inputs.inputs_needed(config)
    chosen = {}
    for name in POSITION_INPUTS:
        if name not in used:
            continue
        spec = replace(map_input(name), required=name in needed, only_when_named=name == inputs.IMU)
        topic = recording.find_topic(spec, wanted.get(name, ''))
        if topic is not None:
            chosen[name] = topic
    tf = map_input(inputs.TF)
    transforms = tuple(t.name for t in recording.topics.values() if t.type in tf.types) if config.use_tf else ()
    return PositionTopics(chosen, transforms)


def plan_images(recording: Recording, topics: PositionTopics, source: MapSource,
                on_message: Callable[[], object] = lambda: None) -> ImagePlan:
    """Everything that tells the position through the source, in recorded order; where an image is due, the pose.

    An estimate knows of its past only, as that of the node; of a `LoggedSource`, of the whole recording. Static
    transforms hold from the start. on_message: called after each message, for progress.
    """
    return _Planner(recording, topics, source).run(on_message)


class _Planner:
    def __init__(self, recording: Recording, topics: PositionTopics, source: MapSource):
        self._recording, self._topics, self._source = recording, topics, source
        self._feed = Feed(source, source.config)
        self._plan = ImagePlan()
        self._newest_ns: int | None = None
        self._missed_ns: int | None = None
        self._attempts: list[_Attempt] = []  # of a LoggedSource
        self._attempt_ns: int | None = None

    def run(self, on_message: Callable[[], object]) -> ImagePlan:
        numbers: Counter[str] = Counter()
        for raw in self._messages():
            key = raw.topic, numbers[raw.topic]
            numbers[raw.topic] += 1
            stamp_ns = self._take(raw)
            if stamp_ns is not None:
                self._try(stamp_ns, key)
            on_message()
        self._smooth()
        position = self._source.position
        if position is not None:
            for reason, count in position.reference.counts.items():
                self._plan.refused[reason] += count
        return self._plan

    def _messages(self) -> Iterator[RawMessage]:
        names = [*self._topics.chosen.values(), *self._topics.transforms]
        static = [name for name in names if is_static(name)]
        return chain(self._recording.raw_messages(static),
                     self._recording.raw_messages([name for name in names if name not in static]))

    def _take(self, raw: RawMessage) -> int | None:
        """Use a message; the time for which an image may be drawn with it."""
        spec, transport = self._topics.source_of(raw.topic)
        try:
            message = self._recording.decode(raw)
            if not is_static(raw.topic):
                self._notice_time(message)
            return self._feed.take(spec, transport, message)
        except InputError as error:
            self._plan.refused[f'{raw.topic}: {error.reason}'] += 1
            self._plan.errors.setdefault(error.reason, error)
            return None

    def _notice_time(self, message: Any) -> None:
        stamps = [_stamp_ns(item) for item in getattr(message, 'transforms', [message])]
        stamp_ns = max(stamps, default=0)
        if stamp_ns <= 0:
            return
        if self._newest_ns is not None and stamp_ns < self._newest_ns - BACK_NS:
            self._feed.time_went_back(stamp_ns)
            self._newest_ns, self._missed_ns = stamp_ns, None
            self._plan.drives += bool(self._plan.images) and self._plan.images[-1].drive == self._plan.drives - 1
        self._newest_ns = max(stamp_ns, self._newest_ns or stamp_ns)

    def _try(self, stamp_ns: int, key: Key) -> None:
        source = self._source
        try:
            if not source.image_due(stamp_ns):
                return
            estimate = source.place_image(stamp_ns)
        except InputError as error:
            self._later(stamp_ns, key, error)
            self._miss(stamp_ns, error)
            return
        self._missed_ns = None
        assert source.roads is not None  # else there would be no estimate
        images = self._plan.images
        if images and images[-1].drive == self._plan.drives - 1 and images[-1].roads is not source.roads:
            self._plan.drives += 1
        images.append(PlannedImage(key, self._plan.drives - 1, estimate, source.roads))
        self._later(stamp_ns, key, estimate)

    def _later(self, stamp_ns: int, key: Key, found: Estimate | InputError) -> None:
        """Keep an attempt, for what comes after tells more."""
        source = self._source
        if not isinstance(source, LoggedSource):
            return
        since = None if self._attempt_ns is None else (stamp_ns - self._attempt_ns) * 1e-9
        if isinstance(found, InputError) and since is not None and 0 <= since < source.config.map.min_period:
            return
        self._attempt_ns = stamp_ns
        self._attempts.append(_Attempt(stamp_ns, key, self._plan.drives - 1, source.mark(), found))

    def _smooth(self) -> None:
        """Take estimates from both sides."""
        source, plan = self._source, self._plan
        if not isinstance(source, LoggedSource) or source.roads is None or len({i.roads for i in plan.images}) > 1:
            return
        behind = source.from_behind([(a.mark, a.stamp_ns) for a in self._attempts])
        plan.images, plan.missed, self._missed_ns = [], Counter(), None
        limits = source.config.position
        for attempt, after in zip(self._attempts, behind):
            before = attempt.found if isinstance(attempt.found, Estimate) else None
            found = both(before, after)
            try:
                if found is None:
                    assert isinstance(attempt.found, InputError)
                    raise attempt.found
                if found.position_std > limits.max_std or found.heading_std > limits.max_heading_std:
                    raise InputError('position_uncertain', f'the position is known to {found.position_std:.0f} m only.',
                                     'allow more by position.max_std and position.max_heading_std.')
                source.roads.nearest(np.array(found.pose[:2]))
            except InputError as error:
                self._miss(attempt.stamp_ns, error)
            else:
                plan.images.append(PlannedImage(attempt.key, attempt.drive, found, source.roads))

    def _miss(self, stamp_ns: int, error: InputError) -> None:
        """Count an image that could not be drawn, at the pace at which a vehicle that stands still gets them."""
        self._plan.errors.setdefault(error.reason, error)
        if self._missed_ns is None or not 0 <= (stamp_ns - self._missed_ns) * 1e-9 < self._source.config.map.max_period:
            self._missed_ns = stamp_ns
            self._plan.missed[error.reason] += 1


def _stamp_ns(message: Any) -> int:
    try:
        return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)
    except (AttributeError, TypeError, ValueError):
        return 0


def places(images: list[PlannedImage]) -> np.ndarray:
    """(N, 2) m of the vehicle."""
    return np.array([image.estimate.pose[:2] for image in images]).reshape(-1, 2)
