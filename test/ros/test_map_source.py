# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node `map_source`: images come where the vehicle is, and match what the painter draws."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from support.map_kit import FRAME  # noqa: E402
from support.map_node_kit import (  # noqa: E402
    MapGraph,
    Vehicle,
    pixels,
    stamp_ns,
)

from attention_fusion_ros.maps.frames import LocalFrame  # noqa: E402
from attention_fusion_ros.maps.load import load_roads  # noqa: E402
from attention_fusion_ros.maps.local_roads import LocalRoads  # noqa: E402
from attention_fusion_ros.maps.painter import ImageLayout, MapPainter  # noqa: E402
from attention_fusion_ros.ros.messages.encode import quaternion_from_yaw  # noqa: E402,F401

DATUM = f'{FRAME[0]}, {FRAME[1]}'


@pytest.fixture(scope='session')
def block_file(tmp_path_factory):
    """Streets every 200 m, 5 x 5, around FRAME."""
    frame = LocalFrame(*FRAME)
    features = []
    for k in range(-2, 3):
        for line in ([(x, 200.0 * k) for x in np.arange(-400.0, 401.0, 200.0)],
                     [(200.0 * k, y) for y in np.arange(-400.0, 401.0, 200.0)]):
            latitudes, longitudes = frame.to_degrees(np.array(line))
            features.append({'type': 'Feature', 'properties': {'highway': 'residential', 'name': f'street {k}'},
                             'geometry': {'type': 'LineString', 'coordinates': [
                                 [lon, lat] for lon, lat in zip(longitudes.tolist(), latitudes.tolist())]}})
    path = tmp_path_factory.mktemp('block') / 'block.geojson'
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    return path


@pytest.fixture(scope='session')
def parameters(block_file, tmp_path_factory):
    return {'file': str(block_file), 'cache': str(tmp_path_factory.mktemp('cache')), 'datum': DATUM}


def street(length: float = 390.0, step: float = 1.0) -> np.ndarray:
    """East along y = 0."""
    x = np.arange(-380.0, length, step)
    return np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])


def pose_of(message) -> tuple[float, float, float]:
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return p.x, p.y, 2 * math.atan2(q.z, q.w)


def test_images_come_and_are_what_the_painter_draws(parameters):
    with MapGraph(parameters) as graph:
        graph.subscribe('map_image', 'position')
        vehicle = Vehicle(graph, LocalFrame(*FRAME), street())
        vehicle.drive(8.0)
        image = graph.wait_for('map_image', lambda m: stamp_ns(m) > vehicle.now_ns - 1_000_000_000)
        assert (image.encoding, image.width, image.height, image.header.frame_id) == ('rgb8', 480, 480, 'base_link')
        position = graph.wait_for('position', lambda m: stamp_ns(m) == stamp_ns(image))
        roads = LocalRoads(load_roads(parameters['file'], cache=None), LocalFrame(*FRAME))
        drawn = MapPainter(roads, ImageLayout()).draw(pose_of(position))
        assert np.array_equal(pixels(image), drawn)
        truth = vehicle.poses[(stamp_ns(image) - vehicle.start_ns) // 100_000_000]
        assert np.hypot(*(np.array(pose_of(position)[:2]) - truth[:2])) < 1.0
