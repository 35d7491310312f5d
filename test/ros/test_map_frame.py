# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The transform from odometry to the map image: a point of the map lands where the LiDAR says it belongs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from support.node_kit import T0, Graph, map_image, odometry, wait_until  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.contracts import MapAlignment, Motion  # noqa: E402
from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.messages.encode_map_frame import map_frame  # noqa: E402

FOUND = MapAlignment(1.0, -2.0, math.radians(10.0), (0.1, 0.1, 0.01))


def pose(x: float, y: float, degrees: float) -> np.ndarray:
    T = np.eye(4)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    T[:2] = [[c, -s, 0, x], [s, c, 0, y]]
    return T


def test_without_a_correction_the_map_image_is_where_the_vehicle_was_when_it_was_drawn():
    then, now = pose(5.0, 2.0, 30.0), pose(9.0, 4.0, 45.0)
    exact = MapAlignment(0.0, 0.0, 0.0, (0.1, 0.1, 0.01))
    assert map_frame(Motion(np.eye(4), now, then), exact) == pytest.approx(then)
    in_map = pose(-3.0, 7.0, 80.0)  # of a map with a frame of its own
    found = map_frame(Motion(np.eye(4), now, None, in_map), exact)
    assert found @ in_map == pytest.approx(now)


@pytest.mark.parametrize('placed', [False, True])
def test_a_point_of_the_map_lands_where_the_lidar_says(placed):
    then, now, in_map = pose(5.0, 2.0, 30.0), pose(9.0, 4.0, 45.0), pose(-3.0, 7.0, 80.0)
    drawn = np.array([12.0, 3.0, 0.0, 1.0])  # in the frame of the map
    motion = Motion(np.eye(4), now, None, in_map) if placed else Motion(np.eye(4), now, then)
    claimed = np.linalg.inv(in_map if placed else np.linalg.inv(then) @ now) @ drawn  # in base_link, at the sweep
    c, s = math.cos(FOUND.dyaw), math.sin(FOUND.dyaw)
    belongs = np.array([c * claimed[0] - s * claimed[1] + 1.0, s * claimed[0] + c * claimed[1] - 2.0, 0.0, 1.0])
    assert map_frame(motion, FOUND) @ drawn == pytest.approx(now @ belongs)


def test_nobody_knows_where_without_odometry():
    assert map_frame(Motion(np.eye(4)), FOUND) is None
    assert map_frame(Motion(np.eye(4), pose(1.0, 0.0, 0.0)), FOUND) is None


class Registered(FusionPipeline):
    """Random weights register nothing: the correction is given."""

    fits = 1.0

    def run(self, *arguments, **options):
        return replace(super().run(*arguments, **options), alignment=replace(FOUND, fits=Registered.fits))


def test_the_node_publishes_it_by_choice():
    graph = Graph({'frames.map_image': 'map_image'}, create_pipeline=Registered)
    try:
        graph.subscribe('/tf', TFMessage)
        for seconds, x in ((9.9, 0.0), (10.0, 1.0), (10.1, 2.0)):
            graph.take(odometry(seconds, x))
        graph.take(map_image(10.0))
        Registered.fits = 0.2
        graph.sweep(10.05)
        Registered.fits = 1.0
        graph.sweep(10.1)
        wait_until(lambda: graph.received['/tf'], 'the transform')
        transform, = graph.received['/tf'][0].transforms
        assert (transform.header.frame_id, transform.child_frame_id) == ('odom', 'map_image')
        stamp = transform.header.stamp
        assert stamp.sec + stamp.nanosec / 1e9 == pytest.approx(T0 + 10.1)  # not the sweep that the map did not fit
        c, s = math.cos(FOUND.dyaw), math.sin(FOUND.dyaw)
        t = transform.transform.translation  # 1 m behind the vehicle, turned and shifted, seen from x = 2 m
        assert (t.x, t.y) == pytest.approx((2.0 + 1.0 - c, -2.0 - s), abs=1e-6)
    finally:
        graph.close()


def test_without_the_name_nothing_is_said_on_tf():
    graph = Graph({}, create_pipeline=Registered)
    try:
        assert '/tf' not in [publisher.topic_name for publisher in graph.node.publications.all()]
    finally:
        graph.close()
