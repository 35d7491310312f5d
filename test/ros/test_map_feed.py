# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages -> map source: sensors that are mounted somewhere, frames that lie somewhere. No graph is needed."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from support.map_kit import FRAME, START_NS  # noqa: E402
from support.map_node_kit import fix_message, goal_message, imu_message, path_message  # noqa: E402
from support.vehicle_kit import street, write_block  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.config import from_flat  # noqa: E402
from attention_fusion_ros.errors import InputError  # noqa: E402
from attention_fusion_ros.geometry import inverse, quaternion_from_rotation, wrap  # noqa: E402
from attention_fusion_ros.maps.config import MapSourceConfig  # noqa: E402
from attention_fusion_ros.maps.frames import LocalFrame  # noqa: E402
from attention_fusion_ros.maps.odometry_track import Pose2  # noqa: E402
from attention_fusion_ros.maps.source import MapSource  # noqa: E402
from attention_fusion_ros.ros.map_source import inputs  # noqa: E402
from attention_fusion_ros.ros.map_source.feed import Feed, matrix  # noqa: E402
from attention_fusion_ros.ros.messages import sensors  # noqa: E402

LOCAL = LocalFrame(*FRAME)


@pytest.fixture(scope='module')
def block(tmp_path_factory):
    folder = tmp_path_factory.mktemp('block')
    return {'file': str(write_block(folder / 'block.geojson')), 'cache': str(folder / 'cache'),
            'datum': f'{FRAME[0]}, {FRAME[1]}'}


class Fed:
    """A map source, and a feed that is given messages by the name of their input."""

    def __init__(self, parameters):
        config = from_flat(parameters, MapSourceConfig)
        self.source = MapSource.from_file(config)
        self.feed = Feed(self.source, config)

    def take(self, name: str, message, transport: int = 0):
        spec = next(s for s in inputs.MAP_INPUTS if s.name == name)
        return self.feed.take(spec, spec.transports[transport], message)

    def mount(self, child: str, x: float, yaw: float = 0.0, parent: str = 'base_link'):
        self.take(inputs.TF, TFMessage(transforms=[
            sensors.transform((x, 0.0, 1.5), yaw, sensors.header(0, parent), child)]))

    def fix(self, seconds: float, x: float, y: float, frame: str = ''):
        latitude, longitude = LOCAL.to_degrees(np.array([x, y]))
        return self.take(inputs.FIX, fix_message(at(seconds), float(latitude), float(longitude), 0.3, frame=frame))

    def odometry(self, seconds: float, pose, child: str = 'base_link'):
        return self.take(inputs.ODOMETRY, sensors.odometry(pose, sensors.header(at(seconds), 'odom'), child))

    def imu(self, seconds: float, yaw: float, frame: str = ''):
        return self.take(inputs.IMU, imu_message(at(seconds), yaw, 0.005, frame))

    @property
    def pose(self) -> Pose2:
        return self.source.estimate().pose


