# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What may be given to the launch files as `NAME:=VALUE`, and what is said where it cannot be meant. Without ROS."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.network import shipped
from attention_fusion_ros.ros.launch_arguments import (
    INPUT_ARGUMENTS,
    MAP_VEHICLE_ARGUMENTS,
    REPLAY_ARGUMENTS,
    VEHICLE_ARGUMENTS,
    check_file,
    full_namespace,
    is_for,
    is_true,
    map_remappings,
    only_defaults,
    remappings,
    unknown_arguments,
)

ROOT = Path(__file__).parents[2]
EVERY = (*VEHICLE_ARGUMENTS, *REPLAY_ARGUMENTS, *MAP_VEHICLE_ARGUMENTS)
TOPICS = {argument.name: argument.default for argument in INPUT_ARGUMENTS}


@pytest.mark.parametrize('argument', {a.name: a for a in EVERY if 'true' in a.choices}.values(), ids=lambda a: a.name)
def test_true_and_false_may_be_written_as_other_packages_do(argument):
    """`use_sim_time:=True` is what launch files of nav2 pass on, and what str(True) makes in one in Python."""
    assert {'true', 'True', 'false', 'False'} <= set(argument.choices)
    assert all(is_true(choice) == (choice in ('true', 'True')) for choice in argument.choices)


def test_no_event_of_another_lifecycle_node_of_the_launch_counts():
    """Without a node, OnStateTransition takes those of every node that the whole launch has."""
    for path in (*(ROOT / 'launch').glob('*.py'), ROOT / 'attention_fusion_ros/ros/launching.py'):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if getattr(call.func, 'id', '') == 'OnStateTransition':
                assert {'target_lifecycle_node', 'matcher'} & {keyword.arg for keyword in call.keywords}, path.name


def test_nothing_else_tells_true_from_false():
    """`value == 'true'` would take True for false."""
    for path in (*(ROOT / 'launch').glob('*.py'), ROOT / 'attention_fusion_ros/ros/launching.py'):
        assert "== 'true'" not in path.read_text() and "!= 'true'" not in path.read_text(), path.name


@pytest.mark.parametrize('given, words', [
    ('params:=my.yaml', "Did you mean 'params_file'"), ('pointclouds:=/top', "Did you mean 'pointcloud'"),
    ('zoom:=2', '--show-args'), ('zoom:=', '--show-args')])
def test_an_argument_that_there_is_not_is_told(given, words):
    """launch ignores it."""
    text, = unknown_arguments(['pointcloud:=/points', given], VEHICLE_ARGUMENTS)
    assert given in text and words in text


def test_what_is_not_for_the_launch_file_is_left_alone():
    assert not unknown_arguments(['namespace:=car', 'launch-prefix:=gdb', '--debug'], VEHICLE_ARGUMENTS)
    file = '/opt/share/attention_fusion_ros/launch/vehicle.launch.py'
    assert is_for(file, ['/opt/bin/ros2', 'launch', 'attention_fusion_ros', 'vehicle.launch.py', 'osm:=a.osm'])
    assert is_for(file, ['ros2', 'launch', file])
    assert not is_for(file, ['ros2', 'launch', 'our_robot', 'bringup.launch.py', 'colour:=red'])


@pytest.mark.parametrize('topic', ['lidar//points', '/1lidar', 'lidar points', '/lidar/', '/', 'top-lidar', 'größe'])
def test_a_topic_that_is_none_is_named_with_its_argument(topic):
    """rcl refuses the remapping and says "error not set"."""
    with pytest.raises(ConfigurationError, match='pointcloud:=.*no name of a topic.*Remedy'):
        remappings({**TOPICS, 'pointcloud': topic})
    with pytest.raises(ConfigurationError, match='fix:=.*no name of a topic.*Remedy'):
        map_remappings({'fix': topic}.get, 'alignment')


@pytest.mark.parametrize('topic', ['', 'points', '/a/b_1/c', '~/points', '_hidden', '{node}/points', '/{ns}/x'])
def test_every_topic_that_rcl_takes_may_be_given(topic):
    assert dict(remappings({**TOPICS, 'pointcloud': topic})).get('~/input/pointcloud', '') == topic


@pytest.mark.parametrize('given, around, namespace', [
    ('', '', '/'), ('/', '', '/'), ('car', '', '/car'), ('/fleet/car_1/', '', '/fleet/car_1'),
    ('', 'robot', '/robot'), ('car', '/robot', '/robot/car'), ('/car', 'robot', '/car'), ('/', 'robot', '/')])
def test_a_namespace_is_within_that_of_the_file_that_includes_ours(given, around, namespace):
    """As of every node of launch_ros: parameter files and log levels go by the whole name."""
    assert full_namespace(given, around) == namespace


@pytest.mark.parametrize('namespace', ['car-1', 'a b', '1', '~', '/fleet/2nd'])
def test_a_namespace_that_is_none_is_named(namespace):
    with pytest.raises(ConfigurationError, match='namespace:=.*no namespace.*Remedy'):
        full_namespace(namespace)


@pytest.mark.parametrize('name, config_type', [('attention_fusion', NodeConfig), ('map_source', MapSourceConfig)])
def test_the_file_that_ships_says_nothing_against_set_parameter_around_the_launch_file(tmp_path, name, config_type):
    shipped_file = ROOT / 'config' / f'{name}.yaml'
    assert only_defaults(str(shipped_file), f'/car/{name}', config_type)
    for changed in ('map.resolution: 0.5', 'map.resolution: "0.25"', 'use_sim_time: true', 'no_such_name: 1'):
        more = f'\ncar/{name}:\n  ros__parameters: {{{changed}}}\n'
        (tmp_path / 'mine.yaml').write_text(shipped_file.read_text() + more)
        assert not only_defaults(str(tmp_path / 'mine.yaml'), f'/car/{name}', config_type), changed


def test_a_file_that_is_not_there_is_named_with_its_argument(tmp_path):
    check_file('rviz_config', __file__)
    for path in (str(tmp_path), str(tmp_path / 'nowhere.rviz')):
        with pytest.raises(ConfigurationError, match='no file .*rviz_config:=FILE'):
            check_file('rviz_config', path)


def test_home_may_be_written_as_a_tilde_in_parameters(tmp_path, monkeypatch):
    """No shell expands it behind `:=`, and none in a parameter file."""
    monkeypatch.setenv('HOME', str(tmp_path))
    assert shipped.path_of('~/net.safetensors') == tmp_path / 'net.safetensors'
    assert shipped.path_of('two_readings').parent == shipped.SHIPPED.parent
    (tmp_path / 'roads.geojson').write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"highway": "residential"}, '
        '"geometry": {"type": "LineString", "coordinates": [[7.76, 49.44], [7.77, 49.44]]}}]}')
    load_roads('~/roads.geojson', cache='~/kept')
    assert list((tmp_path / 'kept').glob('roads-*.npz'))
