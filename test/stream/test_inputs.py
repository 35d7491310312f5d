# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of inputs hangs together."""

from __future__ import annotations

import pytest

from attention_fusion_ros.commands import replay
from attention_fusion_ros.stream.inputs import (
    INPUTS,
    SWEEPS,
    input_named,
    launch_remappings,
    selectable_inputs,
)


def test_names_topics_and_components_are_used_once():
    assert len({spec.name for spec in INPUTS}) == len({spec.component for spec in INPUTS}) == len(INPUTS)
    topics = [transport.topic for spec in INPUTS for transport in spec.transports]
    assert len(set(topics)) == len(topics)
    assert INPUTS[0].name == SWEEPS
    with pytest.raises(KeyError):
        input_named('nonsense')


def test_the_cloud_is_the_only_required_input():
    assert [spec.name for spec in INPUTS if spec.required] == [SWEEPS]


def test_everything_a_user_reads_is_there():
    for spec in INPUTS:
        assert spec.description.endswith('.') and spec.note and spec.label
        assert all(reason.cause.endswith('.') and reason.remedy.endswith('.') for reason in spec.reasons.values())
        assert not spec.selectable or spec.only_when_named or spec.default_topic


def test_every_transport_of_an_input_is_remapped():
    assert launch_remappings({'map_image': '/osm/map', 'pointcloud': '/points'}) == [
        ('~/input/pointcloud', '/points'), ('~/input/pointcloud/compressed', '/points/compressed'),
        ('~/input/pointcloud/livox_ros_driver2', '/points/livox_ros_driver2'),
        ('~/input/pointcloud/livox_interfaces', '/points/livox_interfaces'),
        ('~/input/pointcloud/livox_ros_driver', '/points/livox_ros_driver'), ('~/input/map_image', '/osm/map'),
        ('~/input/map_image/compressed', '/osm/map/compressed'), ('~/input/map_image/grid', '/osm/map/grid')]


def test_each_selectable_input_has_an_option():
    options = replay.options_parser().parse_args(['bag', '--out', 'x', *(
        word for spec in selectable_inputs() for word in (spec.option, f'/{spec.name}'))])
    assert all(getattr(options, spec.name) == f'/{spec.name}' for spec in selectable_inputs())
