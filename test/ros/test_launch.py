# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files as they run: how the node is brought up, and how everything ends."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('launch_ros', reason='launch_ros is not installed: it comes with a ROS 2 installation only')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from geometry_msgs.msg import PoseArray  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from support import synthetic_bag as bag  # noqa: E402
from support.launch_kit import Launched, ament_prefix  # noqa: E402

pytestmark = pytest.mark.slow
NODE, REPLAY = 'attention_fusion.launch.py', 'replay.launch.py'


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

        def heard():
            try:
                return {topic for topic, _ in node.get_subscriber_names_and_types_by_node('attention_fusion', '/car')}
            except Exception:  # the graph is discovered apart from services
                return set()
        launched.wait(lambda: wanted <= heard(), 'the topics are subscribed to')
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
