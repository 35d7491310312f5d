# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one path from points to directions."""

import dataclasses
import math
import os

import numpy as np
import pytest
import torch

from attention_fusion_ros.backends import device as device_module
from attention_fusion_ros.backends.device import choose_device, default_threads
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import MapImage, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.visualization import panels as heatmap

UNTRAINED = {'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu', 'branches.min_probability': 0.01,
             'branches.min_direction_probability': 0.0}


def cloud(seed=0, count=5000, stamp=1):
    rng = np.random.default_rng(seed)
    xyz = np.c_[rng.uniform(-30, 30, (count, 2)), rng.uniform(-1.7, 0.3, count)].astype(np.float32)
    return PointCloud(stamp, 'lidar', xyz, rng.random(count).astype(np.float32))


def road_map():
    road = np.zeros((480, 480), np.float32)
    road[:, 230:250] = 1.0
    return MapImage(1, 'base_link', road, None)


@pytest.fixture(scope='module')
def pipeline():
    made = FusionPipeline(from_flat(UNTRAINED))
    made.warm_up()
    return made


class Spoiled:
    """A backend whose outputs are NaN while `spoils`, as those of a device with broken memory."""

    spoils = False

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def infer(self, *inputs):
        output = self._backend.infer(*inputs)
        if not self.spoils:
            return output
        tensors = {name: value * math.nan for name, value in vars(output).items()
                   if isinstance(value, torch.Tensor) and value.is_floating_point() or isinstance(value, np.ndarray)}
        return dataclasses.replace(output, **tensors)


@pytest.mark.parametrize('checkpoint', ['', 'two_readings'])
def test_an_answer_of_nan_is_none_and_nothing_of_it_is_remembered(checkpoint):
    motion = Motion(np.eye(4), np.eye(4))
    first, second = (FusionPipeline(from_flat({**UNTRAINED, 'checkpoint': checkpoint})) for _ in range(2))
    backend = first.backend = Spoiled(first.backend)
    expected = [second.run(SyncedSweep(cloud(stamp=10**9), motion, road_map())) for _ in range(2)][-1]
    first.run(SyncedSweep(cloud(stamp=10**9), motion, road_map()))
    backend.spoils = True
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            first.run(SyncedSweep(cloud(stamp=10**9), motion, road_map()))
        assert caught.value.reason == 'not_finite' and 'heads' in str(caught.value)
    backend.spoils = False
    after = first.run(SyncedSweep(cloud(stamp=10**9), motion, road_map()))
    assert np.isfinite(after.distribution).all()
    np.testing.assert_allclose(after.distribution, expected.distribution, atol=0.05)


def test_modes(pipeline):
    fused = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), road_map()))
    alone = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), None, 'map_too_old'))
    black = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), MapImage(1, '', np.zeros((48, 48), np.float32), None)))
    assert (fused.mode, fused.reason) == (Mode.FUSED, '')
    assert (alone.mode, alone.reason) == (Mode.LIDAR_ONLY, 'map_too_old')
    assert (black.mode, black.reason) == (Mode.LIDAR_ONLY, 'map_without_roads')
    assert not fused.trained and set(fused.stage_ms) == {'bev', 'network', 'postprocess'}
    assert fused.attention.lidar_share + fused.attention.map_share == pytest.approx(1.0)


def short(result):
    return [finding for finding in result.findings if finding.name == 'map_short_of_ring']


def part_of_map(left, right, above, below):
    """Metres of it around the vehicle."""
    rows, columns = (slice(240 - round(a / 0.25), 240 + round(b / 0.25)) for a, b in ((above, below), (left, right)))
    return MapImage(1, 'base_link', road_map().road[rows, columns], None)


@pytest.mark.parametrize('around_m, parameters, is_short', [
    ((60, 60, 60, 60), {}, False), ((22, 22, 22, 22), {}, False),
    ((17, 17, 17, 17), {}, True),  # its corners lie beyond the ring
    ((5, 5, 5, 5), {}, True), ((60, 60, 60, 60), {'map.resolution': 0.01}, True),
    ((5, 5, 5, 5), {'map.resolution': 1.25}, False),
    ((22, 22, 22, 0), {'map.anchor': [0.5, 1.0]}, False),  # what lies ahead, as asked for
    ((30, 30, 30, 30), {'map.anchor': [0.75, 0.75]}, False), ((15, 15, 30, 30), {'map.anchor': [1.5, 0.5]}, True)])
