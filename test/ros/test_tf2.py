# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames against tf2's own buffer: the same transforms, and the three differences that are documented."""

from __future__ import annotations

import math

import numpy as np
import pytest

tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is not installed: a full ROS 2 has it, the wheels do not')

from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.time import Time  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from attention_fusion_ros.decode import decode_static_transforms, decode_transforms  # noqa: E402
from attention_fusion_ros.errors import InputError  # noqa: E402
from attention_fusion_ros.geometry import quaternion_from_rotation, se3_from_quaternion  # noqa: E402
from attention_fusion_ros.sync.transform_buffer import MAX_EXTRAPOLATION_S, TransformBuffer  # noqa: E402

T0_NS, PERIOD_NS = 1_700_000_000 * 10**9, 50_000_000
# base_link -> mast (static) -> head (nearly half a turn between two samples) -> lidar (static)
# base_link -> rear (static)
STATIC = (('base_link', 'mast', (0.3, -0.1, 1.5), 0.2), ('head', 'lidar', (0.1, 0.0, 0.2), -1.0),
          ('base_link', 'rear', (-1.0, 0.0, 0.5), math.pi))


def message(stamp_ns: int, parent: str, child: str, xyz, yaw: float) -> TransformStamped:
    found = TransformStamped()
    found.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    found.header.frame_id, found.child_frame_id = parent, child
    t, q = found.transform.translation, found.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    R = np.array([[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    q.x, q.y, q.z, q.w = quaternion_from_rotation(R)
    return found


@pytest.fixture
def trees():
    """tf2's buffer and ours, given the same messages."""
    theirs, ours = tf2_ros.Buffer(), TransformBuffer()
    for link in STATIC:
        transform = message(T0_NS, *link)
        theirs.set_transform_static(transform, 'test')
        for item in decode_static_transforms(TFMessage(transforms=[transform])).items:
            ours.add(item)
    for i in range(5):
        transform = message(T0_NS + i * PERIOD_NS, 'mast', 'head', (0.0, 0.01 * i, 0.0), 3.1 * i)
        theirs.set_transform(transform, 'test')
        for item in decode_transforms(TFMessage(transforms=[transform])).items:
            ours.add(item)
    return theirs, ours


def matrix(transform: TransformStamped) -> np.ndarray:
    t, q = transform.transform.translation, transform.transform.rotation
    return se3_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


@pytest.mark.parametrize('target, source', [('base_link', 'lidar'), ('lidar', 'rear'), ('rear', 'base_link'),
                                            ('mast', 'head')])
@pytest.mark.parametrize('periods', [0.0, 0.5, 1.0, 2.25, 3.9, 4.0])
def test_the_same_transforms_as_tf2(trees, target, source, periods):
    theirs, ours = trees
    stamp_ns = T0_NS + round(periods * PERIOD_NS)
    expected = matrix(theirs.lookup_transform(target, source, Time(nanoseconds=stamp_ns)))
    assert ours.lookup(target, source, stamp_ns, interpolate=True) == pytest.approx(expected, abs=1e-4)
    if periods == int(periods):  # at a sample, nothing later counts anyway
        assert ours.lookup(target, source, stamp_ns) == pytest.approx(expected, abs=1e-4)


def test_a_moving_transform_is_extrapolated_where_tf2_refuses_but_not_for_long(trees):
    theirs, ours = trees
    newest_ns = T0_NS + 4 * PERIOD_NS
    soon_ns, late_ns = newest_ns + 10_000_000, newest_ns + round((MAX_EXTRAPOLATION_S + 0.01) * 1e9)
    with pytest.raises(tf2_ros.ExtrapolationException):
        theirs.lookup_transform('mast', 'head', Time(nanoseconds=soon_ns))
    assert ours.lookup('mast', 'head', soon_ns)[1, 3] == pytest.approx(0.042)
    assert ours.extrapolation_s('mast', 'head', soon_ns) == pytest.approx(0.01)
    with pytest.raises(InputError):
        ours.lookup('mast', 'head', late_ns)


def given(*links, static: bool = False, trees=None):
    """tf2's buffer and ours with (seconds, parent, child, xyz, yaw) added."""
    theirs, ours = trees or (tf2_ros.Buffer(), TransformBuffer())
    for seconds, *link in links:
        transform = message(T0_NS + round(seconds * 1e9), *link)
        (theirs.set_transform_static if static else theirs.set_transform)(transform, 'test')
        decode = decode_static_transforms if static else decode_transforms
        for item in decode(TFMessage(transforms=[transform])).items:
            ours.add(item)
    return theirs, ours


@pytest.mark.parametrize('seconds', [0.0, 0.4, 1.0, 2.7, 3.0])
def test_a_mounting_that_is_published_once_a_second_is_the_same_between_its_samples(seconds):
    theirs, ours = given(*[(float(i), 'base_link', 'lidar', (1.0, 0.2, 2.0), 0.3) for i in range(4)])
    stamp_ns = T0_NS + round(seconds * 1e9)
    expected = matrix(theirs.lookup_transform('base_link', 'lidar', Time(nanoseconds=stamp_ns)))
    for interpolate in (False, True):
        assert ours.lookup('base_link', 'lidar', stamp_ns, interpolate) == pytest.approx(expected, abs=1e-4)


def test_a_mounting_holds_where_tf2_refuses():
    theirs, ours = given((0.0, 'base_link', 'lidar', (1.0, 0.2, 2.0), 0.3))
    stamp_ns = T0_NS + 5 * 10**9
    with pytest.raises(tf2_ros.ExtrapolationException):
        theirs.lookup_transform('base_link', 'lidar', Time(nanoseconds=stamp_ns))
    assert ours.lookup('base_link', 'lidar', stamp_ns)[:3, 3] == pytest.approx([1.0, 0.2, 2.0])


def test_a_frame_that_changes_its_parent_is_where_tf2_says():
    trees = given((0.0, 'base_link', 'left', (0.0, 1.0, 0.0), 0.5), (0.0, 'base_link', 'right', (0.0, -1.0, 0.0), -0.5),
                  static=True)
    theirs, ours = given((0.0, 'left', 'lidar', (0.1, 0.0, 0.0), 0.0), (1.0, 'right', 'lidar', (0.1, 0.0, 0.0), 0.0),
                         trees=trees)
    stamp_ns = T0_NS + 10**9
    expected = matrix(theirs.lookup_transform('base_link', 'lidar', Time(nanoseconds=stamp_ns)))
    assert ours.lookup('base_link', 'lidar', stamp_ns) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('quaternion', [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 2.0), (math.nan, 0.0, 0.0, 1.0)])
def test_rotations_that_tf2_refuses_are_refused(trees, quaternion):
    theirs, ours = trees
    transform = message(T0_NS, 'base_link', 'camera', (0.0, 0.0, 0.0), 0.0)
    rotation = transform.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = quaternion
    theirs.set_transform_static(transform, 'test')
    with pytest.raises(tf2_ros.TransformException):
        theirs.lookup_transform('base_link', 'camera', Time(nanoseconds=T0_NS))
    decoded = decode_static_transforms(TFMessage(transforms=[transform]))
    assert decoded.items == () and decoded.problem.reason == 'bad_transform'
    with pytest.raises(InputError):
        ours.lookup('base_link', 'camera', T0_NS)


def test_frames_that_are_not_connected_are_refused_by_both(trees):
    theirs, ours = trees
    with pytest.raises(tf2_ros.LookupException):
        theirs.lookup_transform('base_link', 'camera', Time(nanoseconds=T0_NS))
    with pytest.raises(InputError):
        ours.lookup('base_link', 'camera', T0_NS)
