# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How often the host waits for the device in one sweep: every such place is known."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.network_kit import lively_config
from torch.utils._python_dispatch import TorchDispatchMode

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import MapImage, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.pipeline.fusion import FusionPipeline

# Points near the vehicle for later sweeps, points on the grid, points of a useful height.
KNOWN_SELECTIONS = 3
KNOWN_NUMBERS = 0
KNOWN_COPIES = 1  # how much of the map is road; counted on a CUDA device only


class Waits(TorchDispatchMode):
    """Counts the operations for which the host waits when they run on a CUDA device."""

    def __init__(self):
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition('.')[0]
        masks = name == 'index' and any(i is not None and i.dtype is torch.bool for i in args[1])
        if name in ('nonzero', 'masked_select') or masks:
            self.found['selection'] += 1
        elif name in ('_local_scalar_dense', '_linalg_check_errors', 'equal', 'is_nonzero'):
            self.found['number'] += 1
        return function(*args, **(kwargs or {}))


def sweep(stamp: int) -> SyncedSweep:
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-35, 35, (6000, 3)).astype(np.float32) * np.float32([1, 0.4, 0.02])
    road = np.zeros((320, 320), np.float32)
    road[:, 150:170] = 1.0
    return SyncedSweep(PointCloud(stamp, 'base_link', xyz, rng.random(6000).astype(np.float32)),
                       Motion(np.eye(4), np.eye(4), np.eye(4)), MapImage(stamp, 'base_link', road, None))


def test_every_wait_of_a_sweep_is_known(tmp_path):
    pipeline = FusionPipeline(replace(lively_config(tmp_path), kernels='plain'))  # as on a CUDA device
    pipeline.run(sweep(1))  # constants are made once
    with Waits() as waits:
        result = pipeline.run(sweep(10**8))
    assert result.mode.value == 'fused' and result.branches
    assert waits.found == Counter({'selection': KNOWN_SELECTIONS, 'number': KNOWN_NUMBERS})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_torch_sees_no_other_waits_on_a_cuda_device():
    pipeline = FusionPipeline(from_flat({'device': 'cuda:0'}))
    pipeline.warm_up()
    pipeline.run(sweep(1))
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            pipeline.run(sweep(10**8))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    found = [str(w.message) for w in seen if 'synchroniz' in str(w.message)]
    assert len(found) <= KNOWN_SELECTIONS + KNOWN_NUMBERS + KNOWN_COPIES + 1, found  # and the fetch of the head
