# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which map image, odometry and transform go with a sweep: by stamps alone, for node and replay alike."""

from __future__ import annotations

import numpy as np
import pytest
from support.sync_kit import at, image, odometry, transforms

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.decode import decode_odometry, decode_static_transforms, decode_transforms
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.sync.stamped_buffer import StampedBuffer
from attention_fusion_ros.sync.synchronizer import Synchronizer


def synchronizer(**parameters) -> Synchronizer:
    return Synchronizer(from_flat({'use_tf': False, **parameters}))


def test_motion_since_the_map_image():
    p = synchronizer()
    for i in range(6):
        p.add_odometry(decode_odometry(odometry(0.1 * i, x=1.0 * i)))
    p.add_map_image(image(0.1))
    paired = p.match(at(0.45), 'lidar')
    assert paired.map_image.stamp_ns == at(0.1) and paired.map_reason == ''
    assert paired.motion.T_odom_base[0, 3] == pytest.approx(4.5)
    assert paired.motion.T_odom_base_map[0, 3] == pytest.approx(1.0)


def test_pairing_does_not_depend_on_the_order_of_arrival():
    """The node hears the topics in any order, replay in the order of the recording."""
    events = [('odometry', 0.0), ('map', 0.05), ('odometry', 0.1), ('map', 0.15), ('odometry', 0.2)]
    results = []
    for order in (events, events[::-1], events[2:] + events[:2]):
        p = synchronizer()
        for kind, seconds in order:
            if kind == 'map':
                p.add_map_image(image(seconds))
            else:
                p.add_odometry(decode_odometry(odometry(seconds, x=10 * seconds)))
        results.append(p.match(at(0.17), 'lidar'))
    for other in results[1:]:
        assert other.map_image.stamp_ns == results[0].map_image.stamp_ns == at(0.15)
        assert other.motion.T_odom_base == pytest.approx(results[0].motion.T_odom_base, abs=1e-12)
        assert other.motion.T_odom_base_map == pytest.approx(results[0].motion.T_odom_base_map, abs=1e-12)


def test_without_odometry():
    p = synchronizer()
    p.add_map_image(image(0.0))
    paired = p.match(at(0.1), 'lidar')
    assert paired.map_image is not None and paired.motion.T_odom_base is None
    p = synchronizer(**{'map.orientation': 'north_up'})
    p.add_map_image(image(0.0))
    paired = p.match(at(0.1), 'lidar')
    assert paired.map_image is None and paired.map_reason == 'north_up_without_odometry'


def test_a_map_image_from_before_odometry_began_is_not_used():
    p = synchronizer()
    p.add_map_image(image(0.0))
    p.add_odometry(decode_odometry(odometry(2.0)))
    paired = p.match(at(2.0), 'lidar')
    assert paired.map_image is None and paired.map_reason == 'no_odometry_at_map_stamp'


@pytest.mark.parametrize('child, plausible', [('imu', False), ('odom', False), ('gnss_antenna', False),
                                              ('base_footprint', True), ('ego_vehicle', True), ('car/Body', True)])
def test_the_vehicle_frame_is_changed_for_odometry_only_where_its_frame_may_be_that(child, plausible):
    with pytest.raises(InputError) as caught:
        Synchronizer(from_flat({})).add_odometry(decode_odometry(odometry(0.0, child=child)))
    assert (f"set frames.base to '{child}'" in caught.value.remedy) == plausible == ('frames' in caught.value.remedy)


def test_odometry_of_another_frame_is_carried_over_by_the_transform():
    p = Synchronizer(from_flat({}))
    with pytest.raises(InputError) as caught:
        p.add_odometry(decode_odometry(odometry(0.0, child='imu')))
    assert caught.value.reason == 'odometry_frame'
    assert 'publish the transform' in caught.value.remedy and 'child_frame_id' in caught.value.remedy
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'imu', 2.0), ('base_link', 'lidar', 1.0))))
    p.add_odometry(decode_odometry(odometry(0.0, x=10.0, child='imu')))
    p.add_odometry(decode_odometry(odometry(0.0, x=10.0, child='imu')))
    paired = p.match(at(0.0), 'lidar')
    assert paired.motion.T_odom_base[0, 3] == pytest.approx(8.0)
    assert paired.motion.T_base_sensor[0, 3] == pytest.approx(1.0)


