# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policies name what the processes use on the graph: nothing is missing, nothing is too much."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from rclpy.parameter import Parameter
from support import discovered
from support.map_kit import FRAME
from support.map_node_kit import MapGraph
from support.node_kit import UNTRAINED, wait_until
from support.synthetic_bag import drive, write
from support.vehicle_kit import write_block

from attention_fusion_ros.ros import access
from attention_fusion_ros.ros.clients.bag_player import BagPlayer, playable
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.ros.launch_arguments import MAP_ALIGNMENT_TOPIC, MAP_IMAGE_TOPIC
from attention_fusion_ros.ros.map_source.inputs import ALIGNMENT, MAP_INPUTS
from attention_fusion_ros.ros.messages.types import is_installed
from attention_fusion_ros.ros.node.node import AttentionFusionNode
from attention_fusion_ros.stream.inputs import INPUTS, default_topics, launch_remappings
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
TOPICS, SERVICES = ('publish', 'subscribe'), ('reply', 'request')


def allowed(scenario: str) -> dict[str, dict[str, set[str]]]:
    """Node -> right -> names, as the file that ships says it."""
    tree = ElementTree.parse(ROOT / f'config/sros2/{scenario}.policy.xml')
    found: dict[str, dict[str, set[str]]] = {}
    for profile in tree.iter('profile'):
        rights = found.setdefault(profile.get('node'), {right: set() for right in (*TOPICS, *SERVICES)})
        for group in profile:
            for right, qualifier in group.attrib.items():
                assert qualifier == 'ALLOW'
                rights[right] |= {entry.text for entry in group}
    return found


def used(probe, node: str) -> dict[str, set[str]]:
    """What a node has on the graph; a subscription may be there twice, with two kinds of QoS."""
    ask = {'publish': probe.get_publisher_names_and_types_by_node,
           'subscribe': probe.get_subscriber_names_and_types_by_node,
           'reply': probe.get_service_names_and_types_by_node, 'request': probe.get_client_names_and_types_by_node}
    return {right: discovered.names(question, node) for right, question in ask.items()}


def not_installed(inputs, topics) -> set[str]:
    """Topics of transports whose messages are not on this machine: allowed, but not there to be seen."""
    remapped = dict(launch_remappings(topics, inputs))
    names = {remapped.get(t.private_topic, t.private_topic) for spec in inputs for t in spec.transports
             if t.optional and not is_installed(t.type)}
    return {name.replace('~', f'/{access.FUSION}', 1) for name in names}


def remap(topics, inputs) -> list[str]:
    return [word for pair in launch_remappings(topics, inputs) for word in ('-r', ':='.join(pair))]


def compare(probe, node: str, rights: dict[str, set[str]], elsewhere: set[str] = frozenset()):
    rights = {right: names - elsewhere for right, names in rights.items()}
    try:
        wait_until(lambda: used(probe, node) == rights, f'{node} uses what its policy allows')
    except AssertionError:
        pass
    found = used(probe, node)
    assert {right: names - rights[right] for right, names in found.items()} == dict.fromkeys(found, set()), 'missing'
    assert {right: rights[right] - names for right, names in found.items()} == dict.fromkeys(found, set()), 'too much'


def test_the_policy_of_the_vehicle_is_what_both_nodes_use(tmp_path):
    fusion = {**default_topics(), MAP_IMAGE: f'/{MAP_IMAGE_TOPIC}'}
    wired = {**default_topics(MAP_INPUTS), ALIGNMENT: f'/{MAP_ALIGNMENT_TOPIC}'}
    parameters = {'file': str(write_block(tmp_path / 'block.geojson')), 'cache': str(tmp_path / 'cache'),
                  'datum': f'{FRAME[0]}, {FRAME[1]}'}
    rights = allowed('vehicle')
    assert set(rights) == {access.FUSION, access.MAP_SOURCE, access.LAUNCH}
    with MapGraph(parameters, arguments=remap(wired, MAP_INPUTS)) as graph:
        node = graph.add(AttentionFusionNode, [Parameter(k, value=v) for k, v in {**UNTRAINED, 'use_tf': True}.items()],
                         remap(fusion, INPUTS))
        assert str(node.trigger_configure()).endswith('SUCCESS') and str(node.trigger_activate()).endswith('SUCCESS')
        compare(graph.probe, access.FUSION, rights[access.FUSION], not_installed(INPUTS, fusion))
        compare(graph.probe, access.MAP_SOURCE, rights[access.MAP_SOURCE])
        served = {name for name, _ in graph.probe.get_service_names_and_types()}
        assert rights[access.LAUNCH]['request'] <= served
        assert rights[access.LAUNCH]['subscribe'] <= {name for name, _ in graph.probe.get_topic_names_and_types()}


