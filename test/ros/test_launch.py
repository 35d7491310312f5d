# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files as they run: how the node is brought up, and how everything ends."""

from __future__ import annotations

import os
import shutil
import signal
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('launch_ros', reason='launch_ros is not installed: it comes with a ROS 2 installation only')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import Image, NavSatFix  # noqa: E402
from support import discovered  # noqa: E402
from support import synthetic_bag as bag  # noqa: E402
from support.launch_kit import Launched, ament_prefix  # noqa: E402
from support.map_kit import drive_through  # noqa: E402

from attention_fusion_ros.maps import example_extract  # noqa: E402
from attention_fusion_ros.maps.frames import LocalFrame  # noqa: E402
from attention_fusion_ros.maps.load import load_roads  # noqa: E402
from attention_fusion_ros.maps.local_roads import LocalRoads  # noqa: E402
from attention_fusion_ros.ros.messages import sensors  # noqa: E402

pytestmark = pytest.mark.slow
NODE, REPLAY, VEHICLE = 'attention_fusion.launch.py', 'replay.launch.py', 'vehicle.launch.py'


@pytest.fixture(scope='module')
def prefix(tmp_path_factory):
    return ament_prefix(tmp_path_factory.mktemp('ament') / 'prefix')


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """A recording without QoS profiles, as other tools than rosbag2 write them."""
    return bag.write(tmp_path_factory.mktemp('bags') / 'drive', bag.drive(20))


@pytest.fixture
def launch(prefix, ros_domain, tmp_path):
    """Launches a file with these arguments, on the CPU, with random weights (unless a params_file is given)."""
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**:\n  ros__parameters:\n    checkpoint: untrained\n    allow_untrained: true\n')

    def launched(name: str, *arguments: str) -> Launched:
        given = {a.partition(':=')[0] for a in arguments}
        own = [a for a in (f'params_file:={parameters}', 'device:=cpu', 'rviz:=false')
               if a.partition(':=')[0] not in given]
        return Launched(prefix, ros_domain, name, *own, *arguments)
    return launched


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stops_cleanly(launched: Launched, *pids: int, twice: bool = True) -> None:
    """On SIGINT that arrives twice, from the terminal and from launch: nothing is left behind or called an error."""
    launched.interrupt(twice)
    assert launched.end() == 0, launched.output
    assert 'has died' not in launched.output and 'Traceback' not in launched.output, launched.output
    assert not any(map(exists, pids)), launched.output


def test_it_brings_the_node_up_to_active_and_no_further_than_that(launch):
    """As on a vehicle: arguments remap the topics; what is set by hand afterwards stays as it is."""
    with launch(NODE, 'namespace:=car', 'pointcloud:=/top/points', 'rviz:=true') as launched:
        node, name = launched.session.node, '/car/attention_fusion'
        launched.wait(lambda: launched.state(name) == 'active', 'the node is active')
        wanted = {'/top/points', '/car/map_image', '/car/map_image/compressed', '/car/odom'}
        launched.wait(lambda: wanted <= discovered.names(node.get_subscriber_names_and_types_by_node,
                                                         'attention_fusion', '/car'), 'the topics are subscribed to')
        shown = launched.wait(lambda: [line for line in launched.output.splitlines() if '] rviz2 -d' in line], 'rviz')
        assert '__ns:=/car' in shown[0]

        assert launched.change(Transition.TRANSITION_DEACTIVATE, name)
        assert launched.change(Transition.TRANSITION_CLEANUP, name)
        assert launched.state(name) == 'unconfigured'
        assert launched.change(Transition.TRANSITION_CONFIGURE, name)
        time.sleep(2.0)  # launch hears of it
        assert launched.state(name) == 'inactive'
        stops_cleanly(launched, launched.pid_of('fusion_node'))


PARAMETERS = {
    'missing': (None, ['nowhere.yaml', 'cannot be read', 'Remedy']),
    'no YAML': ('/**: [', ['is no YAML']),
    'for another node': ('other:\n  ros__parameters:\n    lookahead: 20.0\n',
                         ['/other', 'none for /attention_fusion', 'Remedy']),
    'no ROS parameters': ('lookahead: 20.0\n', ['no ros__parameters', 'Remedy']),
    'refused by rcl': ('/**:\n  ros__parameters:\n    lookahead: [1, a]\n',
                       ['error: ', 'same type', 'Remedy', 'fusion_node ended with exit code 2'])}


