# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Launch files, the parameter file and the rviz configuration fit the node they are for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from attention_fusion_ros.config import flatten, from_flat, parameters
from attention_fusion_ros.ros.launch_arguments import (
    INPUT_ARGUMENTS,
    NODE_ARGUMENTS,
    REPLAY_ARGUMENTS,
    VEHICLE_ARGUMENTS,
    remappings,
)
from attention_fusion_ros.stream.inputs import selectable_inputs

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))


def needs_ros():
    pytest.importorskip('rclpy', reason='no ROS 2 here')


def needs_launch():
    needs_ros()
    pytest.importorskip('launch_ros', reason='launch_ros is not installed: it comes with a ROS 2 installation only')


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.name.replace('.', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- parameter file ---------------------------------------------------------------------------------------------------

def test_the_parameter_file_is_what_the_source_says():
    generated = load(ROOT / 'tools' / 'parameter_file.py')
    assert generated.PATH.read_text() == generated.text(), 'run python tools/parameter_file.py'


def test_the_parameter_file_holds_every_default():
    content = yaml.safe_load((ROOT / 'config/attention_fusion.yaml').read_text())
    assert list(content) == ['/**']
    values = flatten(content['/**']['ros__parameters'])
    assert values == {p.name: p.default for p in parameters()}
    assert from_flat(values) == from_flat({})
    assert all(type(values[p.name]) is p.type for p in parameters())  # 20.0 stays a float for ROS


def test_the_node_takes_the_parameter_file():
    needs_ros()
    pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
    from support.node_kit import Graph
    graph = Graph(arguments=['--params-file', str(ROOT / 'config/attention_fusion.yaml')], active=False)
    try:
        assert graph.node.parameters.config().lookahead == 20.0  # no unknown name, no wrong value
    finally:
        graph.close()


# -- rviz -------------------------------------------------------------------------------------------------------------

TYPES = {'Map': 'OccupancyGrid', 'PointCloud2': 'PointCloud2', 'LaserScan': 'LaserScan', 'PoseArray': 'PoseArray',
         'MarkerArray': 'MarkerArray', 'PoseWithCovariance': 'PoseWithCovarianceStamped', 'Image': 'Image'}


def displays():
    manager = yaml.safe_load((ROOT / 'config/attention_fusion.rviz').read_text())['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == from_flat({}).frames.base
    return [(d['Class'].split('/')[1], d) for d in manager['Displays']]


def test_every_display_shows_an_output_of_the_node():
    needs_ros()
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    from attention_fusion_ros.ros.node.publications import qos_of
    from attention_fusion_ros.ros.node.qos import conflict
    from attention_fusion_ros.ros.outputs import OUTPUTS
    reliability = {'Reliable': ReliabilityPolicy.RELIABLE, 'Best Effort': ReliabilityPolicy.BEST_EFFORT}
    durability = {'Volatile': DurabilityPolicy.VOLATILE, 'Transient Local': DurabilityPolicy.TRANSIENT_LOCAL}
    outputs = {f'attention_fusion/{spec.name}': spec for spec in OUTPUTS}  # relative: in the namespace of rviz
    shown = {}
    for kind, display in displays():
        if 'Topic' not in display:
            continue
        topic = display['Topic']
        output = outputs[topic['Value']]
        assert output.type.split('/')[1] == TYPES[kind]
        wanted = QoSProfile(depth=topic['Depth'], reliability=reliability[topic['Reliability Policy']],
                            durability=durability[topic['Durability Policy']])
        assert conflict(qos_of(output), wanted) == ''
        shown[topic['Value'].removeprefix('attention_fusion/')] = display
    assert set(shown) == {'attention_points', 'heatmap/spatial', 'heatmap/gradcam', 'branches', 'markers', 'direction',
                          'distribution', 'heatmap/image'}
    assert {name for name, display in shown.items() if not display['Enabled']} == {'heatmap/gradcam'}  # it costs a run
    assert shown['attention_points']['Channel Name'] == 'attention'
    assert shown['attention_points']['Color Transformer'] == 'Intensity'


# -- launch files -----------------------------------------------------------------------------------------------------

def test_both_are_there():
    assert [p.name for p in LAUNCH_FILES] == ['attention_fusion.launch.py', 'replay.launch.py']


ARGUMENTS = {'attention_fusion.launch.py': VEHICLE_ARGUMENTS, 'replay.launch.py': REPLAY_ARGUMENTS}


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_every_argument_is_described_and_used(path):
    source = path.read_text()
    passed_on = {a.name for a in NODE_ARGUMENTS} if path.name.startswith('replay') else set()
    inputs = {a.name for a in INPUT_ARGUMENTS}
    for argument in ARGUMENTS[path.name]:
        assert len(argument.description) > 10, argument.name
        assert argument.default is None or not argument.choices or argument.default in argument.choices
        if argument.name not in passed_on | inputs:
            assert f"'{argument.name}'" in source, f'{argument.name} is declared but not used'
        if argument.in_share:
            assert (ROOT / argument.default).exists()


def test_replay_passes_on_only_what_the_other_declares():
    names = {a.name for a in NODE_ARGUMENTS}
    assert names <= {a.name for a in VEHICLE_ARGUMENTS} and names <= {a.name for a in REPLAY_ARGUMENTS}


def test_every_selectable_input_is_an_argument_and_is_remapped():
    assert [a.name for a in INPUT_ARGUMENTS] == [spec.name for spec in selectable_inputs()]
    topics = {spec.name: f'chosen/{spec.name}' for spec in selectable_inputs()}
    found = dict(remappings(topics))
    assert set(found) == {t.private_topic for spec in selectable_inputs() for t in spec.transports}
    assert {spec.name: found[spec.transports[0].private_topic] for spec in selectable_inputs()} == topics
    found = dict(remappings({**topics, 'map_image': '/map'}))
    assert (found['~/input/map_image'], found['~/input/map_image/compressed']) == ('/map', '/map/compressed')


def test_what_launch_files_import_changes_nothing_and_is_small():
    """`ros2 launch` runs in one process for everything on the vehicle."""
    code = ('import json, os, sys\nbefore = dict(os.environ)\n'
            'from attention_fusion_ros.ros import launch_arguments, transport\n'
            'print(json.dumps([dict(os.environ) == before, sorted({"torch", "rclpy"} & set(sys.modules))]))')
    printed = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert json.loads(printed) == [True, []]


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_the_description_declares_its_arguments(path):
    needs_launch()
    description = load(path).generate_launch_description()
    declared = {a.name: a for a in description.get_launch_arguments()}
    assert set(declared) == {a.name for a in ARGUMENTS[path.name]}
    assert all(a.description for a in declared.values())