def test_the_policy_of_a_replay_is_what_node_and_player_use(tmp_path, ros_domain):
    rights = allowed('replay')
    vehicle = allowed('vehicle')[access.FUSION]
    own = rights[access.FUSION]
    assert own['subscribe'] - vehicle['subscribe'] == {
        '/clock', '/map_image', '/map_image/compressed', '/map_image/grid'}
    assert all(own[right] == vehicle[right] for right in ('publish', 'reply', 'request'))
    bag = write(tmp_path / 'bag', drive())
    with (Session(access.PLAYER, domain_id=ros_domain) as player, Session('probe', domain_id=ros_domain) as probe,
          Recording(bag) as recording):
        topics, _ = playable(recording, [])
        BagPlayer(player.node, recording, topics, clock_hz=10.0)
        compare(probe.node, access.PLAYER, rights[access.PLAYER], access.player_access().publish - {
            *topics, *access.NODE_TOPICS, '/clock'})


# A node is made, configured and activated, and says so.
ENFORCED = """
import sys
import rclpy
from rclpy.parameter import Parameter
from attention_fusion_ros.ros.node.node import AttentionFusionNode
rclpy.init(args=['--ros-args', '--enclave', '/attention_fusion', *sys.argv[1:]])
node = AttentionFusionNode(parameter_overrides=[Parameter('checkpoint', value='untrained'),
                                                Parameter('allow_untrained', value=True)])
print(str(node.trigger_configure()), str(node.trigger_activate()))
"""


def enforced(keystore: Path, domain: int) -> subprocess.CompletedProcess:
    variables = {'ROS_SECURITY_KEYSTORE': str(keystore), 'ROS_SECURITY_ENABLE': 'true',
                 'ROS_SECURITY_STRATEGY': 'Enforce', 'ROS_DOMAIN_ID': str(domain), 'PYTHONPATH': os.pathsep.join(
                     [str(ROOT), os.environ.get('PYTHONPATH', '')])}
    topics = {**default_topics(), MAP_IMAGE: f'/{MAP_IMAGE_TOPIC}'}
    return subprocess.run([sys.executable, '-c', ENFORCED, *remap(topics, INPUTS)], env={**os.environ, **variables},
                          capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_without_its_keys_no_node_starts(tmp_path, ros_domain):
    done = enforced(tmp_path, ros_domain)
    assert done.returncode and 'SECURITY ERROR' in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('ros2') is None, reason="needs 'ros2 security' and a middleware with DDS security")
def test_with_the_policy_enforced_the_node_comes_up_and_without_a_right_it_does_not(tmp_path, ros_domain):
    def keystore(name: str, policy: str) -> Path:
        (tmp_path / f'{name}.xml').write_text(policy)
        for words in (['create_keystore'], ['generate_artifacts', '-p', str(tmp_path / f'{name}.xml'), '-k']):
            subprocess.run(['ros2', 'security', *words, str(tmp_path / name)], check=True, capture_output=True,
                           env={**os.environ, 'ROS_DOMAIN_ID': str(ros_domain)})  # permissions are for that domain
        return tmp_path / name
    policy = (ROOT / 'config/sros2/vehicle.policy.xml').read_text()
    good = enforced(keystore('good', policy), ros_domain)
    if 'security libraries' in good.stderr:
        pytest.skip(good.stderr.strip().splitlines()[-1])
    assert good.stdout.count('SUCCESS') == 2, good.stderr
    less = policy.replace('            <topic>/attention_fusion/direction</topic>\n', '')
    assert less != policy and enforced(keystore('less', less), ros_domain).stdout.count('SUCCESS') < 2


def test_the_files_are_those_of_the_tables():
    subprocess.run([sys.executable, ROOT / 'tools/sros2_policy.py', '--check'], check=True)


def test_a_policy_for_other_topics():
    made = access.policy([access.fusion_access({'pointcloud': '/ouster/points'}), access.map_access(publish_tf=True)])
    rights = {profile.get('node'): [entry.text for entry in profile.iter('topic')]
              for profile in ElementTree.fromstring(made.encode()).iter('profile')}
    assert '/ouster/points/compressed' in rights[access.FUSION] and '/lidar/points' not in rights[access.FUSION]
    assert '/tf' in rights[access.MAP_SOURCE]


def test_nobody_may_do_everything():
    for scenario in access.scenarios():
        for node, rights in allowed(scenario).items():
            names = set().union(*rights.values())
            wild = {name for name in names if '*' in name}
            assert not wild if node != access.LAUNCH else all(name.startswith('/launch_ros_*/') for name in wild)
