# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of a result stay where they are until somebody reads them, and are fetched once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.network_kit import lively_config

from attention_fusion_ros.contracts import Attention, Deferred, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.pipeline.fusion import FusionPipeline


def test_a_deferred_field_is_fetched_once_when_it_is_read():
    fetched = []

    def fetch():
        fetched.append(1)
        return {'stage1': np.ones((2, 2))}
    attention = Attention(spatial=Deferred(fetch), channel=np.zeros(3), channel_labels=('a', 'b', 'c'), lidar_share=0.4,
                          map_share=0.6)
    assert not fetched and attention.time is None
    assert attention.spatial['stage1'].shape == (2, 2) and attention.spatial is attention.spatial and len(fetched) == 1
    assert replace(attention, lidar_share=0.5).spatial is attention.spatial and len(fetched) == 1
    with pytest.raises(AttributeError):
        attention.spatial = {}


def test_results_do_not_depend_on_when_they_are_read(tmp_path):
    """Not even for the pipeline's next sweep: what a result holds is its own."""
    pipeline = FusionPipeline(lively_config(tmp_path))
    rng = np.random.default_rng(0)
    sweeps = [SyncedSweep(PointCloud(k, 'base_link', (rng.uniform(-30, 30, (4000, 3)) * [1, 0.5, 0.02]).astype('f4'),
                                     None), Motion(np.eye(4))) for k in (1, 2)]
    first = pipeline.run(sweeps[0])
    early = {**first.attention.spatial, 'lidar': first.lidar_bev.copy(), 'map': first.map_bev}
    late = pipeline.run(sweeps[0])
    other = pipeline.run(sweeps[1])
    found = {**late.attention.spatial, 'lidar': late.lidar_bev, 'map': late.map_bev}
    assert found.keys() == early.keys() and not np.array_equal(other.lidar_bev, late.lidar_bev)
    for name, array in early.items():
        assert isinstance(found[name], np.ndarray) and np.array_equal(array, found[name])
