# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From where on something is called implausible, and where it is still ordinary."""

import math

import numpy as np
import pytest

from attention_fusion_ros.bev.ground_level import HIGHEST_M, SLAB_M
from attention_fusion_ros.geometry import angle_between, bin_bearings
from attention_fusion_ros.pipeline.plausibility import BLIND, GROUND_ABOVE, GROUND_FAR, blind, mounting

BINS = 120


def reach_but(half_deg):
    return np.where(angle_between(bin_bearings(BINS), 0.0) < math.radians(half_deg), 0.0, 30.0)


def ground_at(height):
    """`ground_levels` of level ground, alone."""
    counts = np.zeros(round(2 * HIGHEST_M / SLAB_M) + 1)
    counts[[math.floor((height + HIGHEST_M) / SLAB_M), -1]] = 500
    return counts


def name(finding):
    return None if finding is None else finding.name


def test_poles_and_the_own_body_are_no_blind_sector():
    assert blind(reach_but(8)) is None and blind(reach_but(0)) is None and blind(None) is None
    assert name(blind(reach_but(12))) == BLIND
    assert 'all around' in blind(np.zeros(BINS)).message


@pytest.mark.parametrize(('height', 'expected'), [
    (0.0, None), (0.7, None), (-0.7, None), (-1.9, GROUND_FAR), (1.5, GROUND_FAR), (3.7, GROUND_ABOVE)])
def test_ground_lies_below_the_sensor_and_near_the_origin_of_base_link(height, expected):
    assert name(mounting(ground_at(height), 1.8)) == expected


def test_a_ceiling_is_no_ground_above_the_sensor():
    tunnel = ground_at(0.0)
    tunnel += 2 * ground_at(5.0)  # a road between walls is narrow, and its ceiling near
    assert mounting(tunnel, 1.8) is None
    assert name(mounting(ground_at(-1.7) + 2 * ground_at(5.0), 1.8)) == GROUND_FAR
    assert name(mounting(ground_at(0.0) + 20 * ground_at(5.0), 1.8)) == GROUND_ABOVE


def test_a_sensor_close_to_the_ground_does_not_stand_on_its_head():
    assert mounting(ground_at(0.0), -0.1) is None, 'slabs are coarse'
    assert name(mounting(ground_at(0.5), 0.0)) == GROUND_ABOVE
    assert mounting(None, 1.8) is None
