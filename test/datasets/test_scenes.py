# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Features of training scenes are those that the node computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.accumulate import Points
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.datasets.augment import sensor_faults
from attention_fusion_ros.datasets.scenes import LIMITS, accumulated_features, can_gain
from attention_fusion_ros.geometry import quaternion_from_yaw, se3_from_quaternion
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.simulation.sensors.past import PastSweep

PERIOD_S = 0.2


def ground(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 3) float32 points around the vehicle, and some of its own body."""
    xyz = rng.uniform(-30, 30, (count, 3)) * (1, 1, 0.02)
    xyz[:50] *= 0.03
    return xyz.astype(np.float32)


@pytest.mark.parametrize('points, expected', [(3000, 5), (30_000, 3), (60_000, 1)])
def test_accumulated_training_features_are_those_of_the_pipeline(points, expected):
    rng = np.random.default_rng(0)
    clouds = [ground(rng, points) for _ in range(8)]
    brightness = [rng.uniform(0, 255, points).astype(np.float32) for _ in clouds]
    poses = [se3_from_quaternion((1.5 * k, 0.1 * k, 0.0), quaternion_from_yaw(0.02 * k)) for k in range(len(clouds))]
    pipeline = FusionPipeline(from_flat({'checkpoint': 'untrained', 'allow_untrained': True, 'device': 'cpu'}))
    for k, (xyz, intensity, T) in enumerate(zip(clouds, brightness, poses, strict=True)):
        cloud = PointCloud(round(1e9 * PERIOD_S * (k + 1)), 'base_link', xyz, intensity)
        result = pipeline.run(SyncedSweep(cloud, Motion(np.eye(4), T)))
    last = len(clouds) - 1
    T_now_odom = np.linalg.inv(poses[last])
    earlier = [PastSweep(clouds[k], brightness[k], T_now_odom @ poses[k], PERIOD_S * (last - k))
               for k in range(last - 1, -1, -1)]
    now = Points(torch.from_numpy(clouds[last]), torch.from_numpy(brightness[last]))
    features = accumulated_features(now, earlier, Grid())
    np.testing.assert_allclose(features, result.lidar_bev, atol=1e-4)
    assert can_gain(points) == (expected > 1)
    density = np.expm1(features[CHANNELS.index('density')] * np.log1p(128.0)).sum()
    alone = np.expm1(accumulated_features(now, [], Grid())[CHANNELS.index('density')] * np.log1p(128.0)).sum()
    assert round(float(density / alone)) == expected


def test_old_sweeps_are_left_out():
    rng = np.random.default_rng(0)
    now = Points(torch.from_numpy(ground(rng, 1000)), torch.ones(1000))
    old = PastSweep(ground(rng, 1000), np.ones(1000, np.float32), np.eye(4), LIMITS.accumulate_age + 0.1)
    assert np.array_equal(accumulated_features(now, [old], Grid()), accumulated_features(now, [], Grid()))


def test_sensor_faults_touch_the_channels_they_are_about():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        features = np.full((len(CHANNELS), 32, 32), 0.5, np.float32)
        changed = sensor_faults(features.copy(), rng)
        channel = dict(zip(CHANNELS, changed, strict=True))
        kept = channel['density'] > 0
        # What is lost is lost in all channels; the span, a difference of heights, is no height.
        assert np.array_equal(channel['span'] > 0, kept) and (channel['span'][kept] == 0.5).all()
        assert len(np.unique(channel['top'][kept] - channel['low'][kept])) <= 1
