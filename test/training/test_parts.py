# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Losses, augmentation, driven paths and the sampler: exact where an exact answer exists."""

import math

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.datasets.augment import turn_angles, turn_grid
from attention_fusion_ros.datasets.driven_path import driven_truth, with_pose_at
from attention_fusion_ros.datasets.target import Target
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.geometry import bin_bearings, quaternion_from_yaw, se3_from_quaternion, wrap
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.model import NetworkOutput
from attention_fusion_ros.training import config as training_config
from attention_fusion_ros.training.loss import losses
from attention_fusion_ros.training.trainer import Process, ResumableSampler

K = 120


def _output(presence=-4.0, **channels):
    head = torch.zeros(1, len(HEAD_CHANNELS), K)
    channels = {'presence': presence, 'heading_cos': 1.0, **channels}
    for name, values in channels.items():
        head[:, HEAD_CHANNELS.index(name)] = torch.as_tensor(values, dtype=torch.float32)
    return NetworkOutput(head, torch.zeros(1), torch.zeros(1, 1, 4, 4), torch.ones(1, 4),
                         {'stage1': torch.full((1, 1, 4, 4), 0.5)})


def _target(branches, direction=(math.nan, math.nan)):
    padded = torch.full((1, 8, 2), math.nan)
    for i, b in enumerate(branches):
        padded[0, i] = torch.tensor(b)
    return Target(padded, torch.tensor([direction]), torch.ones(1, dtype=torch.bool),
                  torch.ones(1, K, dtype=torch.bool), torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4))


WEIGHTS = training_config.loss_weights()


def _perfect(bearing, heading):
    centres = bin_bearings(K)
    distance = wrap(bearing - centres) / (2 * math.pi / K)
    here = np.where(np.abs(distance) <= 0.5, 8.0, -8.0)
    return _output(presence=here, offset=distance, heading_cos=np.cos(heading - centres),
                   heading_sin=np.sin(heading - centres), direction=here)


@pytest.mark.parametrize('bearing, heading', [(0.0, 0.2), (3.13, -3.0), (-1.0, 0.4)])
def test_the_right_answer_costs_least(bearing, heading):
    target = _target([(bearing, heading)], (bearing, heading))
    _, right = losses(_perfect(bearing, heading), target, WEIGHTS)
    _, elsewhere = losses(_perfect(wrap(bearing + 0.4), heading), target, WEIGHTS)
    _, turned = losses(_perfect(bearing, wrap(heading + 0.4)), target, WEIGHTS)
    assert right['presence'] < elsewhere['presence'] and right['direction'] < elsewhere['direction']
    assert right['heading'] < turned['heading'] and right['offset'] == pytest.approx(turned['offset'])


def test_what_the_data_do_not_tell_costs_nothing():
    target = _target([(0.0, 0.0)])
    target.known[:] = False
    target.direction_known[:] = False
    a, b = (losses(_output(presence=p), target, WEIGHTS)[1] for p in (-4.0, 4.0))
    assert float(a['presence']) == float(b['presence']) == 0.0 and float(a['direction']) == 0.0


def test_attention_on_the_roadside_costs_less_than_on_vehicles():
    target = _target([])
    target.masks[0, 1, 0], target.masks[0, 2, 3] = 1.0, 1.0  # first row roadside, last row vehicles
    maps = {}
    for name, row in (('roadside', 0), ('vehicles', 3)):
        w = torch.full((1, 1, 4, 4), 0.1)
        w[0, 0, row] = 0.9
        output = _output()
        output.spatial['stage1'] = w
        maps[name] = float(losses(output, target, WEIGHTS)[1]['spatial'])
    assert maps['roadside'] < maps['vehicles']


@pytest.mark.parametrize('quarter', range(4))
@pytest.mark.parametrize('mirror', [False, True])
def test_turned_cells_and_turned_angles_agree(quarter, mirror):
    grid = Grid(cells=64)
    bearing = 0.7
    row, column = (round(float(v)) for v in grid.metres_to_cells(20 * math.cos(bearing), 20 * math.sin(bearing)))
    cells = np.zeros((1, 64, 64))
    cells[0, row, column] = 1.0
    turned = turn_grid(cells, quarter, mirror)[0]
    x, y = grid.cells_to_metres(*np.argwhere(turned)[0])
    (expected, _), = turn_angles([(bearing + quarter * math.pi / 2, 0.0)], mirror)
    assert abs(wrap(math.atan2(y, x) - expected)) < 0.05


def _poses(xy, yaw):
    return np.stack([se3_from_quaternion((x, y, 0), quaternion_from_yaw(a)) for (x, y), a in zip(xy, yaw)])


def test_driven_path_on_a_straight_road():
    s = np.arange(-50, 50, 0.5)
    truth = driven_truth(_poses(np.c_[s * math.cos(1.0), s * math.sin(1.0)], np.full(len(s), 1.0)), 100, 20.0)
    assert truth.ahead == pytest.approx((0.0, 0.0), abs=1e-9)
    assert [abs(v) for v in truth.behind] == pytest.approx([math.pi, math.pi])


