# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which map image, odometry and transform go with a sweep: by stamps alone, for node and replay alike."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message

import numpy as np
import pytest

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import MapImage, PointCloud
from attention_fusion_ros.decode.odometry import decode_odometry
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion, yaw_of
from attention_fusion_ros.sync.map_buffer import MapBuffer
from attention_fusion_ros.sync.pose_buffer import PoseBuffer
from attention_fusion_ros.sync.synchronizer import Synchronizer, fuse
from attention_fusion_ros.sync.transform_buffer import TransformBuffer

SECOND = 10**9
T0 = 1_700_000_000 * SECOND


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def pose(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return se3_from_quaternion((x, y, 0.0), quaternion_from_yaw(yaw))


def header(seconds: float, frame: str = 'odom') -> Message:
    stamp = at(seconds)
    return Message(stamp=Message(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id=frame)


def odometry(seconds: float, x: float = 0.0, yaw: float = 0.0, child: str = 'base_link', quaternion=None) -> Message:
    q = quaternion_from_yaw(yaw) if quaternion is None else quaternion
    return Message(header=header(seconds), child_frame_id=child, pose=Message(pose=Message(
        position=Message(x=x, y=0.0, z=0.0), orientation=Message(x=q[0], y=q[1], z=q[2], w=q[3]))))


def transforms(*links, seconds: float = 0.0) -> Message:
    """links: (parent, child, x) or (parent, child, x, quaternion)."""
    items = []
    for parent, child, x, *q in links:
        q = q[0] if q else (0.0, 0.0, 0.0, 1.0)
        items.append(Message(header=header(seconds, parent), child_frame_id=child, transform=Message(
            translation=Message(x=x, y=0.0, z=0.0), rotation=Message(x=q[0], y=q[1], z=q[2], w=q[3]))))
    return Message(transforms=items)


def image(seconds: float) -> MapImage:
    return MapImage(at(seconds), 'base_link', np.ones((2, 2), np.float32), None)


def pairer(**parameters) -> Synchronizer:
    return Synchronizer(from_flat({'use_tf': False, **parameters}))


# -- poses ------------------------------------------------------------------------------------------------------------

def test_poses_are_interpolated_between_samples():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(0.0), pose(0.0, yaw=0.0))
    buffer.add(at(0.1), pose(1.0, yaw=0.2))
    T = buffer.pose(at(0.025))
    assert T[0, 3] == pytest.approx(0.25)
    assert yaw_of(T) == pytest.approx(0.05)


def test_poses_go_on_at_constant_velocity_after_the_newest():
    buffer = PoseBuffer(0.5, 20.0)
    for i in range(11):
        buffer.add(at(0.1 * i), pose(10.0 * 0.1 * i, yaw=0.3 * 0.1 * i))
    T = buffer.pose(at(1.07))
    assert T[0, 3] == pytest.approx(10.7)
    assert yaw_of(T) == pytest.approx(0.321)
    assert buffer.pose(at(1.51)) is None


def test_noise_is_not_blown_up_when_carried_on():
    """Two samples a millisecond apart with a centimetre of noise would give 10 m/s out of nothing."""
    buffer = PoseBuffer(0.5, 20.0)
    for i in range(1001):
        buffer.add(at(0.001 * i), pose(0.01 * (i % 2)))
    assert abs(buffer.pose(at(1.2))[0, 3]) < 0.03


def test_poses_later_than_known_do_not_count():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(0.0), pose(0.0))
    buffer.add(at(0.1), pose(1.0))
    before = buffer.pose(at(0.15), known_until_ns=at(0.15))
    buffer.add(at(0.2), pose(9.0))
    assert buffer.pose(at(0.15), known_until_ns=at(0.15)) == pytest.approx(before)
    assert buffer.pose(at(0.15))[0, 3] == pytest.approx(5.0)


def test_samples_that_overtook_each_other_are_sorted_and_equal_ones_replaced():
    buffer = PoseBuffer(0.5, 20.0)
    for seconds, x in ((0.0, 0.0), (0.2, 2.0), (0.1, 1.0), (0.1, 1.1)):
        buffer.add(at(seconds), pose(x))
    assert len(buffer) == 3
    assert buffer.pose(at(0.1))[0, 3] == pytest.approx(1.1)


def test_history_is_bounded():
    buffer = PoseBuffer(0.5, 2.0)
    for i in range(1000):
        buffer.add(at(0.01 * i), pose(float(i)))
    assert len(buffer) == 201


def test_a_jump_back_empties_the_buffer():
    buffer = PoseBuffer(0.5, 20.0)
    buffer.add(at(100.0), pose(5.0))
    buffer.add(at(0.0), pose(1.0))
    assert len(buffer) == 1 and buffer.newest == at(0.0)


