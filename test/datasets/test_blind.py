# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sectors removed from sweeps lie where they are said to lie, as seen from the vehicle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep
from attention_fusion_ros.datasets.blind import blinded


@pytest.mark.parametrize('mounted_deg', [0, 90, -135])
def test_a_sector_is_removed_about_the_sensor_at_a_bearing_of_the_vehicle(mounted_deg):
    """Points all around a sensor that stands 1 m ahead of base_link and is turned in it."""
    around = np.radians(np.arange(0.5, 360))
    xyz = np.stack([10 * np.cos(around), 10 * np.sin(around), np.zeros(360)], axis=1).astype(np.float32)
    c, s = math.cos(math.radians(mounted_deg)), math.sin(math.radians(mounted_deg))
    T_base_sensor = np.array([[c, -s, 0, 1.0], [s, c, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
    sweep = SyncedSweep(PointCloud(1, 'lidar', xyz, np.arange(360, dtype=np.float32)), Motion(T_base_sensor))
    rest = blinded(sweep, math.radians(30), math.radians(60))
    bearings = np.degrees(np.arctan2(*(rest.cloud.xyz @ T_base_sensor[:3, :3].T)[:, 1::-1].T))
    assert len(rest.cloud.xyz) == len(rest.cloud.intensity) == 300
    assert not ((bearings > 0.1) & (bearings < 59.9)).any()
    assert np.array_equal(rest.cloud.xyz, xyz[rest.cloud.intensity.astype(int)])
    assert len(sweep.cloud.xyz) == 360 and rest.motion is sweep.motion
