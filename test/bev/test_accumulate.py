# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps under the current one: where they lie, which of them, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attention_fusion_ros.bev.accumulate import EarlierSweep, Points, SweepAccumulator, accumulate, without_own_body
from attention_fusion_ros.config import CloudConfig


def points(*xyz: tuple[float, float, float], intensity: float | None = 1.0) -> Points:
    values = None if intensity is None else torch.full((len(xyz),), intensity)
    return Points(torch.tensor(xyz, dtype=torch.float32), values)


def ahead(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


def test_earlier_points_are_moved_to_where_the_vehicle_is_now():
    then = EarlierSweep(points((9.0, 2.0, 0.5), intensity=3.0), ahead(-4.0))
    xyz, intensity = accumulate(points((1.0, 0.0, 0.0)), [then])
    assert xyz.tolist() == [[1.0, 0.0, 0.0], [5.0, 2.0, 0.5]] and intensity.tolist() == [1.0, 3.0]


@pytest.mark.parametrize('limit, kept', [(None, 4), (4, 4), (3, 3), (2, 2), (0, 1)])
def test_the_newest_sweeps_are_taken_first_up_to_a_number_of_points(limit, kept):
    earlier = [EarlierSweep(points((float(k), 0.0, 0.0)), np.eye(4)) for k in (10, 20, 30)]
    xyz, _ = accumulate(points((1.0, 0.0, 0.0)), earlier, limit)
    assert xyz[:, 0].tolist() == [1.0, 10.0, 20.0, 30.0][:kept]


def test_intensities_are_given_up_when_one_sweep_has_none():
    earlier = [EarlierSweep(points((5.0, 0.0, 0.0), intensity=None), np.eye(4))]
    assert accumulate(points((1.0, 0.0, 0.0)), earlier).intensity is None


def test_the_own_body_is_cut_out_within_a_circle():
    left = without_own_body(points((0.5, 0.5, 2.0), (1.0, 1.8, 0.0), (-3.0, 0.0, 1.0)), 1.8)
    assert left.xyz[:, 0].tolist() == [1.0, -3.0] and len(left.intensity) == 2


def test_sweeps_are_remembered_up_to_their_age_and_number():
    history = SweepAccumulator(CloudConfig(accumulate=3, accumulate_age=1.0))
    for k in range(4):
        history.add(k * 10**9 // 2, ahead(2.0 * k), points((10.0, 0.0, 0.0)))
    found = list(history.earlier(2 * 10**9, ahead(8.0)))
    assert [sweep.T_now_then[0, 3] for sweep in found] == [-2.0, -4.0]
    assert len(list(history.earlier(2 * 10**9 + 1, ahead(8.0)))) == 1
    history.clear()
    assert not list(history.earlier(2 * 10**9, ahead(8.0)))


@pytest.mark.parametrize('count, kept', [(2, 2), (3, 1)])
def test_a_sweep_that_leaves_no_room_for_others_is_not_remembered(count, kept):
    history = SweepAccumulator(CloudConfig(accumulate=2, accumulate_points=3))
    history.add(1, np.eye(4), points((10.0, 0.0, 0.0)))
    history.add(2, np.eye(4), points(*[(10.0, 0.0, 0.0)] * count))
    assert [len(sweep.points.xyz) for sweep in history.earlier(3, np.eye(4))] == [kept]