# -- map images -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('stamps, expected', [
    ([], 'no_map'),
    ([-0.4, -0.1, 0.1], -0.1),
    ([0.0], 0.0),
    ([-3.0], -3.0),
    ([-3.01], 'map_too_old'),
    ([0.2], 0.2),
    ([0.21], 'map_from_future'),
    ([-3.5, 0.1], 0.1),
    ([-3.5, 5.0], 'map_from_future'),
    ([-0.1, 30.0], -0.1),
])
def test_map_choice_is_gated_on_both_sides(stamps, expected):
    maps = MapBuffer()
    for s in stamps:
        maps.add(image(s))
    found, reason = maps.choose(at(0.0), max_age=3.0, max_future=0.2)
    if isinstance(expected, str):
        assert found is None and reason == expected
    else:
        assert found.stamp_ns == at(expected) and reason == ''


def test_maps_are_bounded_but_a_rare_one_stays():
    maps = MapBuffer()
    maps.add(image(0.0))
    maps.add(image(10.0))
    assert maps.choose(at(9.0), 20.0, 0.2)[0].stamp_ns == at(0.0)
    for i in range(1000):
        maps.add(image(20.0 + 0.01 * i))
    assert len(maps._stamps) <= 32


# -- transforms -------------------------------------------------------------------------------------------------------

def test_transforms_chain_through_a_common_parent():
    tree = TransformBuffer()
    quarter = quaternion_from_yaw(math.pi / 2)
    tree.add_message(transforms(('base_link', 'roof', 1.0, quarter), ('roof', 'lidar', 2.0),
                                ('base_link', 'rear', -3.0)), static=True)
    T = tree.lookup('base_link', 'lidar', 0)
    assert T[:3, 3] == pytest.approx([1.0, 2.0, 0.0])
    assert tree.lookup('rear', 'lidar', 0)[:3, 3] == pytest.approx([4.0, 2.0, 0.0])
    assert tree.lookup('lidar', 'base_link', 0) @ T == pytest.approx(np.eye(4))
    assert tree.lookup('lidar', '/lidar', 0) == pytest.approx(np.eye(4))
    assert not tree.moves('base_link', 'lidar')


def test_moving_transforms_are_taken_at_the_stamp():
    tree = TransformBuffer()
    tree.add_message(transforms(('base_link', 'mast', 1.0)), static=True)
    for i in range(10):
        tree.add_message(transforms(('mast', 'lidar', 0.1 * i), seconds=0.1 * i), static=False)
    assert tree.lookup('base_link', 'lidar', at(0.45))[0, 3] == pytest.approx(1.45)
    assert tree.moves('base_link', 'lidar')
    with pytest.raises(InputError) as caught:
        tree.lookup('base_link', 'lidar', at(5.0))
    assert caught.value.reason == 'transform_missing'


@pytest.mark.parametrize('source, needle', [('lidar', "unknown frame 'lidar'"), ('camera', 'separate trees'),
                                            ('', 'T_base_sensor')])
def test_missing_transforms_say_what_is_missing(source, needle):
    tree = TransformBuffer()
    with pytest.raises(InputError, match='nothing was heard|T_base_sensor'):
        tree.lookup('base_link', source, 0)
    tree.add_message(transforms(('base_link', 'rear', 1.0), ('body', 'camera', 1.0)), static=True)
    with pytest.raises(InputError, match=needle) as caught:
        tree.lookup('base_link', source, 0)
    assert caught.value.reason == 'transform_missing' and caught.value.remedy


def test_a_bad_transform_is_named_and_the_others_of_its_message_count():
    tree = TransformBuffer()
    with pytest.raises(InputError) as caught:
        tree.add_message(transforms(('base_link', 'a', 1.0), ('a', 'b', 1.0, (0.0, 0.0, 0.0, 0.0)), ('a', 'c', 1.0)),
                         static=True)
    assert caught.value.reason == 'bad_transform'
    assert tree.lookup('base_link', 'c', 0)[0, 3] == pytest.approx(2.0)
    with pytest.raises(InputError):
        tree.lookup('base_link', 'b', 0)


def test_a_loop_of_frames_ends():
    tree = TransformBuffer()
    tree.add_message(transforms(('a', 'b', 1.0), ('b', 'a', 1.0)), static=True)
    with pytest.raises(InputError):
        tree.lookup('base_link', 'b', 0)


# -- pairing ----------------------------------------------------------------------------------------------------------

def test_motion_since_the_map_image():
    p = pairer()
    for i in range(6):
        p.add_odometry(odometry(0.1 * i, x=1.0 * i))
    p.add_map_image(image(0.1))
    paired = p.pair(at(0.45), 'lidar')
    assert paired.map_image.stamp_ns == at(0.1) and paired.map_reason == ''
    assert paired.motion.T_odom_base[0, 3] == pytest.approx(4.5)
    assert paired.motion.T_odom_base_map[0, 3] == pytest.approx(1.0)


