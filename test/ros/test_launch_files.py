# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Launch files, the parameter file and the rviz configuration fit the node they are for."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from attention_fusion_ros.config import NodeConfig, flatten, from_flat, parameters
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.ros.launch_arguments import (
    INPUT_ARGUMENTS,
    MAP_ALIGNMENT_TOPIC,
    MAP_IMAGE_TOPIC,
    MAP_INPUT_ARGUMENTS,
    MAP_VEHICLE_ARGUMENTS,
    NODE_ARGUMENTS,
    REPLAY_ARGUMENTS,
    SHARED_PARAMETERS,
    VEHICLE_ARGUMENTS,
    map_remappings,
    remappings,
    shared_parameters,
)
from attention_fusion_ros.ros.map_source.inputs import ALIGNMENT, MAP_INPUTS
from attention_fusion_ros.ros.map_source.outputs import MAP_IMAGE, MAP_OUTPUTS
from attention_fusion_ros.ros.outputs import OUTPUTS, OutputSpec
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
         'MarkerArray': 'MarkerArray', 'PoseWithCovariance': 'PoseWithCovarianceStamped', 'Image': 'Image',
         'Path': 'Path'}


def displays():
    manager = yaml.safe_load((ROOT / 'config/attention_fusion.rviz').read_text())['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == from_flat({}).frames.base
    return [(d['Class'].split('/')[1], d) for d in manager['Displays']]


def test_every_display_shows_an_output_of_the_nodes():
    needs_ros()
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    from attention_fusion_ros.ros.node.publications import qos_of
    from attention_fusion_ros.ros.node.qos import conflict
    reliability = {'Reliable': ReliabilityPolicy.RELIABLE, 'Best Effort': ReliabilityPolicy.BEST_EFFORT}
    durability = {'Volatile': DurabilityPolicy.VOLATILE, 'Transient Local': DurabilityPolicy.TRANSIENT_LOCAL}
    # Relative: in the namespace of rviz.
    outputs = {f'{node}/{spec.name}': spec
               for node, specs in (('attention_fusion', OUTPUTS), ('map_source', MAP_OUTPUTS)) for spec in specs}
    outputs.setdefault('attention_fusion/path', OutputSpec('path', 'nav_msgs/Path', ''))
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
        assert not output.latched or 'Transient' in topic['Durability Policy'] or spec_repeats(output), topic
        shown[topic['Value'].removeprefix('attention_fusion/')] = display
    assert set(shown) == {'attention_points', 'map_points', 'heatmap/spatial', 'heatmap/gradcam', 'branches', 'markers',
                          'direction', 'distribution', 'heatmap/image', 'path', 'map_source/roads', 'map_source/route',
                          'map_source/position'}
    # Grad-CAM costs a run; the markers show direction and branches already, and end with the results.
    assert {name for name, display in shown.items() if not display['Enabled']} == {
        'heatmap/gradcam', 'direction', 'branches'}


def spec_repeats(output) -> bool:
    """Whether an output comes with every sweep: whoever misses one sees the next."""
    return output in OUTPUTS


def test_a_goal_that_is_clicked_reaches_the_map_source():
    manager = yaml.safe_load((ROOT / 'config/attention_fusion.rviz').read_text())['Visualization Manager']
    tool, = (t for t in manager['Tools'] if t['Class'] == 'rviz_default_plugins/SetGoal')
    assert tool['Topic']['Value'] == next(s.default_topic for s in MAP_INPUTS if s.name == 'goal_pose')


def test_colours_and_bounds_are_fixed():
    shown = {display['Name']: display for _, display in displays()}
    points, ring = shown['Attention points'], shown['Distribution']
    for display, channel in ((points, 'attention'), (ring, 'intensity')):
        assert display['Channel Name'] == channel and display['Color Transformer'] == 'Intensity'
        assert not display['Use rainbow'] and not display['Autocompute Intensity Bounds']  # magenta is no attention
        assert display['Min Intensity'] == 0 < display['Max Intensity'] <= 1
    for name in ('Attention on the ground', 'Grad-CAM on the ground (the network runs twice)'):
        assert shown[name]['Color Scheme'] == 'costmap' and 0.3 < shown[name]['Alpha'] < 0.9  # 0 is transparent in it


def test_every_namespace_of_the_markers_is_shown():
    needs_ros()
    from attention_fusion_ros.ros.messages import encode
    source = Path(encode.__file__).read_text()
    names = next(display['Namespaces'] for _, display in displays() if display['Name'] == 'Branches and direction')
    assert all(names.values()) and all(f"'{name}'" in source for name in names)
    assert {'direction', 'branches', 'uncertainty', 'ring', 'note'} == set(names)


def rviz():
    return yaml.safe_load((ROOT / 'config/attention_fusion.rviz').read_text())


def test_the_render_view_takes_most_of_the_window():
    geometry = rviz()['Window Geometry']
    docks, (width, height) = main_window_state(geometry['QMainWindow State'])
    left, bottom = docks[0], docks[3]
    assert set(docks) == {0, 3} and geometry['Hide Right Dock']
    names = [panel['Name'] for panel in rviz()['Panels']] + [d['Name'] for k, d in displays() if k == 'Image']
    assert sorted(left.names + bottom.names) == sorted(names)
    assert all(not geometry[name]['collapsed'] for name in names)
    assert width >= 0.7 * geometry['Width'] and left.size[0] + width <= geometry['Width']
    assert height >= 0.8 * geometry['Height']


def test_three_views_are_saved():
    views = rviz()['Visualization Manager']['Views']
    saved = {view['Name']: view for view in views['Saved']}
    assert set(saved) == {'Driver', "Bird's eye", 'Explanation'}
    for view in (views['Current'], *saved.values()):
        assert view['Target Frame'] == from_flat({}).frames.base  # rides along
    # Up is ahead in both kinds: the camera of Orbit stands at `Yaw` of the focal point.
    assert abs(saved['Driver']['Yaw'] - math.pi) < 0.01 and abs(saved["Bird's eye"]['Angle'] + math.pi / 2) < 0.01


@dataclass
class Dock:
    size: tuple[int, int]
    names: list[str]


def main_window_state(text: str) -> tuple[dict[int, Dock], tuple[int, int]]:
    """The docks by position (0 left, 1 right, 2 top, 3 bottom), and the size of what is between them.

    QMainWindow::saveState of Qt 5 and 6 (qdockarealayout.cpp): big endian, texts in UTF-16 after their length.
    """
    stream = io.BytesIO(bytes.fromhex(text))

    def numbers(count: int) -> tuple[int, ...]:
        return struct.unpack(f'>{count}i', stream.read(4 * count))

    assert numbers(2) == (0xff, 0) and stream.read(1) == b'\xfd'
    docks = {}
    for _ in range(numbers(1)[0]):
        position, wide, high = numbers(3)
        assert stream.read(1) == b'\xfc'  # one widget beside the other
        stream.read(1)
        names = []
        for _ in range(numbers(1)[0]):
            assert stream.read(1) == b'\xfb'
            names.append(stream.read(numbers(1)[0]).decode('utf-16-be'))
            assert stream.read(1) == b'\x01'  # visible, not floating
            numbers(4)
        docks[position] = Dock((wide, high), names)
    between = numbers(2)
    assert numbers(4) == (4, 4, 8, 8)  # corners belong to the docks at the sides below and above
    assert stream.read(1) == b'\xfc'  # tool bars
    return docks, between


# -- launch files -----------------------------------------------------------------------------------------------------

ARGUMENTS = {'attention_fusion.launch.py': VEHICLE_ARGUMENTS, 'replay.launch.py': REPLAY_ARGUMENTS,
             'vehicle.launch.py': MAP_VEHICLE_ARGUMENTS}


def test_all_are_there():
    assert [p.name for p in LAUNCH_FILES] == sorted(ARGUMENTS)


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_every_argument_is_described_and_used(path):
    source = path.read_text() + (ROOT / 'attention_fusion_ros/ros/launching.py').read_text()
    passed_on = {a.name for a in NODE_ARGUMENTS} if path.name.startswith('replay') else set()
    inputs = {a.name for a in (*INPUT_ARGUMENTS, *MAP_INPUT_ARGUMENTS)}
    assert len({a.name for a in ARGUMENTS[path.name]}) == len(ARGUMENTS[path.name])
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


def test_the_two_nodes_are_wired_to_each_other():
    given = {a.name: f'chosen/{a.name}' for a in MAP_VEHICLE_ARGUMENTS}
    found = dict(map_remappings(given.__getitem__, MAP_ALIGNMENT_TOPIC))
    assert set(found) == {t.private_topic for spec in selectable_inputs(MAP_INPUTS) for t in spec.transports}
    assert found['~/input/fix'] == 'chosen/fix' and found['~/input/odometry'] == 'chosen/odometry'
    assert 'map_image' not in given and ALIGNMENT not in given
    assert MAP_IMAGE_TOPIC == f'map_source/{MAP_IMAGE}'  # as the launch files name the nodes
    published = {f'attention_fusion/{spec.name}' for spec in OUTPUTS}
    assert found['~/input/map_alignment'] == MAP_ALIGNMENT_TOPIC and MAP_ALIGNMENT_TOPIC in published


def parameter_files(tmp_path, fusion: str, source: str) -> list[tuple[str, str, str]]:
    files = []
    for name, text, argument in (('attention_fusion', fusion, 'params_file'), ('map_source', source, 'map_params')):
        (tmp_path / f'{name}.yaml').write_text(text)
        files.append((str(tmp_path / f'{name}.yaml'), f'/car/{name}', argument))
    return files


DEFAULTS = '/**:\n  ros__parameters:\n    map: {resolution: 0.25, orientation: heading_up}\n    lookahead: 20.0\n'


@pytest.mark.parametrize('text', [
    '/**:\n  ros__parameters:\n    map: {resolution: 0.5}\n    frames.base: base\n    route: {width: 1.0}\n',
    '/**:\n  ros__parameters:\n    map.resolution: 0.5\n  map_source:\n    ros__parameters:\n      frames: {base: base}'
    '\n/other:\n  ros__parameters: {map.resolution: 9.0}\n',
    'car:\n  "*":\n    ros__parameters:\n      map.resolution: 0.5\n      frames.base: base\n'])
def test_what_both_nodes_have_to_agree_about_may_stand_in_either_file(tmp_path, text):
    wanted = {'map.resolution': 0.5, 'frames.base': 'base'}
    assert shared_parameters(parameter_files(tmp_path, DEFAULTS, text)) == wanted
    assert shared_parameters(parameter_files(tmp_path, text.replace('map_source', 'attention_fusion'), '')) == wanted
    assert shared_parameters([('', '/car/attention_fusion', 'params_file')]) == {}


def test_one_file_may_have_the_parameters_of_both_nodes(tmp_path):
    text = DEFAULTS + 'car:\n  attention_fusion:\n    ros__parameters: {map.resolution: 0.5}\n'
    (tmp_path / 'both.yaml').write_text(text)
    files = [(str(tmp_path / 'both.yaml'), f'/car/{name}', '') for name in ('attention_fusion', 'map_source')]
    assert shared_parameters(files) == {'map.resolution': 0.5}


def test_two_files_that_do_not_agree_are_refused(tmp_path):
    files = parameter_files(tmp_path, DEFAULTS.replace('0.25', '0.4'), DEFAULTS.replace('0.25', '0.5'))
    with pytest.raises(ConfigurationError, match='map.resolution.*0.4.*0.5.*Remedy') as error:
        shared_parameters(files)
    assert all(path in str(error.value) for path, *_ in files)


def test_a_missing_parameter_file_is_named_by_its_own_argument():
    with pytest.raises(ConfigurationError, match='nowhere.*map_params:=FILE'):
        shared_parameters([('/nowhere.yaml', '/map_source', 'map_params')])


def test_shared_parameters_mean_the_same_in_both_nodes():
    fusion, source = ({p.name: p.default for p in parameters(kind)} for kind in (NodeConfig, MapSourceConfig))
    assert {name: fusion[name] for name in SHARED_PARAMETERS} == {name: source[name] for name in SHARED_PARAMETERS}
    same = {name for name in fusion if name in source and name.startswith(('map.', 'frames.'))}
    assert same == set(SHARED_PARAMETERS)


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


def test_without_rviz_the_rest_starts(tmp_path, monkeypatch):
    needs_launch()
    from launch import LaunchContext
    from launch.actions import LogInfo

    from attention_fusion_ros.ros import launching

    context = LaunchContext()
    context.launch_configurations.update(rviz='true', rviz_config=str(ROOT / 'config/attention_fusion.rviz'),
                                         namespace='', use_sim_time='')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    assert isinstance(launching.rviz(context), LogInfo)
