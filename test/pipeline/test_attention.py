# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Registration of the map, attention over past sweeps and the shares of attention, from a checkpoint to the result."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Calibration, MapImage, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.network import checkpoint
from attention_fusion_ros.network.config import NetworkConfig, mechanism
from attention_fusion_ros.network.model import FusionNetwork
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps
from attention_fusion_ros.stream.recording import Recording

SMALL = dict(cells=64, lidar_width=8, map_width=8, widths=(8, 8), blocks=(1, 1), polar_ranges=8, polar_widths=(8, 8),
             head_width=16, bins=24)


def pipeline_with(folder, **changes) -> FusionPipeline:
    torch.manual_seed(0)
    network = FusionNetwork(NetworkConfig.from_dict({**SMALL, **changes}))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in ('temporal.out.weight', 'map_registration.regression.bias'):  # zero before training
                parameter.uniform_(-0.5, 0.5)
    checkpoint.save(folder / 'net.safetensors', network, Calibration(), {})
    return FusionPipeline(from_flat({'checkpoint': str(folder / 'net.safetensors'), 'device': 'cpu'}))


def cloud(stamp: int = 1, ahead: float = 0.0) -> PointCloud:
    rng = np.random.default_rng(0)
    xyz = np.c_[rng.uniform(-30, 30, (3000, 2)), rng.uniform(-1.7, 0.3, 3000)].astype(np.float32)
    return PointCloud(stamp, 'lidar', xyz - np.float32([ahead, 0, 0]), None)


def road_map() -> MapImage:
    road = np.zeros((480, 480), np.float32)
    road[:, 230:250] = 1.0
    return MapImage(1, 'base_link', road, None)


def at(x: float) -> Motion:
    T = np.eye(4)
    T[0, 3] = x
    return Motion(np.eye(4), T)


@pytest.mark.parametrize('name', [n for n, cls in MECHANISMS.items() if 'stage_attention' in cls.slots])
def test_every_mechanism_of_the_stages_runs_in_the_pipeline(name, tmp_path):
    options = {'patch': 4} if name in ('glimpse', 'dynamic_capacity') else {}
    pipeline = pipeline_with(tmp_path, stage_attention=mechanism(name, **options))
    result = pipeline.run(SyncedSweep(cloud(), at(0.0), road_map()))
    assert result.distribution.sum() == pytest.approx(1.0)
    weightless = name in ('none', 'se', 'sk', 'eca', 'cbam_channel')
    assert set(result.attention.spatial) == (set() if weightless else {'stage1', 'stage2'})
    for weights in result.attention.spatial.values():
        assert weights.ndim == 2 and weights.min() >= 0 and weights.max() <= 1


def test_the_correction_of_the_map_is_part_of_the_result_only_when_there_is_a_map(tmp_path):
    pipeline = pipeline_with(tmp_path, map_registration=mechanism('stn', width=4))
    fused, alone = pipeline.run(SyncedSweep(cloud(), at(0.0), road_map())), pipeline.run(SyncedSweep(cloud(), at(0.0)))
    assert pipeline.info.registers_map and fused.mode is Mode.FUSED
    found = fused.alignment
    assert min(abs(found.dx), abs(found.dy), abs(found.dyaw)) > 1e-4 and min(found.std) > 0 and len(found.std) == 3
    assert abs(found.dx) <= 10 and abs(found.dyaw) <= 0.35
    assert alone.alignment is None


def test_the_network_as_it_is_by_default_registers_nothing(tmp_path):
    pipeline = pipeline_with(tmp_path)
    result = pipeline.run(SyncedSweep(cloud(), at(0.0), road_map()))
    assert result.alignment is None and result.attention.time is None and not pipeline.info.registers_map


def test_earlier_sweeps_are_remembered_with_odometry_and_forgotten_on_reset(tmp_path):
    pipeline = pipeline_with(tmp_path, temporal=mechanism('temporal', keys=4), time_steps=3)
    results = [pipeline.run(SyncedSweep(cloud(k, 2.0 * k), at(2.0 * k))) for k in range(4)]
    assert [len(r.attention.time) for r in results] == [1, 2, 3, 3]
    assert all(r.attention.time.sum() == pytest.approx(1.0, abs=1e-5) for r in results)
    pipeline.reset()
    again = pipeline.run(SyncedSweep(cloud(3, 6.0), at(6.0)))
    assert again.attention.time.tolist() == [1.0]
    assert not np.array_equal(again.distribution, results[3].distribution)


def test_the_sweep_of_the_warm_up_is_not_remembered(tmp_path):
    pipeline = pipeline_with(tmp_path, temporal=mechanism('temporal', keys=4), time_steps=3)
    pipeline.warm_up()
    assert pipeline.run(SyncedSweep(cloud(), at(0.0))).attention.time.tolist() == [1.0]


def test_without_odometry_nothing_is_remembered(tmp_path):
    pipeline = pipeline_with(tmp_path, temporal=mechanism('temporal', keys=4), time_steps=3)
    results = [pipeline.run(SyncedSweep(cloud(k), Motion(np.eye(4)))) for k in range(2)]
    assert [r.attention.time.tolist() for r in results] == [[1.0], [1.0]]
    assert np.array_equal(results[0].distribution, results[1].distribution)


def test_what_is_remembered_lies_where_odometry_says(tmp_path):
    """A wrong way to have come gives another answer: the moves reach the network."""
    answers = []
    for step in (0.0, 5.0):
        pipeline = pipeline_with(tmp_path, temporal=mechanism('temporal', keys=4), time_steps=2)
        pipeline.run(SyncedSweep(cloud(1), at(0.0)))
        answers.append(pipeline.run(SyncedSweep(cloud(2, 5.0), at(step))).distribution)
    assert not np.array_equal(*answers)


def test_the_share_of_a_map_that_is_not_there_nearly_vanishes(mini_recording):
    config = from_flat({'device': 'cpu'})  # the shipped weights
    with Recording(mini_recording) as drive:
        sweep = next(s for s in synced_sweeps(drive, drive.input_topics(), config)
                     if isinstance(s, SyncedSweep) and s.map_image is not None)
    pipeline = FusionPipeline(config)
    fused, alone = (pipeline.run(s).attention for s in (sweep, replace(sweep, map_image=None)))
    assert fused.map_share > 0.15 and alone.map_share < 0.25 * fused.map_share
    assert fused.map_share + fused.lidar_share == pytest.approx(1.0)