def test_driven_path_on_a_circle():
    # Radius 30 m to the left: the ring of 20 m is met asin(20 / 60) beside the tangent, heading twice that.
    a = np.linspace(-2.5, 2.5, 1001)
    poses = _poses(np.c_[30 * np.sin(a), 30 - 30 * np.cos(a)], a)
    truth = driven_truth(poses, 500, 20.0)
    half = math.asin(20 / 60)
    assert truth.ahead == pytest.approx((half, 2 * half), abs=0.01)
    assert truth.behind == pytest.approx((wrap(math.pi - half), wrap(math.pi - 2 * half)), abs=0.01)
    assert truth.known(np.array([half, half + 1.0])).tolist() == [True, False]


@pytest.mark.parametrize('quaternion', [(1.0, 0.0, 0.0, 0.0), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)),
                                        (0.0, 0.6, 0.0, 0.8)])
def test_how_the_odometry_frame_lies_does_not_change_the_driven_path(quaternion):
    a = np.linspace(-2.5, 2.5, 1001)
    poses = _poses(np.c_[30 * np.sin(a), 30 - 30 * np.cos(a)], a)
    level = driven_truth(poses, 500, 20.0)
    other = driven_truth(se3_from_quaternion((1, 2, 3), quaternion) @ poses, 500, 20.0)
    assert other.ahead == pytest.approx(level.ahead) and other.behind == pytest.approx(level.behind)


def test_a_path_that_ends_early_tells_nothing():
    poses = _poses([(float(i), 0.0) for i in range(10)], [0.0] * 10)
    assert driven_truth(poses, 5, 20.0).branches == []


def test_the_heading_is_that_at_the_ring_even_where_the_path_ends_soon_after():
    a = np.linspace(-1.0, 0.72, 400)  # the ring is left at 0.68
    truth = driven_truth(_poses(np.c_[30 * np.sin(a), 30 - 30 * np.cos(a)], a), int(np.abs(a).argmin()), 20.0)
    half = math.asin(20 / 60)
    assert truth.ahead == pytest.approx((half, 2 * half), abs=0.01)


def test_a_path_ends_where_odometry_has_a_hole():
    xy = [(float(i), 0.0) for i in range(10)] + [(float(i), 0.0) for i in range(25, 60)]
    assert driven_truth(_poses(xy, [0.0] * len(xy)), 0, 20.0).branches == []
    assert driven_truth(_poses(xy, [0.0] * len(xy)), 10, 20.0).ahead == pytest.approx((0.0, 0.0))


def test_a_sweep_between_two_odometry_samples_is_labelled_from_where_it_was():
    # 30 m to the left at 1 rad/s: by the nearest sample, 0.1 s off, the bearing would be 0.1 rad off.
    a = np.arange(-2.0, 2.0, 0.2)
    poses, stamps = _poses(np.c_[30 * np.sin(a), 30 - 30 * np.cos(a)], a), np.rint((a + 10) * 1e9).astype(np.int64)
    path, now = with_pose_at(stamps, poses, int(10.1e9))
    truth = driven_truth(path, now, 20.0)
    half = math.asin(20 / 60)
    assert truth.ahead == pytest.approx((half, 2 * half), abs=0.02)
    same, now = with_pose_at(stamps, poses, int(stamps[3]))
    assert now == 3 and same is poses
    assert with_pose_at(stamps, poses, int(stamps[-1]) + 100)[1] == 19
    assert with_pose_at(stamps, poses, int(stamps[-1]) + 10**9) is None


def test_sampler_goes_on_where_it_stopped():
    process = Process(0, 1, torch.device('cpu'))
    whole = iter(ResumableSampler(10, 3, process))
    first = [next(whole) for _ in range(25)]
    rest = iter(ResumableSampler(10, 3, process, start=12))
    assert [next(rest) for _ in range(13)] == first[12:]
    assert sorted(i % 10 for i in first[:10]) == list(range(10))


def test_processes_share_an_epoch_without_overlap():
    shares = []
    for rank in range(2):
        sampler = iter(ResumableSampler(10, 3, Process(rank, 2, torch.device('cpu'))))
        shares.append({next(sampler) for _ in range(5)})
    assert not shares[0] & shares[1] and len(shares[0] | shares[1]) == 10


def test_training_settings_are_strict(tmp_path):
    file = tmp_path / 't.yaml'
    file.write_text('step: 3\n')
    with pytest.raises(ConfigurationError, match="'step'.*'steps'"):
        training_config.load(file)
    file.write_text('steps: 3\nnetwork: {bins: 60}\nloss: {road: 0}\n')
    loaded = training_config.load(file, {'batch': 2})
    assert (loaded.steps, loaded.batch, loaded.network.bins, loaded.loss['road']) == (3, 2, 60, 0.0)
    over = training_config.load(file, {'network': {'cells': 64, 'fusion': {'name': 'none'}}, 'loss': {'offset': 2.0}})
    assert (over.network.bins, over.network.cells, over.network.fusion) == (60, 64, {'name': 'none'})
    assert (over.loss['road'], over.loss['offset']) == (0.0, 2.0)
    assert training_config.load(None, {'learning_rate': '3e-4'}).learning_rate == 3e-4
    for wrong in ({'steps': 'many'}, {'learning_rate': 'low'}, {'amp': 1}, {'network': 3}, {'loss': 'high'},
                  {'train_only': 'head'}, {'train_only': [1]}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            training_config.load(None, wrong)