@pytest.mark.parametrize('content, words', PARAMETERS.values(), ids=PARAMETERS)
def test_a_parameter_file_that_cannot_be_used_ends_the_launch_with_its_error(launch, tmp_path, content, words):
    path = tmp_path / 'nowhere.yaml'
    if content is not None:
        path.write_text(content)
    with launch(NODE, f'params_file:={path}') as launched:
        assert launched.end() == 1, launched.output
        assert all(word in launched.output for word in words), launched.output
        assert 'Traceback' not in launched.output


@pytest.mark.parametrize('name', [NODE, REPLAY])
def test_a_node_that_dies_ends_the_launch_with_an_error(launch, drive, name):
    arguments = [f'bag:={drive}', 'player:=attention_fusion_ros'] if name == REPLAY else []
    with launch(name, *arguments) as launched:
        os.kill(launched.pid_of('fusion_node'), signal.SIGKILL)
        assert launched.end() == 1
        assert 'fusion_node ended with exit code -9' in launched.output


@pytest.mark.parametrize('player', ['attention_fusion_ros', 'rosbag2'])
def test_a_recording_without_qos_profiles_gives_results_and_nothing_is_left_behind(launch, drive, player):
    if player == 'rosbag2':
        pytest.importorskip('rosbag2_py', reason='rosbag2 is not installed')
        if shutil.which('ros2') is None:
            pytest.skip("there is no 'ros2' on the PATH")
    with launch(REPLAY, f'bag:={drive}', f'player:={player}', 'loop:=true') as launched:
        results = []
        launched.session.node.create_subscription(PoseArray, '/attention_fusion/branches', results.append, 10)
        launched.wait(lambda: results, 'a result')
        stops_cleanly(launched, launched.pid_of('fusion_node'),
                      launched.pid_of('player' if player == 'rosbag2' else 'play'),
                      twice=player != 'rosbag2')  # which may die of a second one, at its very end


def test_the_end_of_the_recording_ends_everything_where_that_is_asked_for(launch, drive):
    with launch(REPLAY, f'bag:={drive}', 'player:=attention_fusion_ros', 'rate:=10', 'exit_at_end:=true') as launched:
        assert launched.end() == 0, launched.output
        assert 'has died' not in launched.output


REPLAYS = {
    'no recording': (['bag:=/nowhere'], ["no recording '/nowhere'", 'Remedy']),
    'a player that fails': (['player:=attention_fusion_ros', 'rate:=-1'], ['--rate must be', 'the player ended with']),
    'a node that cannot be configured': (['player:=attention_fusion_ros', 'checkpoint:=/nowhere.safetensors'],
                                         ['configuring failed', 'could not be configured'])}


@pytest.mark.parametrize('arguments, words', REPLAYS.values(), ids=REPLAYS)
def test_what_cannot_be_replayed_ends_the_launch_with_its_error(launch, drive, arguments, words):
    with launch(REPLAY, f'bag:={drive}', *arguments) as launched:
        assert launched.end() == 1, launched.output
        assert all(word in launched.output for word in words), launched.output


# -- map_source and attention_fusion together --------------------------------------------------------------------------

def parameter(launched: Launched, node: str, name: str):
    """The value of a parameter of a node that is launched."""
    return launched.call(GetParameters, f'{node}/get_parameters', GetParameters.Request(names=[name])).values[0]


class Vehicle:
    """Fixes and odometry of a drive through the extract that ships with the package, a step a call."""

    def __init__(self):
        graph = load_roads(example_extract(), cache=None)
        south, west, north, east = graph.bounds
        roads = LocalRoads(graph, LocalFrame((south + north) / 2, (west + east) / 2))
        self.poses = drive_through(roads, 2, 60.0)
        self.degrees = np.stack(roads.frame.to_degrees(self.poses[:, :2]), axis=1)

    @property
    def goal(self) -> str:
        latitude, longitude = self.degrees[-1]
        return f'{latitude:.7f},{longitude:.7f}'

    def start(self, node) -> None:
        """Begin to publish."""
        self._fix = node.create_publisher(NavSatFix, '/gps/fix', 10)
        self._odometry = node.create_publisher(Odometry, '/wheels', 10)
        self._step = 0
        self._start_ns = time.time_ns()

    def drive(self) -> None:
        """A step of 0.1 s; at the end the vehicle stands."""
        k = min(self._step, len(self.poses) - 1)
        stamp_ns = self._start_ns + self._step * 100_000_000
        self._odometry.publish(sensors.odometry(self.poses[k], sensors.header(stamp_ns, 'odom')))
        if self._step % 5 == 0:
            fix = NavSatFix(header=sensors.header(stamp_ns, 'gps'), latitude=self.degrees[k, 0],
                            longitude=self.degrees[k, 1], position_covariance_type=2)
            fix.position_covariance = np.diag([0.25, 0.25, 1.0]).ravel().tolist()
            self._fix.publish(fix)
        self._step += 1


