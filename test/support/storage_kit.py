# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings with whatever is wrong with their metadata or files, and what is read of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from rosbags import rosbag1
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.recording import Recording
from support import synthetic_bag as bag

if sys.version_info >= (3, 14):
    pass
else:
    pass

SWEEPS = 6
DRIVE = bag.drive(SWEEPS)
COUNTS = {'/lidar/points': SWEEPS, '/map_image': SWEEPS, '/odom': SWEEPS, '/tf_static': 1}
ZERO = QosTime(0, 0)
LATCHED, VOLATILE = (Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, ZERO, ZERO,
                         QosLiveliness.AUTOMATIC, ZERO, False)
                     for durability in (QosDurability.TRANSIENT_LOCAL, QosDurability.VOLATILE))
CLOUD = 'sensor_msgs/msg/PointCloud2'


def write(path: Path, events=DRIVE, storage: str = 'mcap', compression=None, qos=VOLATILE, version: int = 9) -> Path:
    writer = Writer(path, version=version, storage_plugin=StoragePlugin[storage.upper()])
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        links = {}
        for stamp, topic, message in events:
            if topic not in links:
                links[topic] = writer.add_connection(topic, message.__msgtype__, typestore=bag.STORE,
                                                     offered_qos_profiles=[qos])
            writer.write(links[topic], stamp, bag.STORE.serialize_cdr(message, message.__msgtype__))
    return path


def storage_file(folder: Path) -> Path:
    return next(f for f in sorted(folder.iterdir()) if f.name != 'metadata.yaml')


def edit(folder: Path, change) -> Path:
    """Change metadata.yaml by a function of its content and of {topic: its metadata}."""
    file = folder / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    info = content['rosbag2_bagfile_information']
    change(info, {t['topic_metadata']['name']: t for t in info['topics_with_message_count']})
    file.write_text(yaml.safe_dump(content))
    return folder


def read(path: Path):
    """(counts of what was read and decoded by topic, notes, losses)"""
    with Recording(path) as recording:
        found: dict[str, int] = {}
        stamps = []
        for raw in recording.raw_messages(list(recording.topics)):
            recording.decode(raw)
            found[raw.topic] = found.get(raw.topic, 0) + 1
            stamps.append(raw.stamp_ns)
        assert stamps == sorted(stamps)
        return found, recording.notes, recording.losses


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        Recording(path)
    text = str(caught.value)
    assert 'Remedy: ' in text and 'reindex' not in text and 'record again' not in text.lower()
    return caught.value


def odometry_bytes(stamp: int) -> bytes:
    return bytes(bag.STORE.serialize_cdr(bag.odometry(stamp, 1.0), bag.TOPICS['/odom']))


def definition(name: str) -> str:
    return bag.STORE.generate_msgdef(name, ros_version=2)[0]


def ros1_bag(path: Path, events=DRIVE, compression=None) -> Path:
    store, ros2 = get_typestore(Stores.ROS1_NOETIC), bag.STORE
    store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms', 'tf2_msgs/msg/TFMessage'))
    writer = rosbag1.Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        links = {}
        for stamp, topic, message in events:
            kind = message.__msgtype__
            if topic not in links:
                links[topic] = writer.add_connection(topic, kind, typestore=store, latching=int(topic == '/map_image'))
            writer.write(links[topic], stamp, ros2.cdr_to_ros1(ros2.serialize_cdr(message, kind), kind))
    return path
