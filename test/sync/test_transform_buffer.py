# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.sync_kit import at, transforms

from attention_fusion_ros.decode import decode_static_transforms, decode_transforms
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import quaternion_from_yaw
from attention_fusion_ros.sync.transform_buffer import TransformBuffer


def add(tree: TransformBuffer, message, static: bool) -> None:
    decoded = decode_static_transforms(message) if static else decode_transforms(message)
    for item in decoded.items:
        tree.add(item)
    if decoded.problem is not None:
        raise decoded.problem


def test_transforms_chain_through_a_common_parent():
    tree = TransformBuffer()
    quarter = quaternion_from_yaw(math.pi / 2)
    add(tree, transforms(('base_link', 'roof', 1.0, quarter), ('roof', 'lidar', 2.0),
                                ('base_link', 'rear', -3.0)), static=True)
    T = tree.lookup('base_link', 'lidar', 0)
    assert T[:3, 3] == pytest.approx([1.0, 2.0, 0.0])
    assert tree.lookup('rear', 'lidar', 0)[:3, 3] == pytest.approx([4.0, 2.0, 0.0])
    assert tree.lookup('lidar', 'base_link', 0) @ T == pytest.approx(np.eye(4))
    assert tree.lookup('lidar', '/lidar', 0) == pytest.approx(np.eye(4))
    assert not tree.is_dynamic('base_link', 'lidar')


def test_moving_transforms_are_taken_at_the_stamp():
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'mast', 1.0)), static=True)
    for i in range(10):
        add(tree, transforms(('mast', 'lidar', 0.1 * i), seconds=0.1 * i), static=False)
    assert tree.lookup('base_link', 'lidar', at(0.45))[0, 3] == pytest.approx(1.45)
    assert tree.is_dynamic('base_link', 'lidar')
    with pytest.raises(InputError) as caught:
        tree.lookup('base_link', 'lidar', at(5.0))
    assert caught.value.reason == 'transform_missing'


@pytest.mark.parametrize('static', [False, True])
def test_a_frame_with_another_parent_forgets_where_it_was(static):
    tree = TransformBuffer()
    add(tree, transforms(('mast', 'lidar', 5.0), seconds=0.0), static)
    add(tree, transforms(('base_link', 'lidar', 1.0), seconds=0.1), static=False)
    assert tree.lookup('base_link', 'lidar', at(0.2))[0, 3] == pytest.approx(1.0)


def test_a_moving_frame_may_be_on_either_side():
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'lidar', 1.0), seconds=0.1), static=False)
    for frames in (('base_link', 'lidar'), ('lidar', 'base_link')):
        assert tree.is_dynamic(*frames)
        assert tree.extrapolation_s(*frames, at(0.3)) == pytest.approx(0.2)


def test_a_vehicle_that_moves_does_not_move_its_sensors():
    tree = TransformBuffer()
    add(tree, transforms(('odom', 'base_link', 1.0), seconds=0.1), static=False)
    add(tree, transforms(('base_link', 'lidar', 1.0), ('base_link', 'rear', -1.0)), static=True)
    for frames in (('base_link', 'lidar'), ('lidar', 'rear')):
        assert not tree.is_dynamic(*frames) and tree.extrapolation_s(*frames, at(0.3)) == 0.0


@pytest.mark.parametrize('source, needle', [('lidar', "unknown frame 'lidar'"), ('camera', 'separate trees'),
                                            ('', 'T_base_sensor')])
def test_missing_transforms_say_what_is_missing(source, needle):
    tree = TransformBuffer()
    with pytest.raises(InputError, match='nothing was received|T_base_sensor'):
        tree.lookup('base_link', source, 0)
    add(tree, transforms(('base_link', 'rear', 1.0), ('body', 'camera', 1.0)), static=True)
    with pytest.raises(InputError, match=needle) as caught:
        tree.lookup('base_link', source, 0)
    assert caught.value.reason == 'transform_missing' and caught.value.remedy


