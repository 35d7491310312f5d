# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline with a network of several rings that chooses its cells, registers the map and remembers where it lay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.second_kit import BUDGET, second_network

from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import SELECTION, Calibration, MapImage, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.preprocess import Preprocessor

EVERYTHING = {'branches.min_probability': 0.01, 'branches.nms_angle': 1.2,
              'branches.min_direction_probability': 0.0, 'device': 'cpu'}


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('second') / 'second.safetensors'
    network = second_network()
    with torch.no_grad():
        network.no_direction.bias.sub_(20.0)  # there is always one
        network.combination.no_direction.weight.zero_()
    other = Calibration(fused=(2.0, -3.0), lidar_only=(2.0, -3.0))
    checkpoint.save(path, network, Calibration(other_rings=((10.0, other),)), {})
    return path


def pipeline_of(file, **parameters):
    return FusionPipeline(from_flat({**EVERYTHING, 'checkpoint': str(file), **parameters}))


def sweep(x: float = 0.0, with_map: bool = True, odometry: bool = True, stamp_ns: int = 1) -> SyncedSweep:
    """One of a vehicle that has driven x metres, 10 m a second, on a straight road between two walls."""
    rng = np.random.default_rng(5)
    along, side = rng.uniform(-38, 38, 6000), rng.choice((-6.0, 6.0), 6000)
    walls = np.c_[along, side + rng.normal(0, 0.1, 6000), rng.uniform(0.0, 2.0, 6000)]
    ground = np.c_[rng.uniform(-38, 38, (6000, 2)), np.zeros(6000)]
    xyz = np.concatenate([walls, ground[np.abs(ground[:, 1]) < 5.5]]).astype(np.float32)
    stamp_ns += round(x * 1e8)
    T = np.eye(4)
    T[0, 3] = x
    road = np.zeros((320, 320), np.float32)
    road[:, 150:170] = 1.0
    motion = Motion(np.eye(4), T, T) if odometry else Motion(np.eye(4))
    image = MapImage(stamp_ns, '', road, None) if with_map else None
    return SyncedSweep(PointCloud(stamp_ns, 'lidar', xyz, None), motion, image, '' if with_map else 'no_map')


def test_the_preview_that_ships_puts_the_map_where_it_belongs():
    """By name, with the map 2 m to the side of a straight road between two walls."""
    pipeline = FusionPipeline(from_flat({'checkpoint': 'two_readings', 'device': 'cpu'}))
    assert pipeline.info.registers_map and pipeline.info.trained
    given = sweep(odometry=False)
    road = np.zeros((320, 320), np.float32)
    road[:, 142:162] = 1.0  # 0.25 m each: to the left
    a = pipeline.run(replace(given, map_image=replace(given.map_image, road=road))).alignment
    assert abs(a.dy + 2.0) < 0.8 and abs(a.dyaw) < np.radians(3.0) and a.std[1] < 1.5


def test_what_is_dark_has_no_influence(file):
    pipeline = pipeline_of(file)
    result = pipeline.run(sweep(with_map=False, odometry=False))
    heat = result.attention.spatial[SELECTION]
    chosen = heat > 0
    assert heat.max() == 1.0 and 0 < chosen.sum() <= BUDGET
    points = result.context.lidar[:len(CHANNELS)].square().sum(0).view(16, 4, 16, 4).sum((1, 3)).numpy() > 0
    assert not (chosen & ~points).any()  # no heat where nothing was seen
    left = result.context.lidar.clone()
    dark = torch.from_numpy(~chosen).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert left[:, dark].abs().sum() > 0
    left[:, dark] = 0.0
    whole, without = (pipeline.backend.infer(grid[None], result.context.map_image[None])
                      for grid in (result.context.lidar, left))
    assert torch.equal(whole.rings, without.rings) and torch.equal(whole.road, without.road)


def test_heat_is_made_when_it_is_read(file, monkeypatch):
    pipeline = pipeline_of(file)
    runs = []
    whole = type(pipeline.backend.network).forward_intermediates
    monkeypatch.setattr(type(pipeline.backend.network), 'forward_intermediates',
                        lambda network, *given: (runs.append(torch.is_grad_enabled()), whole(network, *given))[1])
    result = pipeline.run(sweep())
    assert runs == [False]
    assert result.attention.spatial[SELECTION].shape == (16, 16)
    assert runs == [False, True]
    _ = result.attention.spatial
    assert len(runs) == 2


def test_heat_may_be_read_when_the_pipeline_is_closed(file):
    """As reports do, at the end of a recording."""
    pipeline = pipeline_of(file)
    expected, result = (pipeline.run(sweep(odometry=False)) for _ in range(2))
    heat = expected.attention.spatial[SELECTION]
    pipeline.close()
    np.testing.assert_array_equal(result.attention.spatial[SELECTION], heat)