def test_pairing_does_not_depend_on_the_order_of_arrival():
    """The node hears the topics in any order, replay in the order of the recording."""
    events = [('odometry', 0.0), ('map', 0.05), ('odometry', 0.1), ('map', 0.15), ('odometry', 0.2)]
    results = []
    for order in (events, events[::-1], events[2:] + events[:2]):
        p = pairer()
        for kind, seconds in order:
            if kind == 'map':
                p.add_map_image(image(seconds))
            else:
                p.add_odometry(odometry(seconds, x=10 * seconds))
        results.append(p.pair(at(0.17), 'lidar'))
    for other in results[1:]:
        assert other.map_image.stamp_ns == results[0].map_image.stamp_ns == at(0.15)
        assert other.motion.T_odom_base == pytest.approx(results[0].motion.T_odom_base, abs=1e-12)
        assert other.motion.T_odom_base_map == pytest.approx(results[0].motion.T_odom_base_map, abs=1e-12)


def test_without_odometry():
    p = pairer()
    p.add_map_image(image(0.0))
    paired = p.pair(at(0.1), 'lidar')
    assert paired.map_image is not None and paired.motion.T_odom_base is None
    p = pairer(**{'map.orientation': 'north_up'})
    p.add_map_image(image(0.0))
    paired = p.pair(at(0.1), 'lidar')
    assert paired.map_image is None and paired.map_reason == 'north_up_without_odometry'


def test_a_map_image_from_before_odometry_began_is_not_used():
    p = pairer()
    p.add_map_image(image(0.0))
    p.add_odometry(odometry(2.0))
    paired = p.pair(at(2.0), 'lidar')
    assert paired.map_image is None and paired.map_reason == 'no_odometry_at_map_stamp'


def test_odometry_of_another_frame_is_carried_over_by_the_transform():
    p = Synchronizer(from_flat({}))
    with pytest.raises(InputError) as caught:
        p.add_odometry(odometry(0.0, child='imu'))
    assert caught.value.reason == 'odometry_frame'
    p.add_transforms(transforms(('base_link', 'imu', 2.0), ('base_link', 'lidar', 1.0)), static=True)
    p.add_odometry(odometry(0.0, x=10.0, child='imu'))
    p.add_odometry(odometry(0.0, x=10.0, child='imu'))
    paired = p.pair(at(0.0), 'lidar')
    assert paired.motion.T_odom_base[0, 3] == pytest.approx(8.0)
    assert paired.motion.T_base_sensor[0, 3] == pytest.approx(1.0)


@pytest.mark.parametrize('message, reason', [
    (odometry(0.0, quaternion=(0.0, 0.0, 0.0, 0.0)), 'bad_odometry'),
    (odometry(0.0, x=math.nan), 'bad_odometry'),
    (odometry(0.0, quaternion=(0.0, math.inf, 0.0, 1.0)), 'bad_odometry'),
    (odometry(-T0 / SECOND), 'stamp_zero'),
    (Message(header=header(0.0)), 'malformed_message'),
])
def test_bad_odometry_is_named(message, reason):
    with pytest.raises(InputError) as caught:
        decode_odometry(message)
    assert caught.value.reason == reason


def test_the_sensor_pose_must_be_rigid():
    mirror = np.diag([1.0, 1.0, -1.0, 1.0]).ravel().tolist()
    with pytest.raises(ConfigurationError, match='T_base_sensor'):
        pairer(T_base_sensor=mirror)


class Recorder:
    """Stands for a pipeline: remembers what it was asked."""

    def __init__(self):
        self.calls, self.resets = [], 0

    def reset(self):
        self.resets += 1

    def run(self, sweep):
        self.calls.append((sweep.cloud.stamp_ns, sweep.map_image, sweep.map_reason))
        return sweep.cloud.stamp_ns


@pytest.mark.parametrize('sweep_first', [True, False])
@pytest.mark.parametrize('length', [0.5, 30.0])
def test_a_bag_that_starts_again_loses_one_sweep(sweep_first, length):
    """Whichever topic is heard first after the jump, the second sweep is paired with what belongs to the new time."""
    p, pipeline = pairer(), Recorder()

    def inputs(seconds):
        p.add_map_image(image(seconds))
        p.add_odometry(odometry(seconds, x=seconds))

    def sweep(seconds):
        return fuse(p, pipeline, PointCloud(at(seconds), 'lidar', np.zeros((1, 3), np.float32), None))

    for i in range(int(length * 10)):
        inputs(0.1 * i)
        sweep(0.1 * i)
    if not sweep_first:
        inputs(0.0)
    with pytest.raises(InputError) as caught:
        sweep(0.0)
    assert caught.value.reason == 'stamp_backwards' and pipeline.resets == 1
    inputs(0.1)
    sweep(0.1)
    stamp, map_image, reason = pipeline.calls[-1]
    assert stamp == at(0.1) and map_image.stamp_ns == at(0.1) and reason == ''
    carried_on = not sweep_first or length < 1  # else only one pose of the new time is known: it is held
    assert p.pair(at(0.2), 'lidar').motion.T_odom_base[0, 3] == pytest.approx(0.2 if carried_on else 0.1)


def test_a_clock_set_back_forgets_what_is_later():
    p = pairer()
    p.add_map_image(image(50.0))
    p.pair(at(50.0), 'lidar')
    p.on_time_jump(at(0.0))
    assert p.pair(at(0.1), 'lidar').map_reason == 'no_map'
