# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Earlier sweeps lie where the vehicle was, whatever frame odometry has."""

from __future__ import annotations

import math

import pytest
import torch

from attention_fusion_ros.geometry import quaternion_from_yaw, se2, se3_from_quaternion
from attention_fusion_ros.network.history import FeatureHistory


@pytest.mark.parametrize('quaternion', [(0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 0.5),
                                        (0.0, math.sin(0.13), 0.0, math.cos(0.13))])
def test_motion_is_that_of_the_vehicle(quaternion):
    start = se3_from_quaternion((5.0, -3.0, 1.0), quaternion)
    history = FeatureHistory(2)
    history.add(start, torch.zeros(1, 1, 4, 4))
    now = start @ se3_from_quaternion((4.0, 1.0, 0.0), quaternion_from_yaw(0.5))
    moved = history.before(now).T_now_then[0, 0].double().numpy()
    assert se2(4.0, 1.0, 0.5) @ moved == pytest.approx(se2(0.0, 0.0, 0.0), abs=1e-5)
    history.clear()
    assert history.before(now) is None
