# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The middleware profile: given where nobody chose otherwise and there is room, and it does what it is for."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from attention_fusion_ros.ros import transport

BYTES, COUNT = 1_900_000, 20  # 120,000 points of 16 bytes
# Publishes COUNT messages once a best effort subscriber is there; or counts what such a subscriber hears.
TALK = """
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from attention_fusion_ros.ros.transport import configure_fastdds_shared_memory
configure_fastdds_shared_memory()
rclpy.init()
node = rclpy.create_node(sys.argv[1])
got = []
if sys.argv[1] == 'speaker':
    publisher = node.create_publisher(PointCloud2, 'clouds', 10)
    message = PointCloud2(data=array.array('B', bytes(int(sys.argv[2]))))
    while not publisher.get_subscription_count():
        time.sleep(0.02)
    time.sleep(0.5)
    for i in range(int(sys.argv[3])):
        publisher.publish(message)
        time.sleep(0.1)
else:
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(PointCloud2, 'clouds', got.append, qos)
    last = None
    while last is None or time.monotonic() - last < 3.0:
        rclpy.spin_once(node, timeout_sec=0.1)
        if len(got) and got[-1] is not None:
            last, got[-1] = time.monotonic(), None
    print(len(got))
"""


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in transport.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_profile_keeps_both_transports():
    root = ElementTree.parse(transport.PROFILE).getroot()
    name = {'x': 'http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles'}
    kinds = {t.find('x:type', name).text: t for t in root.iter(f"{{{name['x']}}}transport_descriptor")}
    assert set(kinds) == {'SHM', 'UDPv4'}
    assert int(kinds['SHM'].find('x:segment_size', name).text) >= 8 * BYTES


@pytest.mark.parametrize('name', transport.SET_BY_USER)
def test_what_the_user_set_up_is_left_alone(monkeypatch, name):
    assert transport.environment() == {transport.variable(): str(transport.PROFILE)}
    monkeypatch.setenv(name, 'something')
    assert transport.environment() == {}


@pytest.mark.parametrize('version, name', [
    ('7.1.6', 'FASTRTPS_DEFAULT_PROFILES_FILE'), ('9.1.2', 'FASTDDS_DEFAULT_PROFILES_FILE'),
    ('unknown', 'FASTRTPS_DEFAULT_PROFILES_FILE'), ('10.0.1', 'FASTDDS_DEFAULT_PROFILES_FILE')])
def test_the_variable_is_that_of_the_distribution(monkeypatch, version, name):
    monkeypatch.setattr(importlib.metadata, 'version', lambda package: version)
    assert transport.environment() == {name: str(transport.PROFILE)}


def test_a_profile_in_the_working_directory_is_left_alone(tmp_path):
    (tmp_path / transport.IN_WORKING_DIRECTORY).touch()
    assert transport.environment() == {}


def test_where_there_is_no_room_or_no_shared_memory_nothing_changes(monkeypatch):
    monkeypatch.setattr(transport, 'NEEDED_BYTES', 2**70)
    assert transport.environment() == {}
    monkeypatch.setattr(transport, 'NEEDED_BYTES', 0)
    monkeypatch.setattr(transport, 'SHARED_MEMORY', '/nowhere')
    assert transport.environment() == {}


def test_a_session_leaves_the_environment_alone(ros_domain, monkeypatch):
    """The profile is for the middleware of the session, not for whatever this process starts later."""
    from attention_fusion_ros.ros.clients.session import Session
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    before = dict(os.environ)
    with Session('quiet', domain_id=ros_domain, spin=False, environment={'OF_THE_SESSION': '1'}):
        assert dict(os.environ) == before
    assert dict(os.environ) == before


def test_variables_are_applied_and_put_back(monkeypatch):
    monkeypatch.setenv('SET_BEFORE', 'old')
    monkeypatch.delenv('NOT_SET_BEFORE', raising=False)
    with pytest.raises(ValueError), transport.applied({'SET_BEFORE': 'new', 'NOT_SET_BEFORE': 'new'}):
        assert os.environ['SET_BEFORE'] == os.environ['NOT_SET_BEFORE'] == 'new'
        raise ValueError
    assert os.environ['SET_BEFORE'] == 'old' and 'NOT_SET_BEFORE' not in os.environ


def test_staying_on_this_machine_is_up_to_the_user(monkeypatch):
    for name in transport.LOCAL_ONLY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    assert transport.local_only() == {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    assert transport.local_only() == {'ROS_LOCALHOST_ONLY': '1'}
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    assert transport.local_only() == {}


def test_sweeps_arrive_without_retransmission(ros_domain):
    """Between two processes. Without the profile most of them are lost where the machine has other things to do."""
    if not transport.environment():
        pytest.skip('not enough shared memory on this machine')
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros_domain), 'PYTHONPATH': path,
                   'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    start = [sys.executable, '-c', TALK]
    speaker = subprocess.Popen([*start, 'speaker', str(BYTES), str(COUNT)], env=environment)
    listener = subprocess.run([*start, 'listener'], env=environment, capture_output=True, text=True, timeout=120)
    assert speaker.wait(30) == 0 and listener.returncode == 0, listener.stderr
    assert int(listener.stdout) >= 0.8 * COUNT, listener.stdout
