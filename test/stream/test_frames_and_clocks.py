# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of other frames and clocks: LiDAR odometry however the LiDAR is mounted, sweeps of PTP time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import synthetic_bag as bag

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import SyncedSweep
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.pipeline.preprocess import Preprocessor
from attention_fusion_ros.stream.recorded_sweeps import base_poses, synced_sweeps
from attention_fusion_ros.stream.recording import Recording
from attention_fusion_ros.sync.clocks import ClockDifference


def synced(path, on_clocks=None) -> list:
    with Recording(path) as recording:
        return list(synced_sweeps(recording, recording.input_topics(), from_flat({}), on_clocks=on_clocks))


def test_a_recording_whose_sweeps_are_stamped_by_another_clock_says_so_at_the_end(tmp_path):
    def told(shift_ns: int) -> list[str]:
        street = bag.street(0, 100)
        events = [(stamp, topic, bag.cloud(stamp + shift_ns, street) if topic == '/lidar/points' else message)
                  for stamp, topic, message in bag.drive(6)]
        said: list[ClockDifference] = []
        synced(bag.write(tmp_path / f'shift_{shift_ns}', events), said.append)
        return [str(difference) for difference in said]

    assert told(0) == []
    assert len(told(37 * 10**9)) == 1
    assert told(37 * 10**9 + 1)[0].startswith(
        'sweeps are 37.0 s ahead of map image, odometry and the time of recording, steadily')


@pytest.mark.parametrize('quaternion', [(1.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 0.5), (0.1, -0.2, 0.3, 0.86 ** 0.5)])
def test_odometry_of_a_lidar_gives_the_grids_that_odometry_of_the_vehicle_gives(tmp_path, quaternion):
    """However it is mounted, though its odometry starts as its own frame: map and earlier sweeps lie as they should."""
    T_base_lidar = se3_from_quaternion((0.5, 0.2, 1.8), quaternion)
    poses = [se3_from_quaternion((2.0 * i, 0.3 * i, 0.0), quaternion_from_yaw(0.2 * i)) for i in range(4)]

    def grids(name: str, odometry_of) -> list[tuple[torch.Tensor, torch.Tensor]]:
        events = [(bag.T0, '/tf_static', bag.transform_message(bag.T0, 'base_link', 'lidar', T_base_lidar)),
                  (bag.T0, '/map_image', bag.map_image(bag.T0))]
        for i, pose in enumerate(poses):
            stamp = bag.T0 + i * bag.PERIOD
            points = bag.street(i, 1000)
            points[:, :3] = (points[:, :3] @ bag.SENSOR[:3, :3].T + bag.SENSOR[:3, 3] - T_base_lidar[:3, 3]
                             ) @ T_base_lidar[:3, :3]
            events += [(stamp, '/odom', odometry_of(stamp, pose)), (stamp, '/lidar/points', bag.cloud(stamp, points))]
        config = from_flat({})
        preprocess = Preprocessor(Grid(cells=64), torch.device('cpu'), config)
        return [((made := preprocess(sweep)).lidar, made.map.grid)
                for sweep in synced(bag.write(tmp_path / name, events))]

    start = np.linalg.inv(poses[0] @ T_base_lidar)
    expected = grids('vehicle', lambda stamp, pose: bag.odometry_of(stamp, pose))
    found = grids('lidar', lambda stamp, pose: bag.odometry_of(stamp, start @ pose @ T_base_lidar, 'lidar'))
    for (lidar, layers), (expected_lidar, expected_layers) in zip(found, expected, strict=True):
        assert float((layers - expected_layers).abs().max()) < 0.01
        assert float((lidar - expected_lidar).abs().mean()) < 1e-3  # a point on the edge of a cell may change sides


def test_the_driven_path_is_known_from_odometry_of_the_sensor_without_transforms(tmp_path):
    """`train --bags` with use_tf false: poses are asked for before any sweep."""
    events = [(bag.T0 + i * bag.PERIOD, '/odom', bag.odometry_of(
        bag.T0 + i * bag.PERIOD, se3_from_quaternion((2.0 * i, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)) @ bag.SENSOR, 'lidar'))
        for i in range(3)] + [event for event in bag.drive(3) if event[1] == '/lidar/points']
    parameters = {'use_tf': False, 'T_base_sensor': bag.SENSOR.ravel().tolist()}
    with Recording(bag.write(tmp_path / 'drive', events)) as recording:
        stamps, poses = base_poses(recording, recording.input_topics(), from_flat(parameters))
    assert len(stamps) == 3 and poses[:, 0, 3] == pytest.approx([0.0, 2.0, 4.0])


@pytest.mark.parametrize('sweep', [0, 1, 2])
def test_a_transform_that_comes_late_costs_the_sweeps_before_it_and_no_other(tmp_path, sweep):
    """On /tf, 50 ms after a sweep: that one waits for it, though those before it have waited in vain."""
    at = bag.T0 + sweep * bag.PERIOD + 50_000_000
    events = [*bag.drive(4)[1:], (at, '/tf', bag.transform_message(at, 'base_link', 'lidar', bag.SENSOR))]
    events.sort(key=lambda event: event[0])
    path = bag.write(tmp_path / 'late', events, types={'/tf': 'tf2_msgs/msg/TFMessage'})
    assert [isinstance(found, SyncedSweep) for found in synced(path)] == [False] * sweep + [True] * (4 - sweep)
