# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The batched path gives what the node's own `run` gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.network_kit import lively_config

from attention_fusion_ros.config import MapConfig
from attention_fusion_ros.contracts import MapImage, Motion, PointCloud
from attention_fusion_ros.datasets.placed_sweep import PlacedSweep
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.methods.method import PipelineMethod
from attention_fusion_ros.geometry import se3_from_quaternion
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.pipeline.fusion import FusionPipeline


def inputs(seed: int) -> PlacedSweep:
    rng = np.random.default_rng(seed)
    xyz = (rng.uniform(-1, 1, (4000 + 100 * seed, 3)) * [45, 45, 2]).astype(np.float32)
    turned = se3_from_quaternion([0.3, 0.1, 1.7], [0, 0, math.sin(seed), math.cos(seed)])
    road = np.zeros((200, 240), np.float32)
    road[:, 100 + 10 * seed:112 + 10 * seed] = 1
    image = None if seed == 2 else MapImage(1, '', road * (seed != 3), road if seed == 1 else None)
    layout = MapConfig(resolution=0.4 + 0.1 * seed, anchor=[0.4, 0.6])
    intensity = None if seed == 4 else rng.uniform(0, 9, len(xyz)).astype(np.float32)
    return PlacedSweep(PointCloud(7, 'lidar', xyz, intensity), Motion(turned), image, layout=layout)


def test_batched_answers_equal_run(tmp_path):
    config = lively_config(tmp_path)
    pipeline = BatchedPipeline(config)
    given = [inputs(k) for k in range(5)]
    samples = [pipeline.preprocess.alone(i, i.layout) for i in given]
    batched = pipeline.results(samples, batch=3)
    single = PipelineMethod(FusionPipeline(config), config)
    assert [r.mode.value for r in batched] == ['fused', 'fused', 'lidar_only', 'lidar_only', 'fused']
    for one, result in zip(given, batched, strict=True):
        expected = single.result(one)
        assert np.array_equal(result.lidar_bev, expected.lidar_bev) and np.array_equal(result.map_bev, expected.map_bev)
        assert result.mode is expected.mode and result.reason == expected.reason
        assert len(result.branches) == len(expected.branches) > 0
        for a, b in zip(result.branches, expected.branches, strict=True):
            assert (a.bearing, a.heading, a.probability, a.bearing_std) == pytest.approx(
                (b.bearing, b.heading, b.probability, b.bearing_std), abs=1e-4)
        assert result.direction.bearing == pytest.approx(expected.direction.bearing, abs=1e-4)
        assert result.direction_reason == expected.direction_reason
        assert result.attention.lidar_share == pytest.approx(expected.attention.lidar_share, abs=1e-5)
        for name, weights in expected.attention.spatial.items():
            assert result.attention.spatial[name] == pytest.approx(weights, abs=1e-5)
        assert result.distribution == pytest.approx(expected.distribution, abs=1e-6)


def test_a_refused_sweep_is_counted_and_answers_nothing(tmp_path):
    config = lively_config(tmp_path)
    far = PlacedSweep(PointCloud(1, '', np.full((5, 3), 500, np.float32), None), Motion(np.eye(4)))
    with pytest.raises(InputError):
        BatchedPipeline(config).preprocess.lidar(far)
    estimator = PipelineMethod(FusionPipeline(config), config)
    assert estimator(far).branches == () and estimator.refused == {'no_points_in_range': 1}
