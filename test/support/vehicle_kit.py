# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A vehicle that drives through roads and tells what its sensors measure, to a map source or to the node around it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np

from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.source import MapSource
from support.map_kit import FRAME, START_NS

STEP_NS = 100_000_000


class Direct:
    """Where a `Vehicle` sends what it measures: to a map source. Draws whenever an image is due."""

    def __init__(self, source: MapSource):
        self.source = source
        self.drawings: list = []
        self.reasons: list[str] = []  # of images that could not be drawn, and of what could not be used

    def odometry(self, ns: int, pose: Pose2):
        self._try(lambda: self.source.add_odometry(ns, *pose))
        self._try(lambda: self.source.follow(ns))
        if self.source.image_due(ns):
            self._try(lambda: self.drawings.append(self.source.draw(ns)))

    def fix(self, ns: int, latitude: float, longitude: float, std: float):
        self._try(lambda: self.source.add_fix(Fix(ns, 'gnss', latitude, longitude, 0.0, std, True)))

    def _try(self, do: Callable[[], object]):
        try:
            do()
        except ValueError as error:
            self.reasons.append(error.reason)


class Vehicle:
    """Drives along true poses (N, 3) in a local frame, 10 Hz: odometry that drifts, fixes with errors.

    fix_std: m, of which nine tenths wander over minutes. scale: share by which odometry is too long. drift: rad per m.
    """

    def __init__(self, sink, frame: LocalFrame, poses: np.ndarray, seed: int = 0, fix_std: float = 0.0,
                 scale: float = 0.0, drift: float = 0.0, start_ns: int = START_NS):
        self.sink, self.frame, self.poses = sink, frame, poses
        self.rng = np.random.default_rng(seed)
        self.fix_std, self.scale, self.drift = fix_std, scale, drift
        self.start_ns, self.at = start_ns, 0
        self.odometry = Pose2(5.0, -3.0, 2.0)
        self.bias = self.rng.normal(0, 0.9 * fix_std, 2)
        self.on_step: Callable[[int, Pose2], object] = lambda ns, truth: None

    @property
    def now_ns(self) -> int:
        return self.start_ns + self.at * STEP_NS

    @property
    def truth(self) -> Pose2:
        return Pose2(*self.poses[self.at])

    def truth_at(self, ns: int) -> Pose2:
        return Pose2(*self.poses[(ns - self.start_ns) // STEP_NS])

    def send_fix(self):
        off = self.bias + self.rng.normal(0, 0.4 * self.fix_std, 2)
        latitude, longitude = self.frame.to_degrees(np.array(self.truth[:2]) + off)
        self.sink.fix(self.now_ns, float(latitude), float(longitude), max(self.fix_std, 0.5))

    def drive(self, seconds: float, fixes: bool = True):
        """Drive on."""
        for _ in range(round(seconds * 10)):
            before = self.truth
            self.at += 1
            step = before.relative(self.truth)
            length = math.hypot(step.x, step.y)
            self.odometry = self.odometry.then(Pose2(step.x * (1 + self.scale), step.y * (1 + self.scale),
                                                     step.yaw + self.drift * length))
            self.bias = self.bias * math.exp(-0.001) + self.rng.normal(0, 0.9 * self.fix_std * math.sqrt(0.002), 2)
            self.sink.odometry(self.now_ns, self.odometry)
            if fixes and self.at % 10 == 0:
                self.send_fix()
            self.on_step(self.now_ns, self.truth)


def street(start: float = -380.0, stop: float = 390.0, speed: float = 10.0) -> np.ndarray:
    """(N, 3) east along y = 0, at a speed in m/s."""
    x = np.arange(start, stop, speed * 0.1)
    return np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])


def write_block(path, datum: tuple[float, float] = FRAME, oneway: tuple[int, ...] = ()):
    """A file with streets every 200 m, 5 x 5, around a datum. oneway: numbers of those east to west that are."""
    frame = LocalFrame(*datum)
    features = []
    at = np.arange(-400.0, 401.0, 200.0)
    for k in range(-2, 3):
        along, across = at, np.full(len(at), 200.0 * k)
        for name, line in ((f'street {k}', (along, across)), (f'avenue {k}', (across, along))):
            latitudes, longitudes = frame.to_degrees(np.stack(line, axis=1))
            tags = {'highway': 'residential', 'name': name}
            if name.startswith('street') and k in oneway:
                tags['oneway'] = 'yes'
            places = np.stack([longitudes, latitudes], axis=1).tolist()
            features.append({'type': 'Feature', 'properties': tags,
                             'geometry': {'type': 'LineString', 'coordinates': places}})
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    return path
