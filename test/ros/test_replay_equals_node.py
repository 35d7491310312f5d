# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`replay` and the real node fed by `play` over DDS: same sweeps, same numbers."""

from __future__ import annotations

import csv
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from support import mini_drive, without_torch
from support import synthetic_bag as bag

pytest.importorskip('rclpy', reason='needs ROS 2')

from attention_fusion_ros.commands import play, replay
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.clients.node_process import NodeProcess
from attention_fusion_ros.ros.clients.result_listener import ReceivedResult, ResultListener
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.stream.inputs import default_topics, launch_remappings

pytestmark = pytest.mark.slow

SWEEPS = 8
LEAD_IN = 3  # sweeps taken out at the start: what DDS loses or delays while it connects must not be what is compared
# Paces: a machine with much else to do drops sweeps, or gets the map too late, at the first one.
SLOW = (0.5, 0.15)
REMAPS = dict(launch_remappings(default_topics()))


def synthetic(folder: Path) -> Path:
    return with_lead_in(bag.write(folder / 'all', bag.drive(SWEEPS + LEAD_IN)), folder / 'synthetic')


def simulated(folder: Path) -> Path:
    # Without a route, which a random network does not follow: it would have no direction.
    return with_lead_in(mini_drive.write(folder / 'all', SWEEPS + LEAD_IN, route=False), folder / 'simulated')


def with_lead_in(source: Path, target: Path) -> Path:
    """The recording without its first sweeps: it begins with odometry and map images, as on a vehicle."""
    seen = 0
    with Reader(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=bag.STORE,
                                                 offered_qos_profiles=c.ext.offered_qos_profiles)
                  for c in reader.connections}
        for connection, stamp_ns, data in reader.messages():
            seen += connection.topic == '/lidar/points'
            if connection.topic != '/lidar/points' or seen > LEAD_IN:
                writer.write(topics[connection.topic], stamp_ns, data)
    return target


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('recording', [synthetic, simulated])
def test_same_sweeps_same_numbers(recording, tmp_path, monkeypatch):
    path = recording(tmp_path)
    parameters = {'checkpoint': str(bag.lively_checkpoint(tmp_path / 'lively.safetensors')), 'device': 'cpu',
                  'threads': 1, 'branches.min_direction_probability': 0.0}
    options = [o for name, value in parameters.items() for o in ('-p', f'{name}:={value}')]
    assert replay.main([str(path), '--out', str(tmp_path / 'out'), '--pictures', '0', *options]) == 0
    directions, branches = (rows(tmp_path / 'out' / f'{name}.csv') for name in ('directions', 'branches'))
    assert len(directions) == SWEEPS and all(r['mode'] == 'fused' for r in directions)

    for slow in SLOW:
        answers = through_the_node(path, parameters, slow, tmp_path, monkeypatch)
        found = differences(answers, directions, branches)
        if not found:
            break
    assert not found, '\n'.join(found)
    assert sum(a.direction is not None for a in answers) >= SWEEPS // 2
    assert np.ptp([a.direction[0] for a in answers if a.direction]) > 0.1  # they change, so equal means something


def test_a_node_without_torch_gives_what_replay_gives_with_it(tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('numba')
    path = simulated(tmp_path)
    parameters = {'device': 'cpu', 'threads': 1}
    options = ['--device', 'cpu', '-p', 'threads:=1', '-p', 'backend:=torch']
    assert replay.main([str(path), '--out', str(tmp_path / 'out'), '--pictures', '0', *options]) == 0
    directions, branches = (rows(tmp_path / 'out' / f'{name}.csv') for name in ('directions', 'branches'))
    assert len(directions) == SWEEPS and branches

    (tmp_path / 'hidden').mkdir()
    (tmp_path / 'hidden' / 'sitecustomize.py').write_text(
        f'import sys\nsys.path.append({str(Path(without_torch.__file__).parent)!r})\n'
        'import without_torch\nsys.meta_path.insert(0, without_torch.Hide())\n')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path / 'hidden'), *sys.path]))
    for slow in SLOW:
        found = differences(through_the_node(path, parameters, slow, tmp_path, monkeypatch), directions, branches)
        if not found:
            break
    assert not found, '\n'.join(found)


def through_the_node(path, parameters, slow, tmp_path, monkeypatch) -> list[ReceivedResult]:
    with ReservedDomain() as domain, Session('probe', domain_id=domain) as session:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        listener = ResultListener(session.node)
        with NodeProcess(session, parameters, REMAPS, tmp_path / 'node.log', domain) as node:
            node.bring_up()
            assert play.main([str(path), '--rate', str(slow), '--wait', '60', '--quiet']) == 0
            end = time.monotonic() + 20
            while sum(a.branches is not None for a in listener.results()) < SWEEPS and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.3)  # the direction of the last sweep may come a little later than its branches
            return listener.results()


def differences(answers, directions, branches) -> list[str]:
    """Everything in which the node's answers are not the rows of the files."""
    stamps = [int(r['stamp_ns']) for r in directions]
    found = [f'sweep {s} is missing' for s in set(stamps) ^ {a.stamp_ns for a in answers}]
    for answer in answers:
        rows = [r for r in directions if int(r['stamp_ns']) == answer.stamp_ns]
        listed = [r for r in branches if int(r['stamp_ns']) == answer.stamp_ns]
        want = [(float(r['bearing_rad']), float(r['heading_rad'])) for r in rows if r['bearing_rad']]
        if not close([answer.direction] if answer.direction else [], want):
            found.append(f'{answer.stamp_ns}: direction {answer.direction}, not {want}')
        want = [(float(r['bearing_rad']), float(r['heading_rad'])) for r in listed]
        if not close([(b.bearing, b.heading) for b in answer.branches or ()], want):
            found.append(f'{answer.stamp_ns}: branches {answer.branches}, not {want}')
        elif not np.allclose([b.probability for b in answer.branches], [float(r['probability']) for r in listed],
                             atol=1e-4):
            found.append(f'{answer.stamp_ns}: probabilities {answer.branches}, not {listed}')
    return found


def close(some, others) -> bool:
    """Whether pairs of angles agree to 1e-4 rad."""
    return len(some) == len(others) and all(abs(math.remainder(a - b, 2 * math.pi)) < 1e-4
                                            for one, other in zip(some, others) for a, b in zip(one, other))
