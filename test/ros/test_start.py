# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the environment is said in one line, and what can be done without is done without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from support.node_kit import Graph  # noqa: E402

from attention_fusion_ros.ros.start import explained, one_line  # noqa: E402

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros import start
import rclpy
try:
    start.init(sys.argv)
    rclpy.create_node('somebody').get_logger().info('hello')
except ConfigurationError as error:
    sys.exit(f'error: {error}')
except Exception as error:
    sys.exit(f'error: {start.explained(error)}' if start.is_environment(error) else 'unexplained')
"""


def started(ros_domain, *arguments, **variables):
    """A process that makes a node: exit status and output. variables: None for one that is not set."""
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros_domain), 'PYTHONPATH': str(ROOT), **variables}
    done = subprocess.run([sys.executable, '-c', SCRIPT, *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120,
                          env={name: value for name, value in environment.items() if value is not None})
    return done.returncode, done.stdout


@pytest.mark.parametrize('variables', [{'ROS_LOG_DIR': '/proc/nowhere'}, {'HOME': None, 'ROS_LOG_DIR': None},
                                       {'HOME': '/proc', 'ROS_LOG_DIR': None, 'ROS_HOME': None}],
                         ids=['read-only ROS_LOG_DIR', 'no HOME', 'read-only HOME'])
def test_a_folder_for_logs_that_cannot_be_written_costs_the_log_file_only(ros_domain, variables):
    status, output = started(ros_domain, **variables)
    assert status == 0 and 'hello' in output, output
    warning = next(line for line in output.splitlines() if line.startswith('WARNING: '))
    assert 'there is no log file' in warning and 'Remedy: set ROS_LOG_DIR' in warning


@pytest.mark.parametrize('name, value, words', [
    ('ROS_DOMAIN_ID', 'house', 'ROS_DOMAIN_ID'), ('ROS_DOMAIN_ID', '500', '232'),
    ('ROS_STATIC_PEERS', 'nobody.invalid', 'ROS_STATIC_PEERS')])
def test_variables_that_cannot_be_used_are_an_error_in_one_line(ros_domain, name, value, words):
    if name == 'ROS_STATIC_PEERS' and os.environ.get('ROS_DISTRO') == 'humble':
        pytest.skip('Humble has no static peers')
    more = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'} if name == 'ROS_STATIC_PEERS' else {}
    status, output = started(ros_domain, **{name: value, **more})
    error = next(line for line in output.splitlines() if line.startswith('error: '))
    assert status == 1 and words in error and f'Remedy: {"set" if name == "ROS_DOMAIN_ID" else "correct"}' in error
    assert 'Traceback' not in output


def test_arguments_that_cannot_be_used_still_are(ros_domain):
    status, output = started(ros_domain, '--ros-args', '-p', 'nothing')
    assert status == 1 and 'Remedy: correct the arguments after --ros-args' in output


def test_a_parameter_file_that_is_not_there_is_not_said_to_begin_wrongly(ros_domain):
    status, output = started(ros_domain, '--ros-args', '--params-file', '/nowhere.yaml')
    assert status == 1 and '/nowhere.yaml' in output and 'Remedy: give the path' in output


def test_errors_of_rcl_are_one_line_without_its_source():
    text = one_line("failed to initialize logging: Failed\n  to open 'x': 2, at /project/src/rcl_logging.cpp:154")
    assert text == "failed to initialize logging: Failed to open 'x': 2"
    assert str(explained(ValueError('something else'))).startswith('something else. Remedy: correct the arguments')


@pytest.mark.parametrize('remap, words', [
    ('/attention_fusion/input/map_image:=/attention_fusion/input/pointcloud', ('map image', 'sensor_msgs/Image')),
    ('/attention_fusion/input/odometry:=/attention_fusion/branches', ('odometry', 'geometry_msgs/PoseArray')),
    ('/attention_fusion/input/pointcloud_2:=/attention_fusion/input/pointcloud', ('point cloud and', 'point cloud 2'))])
def test_one_topic_cannot_be_of_two_types_nor_two_inputs(remap, words):
    """Of two types the middleware says 'invalid allocator'; two inputs would get every message twice."""
    graph = Graph(active=False, arguments=['-r', remap])
    try:
        graph.node.trigger_configure()
        assert graph.node.state == 'unconfigured'
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the two topics')
        assert remap.partition(':=')[2] in status.message and 'Remedy' in status.message, status.message
        assert all(word in status.message for word in words)
        assert not graph.node.get_subscriptions_info_by_topic(remap.partition(':=')[2])
    finally:
        graph.close()