def test_a_bad_transform_is_named_and_the_others_of_its_message_count():
    tree = TransformBuffer()
    with pytest.raises(InputError) as caught:
        add(tree, transforms(('base_link', 'a', 1.0), ('a', 'b', 1.0, (0.0, 0.0, 0.0, 0.0)), ('a', 'c', 1.0)),
                         static=True)
    assert caught.value.reason == 'bad_transform'
    assert tree.lookup('base_link', 'c', 0)[0, 3] == pytest.approx(2.0)
    with pytest.raises(InputError):
        tree.lookup('base_link', 'b', 0)


def test_a_loop_of_frames_ends():
    tree = TransformBuffer()
    add(tree, transforms(('a', 'b', 1.0), ('b', 'a', 1.0)), static=True)
    with pytest.raises(InputError):
        tree.lookup('base_link', 'b', 0)


def tree_of(*samples, max_age_s: float = 10.0) -> TransformBuffer:
    """samples: (seconds, x) of base_link -> lidar on /tf."""
    tree = TransformBuffer(max_age_s)
    for seconds, x in samples:
        add(tree, transforms(('base_link', 'lidar', x), seconds=seconds), static=False)
    return tree


@pytest.mark.parametrize('samples', [[(0.0, 1.0)], [(0.0, 1.0), (1.0, 1.0), (2.0, 1.001)], [(0.0, 1.0), (5.0, 1.0)]])
def test_a_mounting_on_tf_holds_after_it_was_published_last(samples):
    tree = tree_of(*samples)
    newest = samples[-1][0]
    for later in (0.3, 0.9, 4.0, 9.9):
        assert tree.lookup('base_link', 'lidar', at(newest + later))[0, 3] == pytest.approx(1.0, abs=0.01)
    with pytest.raises(InputError, match='was last published 10.5 s before the sweep') as caught:
        tree.lookup('base_link', 'lidar', at(newest + 10.5))
    assert caught.value.reason == 'transform_missing' and 'raise tf_max_age' in caught.value.remedy
    tree.max_age_s = 60.0
    assert tree.lookup('base_link', 'lidar', at(newest + 10.5))[0, 3] == pytest.approx(1.0, abs=0.01)


def test_a_mounting_that_moves_does_not_hold():
    """A pan unit whose publisher has died is somewhere else by now."""
    tree = tree_of(*[(0.1 * i, 0.1 * i) for i in range(10)])
    assert tree.lookup('base_link', 'lidar', at(1.3))[0, 3] == pytest.approx(1.3)
    with pytest.raises(InputError, match='moves, and was last published 2.1 s before') as caught:
        tree.lookup('base_link', 'lidar', at(3.0))
    assert 'tf_max_age' in caught.value.remedy


def test_a_mounting_that_moves_and_comes_rarely_is_carried_on_until_the_next_is_due():
    tree = tree_of(*[(1.0 * i, 0.1 * i) for i in range(5)])
    assert tree.lookup('base_link', 'lidar', at(4.9))[0, 3] == pytest.approx(0.49)
    assert tree.lookup('base_link', 'lidar', at(3.5), interpolate=True)[0, 3] == pytest.approx(0.35)
    with pytest.raises(InputError):
        tree.lookup('base_link', 'lidar', at(5.7))


def test_a_slow_movement_is_a_movement():
    """A mast that rises 1 mm from sample to sample."""
    tree = tree_of(*[(0.01 * i, 0.001 * i) for i in range(100)])
    with pytest.raises(InputError, match='moves'):
        tree.lookup('base_link', 'lidar', at(3.0))


def test_what_has_come_to_rest_holds_again():
    moving = [(0.1 * i, 0.1 * i) for i in range(10)]
    tree = tree_of(*moving, *[(1.0 * i, 1.0) for i in range(1, 15)])
    assert tree.lookup('base_link', 'lidar', at(20.0))[0, 3] == pytest.approx(1.0)


