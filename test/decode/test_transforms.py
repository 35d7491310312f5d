# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Transforms and odometry are decoded or refused with a reason, whatever is in the message."""

from __future__ import annotations

from types import SimpleNamespace as Message

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.sync_kit import at, odometry, transforms

from attention_fusion_ros.decode import REASONS, decode_odometry, decode_static_transforms, decode_transforms
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import is_rigid

NOTHING = (0.0, 0.0, 0.0, 0.0)
nonsense = st.one_of(st.none(), st.text(max_size=3), st.floats(), st.integers(-2**70, 2**70), st.just([]),
                     st.booleans())


def test_parent_child_and_stamp():
    moving = decode_transforms(transforms(('/base_link', '/lidar', 2.0), seconds=3.0))
    static = decode_static_transforms(transforms(('base_link', 'lidar', 2.0)))
    (item,) = moving.items
    assert (item.stamp_ns, item.parent, item.child, item.static) == (at(3.0), 'base_link', 'lidar', False)
    assert item.T_parent_child[:3, 3] == pytest.approx([2.0, 0.0, 0.0]) and static.items[0].static
    assert moving.problem is None


@pytest.mark.parametrize('bad', [('a', 'b', 1.0, NOTHING), ('a', 'b', np.nan), ('a', 'a', 1.0), ('', 'b', 1.0),
                                 ('a', '/', 1.0)])
def test_what_is_wrong_with_one_transform_costs_that_one_only(bad):
    found = decode_transforms(transforms(('base_link', 'lidar', 1.0), bad, ('base_link', 'rear', 1.0)))
    assert [item.child for item in found.items] == ['lidar', 'rear']
    assert found.problem.reason == 'bad_transform' and found.problem.reason in REASONS and found.problem.remedy


@pytest.mark.parametrize('message', [Message(), Message(transforms=None), Message(transforms=[None]),
                                     Message(transforms=[Message(header=None)])])
def test_what_is_no_transform_message_is_malformed(message):
    with pytest.raises(InputError) as caught:
        decode_transforms(message)
    assert caught.value.reason == 'malformed_message'


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from([
    ('header',), ('header', 'stamp'), ('header', 'stamp', 'sec'), ('header', 'frame_id'), ('child_frame_id',),
    ('transform',), ('transform', 'translation'), ('transform', 'translation', 'x'), ('transform', 'rotation', 'w'),
    ('pose',), ('pose', 'pose'), ('pose', 'pose', 'position', 'y'), ('pose', 'pose', 'orientation', 'z')]), nonsense),
    min_size=1, max_size=3))
def test_nonsense_ends_in_a_named_refusal(spoilers):
    for decode, message, spoiled in ((decode_transforms, transforms(('base_link', 'lidar', 1.0)), 'transforms'),
                                     (decode_odometry, odometry(0.0, x=1.0), '')):
        item = message.transforms[0] if spoiled else message
        for path, value in spoilers:
            spoil(item, path, value)
        try:
            found = decode(message)
        except InputError as error:
            assert error.reason in REASONS and error.remedy
            continue
        poses = [t.T_parent_child for t in found.items] if spoiled else [found.T_odom_child]
        assert all(is_rigid(T) for T in poses)


def spoil(item, path: tuple[str, ...], value) -> None:
    for name in path[:-1]:
        item = getattr(item, name, None)
    if isinstance(item, Message) and hasattr(item, path[-1]):
        setattr(item, path[-1], value)
