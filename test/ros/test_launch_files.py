# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Launch files, the parameter file and the rviz configuration fit the node they are for."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

from attention_fusion_ros.config import flatten, from_flat, parameters

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

    from attention_fusion_ros.ros.node.graph import conflict
    from attention_fusion_ros.ros.node.publications import OUTPUTS
    reliability = {'Reliable': ReliabilityPolicy.RELIABLE, 'Best Effort': ReliabilityPolicy.BEST_EFFORT}
    durability = {'Volatile': DurabilityPolicy.VOLATILE, 'Transient Local': DurabilityPolicy.TRANSIENT_LOCAL}
    outputs = {o.name.replace('~', '/attention_fusion'): o for o in OUTPUTS}
    shown = {}
    for kind, display in displays():
        if 'Topic' not in display:
            continue
        topic = display['Topic']
        output = outputs[topic['Value']]
        assert output.type.__name__ == TYPES[kind]
        wanted = QoSProfile(depth=topic['Depth'], reliability=reliability[topic['Reliability Policy']],
                            durability=durability[topic['Durability Policy']])
        assert conflict(output.qos, wanted) == ''
        shown[topic['Value'].removeprefix('/attention_fusion/')] = display
    assert set(shown) == {'attention_points', 'heatmap/spatial', 'heatmap/gradcam', 'branches', 'markers', 'direction',
                          'distribution', 'heatmap/image'}
    assert {name for name, display in shown.items() if not display['Enabled']} == {'heatmap/gradcam'}  # it costs a run
    assert shown['attention_points']['Channel Name'] == 'attention'
    assert shown['attention_points']['Color Transformer'] == 'Intensity'


# -- launch files -----------------------------------------------------------------------------------------------------

def test_both_are_there():
    assert [p.name for p in LAUNCH_FILES] == ['attention_fusion.launch.py', 'replay.launch.py']


def arguments_of(path: Path) -> dict[str, tuple]:
    """{name: (name, default, description, ...)}, read from the source: no launch needed."""
    tree = ast.parse(path.read_text())
    value = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == 'ARGUMENTS')
    return {ast.literal_eval(row.elts[0]): row.elts for row in value.elts}


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_every_argument_is_described_and_used(path):
    source = path.read_text()
    for name, row in arguments_of(path).items():
        assert len(ast.literal_eval(row[2])) > 10, name
        uses = source.count(f"'{name}'")
        assert uses >= 2, f'{name} is declared but not used'


def test_replay_passes_on_only_what_the_other_declares():
    replay, vehicle = LAUNCH_FILES[1], LAUNCH_FILES[0]
    tree = ast.parse(replay.read_text())
    passed = ast.literal_eval(next(n.value for n in tree.body if isinstance(n, ast.Assign)
                                   and n.targets[0].id == 'PASSED_ON'))
    assert set(passed) <= set(arguments_of(vehicle)) and set(passed) <= set(arguments_of(replay))


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_the_description_declares_its_arguments(path):
    needs_launch()
    description = load(path).generate_launch_description()
    declared = {a.name: a for a in description.get_launch_arguments()}
    assert set(declared) == set(arguments_of(path))
    assert all(a.description for a in declared.values())


def installed() -> bool:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    try:
        prefix = get_package_prefix('attention_fusion_ros')
    except PackageNotFoundError:
        return False
    return (Path(prefix) / 'lib/attention_fusion_ros/fusion_node').exists()


def test_launching_brings_the_node_up_to_active(tmp_path):
    """As on a vehicle: the launch file starts the node, configures and activates it; arguments remap its topics."""
    needs_launch()
    if not installed():
        pytest.skip('attention_fusion_ros is not installed as a ROS package: colcon build and source it')
    import subprocess

    import rclpy
    from lifecycle_msgs.srv import GetState
    parameter_file = tmp_path / 'parameters.yaml'
    parameter_file.write_text('/**:\n  ros__parameters:\n    checkpoint: untrained\n    allow_untrained: true\n'
                              '    use_tf: false\n')
    domain = 1 + os.getpid() % 100
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
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
        rclpy.init(context=context, domain_id=domain)
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
        topics = dict(node.get_subscriber_names_and_types_by_node('attention_fusion', '/car'))
        assert {'/top/points', '/car/map_image', '/car/map_image/compressed', '/car/odom'} <= set(topics)
    finally:
        context.try_shutdown()
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl+C does
        output = process.communicate(timeout=60)[0]
    assert 'process has died' not in output, output