def test_a_map_that_ends_before_the_ring_is_used_and_said_to_be_short(around_m, parameters, is_short):
    pipeline = FusionPipeline(from_flat({**UNTRAINED, **parameters}))
    result = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), part_of_map(*around_m)))
    found = short(result)
    assert result.mode == Mode.FUSED and bool(found) == is_short
    for finding in found:
        assert finding.input == 'map_image' and 'of the ring of 20 m' in finding.message
        assert 'Remedy: check map.resolution and map.anchor' in finding.message
    assert not short(pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), None, 'no_map')))


def test_the_same_input_gives_the_same_answer(pipeline):
    a, b = (pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), road_map())) for _ in range(2))
    assert a.branches == b.branches and np.array_equal(a.distribution, b.distribution)


def test_sensor_pose_is_applied(pipeline):
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    T[0, 3] = 2.0
    c = cloud()
    moved = PointCloud(1, 'lidar', ((c.xyz - [2.0, 0, 0]) @ T[:3, :3]).astype(np.float32), c.intensity)
    a, b = pipeline.run(SyncedSweep(c, Motion(np.eye(4)))), pipeline.run(SyncedSweep(moved, Motion(T)))
    different = np.abs(a.lidar_bev - b.lidar_bev).max(0) > 1e-2
    assert different.mean() < 1e-3  # points on a cell's edge may fall to either side


def test_bad_input_is_named_and_the_next_sweep_works(pipeline):
    with pytest.raises(InputError) as caught:
        pipeline.run(SyncedSweep(cloud(), Motion(np.full((4, 4), np.nan))))
    assert caught.value.reason == 'bad_transform'
    far = PointCloud(1, 'lidar', np.full((10, 3), 500.0, np.float32), None)
    with pytest.raises(InputError) as caught:
        pipeline.run(SyncedSweep(far, Motion(np.eye(4))))
    assert caught.value.reason == 'no_points_in_range'
    assert pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)))).distribution.sum() == pytest.approx(1.0)


def test_accumulated_sweeps_lie_on_top_of_each_other():
    pipeline = FusionPipeline(from_flat({**UNTRAINED, 'cloud.accumulate': 3}))
    first = cloud(1)
    step = np.eye(4)
    step[0, 3] = 4.0
    pipeline.run(SyncedSweep(first, Motion(np.eye(4), np.eye(4))))
    second = PointCloud(2, 'lidar', first.xyz - np.float32([4.0, 0, 0]), first.intensity)  # the same world, 4 m on
    both = pipeline.run(SyncedSweep(second, Motion(np.eye(4), step)))
    alone = FusionPipeline(from_flat(UNTRAINED)).run(SyncedSweep(second, Motion(np.eye(4))))
    occupied = alone.lidar_bev[3] > 0
    points = [np.expm1(r.lidar_bev[3][occupied] * math.log1p(128)) for r in (both, alone)]
    ratio = points[0] / points[1]
    assert np.median(ratio) == pytest.approx(2.0, abs=0.05)
    pipeline.reset()
    fresh = pipeline.run(SyncedSweep(second, Motion(np.eye(4), step)))
    assert np.allclose(fresh.lidar_bev, alone.lidar_bev)


def test_sweeps_of_another_epoch_do_not_count():
    pipeline = FusionPipeline(from_flat(UNTRAINED))
    motion = Motion(np.eye(4), np.eye(4))
    pipeline.run(SyncedSweep(cloud(1, stamp=3), motion))
    again = [pipeline.run(SyncedSweep(cloud(k, stamp=k), motion, epoch=1)).lidar_bev for k in (1, 2)]
    alone = [pipeline.run(SyncedSweep(cloud(k), Motion(np.eye(4)), epoch=1)).lidar_bev for k in (1, 2)]
    assert np.array_equal(again[0], alone[0])
    assert not np.array_equal(again[1], alone[1])  # those of the same epoch do


def test_the_sweep_of_the_warm_up_is_not_accumulated():
    pipeline = FusionPipeline(from_flat({**UNTRAINED, 'cloud.accumulate_points': 1_000_000}))
    pipeline.warm_up()
    results = [pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4), T))) for T in (np.eye(4), None)]
    assert np.array_equal(results[0].lidar_bev, results[1].lidar_bev)


def test_the_number_of_accumulated_sweeps_can_change():
    pipeline = FusionPipeline(from_flat(UNTRAINED))
    motion = Motion(np.eye(4), np.eye(4))
    pipeline.run(SyncedSweep(cloud(1), motion))
    pipeline.update(from_flat({**UNTRAINED, 'cloud.accumulate': 1}))
    results = [pipeline.run(SyncedSweep(cloud(2, stamp=2), m)) for m in (motion, Motion(np.eye(4)))]
    assert np.array_equal(results[0].lidar_bev, results[1].lidar_bev)


