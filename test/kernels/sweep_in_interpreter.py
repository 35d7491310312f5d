# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The BEV grid of a sweep and a map on it, in Triton's interpreter. Run by test_cbam.py, on its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from support.kernel_cases import CASES, street

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.bev.sweep import Look, sweep_grids
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.kernels.fast.sweep_triton import INTERPRETED, sample_planes_triton, sweep_grids_triton
from attention_fusion_ros.kernels.registry import operations

MOUNTED = np.array([[1.0, -0.02, 0.01, 0.4], [0.02, 1.0, 0.0, 0.1], [-0.01, 0.0, 1.0, 1.9], [0, 0, 0, 1]])


def cloud(points: int, spacing: float = 0.0, with_intensity: bool = True, T: np.ndarray | None = None) -> Placed:
    random = torch.Generator().manual_seed(points)
    xyz = torch.from_numpy(street(random, points, spacing))
    return Placed(xyz, 255 * torch.rand(points, generator=random) if with_intensity else None, T)


def sweeps():
    whole = cloud(3000, T=MOUNTED)
    looks = [Look(((0, 1000), (2000, 3000)), 0.4, 0.1), Look(((1000, 2000),), -1.0, 0.0)]
    yield whole, [], looks
    yield cloud(2000, 0.3125), [], []  # on the edges of cells
    yield whole, [cloud(900, T=MOUNTED), cloud(300)], looks[:1]
    yield whole, [cloud(900, with_intensity=False)], []
    yield cloud(1, 10.0)._replace(xyz=torch.tensor([[5.0, 2.0, -1.0]])), [], []


@pytest.mark.parametrize('whole_numbers', [False, True])
def test_sweeps(whole_numbers):
    assert INTERPRETED
    torch.use_deterministic_algorithms(whole_numbers)
    try:
        for sweep, earlier, sensors in sweeps():
            arguments = sweep, earlier, sensors, Grid(), 1.8, 6.0
            for found, expected in zip(sweep_grids_triton(*arguments), sweep_grids.plain(*arguments), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_sweep_without_a_point_on_the_grid():
    far = Placed(torch.full((5, 3), 300.0), None, None)
    with pytest.raises(InputError, match='no point lies within'):
        sweep_grids_triton(far, [], [], Grid(), 1.8, 6.0)


def test_maps():
    for *arguments, _ in itertools.islice(CASES['sample_planes'](torch.Generator(), torch.float32), 0, None, 3):
        arguments.append(Grid(40.0, 48))  # the interpreter takes its time
        expected = operations()['sample_planes'].plain(*arguments)
        torch.testing.assert_close(sample_planes_triton(*arguments), expected, rtol=0.0, atol=2e-5)


def test_the_dispatcher_takes_them():
    sweep = cloud(50)
    assert sweep_grids.choose(sweep, [], [], Grid(), 1.8, 6.0) in (sweep_grids_triton, *(
        v.function for v in sweep_grids.versions if v.name == 'numba'))
