# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Launch files, the parameter file and the rviz configuration fit the node they are for."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
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
    outputs = {f'/attention_fusion/{spec.name}': spec for spec in OUTPUTS}
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
        shown[topic['Value'].removeprefix('/attention_fusion/')] = display
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


def installed() -> bool:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    try:
        prefix = get_package_prefix('attention_fusion_ros')
    except PackageNotFoundError:
        return False
    return (Path(prefix) / 'lib/attention_fusion_ros/fusion_node').exists()


def test_launching_brings_the_node_up_to_active(ros_domain, tmp_path):
    """As on a vehicle: the launch file starts the node, configures and activates it; arguments remap its topics."""
    needs_launch()
    if not installed():
        pytest.skip('attention_fusion_ros is not installed as a ROS package: colcon build and source it')
    import rclpy
    from lifecycle_msgs.srv import GetState
    parameter_file = tmp_path / 'parameters.yaml'
    parameter_file.write_text('/**:\n  ros__parameters:\n    checkpoint: untrained\n    allow_untrained: true\n'
                              '    use_tf: false\n')
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros_domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    code = ('import sys\nfrom launch import LaunchDescription, LaunchService\n'
            'from launch.actions import IncludeLaunchDescription\n'
            'from launch.launch_description_sources import PythonLaunchDescriptionSource\n'
            'service = LaunchService()\n'
            'service.include_launch_description(LaunchDescription([IncludeLaunchDescription(\n'
            '    PythonLaunchDescriptionSource(sys.argv[1]),\n'
            '    launch_arguments=[a.split(":=") for a in sys.argv[2:]])]))\n'
            'sys.exit(service.run())\n')
    process = subprocess.Popen(
        [sys.executable, '-c', code, str(ROOT / 'launch/attention_fusion.launch.py'), 'namespace:=car', 'device:=cpu',
         'pointcloud:=/top/points', f'params_file:={parameter_file}'], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    context = rclpy.Context()
    try:
        rclpy.init(context=context, domain_id=ros_domain)
        node = rclpy.create_node('probe', context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        client = node.create_client(GetState, '/car/attention_fusion/get_state')
        end, state = time.monotonic() + 120.0, None
        while state != 'active' and time.monotonic() < end:
            assert process.poll() is None, process.communicate()[0]
            if not client.wait_for_service(1.0):
                continue
            future = client.call_async(GetState.Request())
            executor.spin_until_future_complete(future, 5.0)
            state = future.result().current_state.label if future.done() else None
        assert state == 'active'
        wanted, heard = {'/top/points', '/car/map_image', '/car/map_image/compressed', '/car/odom'}, set()
        while not wanted <= heard and time.monotonic() < end:  # the graph is discovered apart from services
            try:
                heard = {name for name, _ in node.get_subscriber_names_and_types_by_node('attention_fusion', '/car')}
            except rclpy.node.NodeNameNonExistentError:
                pass
            time.sleep(0.05)
        assert wanted <= heard
    finally:
        context.try_shutdown()
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl+C does
        output = process.communicate(timeout=60)[0]
    assert 'process has died' not in output, output