def test_the_own_body_is_not_left_behind():
    pipeline = FusionPipeline(from_flat(UNTRAINED))
    step = np.eye(4)
    step[0, 3] = 4.0
    body = np.float32([[0.5, 0.2, 1.5], [1.0, -0.3, 1.4]])
    for k, T in enumerate((np.eye(4), step)):
        seen = np.concatenate([cloud(1).xyz, body])
        result = pipeline.run(SyncedSweep(PointCloud(k + 1, 'lidar', seen, None), Motion(np.eye(4), T)))
    alone = FusionPipeline(from_flat(UNTRAINED))
    for k, T in enumerate((np.eye(4), step)):
        expected = alone.run(SyncedSweep(PointCloud(k + 1, 'lidar', cloud(1).xyz, None), Motion(np.eye(4), T)))
    assert np.array_equal(result.lidar_bev, expected.lidar_bev)


@pytest.mark.parametrize('limit', [{'cloud.accumulate': 1}, {'cloud.accumulate_points': 1000},
                                   {'cloud.accumulate_age': 0.0}])
def test_earlier_sweeps_are_bounded_in_number_points_and_age(limit):
    pipeline = FusionPipeline(from_flat({**UNTRAINED, **limit}))
    assert len(cloud(1).xyz) > 500
    first = pipeline.run(SyncedSweep(cloud(1), Motion(np.eye(4), np.eye(4))))
    later = PointCloud(10**9, 'lidar', cloud(1).xyz, cloud(1).intensity)
    assert np.array_equal(pipeline.run(SyncedSweep(later, Motion(np.eye(4), np.eye(4)))).lidar_bev, first.lidar_bev)


def test_without_odometry_only_the_sweep_itself_is_used():
    pipeline = FusionPipeline(from_flat({**UNTRAINED, 'cloud.accumulate': 3}))
    results = [pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)))) for _ in range(2)]
    assert np.array_equal(results[0].lidar_bev, results[1].lidar_bev)


@pytest.mark.parametrize('device', ['cuda:99', 'tpu', 'meta'])
def test_a_device_that_is_not_there_is_an_error(device):
    with pytest.raises(ConfigurationError, match='device'):
        choose_device(device)


def test_lookahead_must_be_that_of_the_checkpoint():
    with pytest.raises(ConfigurationError, match='lookahead'):
        FusionPipeline(from_flat({**UNTRAINED, 'lookahead': 12.0}))


def test_attention_lies_where_the_points_are(pipeline):
    result = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), road_map()))
    heat = heatmap.spatial_heatmap(result)
    assert heat.shape == (256, 256) and heat.min() >= 0 and heat.max() <= 1 and heat.max() - heat.min() > 0.5
    values = heatmap.point_attention(result, np.array([[10.1, 5.2, 0.0], [-20.0, -3.0, 1.0], [500.0, 0.0, 0.0]]))
    assert values[2] == 0
    for value, (x, y) in zip(values, ((10.1, 5.2), (-20.0, -3.0))):
        assert value == heat[int((40 - x) / 0.3125), int((40 - y) / 0.3125)]


def test_picture_shows_three_panels_and_the_truth(pipeline):
    result = pipeline.run(SyncedSweep(cloud(), Motion(np.eye(4)), road_map()))
    plain = heatmap.compose_picture(result, 256)
    marked = heatmap.compose_picture(result, 256, truth=[(0.5, 0.5)])
    assert plain.shape[1:] == (768, 3) and plain.dtype == np.uint8
    assert [square.shape for square in heatmap.squares(plain)] == [(256, 256, 3)] * 3
    assert (plain != marked).any()


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='the cores of a process can only be set on Linux')
def test_threads_leave_a_core_free(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    for cores, expected in ((1, 1), (2, 1), (3, 2), (8, 4), (64, 4)):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid, cores=cores: set(range(cores)))
        assert default_threads() == expected, cores
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    assert default_threads() == torch.get_num_threads()


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a CUDA device that works')
def test_auto_tells_no_device_from_one_that_torch_cannot_use(monkeypatch, tmp_path):
    monkeypatch.setattr(device_module, 'CUDA_DEVICE_FILES', (f'{tmp_path}/nvidia[0-9]*',))
    chosen = choose_device('auto')
    assert chosen.device.type == 'cpu' and not chosen.fell_back and 'no CUDA device' in chosen.note
    (tmp_path / 'nvidia0').touch()
    chosen = choose_device('auto')
    assert chosen.device.type == 'cpu' and chosen.fell_back and torch.__version__ in chosen.note
    assert choose_device('cpu') == (torch.device('cpu'), '', False)
