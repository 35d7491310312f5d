# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes a recording anew with the map images that a plan asks for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.maps.driven import DrivenWay
from attention_fusion_ros.maps.painter import MapPainter
from attention_fusion_ros.maps.settings import layout_of
from attention_fusion_ros.maps.source import MapSource
from attention_fusion_ros.ros.map_source.recorded import ImagePlan, Key, PlannedImage, places
from attention_fusion_ros.stream.copy_recording import RecordingCopy
from attention_fusion_ros.stream.new_recording import NewRecording
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.stream.storage.qos import reliable_qos
from attention_fusion_ros.stream.typestore import typestore

IMAGE_TYPE = 'sensor_msgs/msg/Image'
DRIVEN, GOAL, NONE = 'driven', 'goal', 'none'
ROUTES = (DRIVEN, GOAL, NONE)


@dataclass
class Drawn:
    """What was written. problems: reason -> images without a route; errors: the first of each."""

    images: int = 0
    with_route: int = 0
    messages: int = 0
    route_m: float = 0.0
    on_roads: float = 1.0  # share of the way driven that runs along roads of the map
    problems: Counter[str] = field(default_factory=Counter)
    errors: dict[str, InputError] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def draw_recording(recording: Recording, plan: ImagePlan, source: MapSource, route: str, to: NewRecording, topic: str,
                   on_message: Callable[[], object] = lambda: None) -> Drawn:
    """Copy every message, and behind the one with which an image is due write the image.

    route: `driven` (the way that the recording takes), `goal` (of the configuration) or `none`. topic: of the images.
    """
    return _Drawing(recording, plan, source, route, to, topic).run(on_message)


class _Drawing:
    def __init__(self, recording: Recording, plan: ImagePlan, source: MapSource, route: str, to: NewRecording,
                 topic: str):
        self._source, self._route = source, route
        self._layout = layout_of(source.config.map)
        self._painter = MapPainter(plan.images[0].roads, self._layout)
        self._due: dict[Key, list[PlannedImage]] = defaultdict(list)
        for image in plan.images:
            self._due[image.after].append(image)
        self._ways = self._driven_ways(plan)
        self._next: Counter[int] = Counter()  # drive -> number of the image
        self._drive = 0
        self._copy = RecordingCopy(recording, to.writer)
        self._store = typestore()
        self._writer = to.writer
        self._link = to.writer.add_connection(topic, IMAGE_TYPE, typestore=self._store,
                                              offered_qos_profiles=[reliable_qos(1, latched=True)])
        self._drawn = Drawn(route_m=sum(way.length for way in self._ways.values()))
        if self._drawn.route_m:
            self._drawn.on_roads = sum(w.on_roads * w.length for w in self._ways.values()) / self._drawn.route_m

    def run(self, on_message: Callable[[], object]) -> Drawn:
        numbers: Counter[str] = Counter()
        for raw in self._copy.messages():
            key = raw.topic, numbers[raw.topic]
            numbers[raw.topic] += 1
            for image in self._due.pop(key, ()):
                self._write(raw.stamp_ns, image)
            on_message()
        self._drawn.messages, self._drawn.left_out = self._copy.count, self._copy.left_out
        return self._drawn

    def _driven_ways(self, plan: ImagePlan) -> dict[int, DrivenWay]:
        if self._route != DRIVEN:
            return {}
        drives = sorted({image.drive for image in plan.images})
        images = {d: [image for image in plan.images if image.drive == d] for d in drives}
        return {d: DrivenWay(places(images[d]), images[d][0].roads) for d in drives}

    def _write(self, recorded_ns: int, image: PlannedImage) -> None:
        if image.drive != self._drive:
            self._drive = image.drive
            self._painter = MapPainter(image.roads, self._layout)
            self._source.guide.start_over()
        pose = image.estimate.pose
        line = self._line(image)
        pixels = self._painter.draw(pose, line)
        self._next[image.drive] += 1
        message = self._message(pixels, image.estimate.stamp_ns)
        self._writer.write(self._link, recorded_ns, self._store.serialize_cdr(message, IMAGE_TYPE))
        self._drawn.images += 1
        self._drawn.with_route += line is not None

    def _line(self, image: PlannedImage) -> np.ndarray | None:
        """(P, 2) m of the route."""
        if self._route == DRIVEN:
            return self._ways[image.drive].ahead(self._next[image.drive], self._layout.reach())
        if self._route != GOAL:
            return None
        guide = self._source.guide
        guide.update(image.estimate, image.roads)
        problem: InputError | None = guide.guidance.problem
        if problem is not None and guide.route is None:
            self._drawn.problems[problem.reason] += 1
            self._drawn.errors.setdefault(problem.reason, problem)
        elif guide.route is not None:
            self._drawn.route_m = max(self._drawn.route_m, guide.route.length)
        return guide.ahead(self._layout.route_behind, self._layout.reach())

    def _message(self, pixels: np.ndarray, stamp_ns: int) -> Any:
        types = self._store.types
        stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
        header = types['std_msgs/msg/Header'](stamp, self._source.config.frames.base)
        rows, columns, channels = pixels.shape
        return types[IMAGE_TYPE](header, rows, columns, 'rgb8', 0, channels * columns, pixels.reshape(-1))