def test_odometry_that_came_before_its_transform_counts_as_soon_as_that_is_there():
    told = []
    p = Synchronizer(from_flat({}), on_base_pose=lambda stamp_ns, T: told.append((stamp_ns, T[0, 3])))
    for i in range(3):
        with pytest.raises(InputError):
            p.add_odometry(decode_odometry(odometry(0.1 * i, x=1.0 * i, child='imu')))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0))))
    assert told == []
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'imu', 2.0))))
    assert told == [(at(0.1 * i), pytest.approx(i - 2.0)) for i in range(3)]
    assert p.match(at(0.15), 'lidar').motion.T_odom_base[0, 3] == pytest.approx(-0.5)


def test_odometry_of_a_frame_some_links_away():
    p = Synchronizer(from_flat({}))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'roof', 1.0), ('/roof', '/lidar', 1.0),
                                                         ('lidar', 'imu', 0.5))))
    p.add_odometry(decode_odometry(odometry(0.0, x=10.0, child='/imu')))
    assert p.match(at(0.0), '/lidar').motion.T_odom_base[0, 3] == pytest.approx(7.5)


def on_tf(p: Synchronizer, *seconds: float, child: str = 'base_link') -> None:
    for second in seconds:
        p.add_transforms(decode_transforms(transforms(('odom', child, 10.0 * second), seconds=second)))


@pytest.mark.parametrize('child', ['base_link', 'base_footprint'])
def test_without_odometry_messages_the_vehicle_is_where_tf_says(child):
    p = Synchronizer(from_flat({}))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0))))
    if child != 'base_link':
        p.add_transforms(decode_static_transforms(transforms((child, 'base_link', 0.0))))
    on_tf(p, 0.0, 0.1, 0.2, 0.3, child=child)
    p.add_map_image(image(0.15))
    paired = p.match(at(0.35), 'lidar')
    assert paired.motion.T_odom_base[0, 3] == pytest.approx(3.5) and paired.odometry_reason == ''
    assert paired.motion.T_odom_base_map[0, 3] == pytest.approx(1.5)
    assert paired.odometry_extrapolation_s == pytest.approx(0.05) and p.needs_dynamic_transforms('lidar')
    assert p.match(at(0.9), 'lidar').odometry_reason == 'odometry_too_old'


def test_odometry_messages_go_before_tf_and_what_is_remembered_does_not_mix():
    p = Synchronizer(from_flat({}))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0))))
    first = p.match(at(-0.1), 'lidar')
    on_tf(p, 0.0, 0.1)
    by_tf = p.match(at(0.1), 'lidar')
    p.add_odometry(decode_odometry(odometry(0.2, x=-5.0)))
    by_message = p.match(at(0.2), 'lidar')
    assert first.odometry_reason == 'no_odometry' and by_tf.motion.T_odom_base[0, 3] == pytest.approx(1.0)
    assert by_message.motion.T_odom_base[0, 3] == pytest.approx(-5.0)
    assert first.epoch < by_tf.epoch < by_message.epoch


@pytest.mark.parametrize('parameters, static', [({}, True), ({'frames.odom': ''}, False),
                                                ({'frames.odom': 'world'}, False)])
def test_a_placeholder_on_tf_and_another_frame_are_no_odometry(parameters, static):
    p = Synchronizer(from_flat(parameters))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0))))
    decode = decode_static_transforms if static else decode_transforms
    p.add_transforms(decode(transforms(('odom', 'base_link', 0.0), seconds=0.0)))
    assert p.match(at(0.1), 'lidar').odometry_reason == 'no_odometry'


@pytest.mark.parametrize('stamps, reason', [([], 'no_odometry'), ([-3.0], 'odometry_too_old'),
                                            ([0.1, 5.0], 'odometry_from_future'), ([-3.0, 5.0], 'odometry_too_old'),
                                            ([-0.1], '')])
def test_why_a_sweep_has_no_odometry(stamps, reason):
    p = synchronizer(**{'odometry.history': 20.0})
    for seconds in stamps:
        p.add_odometry(decode_odometry(odometry(seconds)))
    paired = p.match(at(0.0), 'lidar')
    assert paired.odometry_reason == reason and (paired.motion.T_odom_base is None) == bool(reason)