def test_the_first_transform_counts_for_a_sweep_a_little_before_it():
    tree = tree_of((0.0, 1.0), (0.1, 1.0))
    assert tree.lookup('base_link', 'lidar', at(-0.2))[0, 3] == pytest.approx(1.0)
    with pytest.raises(InputError, match='not known before 37.0 s after the sweep') as caught:
        tree.lookup('base_link', 'lidar', at(-37.0))
    assert 'same clock' in caught.value.remedy


@pytest.mark.parametrize('wheels', [False, True])
@pytest.mark.parametrize('order', [1, -1])
def test_lidar_odometry_on_tf_does_not_take_the_mounting_away(order, wheels):
    """KISS-ICP and others publish `odom_lidar -> lidar`, beside the mounting `base_link -> lidar`."""
    tree = TransformBuffer()
    messages = [(transforms(('base_link', 'lidar', 1.0)), True),
                (transforms(('odom_lidar', 'lidar', 77.0), seconds=0.1), False)]
    if wheels:  # then both parents lead to base_link
        messages.append((transforms(('map', 'odom_lidar', 0.0), ('map', 'base_link', 70.0), seconds=0.1), False))
    for message, static in messages[::order]:
        add(tree, message, static)
    assert tree.lookup('base_link', 'lidar', at(0.1))[0, 3] == pytest.approx(1.0)
    assert not tree.is_dynamic('base_link', 'lidar') and tree.moving_frames('base_link', 'lidar') == frozenset()


def test_a_second_parent_of_the_vehicle_does_not_move_its_sensors():
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'lidar', 1.0)), static=True)
    for i in range(6):
        add(tree, transforms((('odom', 'base_footprint')[i % 2], 'base_link', 1.0 * i), seconds=0.1 * i), static=False)
        assert tree.lookup('base_link', 'lidar', at(0.1 * i))[0, 3] == pytest.approx(1.0)


def test_a_tree_that_changes():
    """A frame that moves from one parent to another is where the parent heard of last says."""
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'left', 1.0), ('base_link', 'right', -1.0)), static=True)
    add(tree, transforms(('left', 'lidar', 0.0), seconds=0.0), static=False)
    assert tree.lookup('base_link', 'lidar', at(0.0))[0, 3] == pytest.approx(1.0)
    add(tree, transforms(('right', 'lidar', 0.0), seconds=1.0), static=False)
    assert tree.lookup('base_link', 'lidar', at(1.0))[0, 3] == pytest.approx(-1.0)


@pytest.mark.parametrize('moving', [('lidar', 'base_link'), ('lidar', 'odom')])
@pytest.mark.parametrize('goes_back', [False, True])
def test_a_transform_the_other_way_round_does_not_take_the_mounting_away(goes_back, moving):
    """Some publish from the sensor to the vehicle, or (KISS-ICP's invert_odom_tf) to odom: the static way counts."""
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'roof', 0.0), ('roof', 'lidar', 1.0)), static=True)
    add(tree, transforms((*moving, 77.0), ('odom', 'base_link', 5.0), seconds=50.0), static=False)
    if goes_back:
        tree.drop_after(at(1.0))
    for stamp in (at(1.0), at(50.0)):
        assert tree.lookup('base_link', 'lidar', stamp)[0, 3] == pytest.approx(1.0)
        assert tree.extrapolation_s('base_link', 'lidar', stamp) == 0.0
    assert not tree.is_dynamic('base_link', 'lidar') and tree.moving_frames('base_link', 'lidar') == frozenset()


def test_a_static_way_counts_before_a_shorter_one_that_moves():
    tree = TransformBuffer()
    add(tree, transforms(('base_link', 'roof', 1.0), ('roof', 'lidar', 1.0), ('elsewhere', 'lidar', 9.0)), static=True)
    add(tree, transforms(('base_link', 'elsewhere', 9.0), ('base_link', 'lidar', 9.0)), static=False)
    assert tree.lookup('base_link', 'lidar', 0)[0, 3] == pytest.approx(2.0)
