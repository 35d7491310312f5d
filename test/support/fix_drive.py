# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of a drive along roads of a GeoJSON file, with fixes and odometry and whatever is wrong with them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from attention_fusion_ros.commands import draw_map
from attention_fusion_ros.geometry import se3_from_quaternion
from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.stream.recording import Recording
from support import synthetic_bag as bag
from support.map_kit import FRAME

S = 1_000_000_000
SMALL = ('--resolution', '0.5', '--size', '200', '200')
FIX_TYPE, IMU_TYPE = 'sensor_msgs/msg/NavSatFix', 'sensor_msgs/msg/Imu'
TYPES = {'/fix': FIX_TYPE, '/imu': IMU_TYPE, '/tf': 'tf2_msgs/msg/TFMessage'}
ANTENNA = (-0.5, 0.3)  # m in base_link
LINES = {'First Street': [(-200, 0), (0, 0), (300, 0)], 'Side Street': [(300, 0), (300, 200)],
         'Straight On': [(300, 0), (700, 0)], 'Side Lane': [(100, 0), (100, -150)]}


def roads_file(folder: Path, datum: tuple[float, float] = FRAME) -> Path:
    """The roads around a datum."""
    frame = LocalFrame(*datum)
    features = []
    for name, line in LINES.items():
        latitudes, longitudes = frame.to_degrees(np.array(line, float))
        features.append({'type': 'Feature', 'properties': {'highway': 'residential', 'name': name},
                         'geometry': {'type': 'LineString', 'coordinates': [
                             [round(lon, 9), round(lat, 9)] for lon, lat in zip(longitudes, latitudes)]}})
    file = folder / 'roads.geojson'
    file.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    return file


def pose(x: float, y: float, yaw: float) -> np.ndarray:
    """(4, 4)."""
    return se3_from_quaternion((x, y, 0.0), (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))


def along(seconds: float = 30.0, speed: float = 10.0) -> np.ndarray:
    """(N, 3) true poses, 10 Hz: along First Street, then left into Side Street."""
    corner = np.array([(0.0, 0.0), (290.0, 0.0), (297.0, 3.0), (300.0, 10.0), (300.0, 200.0)])
    s = np.append(0.0, np.cumsum(np.hypot(*np.diff(corner, axis=0).T)))
    at = np.arange(0.0, speed * seconds, 0.1 * speed)
    xy = np.stack([np.interp(at, s, corner[:, 0]), np.interp(at, s, corner[:, 1])], axis=1)
    d = np.gradient(np.stack([np.convolve(np.pad(c, 3, 'edge'), np.ones(7) / 7, 'valid') for c in xy.T], 1), axis=0)
    return np.column_stack([xy, np.unwrap(np.arctan2(d[:, 1], d[:, 0]))])


def fix(stamp: int, place, frame: LocalFrame, std: float = 1.0, status: int = 0):
    """A fix of a place (2,) m."""
    latitude, longitude = (float(v) for v in frame.to_degrees(np.asarray(place, float)))
    return bag.T[FIX_TYPE](bag.header(stamp, 'gnss'), bag.T['sensor_msgs/msg/NavSatStatus'](status, 1), latitude,
                           longitude, 200.0, np.diag([std**2, std**2, 9.0]).ravel(), 2)


def events(poses: np.ndarray, start: int = bag.T0, datum: tuple[float, float] = FRAME, std: float = 1.0,
           without_fix: tuple[float, float] = (1e9, 1e9), sweeps_every: int = 10, seed: int = 0,
           recorded: int | None = None) -> list[tuple[int, str, object]]:
    """(recorded at, topic, message): odometry 10 Hz in a frame of its own, fixes 1 Hz, a few sweeps.

    without_fix: from and to, s. recorded: when the first message was recorded, if not at `start`.
    """
    rng, frame = np.random.default_rng(seed), LocalFrame(*datum)
    late = 0 if recorded is None else recorded - start
    T_odom_map = pose(40.0, -70.0, 2.0)
    found = [(start, '/tf_static', bag.static_transform(start)),
             (start, '/tf_static', bag.transform_message(start, 'base_link', 'gnss', pose(*ANTENNA, 0.0)))]
    for k, (x, y, yaw) in enumerate(poses):
        stamp = start + k * S // 10
        found.append((stamp, '/odom', bag.odometry_of(stamp, T_odom_map @ pose(x, y, yaw))))
        if k % 10 == 0 and not without_fix[0] <= k / 10 < without_fix[1]:
            c, s = math.cos(yaw), math.sin(yaw)
            antenna = (x + c * ANTENNA[0] - s * ANTENNA[1], y + s * ANTENNA[0] + c * ANTENNA[1])
            found.append((stamp, '/fix', fix(stamp, antenna + rng.normal(0, 0.2 * std, 2), frame, std)))
        if k % sweeps_every == 5:
            found.append((stamp, '/lidar/points', bag.cloud(stamp, bag.street(k, 500))))
    return [(recorded_at + late, topic, message) for recorded_at, topic, message in found]


def write(path: Path, of: list | None = None, storage: str = 'mcap') -> Path:
    """A recording."""
    return bag.write(path, events(along()) if of is None else of, storage, TYPES)


def draw(recording: Path, out: Path, *options: str, roads: Path | None = None) -> int:
    roads = roads or next(f for f in (recording.parent / 'roads.geojson', out.parent / 'roads.geojson') if f.exists())
    return draw_map.main([str(recording), '--osm', str(roads), '--out', str(out), *SMALL, *options])


def read(path: Path, *topics: str) -> list[tuple[int, str, bytes]]:
    with Recording(path) as recording:
        return [(raw.stamp_ns, raw.topic, raw.data) for raw in recording.raw_messages(list(topics or recording.topics))]


def images(path: Path, topic: str = '/map_image') -> list:
    with Recording(path) as recording:
        return [recording.decode(raw) for raw in recording.raw_messages([topic])]


def pixels(message) -> np.ndarray:
    return np.asarray(message.data).reshape(message.height, message.width, 3)


def stamp_ns(message) -> int:
    return message.header.stamp.sec * S + message.header.stamp.nanosec
