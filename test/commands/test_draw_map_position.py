# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`draw_map`: from what recordings tell where the vehicle was."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import fix_drive
from support import synthetic_bag as bag
from support.fix_drive import S, draw, images, pixels, stamp_ns
from support.map_kit import FRAME

from attention_fusion_ros.decode import decode_map_image
from attention_fusion_ros.maps.frames import LocalFrame, Utm

pytest.importorskip('pyproj', reason='needs pyproj')


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))


def without(topic: str, events: list) -> list:
    return [event for event in events if event[1] != topic]


@pytest.mark.parametrize('grid', ['enu', 'utm'])
def test_odometry_that_is_fixed_to_the_earth(tmp_path, grid):
    roads = fix_drive.roads_file(tmp_path)
    frame, utm = LocalFrame(*FRAME), Utm(32)
    events = []
    for stamp, topic, message in without('/fix', fix_drive.events(fix_drive.along(8.0))):
        if topic == '/odom':
            x, y, yaw = fix_drive.along(8.0)[(stamp - bag.T0) * 10 // S]
            if grid == 'utm':
                latitude, longitude = (float(v) for v in frame.to_degrees(np.array([x, y])))
                x, y = utm.to_metres(latitude, longitude)
                yaw += utm.convergence(latitude, longitude)
            message = bag.odometry_of(stamp, fix_drive.pose(float(x), float(y), float(yaw)))
        events.append((stamp, topic, message))
    fix_drive.write(tmp_path / 'drive', events)
    assert draw(tmp_path / 'drive', tmp_path / 'refused', roads=roads) == 2, 'nobody says where on earth that is'
    options = ['--datum', '{}, {}'.format(*FRAME)] if grid == 'enu' else ['--utm-zone', '32N']
    assert draw(tmp_path / 'drive', tmp_path / 'out', *options, roads=roads) == 0
    found = images(tmp_path / 'out')
    assert stamp_ns(found[0]) == bag.T0, 'from the first message on'
    road = decode_map_image(found[30]).road
    assert road[:, 98:102].min() == 1.0 and road[:, :90].max() == 0.0, 'straight through the middle'


@pytest.mark.parametrize('how', ['tf', 'imu'])
def test_recordings_without_odometry_messages(tmp_path, how):
    fix_drive.roads_file(tmp_path)
    poses = fix_drive.along(8.0)
    events = without('/odom', fix_drive.events(poses))
    zero = bag.T['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0)
    for k, (x, y, yaw) in enumerate(poses.tolist()):
        stamp = bag.T0 + k * S // 10
        if how == 'tf':
            T = fix_drive.pose(40.0, -70.0, 2.0) @ fix_drive.pose(x, y, yaw)
            events.append((stamp, '/tf', bag.transform_message(stamp, 'odom', 'base_link', T)))
        else:
            q = bag.T['geometry_msgs/msg/Quaternion'](0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
            events.append((stamp, '/imu', bag.T[fix_drive.IMU_TYPE](
                bag.header(stamp, 'base_link'), q, 4e-4 * np.eye(3).ravel(), zero, np.zeros(9), zero, np.zeros(9))))
    fix_drive.write(tmp_path / 'drive', sorted(events, key=lambda event: event[0]))
    assert draw(tmp_path / 'drive', tmp_path / 'out', *(['--imu', '/imu'] if how == 'imu' else [])) == 0
    found = images(tmp_path / 'out')
    assert len(found) >= (40 if how == 'tf' else 6), 'with every pose, or with every fix'
    assert decode_map_image(found[-1]).road[80:120, 98:102].min() == 1.0, 'on the road'


def test_odometry_of_a_frame_that_lies_on_its_side(tmp_path):
    """LiDAR odometry that starts as the frame of a sensor whose z axis points ahead."""
    fix_drive.roads_file(tmp_path)
    T_side = np.array([[0.0, -1.0, 0.0, 4.0], [0.0, 0.0, -1.0, 2.0], [1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    events = fix_drive.events(fix_drive.along(10.0))
    fix_drive.write(tmp_path / 'level', events)
    fix_drive.write(tmp_path / 'side', [
        (s, t, bag.odometry_of(s, T_side @ matrix(m)) if t == '/odom' else m) for s, t, m in events])
    assert draw(tmp_path / 'level', tmp_path / 'a') == draw(tmp_path / 'side', tmp_path / 'b') == 0
    a, b = images(tmp_path / 'a'), images(tmp_path / 'b')
    assert [stamp_ns(m) for m in a] == [stamp_ns(m) for m in b]
    assert min(np.mean(pixels(m) == pixels(n)) for m, n in zip(a, b)) > 0.99


def matrix(message) -> np.ndarray:
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return bag.se3_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