def at(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


def started(parameters, yaw: float = 0.0, **values) -> Fed:
    """At the datum, heading `yaw`; odometry says the same."""
    fed = Fed({**parameters, **values})
    fed.imu(0.0, yaw)
    fed.odometry(0.0, (0.0, 0.0, yaw))
    fed.fix(0.0, 0.0, 0.0)
    fed.odometry(0.1, (0.0, 0.0, yaw))
    fed.imu(0.1, yaw)
    return fed


def test_the_antenna_is_where_tf_says_else_where_the_parameter_says(block):
    for parameters, frame in (({}, 'mast'), ({'position.antenna': [-3.0, 0.0]}, 'unknown')):
        fed = Fed({**block, **parameters})
        fed.mount('mast', -3.0)
        fed.imu(0.0, math.pi / 2)
        fed.odometry(0.0, (0.0, 0.0, 0.0))
        fed.fix(0.0, 10.0, 7.0, frame)  # the vehicle heads north, the antenna is behind
        fed.odometry(0.1, (0.0, 0.0, 0.0))
        assert fed.pose[:2] == pytest.approx((10.0, 10.0), abs=0.1)


def test_an_imu_may_be_mounted_any_way_round(block):
    fed = Fed({**block, 'position.imu_yaw': math.radians(10.0)})
    fed.mount('imu', 0.5, math.pi / 2)
    fed.odometry(0.0, (0.0, 0.0, 0.0))
    fed.fix(0.0, 0.0, 0.0)
    fed.imu(0.0, math.radians(120.0), 'imu')  # turned by 90 degrees against the vehicle; 10 more by parameter
    assert math.degrees(fed.pose.yaw) == pytest.approx(40.0, abs=1.0)


def test_odometry_of_another_frame_of_the_vehicle_is_moved(block):
    fed = Fed(block)
    with pytest.raises(InputError) as error:
        fed.odometry(0.0, (0.0, 0.0, 0.0), 'rear_axle')
    assert error.value.reason == 'transform_missing'
    fed.mount('rear_axle', -2.0)
    fed.imu(0.0, 0.0)
    fed.odometry(0.0, (0.0, 0.0, 0.0), 'rear_axle')
    fed.fix(0.0, 0.0, 0.0)
    fed.imu(0.0, 0.0)
    # Turning on the spot about the rear axle by 90 degrees moves base_link from 2 m ahead to 2 m left.
    fed.odometry(0.1, (0.0, 0.0, math.pi / 2), 'rear_axle')
    assert fed.pose == pytest.approx((-2.0, 2.0, math.pi / 2), abs=0.1)


def on_its_side(x: float, y: float, yaw: float) -> np.ndarray:
    """T_odom_base of LiDAR odometry whose frame is that of a camera: z ahead, x right, y down."""
    R = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    T = np.eye(4)
    T[:3, :3] = R
    return T @ matrix(x, y, yaw)


def test_a_frame_of_odometry_that_lies_on_its_side_makes_no_difference(block):
    fed = Fed({**block, 'publish_tf': True})

    def odometry(seconds: float, pose):
        T = on_its_side(*pose)
        message = sensors.odometry((0.0, 0.0, 0.0), sensors.header(at(seconds), 'odom'))
        p, q = message.pose.pose.position, message.pose.pose.orientation
        p.x, p.y, p.z = map(float, T[:3, 3])
        q.x, q.y, q.z, q.w = quaternion_from_rotation(T[:3, :3])
        fed.take(inputs.ODOMETRY, message)
        return T

    for k, (x, y, yaw) in enumerate(street(-100.0, 100.0)[:60]):
        T = odometry(0.1 * k, (x + 100.0, y, yaw))
        if k % 10 == 0:
            fed.fix(0.1 * k, x, y)
    x = street(-100.0, 100.0)[59][0]
    assert fed.pose[:2] == pytest.approx((x, 0.0), abs=0.5) and abs(wrap(fed.pose.yaw)) < math.radians(3.0)
    T_map_base = fed.feed.odom_in_map(at(5.9)) @ T  # what whoever looks it up on tf gets
    assert T_map_base[:2, 3] == pytest.approx(fed.pose[:2], abs=1e-6)
    assert T_map_base[2, 2] == pytest.approx(1.0)


@pytest.mark.parametrize('frame, x, y', [
    ('map', 100.0, 0.0), ('', 100.0, 0.0), ('base_link', 0.0, -100.0), ('odom', 100.0, 0.0), ('mast', 3.0, -100.0),
    ('/map', 100.0, 0.0)])
def test_goals_may_be_given_in_any_frame(block, frame, x, y):
    fed = started(block, yaw=math.pi / 2)
    fed.mount('mast', -3.0)
    fed.take(inputs.GOAL_POSE, goal_message(x, y, frame))
    fed.source.follow()
    assert fed.source.guide.route.xy[-1] == pytest.approx((100.0, 0.0), abs=1.0)


@pytest.mark.parametrize('frame, points', [
    ('map', [(0.0, 0.0), (0.0, 90.0)]), ('base_link', [(0.0, 0.0), (90.0, 0.0)]), ('wgs84', None)])
def test_paths_may_be_given_in_any_frame(block, frame, points):
    fed = started(block, yaw=math.pi / 2)
    if points is None:
        latitudes, longitudes = LOCAL.to_degrees(np.array([(0.0, 0.0), (0.0, 90.0)]))
        points = list(zip(longitudes.tolist(), latitudes.tolist()))
    fed.take(inputs.PATH, path_message(points, frame))
    assert fed.source.guide.route.xy[-1] == pytest.approx((0.0, 90.0), abs=0.5)
    fed.take(inputs.PATH, path_message([(math.nan, 0.0), (0.0, 0.0), (0.0, 50.0)]))
    assert len(fed.source.guide.route.xy) == 2


def test_goals_before_there_is_a_position_are_named_where_they_need_one(block):
    fed = Fed({**block, 'datum': ''})
    with pytest.raises(InputError) as error:
        fed.take(inputs.GOAL_POSE, goal_message(1.0, 2.0))
    assert error.value.reason == 'no_position'
    latitude, longitude = LOCAL.to_degrees(np.array([100.0, 0.0]))
    fed.take(inputs.GOAL_POSE, goal_message(float(longitude), float(latitude), 'wgs84'))  # needs none
    assert fed.source.guide.guidance.state == 'waiting'


def test_images_are_drawn_for_odometry_and_for_fixes_where_there_is_none(block):
    fed = started(block)
    assert fed.odometry(0.2, (0.0, 0.0, 0.0)) == at(0.2)
    assert fed.fix(0.3, 0.0, 0.0) is None
    assert fed.fix(9.0, 0.0, 0.0) == at(9.0)


def test_tf_of_a_moving_mount_is_no_odometry(block):
    """Only what lies between odometry and the vehicle frame says how the vehicle moves."""
    fed = Fed(block)
    arm = sensors.transform((1.0, 0.0, 0.0), 0.1, sensors.header(at(0.0), 'base_link'), 'arm')
    assert fed.take(inputs.TF, TFMessage(transforms=[arm]), 1) is None
    base = sensors.transform((1.0, 0.0, 0.0), 0.1, sensors.header(at(0.0), 'odom'), 'base_link')
    assert fed.take(inputs.TF, TFMessage(transforms=[base, arm]), 1) == at(0.0)
    assert fed.feed.needs_moving_transforms
    fed.odometry(0.1, (0.0, 0.0, 0.0))
    assert not fed.feed.needs_moving_transforms


def test_the_pose_on_tf_may_go_through_other_frames(block):
    fed = Fed({**block, 'position.source': 'tf', 'frames.earth': 'world'})
    fed.take(inputs.TF, TFMessage(transforms=[
        sensors.transform((100.0, 0.0, 0.0), 0.0, sensors.header(0, 'world'), 'odom')]))
    fed.take(inputs.TF, TFMessage(transforms=[
        sensors.transform((20.0, 5.0, 0.0), 0.3, sensors.header(at(0.0), 'odom'), 'base_link')]), 1)
    assert fed.pose == pytest.approx((120.0, 5.0, 0.3), abs=1e-6)
    assert (inverse(matrix(100.0, 0.0, 0.0)) @ fed.feed.odom_in_map(at(0.0))) == pytest.approx(np.eye(4), abs=1e-6)