def test_a_file_of_roads_and_fixes_become_the_map_image_of_the_fusion_node(launch, tmp_path):
    pytest.importorskip('osmium', reason='needs osmium')
    pytest.importorskip('pyproj', reason='needs pyproj')
    map_params = tmp_path / 'map.yaml'
    map_params.write_text('/**:\n  ros__parameters:\n    map: {resolution: 0.5, width: 240, height: 200}\n')
    vehicle, images = Vehicle(), []
    with launch(VEHICLE, f'osm:={example_extract()}', f'goal:={vehicle.goal}', 'namespace:=car', 'fix:=/gps/fix',
                'odometry:=/wheels', f'map_params:={map_params}', 'rviz:=true') as launched:
        node = launched.session.node
        vehicle.start(node)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(Image, '/car/map_source/map_image', images.append, latched)
        for name in ('attention_fusion', 'map_source'):
            launched.wait(lambda name=name: launched.state(f'/car/{name}') == 'active', f'{name} is active')
        for name, wanted in (('attention_fusion', {'/car/lidar/points', '/car/map_source/map_image', '/wheels'}),
                             ('map_source', {'/gps/fix', '/wheels', '/car/attention_fusion/map_alignment'})):
            launched.wait(lambda name=name, wanted=wanted: wanted <= discovered.names(
                node.get_subscriber_names_and_types_by_node, name, '/car'), f'the subscriptions of {name}')

        def route_is_drawn():
            vehicle.drive()
            pixels = [np.asarray(i.data, np.uint8).reshape(i.height, i.width, 3) for i in images[-1:]]
            return pixels and bool(((pixels[0][..., 0] > 200) & (pixels[0][..., 1] < 50)).any())
        launched.wait(route_is_drawn, 'an image with the route')
        assert (images[-1].width, images[-1].height, images[-1].header.frame_id) == (240, 200, 'base_link')
        for name in ('attention_fusion', 'map_source'):
            assert parameter(launched, f'/car/{name}', 'map.resolution').double_value == 0.5
        assert any('] rviz2 -d' in line for line in launched.output.splitlines())
        stops_cleanly(launched, launched.pid_of('fusion_node'), launched.pid_of('map_source'))


@pytest.mark.parametrize('victim', ['map_source', 'fusion_node'])
def test_either_node_ends_the_launch_when_it_dies(launch, victim):
    with launch(VEHICLE, f'osm:={example_extract()}') as launched:
        os.kill(launched.pid_of(victim), signal.SIGKILL)
        assert launched.end() == 1
        assert f'{victim} ended with exit code -9' in launched.output


VEHICLES = {
    'no such file': (['osm:=/nowhere.osm'], ["no file of roads '/nowhere.osm'", 'Remedy']),
    'no file of roads': (['osm:={folder}/notes.txt'], ['no file of roads that is known', 'map_source could not be']),
    'a goal that is none': (['osm:={extract}', 'goal:=here'], ["'here'", 'Remedy', 'map_source could not be']),
    'no checkpoint': (['osm:={extract}', 'checkpoint:=/nowhere.safetensors'], ['attention_fusion could not be']),
    'files that disagree': (['osm:={extract}', 'params_file:={folder}/a.yaml', 'map_params:={folder}/b.yaml'],
                            ["'map.resolution'", 'Remedy'])}


@pytest.mark.parametrize('arguments, words', VEHICLES.values(), ids=VEHICLES)
def test_a_vehicle_that_cannot_start_ends_the_launch_with_its_error(launch, tmp_path, arguments, words):
    (tmp_path / 'notes.txt').write_text('north, then left\n')
    for name, resolution in (('a', 0.5), ('b', 0.4)):
        (tmp_path / f'{name}.yaml').write_text(f'/**:\n  ros__parameters:\n    map.resolution: {resolution}\n')
    given = [a.format(folder=tmp_path, extract=example_extract()) for a in arguments]
    with launch(VEHICLE, *given) as launched:
        assert launched.end() == 1, launched.output
        assert all(word in launched.output for word in words), launched.output
