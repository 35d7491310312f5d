# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`train --bags`: a recording of a bend, labelled by the driven path, trained on by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import synthetic_bag
from support.synthetic_bag import T0, T
from support.training_kit import CELLS, settings_file

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.commands import train
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.datasets.recorded import RecordedDataset, read_recordings
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import quaternion_from_yaw, wrap
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.training import record

RADIUS, SPEED = 30.0, 10.0  # m, m/s: to the left
ODOMETRY, SWEEP = 100_000_000, 700_000_000  # ns between messages; sweeps fall between odometry samples
GRID = Grid(cells=CELLS)


def bend(seconds: float = 14.0, odometry: bool = True, speed: float = SPEED) -> list:
    """A drive on a circle, with a map image and sweeps of a made-up street."""
    events = [(T0, '/tf_static', synthetic_bag.static_transform(T0))]
    for after in range(0, int(seconds * 1e9), ODOMETRY):
        angle = speed * after / 1e9 / RADIUS
        message = synthetic_bag.odometry(T0 + after, RADIUS * math.sin(angle))
        message.pose.pose.position.y = RADIUS * (1 - math.cos(angle))
        message.pose.pose.orientation = T['geometry_msgs/msg/Quaternion'](*quaternion_from_yaw(angle))
        if odometry:
            events.append((T0 + after, '/odom', message))
    for number, after in enumerate(range(30_000_000, int(seconds * 1e9), SWEEP)):
        events += [(T0 + after, '/map_image', synthetic_bag.map_image(T0 + after)),
                   (T0 + after, '/lidar/points', synthetic_bag.cloud(T0 + after, synthetic_bag.street(number, 1500)))]
    return sorted(events, key=lambda event: event[0])


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    synthetic_bag.write(folder / 'bend', bend())
    return folder


@pytest.fixture(scope='module')
def recorded(bags):
    return read_recordings(bags, from_flat({}), GRID, 20.0)


def test_labels_are_where_the_bend_meets_the_ring(recorded):
    """On a circle of radius R the ring of radius r is met asin(r / 2R) beside the tangent, heading twice that."""
    half = math.asin(20.0 / (2 * RADIUS))
    known = {'ahead': 0, 'behind': 0}
    for scene in recorded:
        for name, true in (('ahead', (half, 2 * half)), ('behind', (math.pi - half, wrap(math.pi - 2 * half)))):
            label = getattr(scene.truth, name)
            if label is not None:
                known[name] += 1
                error = [abs(math.degrees(wrap(a - b))) for a, b in zip(label, true)]
                assert error[0] < 0.3 and error[1] < 0.6, (name, error)
    # 20.4 m of arc lead to the ring, which the first and the last two seconds of the drive do not have.
    assert len(recorded) == 20 and known == {'ahead': 17, 'behind': 17}


def test_labels_turn_with_the_vehicle(recorded):
    data = RecordedDataset(recorded, from_flat({}), GRID, 24, seed=0)
    half = math.asin(20.0 / (2 * RADIUS))
    seen = set()
    for epoch in range(8):
        data.epoch = epoch
        item = data[10]  # in the middle of the drive: road ahead and road behind
        pairs = item['branches'][np.isfinite(item['branches'][:, 0])]
        assert len(pairs) == 2 and item['known'].sum() >= 4 and not item['known'].all()
        # However it is turned and mirrored, the two branches stay 180 deg less twice the bend apart.
        assert abs(wrap(pairs[0, 0] - pairs[1, 0])) == pytest.approx(math.pi - 2 * half, abs=0.02)
        seen.add(round(float(pairs[0, 0]), 1))
        assert item['lidar'].shape == (5, CELLS, CELLS) and item['lidar'][3].any()
        if item['direction_known']:
            assert abs(item['direction'][0]) == pytest.approx(half, abs=0.02)
    assert len(seen) > 2


def test_the_command_trains_on_recordings_alone(bags, tmp_path):
    out = tmp_path / 'run'
    assert train.main(['--config', str(settings_file(tmp_path / 'settings.yaml', steps=4)), '--bags', str(bags),
                       '--every', '2', '--device', 'cpu', '--out', str(out)]) == 0
    loaded = checkpoints.load(out / 'checkpoint.safetensors')
    assert loaded.training['step'] == 4 and loaded.training['samples'] == 10
    run = record.read(out)
    assert run['data']['recorded'] == {'sweeps': 10} and 'simulated' not in run['data']
    start = checkpoints.untrained(loaded.network.config).network.state_dict()
    assert any(not np.allclose(t, start[name]) for name, t in loaded.network.state_dict().items())


@pytest.mark.parametrize('options, message', [
    ({'odometry': False}, 'has no odometry'), ({'speed': 1.0}, 'must move more than 20 m')])
def test_recordings_that_tell_nothing_are_refused(options, message, tmp_path):
    synthetic_bag.write(tmp_path / 'bag', bend(3.0, **options))
    with pytest.raises(ConfigurationError, match=message):
        read_recordings(tmp_path, from_flat({}), GRID, 20.0)


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match='no rosbag2 recording'):
        read_recordings(tmp_path, from_flat({}), GRID, 20.0)