@pytest.mark.parametrize('lookahead', [10.0, 20.0, 30.0])
def test_lookahead_chooses_the_ring(file, lookahead):
    pipeline = pipeline_of(file, lookahead=lookahead)
    result = pipeline.run(sweep())
    output = pipeline.backend.infer(result.context.lidar[None], result.context.map_image[None])
    ring = pipeline.backend.model.network.rings.index(lookahead)
    presence = output.rings[0, ring, 0].numpy()
    assert result.lookahead == lookahead
    scale, shift = (2.0, -3.0) if lookahead == 10.0 else (1.0, 0.0)  # each ring has its own calibration
    seen = result.coverage.seen
    expected = 1 / (1 + np.exp(-(scale * presence + shift)))
    assert seen.shape == presence.shape
    np.testing.assert_allclose(result.distribution, expected / expected.sum(), rtol=1e-4)


def test_a_ring_that_the_checkpoint_does_not_know(file):
    with pytest.raises(ConfigurationError, match='trained for 10 or 20 or 30 m: set lookahead to 10 or 20 or 30'):
        pipeline_of(file, lookahead=25.0)


def test_the_path_leads_through_the_rings(file):
    results = [pipeline_of(file, lookahead=lookahead).run(sweep()) for lookahead in (10.0, 20.0, 30.0)]
    assert any(result.direction for result in results)
    for result in results:
        if result.direction is None:
            assert result.path == ()
            continue
        radii = [point.radius for point in result.path]
        assert radii == sorted(radii) and result.lookahead in radii
        assert result.path[radii.index(result.lookahead)].branch == result.direction


def test_the_way_driven_is_a_layer(file):
    pipeline = pipeline_of(file)
    first, *_, last = [pipeline.run(sweep(x)) for x in np.arange(0.0, 12.0, 1.0)]
    track = [result.context.lidar[len(CHANNELS)].numpy() for result in (first, last)]
    behind, ahead = slice(33, 36), slice(26, 30)  # rows; 1.25 m each, the vehicle between 31 and 32
    assert len(first.context.lidar) == len(CHANNELS) + 1 and track[0].max() == 0.0
    assert track[1][behind, 31:33].min() > 0.2 and track[1][ahead].max() < 0.05
    brought = pipeline.preprocess(replace(sweep(), track=np.array([(-2.0, 0.0), (-20.0, 0.0)])), remember=False)
    assert brought.lidar[len(CHANNELS), behind, 31:33].min() > 0.2


def test_a_network_that_does_not_ask_for_the_way_driven_gets_none(file):
    pipeline = pipeline_of(file)
    plain = Preprocessor(pipeline.grid, torch.device('cpu'), pipeline.config)
    assert len(plain(sweep()).lidar) == len(CHANNELS)


def test_the_map_is_carried_from_sweep_to_sweep(file):
    pipeline = pipeline_of(file)
    states = [pipeline.run(sweep(x)).alignment for x in (0.0, 1.0)]
    assert [a.state for a in states] == ['single', 'tracked']
    alone = pipeline_of(file).run(sweep(1.0)).alignment
    assert states[1].std != alone.std and np.array(states[1].covariance).shape == (3, 3)
    np.testing.assert_allclose(np.sqrt(np.diag(states[1].covariance)), states[1].std, rtol=1e-4)
    pipeline.reset()
    again = pipeline.run(sweep(1.0)).alignment  # nothing is left of earlier sweeps
    assert again.state == 'single' and again.std == pytest.approx(alone.std, rel=1e-3)


def test_without_odometry_or_map_nothing_is_carried(file):
    pipeline = pipeline_of(file)
    pipeline.run(sweep(odometry=False))
    assert pipeline.run(sweep(1.0)).alignment.state != 'tracked'
    assert pipeline.run(sweep(2.0, with_map=False)).alignment is None
    assert pipeline.run(sweep(3.0)).alignment.state == 'single'


def test_batches_answer_as_single_sweeps_do(file):
    config = from_flat({**EVERYTHING, 'checkpoint': str(file)})
    batched, single = BatchedPipeline(config), FusionPipeline(config)
    given = [sweep(odometry=False), sweep(odometry=False, with_map=False)]
    results = batched.results([batched.preprocess(one, remember=False) for one in given])
    for one, result in zip(given, results, strict=True):
        alone = single.run(one)
        assert result.mode is alone.mode
        np.testing.assert_allclose(result.distribution, alone.distribution, atol=1e-5)
        np.testing.assert_allclose(result.attention.spatial[SELECTION], alone.attention.spatial[SELECTION], atol=1e-3)
    assert results[1].mode is Mode.LIDAR_ONLY
