# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings whose sweeps are compressed or Livox's own messages, with and without their definitions."""

from __future__ import annotations

import gzip
import sqlite3

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from support import synthetic_bag as bag

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.decode.definitions import COMPRESSED_CLOUD, DEFINITIONS, LIVOX_PACKAGES
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.stream.inputs import SWEEPS, launch_remappings
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording

STORE = bag.STORE
for name, text in DEFINITIONS.items():
    STORE.register(get_types_from_msg(text, name))


def compressed(stamp, points):
    plain = bag.cloud(stamp, points)
    data = np.frombuffer(gzip.compress(plain.data.tobytes()), np.uint8)
    return STORE.types[COMPRESSED_CLOUD](plain.header, plain.height, plain.width, plain.fields, plain.is_bigendian,
                                         plain.point_step, plain.row_step, data, plain.is_dense, 'zlib')


def livox(package):
    def make(stamp, points):
        kind = STORE.types[f'{package}/msg/CustomPoint']
        listed = [kind(1000 * i, *map(float, row[:3]), int(row[3]), 16, 0) for i, row in enumerate(points)]
        return STORE.types[f'{package}/msg/CustomMsg'](bag.header(stamp, 'lidar'), stamp, len(listed), 0,
                                                       np.zeros(3, np.uint8), listed)
    return make


CLOUDS = {COMPRESSED_CLOUD: compressed, **{f'{package}/msg/CustomMsg': livox(package) for package in LIVOX_PACKAGES}}


def sweeps_of(path, **topics):
    with Recording(path) as recording:
        chosen = recording.input_topics(**topics)
        # As they come: Livox sends the time of each point, by which it would be moved.
        return chosen[SWEEPS], list(synced_sweeps(recording, chosen, from_flat({'cloud.deskew': 'off'})))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('kind', CLOUDS)
def test_sweeps_of_every_transport_are_read(tmp_path, kind, storage):
    events = bag.drive()
    others = [(at, '/lidar/points', CLOUDS[kind](at, bag.street(i)))
              for i, (at, _, _) in enumerate(e for e in events if e[1] == '/lidar/points')]
    plain = bag.write(tmp_path / 'plain', events, storage)
    path = bag.write(tmp_path / 'other', sorted([e for e in events if e[1] != '/lidar/points'] + others,
                                                key=lambda e: e[0]), storage, types={'/lidar/points': kind})
    topic, got = sweeps_of(path)
    wanted = sweeps_of(plain)[1]
    assert topic == '/lidar/points' and len(got) == len(wanted) == 4
    for one, other in zip(got, wanted):
        np.testing.assert_array_equal(one.cloud.xyz, other.cloud.xyz)
        np.testing.assert_allclose(one.cloud.intensity, other.cloud.intensity, atol=1.0)  # Livox: whole numbers
        assert one.map_image is not None


def test_definitions_that_the_recording_lacks_are_known(tmp_path):
    """As sqlite3 recordings of ROS 2 Humble are: names of types, and no definitions."""
    events = [(bag.T0, '/tf_static', bag.static_transform(bag.T0)),
              (bag.T0, '/points', compressed(bag.T0, bag.street(0)))]
    path = bag.write(tmp_path / 'bag', events, 'sqlite3', types={'/points': COMPRESSED_CLOUD})
    with sqlite3.connect(next(path.glob('*.db3'))) as storage:
        storage.execute('DELETE FROM message_definitions')
    assert len(sweeps_of(path)[1][0].cloud.xyz) == 4000


def test_of_a_topic_and_its_other_transports_the_plain_one_is_taken(tmp_path):
    both = [*bag.drive(2), *((bag.T0 + i * bag.PERIOD, '/lidar/points/zlib',
                              compressed(bag.T0 + i * bag.PERIOD, bag.street(i))) for i in range(2))]
    path = bag.write(tmp_path / 'bag', sorted(both, key=lambda e: e[0]), types={'/lidar/points/zlib': COMPRESSED_CLOUD})
    assert sweeps_of(path)[0] == '/lidar/points'
    assert sweeps_of(path, pointcloud='/lidar/points/zlib')[0] == '/lidar/points/zlib'


def test_clouds_of_two_sensors_are_still_asked_for(tmp_path):
    both = [*bag.drive(1), (bag.T0, '/rear/points/zlib', compressed(bag.T0, bag.street(0)))]
    path = bag.write(tmp_path / 'bag', both, types={'/rear/points/zlib': COMPRESSED_CLOUD})
    with Recording(path) as recording, pytest.raises(InputError) as error:
        recording.input_topics()
    assert error.value.reason == 'topic_ambiguous' and '/rear/points/zlib' in str(error.value)


def test_a_launch_argument_may_name_a_compressed_topic():
    assert launch_remappings({'pointcloud': '/lidar/points/zstd'}) == [
        ('~/input/pointcloud/compressed', '/lidar/points/zstd')]