@pytest.mark.parametrize('angle, reason', [(0.0, ''), (10.0, 'north_up_not_level'), (90.0, 'north_up_not_level'),
                                           (180.0, 'north_up_not_level')])
def test_a_north_up_map_refuses_the_frame_of_a_tilted_lidar(angle, reason):
    """LiDAR odometry starts as the frame of its sensor."""
    roll = (np.sin(np.radians(angle) / 2), 0.0, 0.0, np.cos(np.radians(angle) / 2))
    p = Synchronizer(from_flat({'map.orientation': 'north_up'}))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0, roll))))
    p.add_odometry(decode_odometry(odometry(0.0, child='lidar')))
    p.add_map_image(image(0.0))
    assert p.match(at(0.0), 'lidar').map_reason == reason


def test_a_north_up_map_takes_level_odometry_of_a_tilted_lidar():
    roll = (np.sin(0.2), 0.0, 0.0, np.cos(0.2))
    p = Synchronizer(from_flat({'map.orientation': 'north_up'}))
    p.add_transforms(decode_static_transforms(transforms(('base_link', 'lidar', 1.0, roll))))
    p.add_odometry(decode_odometry(odometry(0.0, child='lidar', quaternion=roll)))
    p.add_map_image(image(0.0))
    assert p.match(at(0.0), 'lidar').map_reason == ''


def test_how_long_a_transform_holds_can_change():
    p = Synchronizer(from_flat({}))
    p.add_transforms(decode_transforms(transforms(('base_link', 'lidar', 1.0), seconds=0.0)))
    assert p.has_transform('lidar', at(8.0)) and not p.has_transform('lidar', at(12.0))
    p.update(from_flat({'tf_max_age': 100.0}))
    assert p.has_transform('lidar', at(99.0))


def test_the_sensor_pose_must_be_rigid():
    mirror = np.diag([1.0, 1.0, -1.0, 1.0]).ravel().tolist()
    with pytest.raises(ConfigurationError, match='T_base_sensor'):
        synchronizer(T_base_sensor=mirror)


def test_a_clock_set_back_forgets_what_is_later():
    p = synchronizer()
    p.add_map_image(image(50.0))
    p.add_odometry(decode_odometry(odometry(50.0)))
    assert p.match(at(50.0), 'lidar').motion.T_odom_base is not None
    p.on_time_jump(at(0.0))
    assert p.match(at(0.1), 'lidar').map_reason == 'no_map' and p.age_s('odometry', at(0.1)) is None
    assert p.match(at(50.0), 'lidar').motion.T_odom_base is None


def test_a_clock_set_back_forgets_later_transforms_and_further_inputs():
    p = Synchronizer(from_flat({}), {'gnss': StampedBuffer('gnss', max_age_s=1.0)})
    p.add_transforms(decode_transforms(transforms(('base_link', 'lidar', 1.0), seconds=50.0)))
    p.add('gnss', image(50.0))
    assert p.has_transform('lidar', at(50.0)) and p.match(at(50.0), 'lidar').companions.keys() == {'gnss'}
    p.on_time_jump(at(0.0))
    assert not p.has_transform('lidar', at(50.0)) and p.age_s('gnss', at(50.0)) is None


def test_the_age_of_odometry_can_change():
    p = synchronizer()
    p.add_odometry(decode_odometry(odometry(0.0)))
    assert p.match(at(0.2), 'lidar').motion.T_odom_base is not None
    p.update(from_flat({'use_tf': False, 'odometry.max_age': 0.1}))
    assert p.match(at(0.2), 'lidar').motion.T_odom_base is None


@pytest.mark.parametrize('later', [False, True])
def test_odometry_later_than_the_sweep_does_not_say_where_a_later_map_image_was_taken(later):
    """Else the result would depend on how long the sweep has waited."""
    p = synchronizer(**{'map.max_future': 0.1})
    for seconds, x in ((0.0, 0.0), (0.1, 1.0), (0.2, 5.0))[:3 if later else 2]:
        p.add_odometry(decode_odometry(odometry(seconds, x=x)))
    p.add_map_image(image(0.15))
    assert p.match(at(0.1), 'lidar').motion.T_odom_base_map[0, 3] == pytest.approx(1.5)
