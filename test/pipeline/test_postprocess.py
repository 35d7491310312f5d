# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading branches and the direction off the head's output."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.geometry import angle_between, bin_bearings, wrap
from attention_fusion_ros.pipeline.no_direction import AMBIGUOUS, IMPROBABLE, NO_BRANCH, NO_BRANCH_THERE
from attention_fusion_ros.pipeline.postprocess import circular_nms, decode_head

K = 120
STEP = 2 * math.pi / K


def head_for(branches, take=None):
    """A head output as a perfect network would give it: branches [(bearing, heading)], index of the one to take."""
    head = np.zeros((7, K))
    head[0] = -8.0
    head[2] = 1.0
    head[4:6] = math.log(0.02)
    head[6] = -8.0
    centres = bin_bearings(K)
    for n, (bearing, heading) in enumerate(branches):
        distance = wrap(bearing - centres) / STEP
        head[0] = np.maximum(head[0], 4.0 - distance ** 2)
        near = np.abs(distance) < 3
        head[1, near] = distance[near]
        head[2, near], head[3, near] = np.cos(heading - centres[near]), np.sin(heading - centres[near])
        if n == take:
            head[6] = 6.0 - distance ** 2
    return head


def read(head, none=-4.0, **options):
    return decode_head(head, none, True, Calibration(), BranchesConfig(**options))


@settings(max_examples=50)
@given(st.floats(-math.pi, math.pi), st.floats(-3.0, 3.0))
def test_bearing_and_heading_come_back_exactly(bearing, turn):
    answer = read(head_for([(bearing, wrap(bearing + turn))], 0))
    assert len(answer.branches) == 1
    assert angle_between(answer.direction.bearing, bearing) < 1e-6
    assert angle_between(answer.direction.heading, bearing + turn) < 1e-6
    assert answer.distribution.sum() == pytest.approx(1.0)
    assert angle_between(bin_bearings(K)[answer.distribution.argmax()], bearing) < STEP


def test_a_junction_has_its_arms_and_the_route_is_taken():
    arms = [(0.0, 0.1), (math.pi / 2, 1.6), (math.pi, math.pi), (-1.5, -1.4)]
    answer = read(head_for(arms, take=1))
    assert len(answer.branches) == 4
    assert answer.direction.bearing == pytest.approx(math.pi / 2, abs=1e-6)
    assert [b.probability for b in answer.branches] == sorted((b.probability for b in answer.branches), reverse=True)


def test_a_branch_across_the_seam_is_one_branch():
    assert len(read(head_for([(math.pi - 0.01, math.pi)], 0)).branches) == 1


def test_no_direction_gives_the_reason_and_keeps_the_branches():
    answer = read(head_for([(1.5, 1.5), (-1.5, -1.5)]), none=9.0)
    assert answer.direction is None and answer.direction_reason == AMBIGUOUS and len(answer.branches) == 2
    assert read(head_for([])).direction_reason == NO_BRANCH


@pytest.mark.parametrize('bar', [0.5, 0.9])
def test_no_direction_is_less_probable_than_the_parameter_says(bar):
    """However sure the network is which branch to take: what it publishes of it is the branch's own probability."""
    for logit in np.linspace(-1.0, 4.0, 41):
        head = head_for([(0.3, 0.3), (math.pi, math.pi)], take=0)
        head[0, np.abs(wrap(bin_bearings(K) - 0.3)) < 1.0] += logit - 4.0
        answer = read(head, min_direction_probability=bar)
        ahead = next((b for b in answer.branches if abs(b.bearing) < 1.0), None)
        if answer.direction is None:
            assert ahead is None or ahead.probability < bar
            assert answer.direction_reason == (NO_BRANCH_THERE if ahead is None else IMPROBABLE)
        else:
            assert answer.direction.probability >= bar and answer.direction_reason == ''


def test_a_way_that_is_no_branch_does_not_speak_for_the_one_behind():
    behind, ahead = head_for([(math.pi, math.pi)]), head_for([(0.4, 0.4)], take=0)
    behind[6] = ahead[6]  # sure of the way ahead, where no branch is probable enough to be published
    answer = read(behind)
    assert answer.direction is None and answer.direction_reason == NO_BRANCH_THERE and len(answer.branches) == 1
    behind[6] = head_for([(math.pi - 0.2, math.pi)], take=0)[6]  # a little beside the branch: that one is meant
    assert abs(read(behind).direction.bearing) == pytest.approx(math.pi, abs=1e-6)


def test_nms_keeps_the_better_of_two_near_peaks():
    scores = np.zeros(K)
    scores[[10, 13, 60]] = 2.0, 3.0, 1.0
    assert circular_nms(scores, bin_bearings(K), math.radians(20)) == [13, 60]
    scores[[0, K - 2]] = 5.0, 4.0  # near each other across the seam
    assert K - 2 not in circular_nms(scores, bin_bearings(K), math.radians(20))


@given(st.lists(st.integers(-5, 5), min_size=K, max_size=K))
def test_nms_takes_the_best_first_and_of_equal_ones_the_first(scores):
    values, bearings, kept = np.array(scores, float), bin_bearings(K), []
    for i in sorted(range(K), key=lambda i: (-values[i], i)):
        if (values[i] >= values[i - 1] and values[i] > values[(i + 1) % K]
                and all(angle_between(bearings[i], bearings[j]) >= 0.3 for j in kept)):
            kept.append(i)
    assert circular_nms(values, bearings, 0.3) == kept


def test_calibration_changes_probabilities_not_peaks():
    head = head_for([(0.3, 0.3)], 0)
    plain = decode_head(head, -4.0, True, Calibration(), BranchesConfig()).branches[0]
    softer = decode_head(head, -4.0, False, Calibration(lidar_only=(0.5, 0.0)), BranchesConfig()).branches[0]
    assert softer.probability < plain.probability and softer.bearing == plain.bearing
