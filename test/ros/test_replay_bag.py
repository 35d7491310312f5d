# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What `replay --bag` writes is what the real node publishes over DDS about the same recording, topic by topic."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import synthetic_bag as bag

pytest.importorskip('rclpy', reason='needs ROS 2')

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from attention_fusion_ros.commands import play, replay
from attention_fusion_ros.ros.clients.domains import ReservedDomain
from attention_fusion_ros.ros.clients.node_process import NodeProcess
from attention_fusion_ros.ros.clients.session import Session
from attention_fusion_ros.ros.messages.types import message_class
from attention_fusion_ros.ros.outputs import OUTPUTS
from attention_fusion_ros.stream.inputs import default_topics, launch_remappings
from attention_fusion_ros.stream.recording import RawMessage, Recording

pytestmark = pytest.mark.slow

SWEEPS = 6
PACES = (0.3, 0.1)
REMAPS = dict(launch_remappings(default_topics()))
TOPICS = {f'/attention_fusion/{spec.name}': spec for spec in OUTPUTS}


def test_the_recording_is_what_the_node_publishes(tmp_path, monkeypatch):
    path = bag.write(tmp_path / 'drive', bag.drive(SWEEPS))
    parameters = {'checkpoint': str(bag.lively_checkpoint(tmp_path / 'lively.safetensors')), 'device': 'cpu',
                  'threads': 1, 'branches.min_direction_probability': 0.0}
    options = [o for name, value in parameters.items() for o in ('-p', f'{name}:={value}')]
    assert replay.main([str(path), '--out', str(tmp_path / 'out'), '--bag', str(tmp_path / 'results'), '--pictures',
                        '0', *options]) == 0
    with Recording(tmp_path / 'results') as recording:
        written = defaultdict(list)
        for raw in recording.raw_messages(list(recording.topics)):
            written[raw.topic].append(recording.decode(raw))
        for pace in PACES:  # a machine with much else to do drops sweeps at the first one
            published = through_the_node(path, parameters, pace, tmp_path, monkeypatch, recording)
            found = [d for topic in TOPICS for d in differences(topic, written[topic], published[topic])]
            if not found:
                break
    assert not found, '\n'.join(found)


def through_the_node(path: Path, parameters: dict, pace: float, tmp_path: Path, monkeypatch,
                     recording: Recording) -> dict[str, list[Any]]:
    """Messages of the node by topic, read as those of the recording are."""
    received: dict[str, list[Any]] = defaultdict(list)
    with ReservedDomain() as domain, Session('probe', domain_id=domain) as session:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        for topic, spec in TOPICS.items():
            # Latched where that is written, which also tells that the node offers it.
            profile = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE,
                                 durability=DurabilityPolicy.TRANSIENT_LOCAL if recording.is_latched(topic)
                                 else DurabilityPolicy.VOLATILE)
            session.node.create_subscription(message_class(spec.type), topic, received[topic].append, profile, raw=True)
        with NodeProcess(session, parameters, REMAPS, tmp_path / 'node.log', domain) as node:
            node.bring_up()
            assert play.main([str(path), '--rate', str(pace), '--wait', '60', '--quiet']) == 0
            end = time.monotonic() + 20
            last = '/attention_fusion/debug/processing_time/data_age_ms'
            while len(received[last]) < SWEEPS and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.3)
    return {topic: [recording.decode(RawMessage(0, topic, recording.topics[topic].type, bytes(data)))
                    for data in list(received[topic])] for topic in TOPICS}


def differences(topic: str, written: list[Any], published: list[Any]) -> list[str]:
    if len(written) != len(published):
        return [f'{topic}: {len(written)} written, {len(published)} published']
    if TOPICS[topic].stage:  # durations differ
        return []
    return [f'{topic}, message {number}: {where}' for number, pair in enumerate(zip(written, published))
            for where in unequal(*pair)]


def unequal(one: Any, other: Any, where: str = '') -> list[str]:
    """Fields that differ by more than rounding."""
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return [f'{where}: {one.dtype}{one.shape}, {other.dtype}{other.shape}']
        if one.dtype == np.uint8:  # pixels and packed points
            return [] if (one != other).sum() <= 0.01 * one.size else [f'{where}: {(one != other).sum()} bytes']
        return [] if np.allclose(one, other, rtol=1e-4, atol=1.01 if one.dtype == np.int8 else 1e-4) else [where]
    if isinstance(one, list):
        if len(one) != len(other):
            return [f'{where}: {len(one)} and {len(other)}']
        return [found for i, pair in enumerate(zip(one, other)) for found in unequal(*pair, f'{where}[{i}]')]
    if hasattr(one, '__dataclass_fields__'):
        return [found for name in one.__dataclass_fields__ if not name.startswith('__')
                for found in unequal(getattr(one, name), getattr(other, name), f'{where}.{name}')]
    if isinstance(one, float):
        return [] if abs(one - other) < 1e-4 else [f'{where}: {one} and {other}']
    return [] if one == other else [f'{where}: {one!r} and {other!r}']
