# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Directions are withheld where the branch to take may lie in the dark, and only there."""

import math
import re

import numpy as np
import pytest

from attention_fusion_ros.config import BranchesConfig
from attention_fusion_ros.contracts import DIRECTION_PRIOR, Calibration
from attention_fusion_ros.geometry import angle_between, bin_bearings
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.pipeline.not_seen import NOT_SEEN, Sight, dark_sectors, describe_sectors, not_seen
from attention_fusion_ros.pipeline.postprocess import decode_head

BINS = 120
BEARINGS = bin_bearings(BINS)


def within(middle_deg, half_deg):
    return angle_between(BEARINGS, math.radians(middle_deg)) < math.radians(half_deg)


def seen_but(middle_deg, half_deg, share=0.0):
    return np.where(within(middle_deg, half_deg), share, 1.0)


def hides(seen, bearing_deg, drawn=None, share=0.99):
    return Sight.of(seen, drawn).hides(math.radians(bearing_deg), share, DIRECTION_PRIOR)


@pytest.mark.parametrize('half', [30, 45, 60, 90])
def test_a_road_behind_is_no_direction_while_the_way_ahead_is_dark(half):
    assert hides(seen_but(0, half), 179)
    assert not hides(seen_but(180, half), 0), 'what is behind does not matter to a road ahead'


def test_a_branch_that_lies_in_the_dark_itself_is_withheld():
    assert hides(seen_but(40, 30), 40)
    assert not hides(seen_but(40, 30), -20)


def test_a_vehicle_close_by_does_not_cost_the_direction():
    assert not hides(seen_but(0, 9, share=0.4), 1), 'a truck 8 m ahead'
    assert not hides(seen_but(10, 6, share=0.2), 0), 'a car at 4 m beside the way'


def test_a_map_that_draws_the_road_into_the_dark_keeps_it():
    dark = seen_but(0, 60)
    ahead = within(0, 5)
    assert not hides(dark, 2, drawn=ahead)
    assert not hides(dark, 10, drawn=ahead), 'maps are a little off'
    assert hides(dark, 40, drawn=ahead), 'a road that neither was seen nor is drawn'


def test_a_road_seen_is_not_taken_for_the_drawn_one_in_the_dark_unless_the_network_is_sure():
    dark, drawn = seen_but(0, 60), within(0, 5) | within(-80, 5)
    assert hides(dark, -80, drawn=drawn, share=0.8)
    assert not hides(dark, -80, drawn=drawn, share=0.99)
    assert not hides(dark, 0, drawn=drawn, share=0.8), 'the drawn one is what was found'


def test_a_map_is_followed_into_the_dark_only_where_it_is_to_be_believed():
    """Maps are metres and degrees off: a doubtful branch there, or a map that misses what was seen, is not enough."""
    sight = Sight.of(seen_but(0, 60), within(0, 5) | within(180, 5))
    seen = np.radians([179.0])
    assert not sight.doubts_map(0.02, 0.9, seen)
    assert sight.doubts_map(0.02, 0.7, seen), 'as likely as not more than 10 degrees off'
    assert sight.doubts_map(0.02, 0.9, np.radians([150.0])), 'the map draws the road behind 30 degrees off'
    assert not sight.doubts_map(0.02, 0.9, np.radians([3.0])), 'what lies in the dark says nothing about the map'
    assert not sight.doubts_map(math.pi - 0.02, 0.7, np.radians([150.0])), 'this one was looked at itself'
    assert not Sight.of(seen_but(0, 60)).doubts_map(0.02, 0.1, seen), 'there is no map to doubt'
    assert sight.misfit(np.radians([179.0, -170.0])) == pytest.approx(math.radians(10), abs=math.radians(2))
    assert sight.misfit(np.zeros(0)) == 0


def test_nothing_found_is_not_seen_where_it_is_dark_ahead():
    assert Sight.of(seen_but(0, 90)).hides(None, 0.0, DIRECTION_PRIOR)
    assert not Sight.of(np.ones(BINS)).hides(None, 0.0, DIRECTION_PRIOR)
    empty = np.zeros(BINS, bool)  # a map that draws no road across the ring
    assert Sight.of(seen_but(0, 90), empty).hides(None, 0.0, DIRECTION_PRIOR)


def test_everything_seen_hides_nothing():
    assert not any(hides(np.ones(BINS), bearing) for bearing in range(-180, 180, 5))


def test_narrow_gaps_are_no_sectors():
    slits = Sight.of(np.tile([1.0, 0.0], BINS // 2))  # every other bearing: roads are wider
    assert slits.dark.max() == 0 and slits.sectors() == []
    assert dark_sectors(seen_but(0, 9)) == [] and len(dark_sectors(seen_but(0, 12))) == 1


def test_sectors_and_their_words():
    assert dark_sectors(np.ones(BINS)) == []
    (ahead,) = dark_sectors(seen_but(0, 45))
    assert math.degrees(ahead[0]) == pytest.approx(-45, abs=9) and math.degrees(ahead[1]) == pytest.approx(45, abs=9)
    (behind,) = dark_sectors(seen_but(180, 45))
    assert math.degrees(behind[0]) == pytest.approx(135, abs=9) and math.degrees(behind[1]) == pytest.approx(225, abs=9)
    assert describe_sectors(dark_sectors(np.zeros(BINS))) == 'all around the vehicle'
    assert 'from' in not_seen(Sight.of(seen_but(0, 45))) and not_seen(Sight.of(seen_but(0, 45))).startswith(NOT_SEEN)


@pytest.mark.parametrize('right, left, words', [
    (-29, 43, 'in 72 deg from 29 deg right through ahead to 43 deg left of ahead'),
    (135, 225, 'in 90 deg from 135 deg left through behind to 135 deg right of ahead'),
    (-216, 57, 'in 273 deg from 144 deg left through behind and ahead to 57 deg left of ahead'),
    (57, 144, 'in 87 deg from 57 deg left to 144 deg left of ahead'),  # the other way round
    (-170, -100, 'in 70 deg from 170 deg right to 100 deg right of ahead'),
    (-90, 90, 'in 180 deg from 90 deg right through ahead to 90 deg left of ahead'),
])
def test_words_tell_which_of_the_two_ways_round_is_meant(right, left, words):
    assert describe_sectors([(math.radians(right), math.radians(left))]) == words


@pytest.mark.parametrize('centre, half, through', [(180, 120, ' through behind'), (0, 120, ' through ahead'),
                                                   (-90, 140, ' through behind and ahead'), (90, 20, '')])
def test_words_of_gaps_that_were_found(centre, half, through):
    reason = not_seen(Sight.of(seen_but(centre, half)))
    width, = re.findall(r'nothing was looked at, in (\d+) deg from', reason)
    assert float(width) == pytest.approx(2 * half, abs=18) and re.search(rf'(left|right){through} to ', reason), reason


def head(bearing_deg):
    """A network sure of one branch and of taking it."""
    found = np.zeros((len(HEAD_CHANNELS), BINS))
    near = np.exp(-(angle_between(BEARINGS, math.radians(bearing_deg)) / 0.1) ** 2)
    found[HEAD_CHANNELS.index('presence')] = 10 * near - 4
    found[HEAD_CHANNELS.index('direction')] = 12 * near - 4
    found[HEAD_CHANNELS.index('bearing_log_std')] = math.log(0.02)
    return found


PLAIN = Calibration()


def decode(seen, bearing_deg, calibration=PLAIN, with_map=False):
    sight = Sight.of(seen, within(0, 180) if with_map else None)
    return decode_head(head(bearing_deg), -4.0, with_map, calibration, BranchesConfig(), sight)


def test_the_reason_names_the_sector():
    answer = decode(seen_but(0, 60), 178)
    assert answer.direction is None and answer.branches
    assert answer.direction_reason.startswith(f'{NOT_SEEN}: ') and 'right' in answer.direction_reason
    assert decode(seen_but(180, 60), 3).direction is not None


def test_the_reason_says_that_the_map_is_doubted():
    sight = Sight.of(seen_but(0, 60), within(0, 6))

    def answer(shift):
        return decode_head(head(3), -4.0, True, Calibration(fused_unseen=(0.0, shift)), BranchesConfig(), sight)
    assert answer(0.0).direction is not None
    doubted = answer(-5.5)
    assert 0.4 < doubted.branches[0].probability < 0.8 and doubted.direction is None
    assert doubted.direction_reason.startswith(f'{NOT_SEEN}: ') and 'the map' in doubted.direction_reason


def test_probabilities_and_deviations_know_what_was_looked_at():
    doubtful = Calibration(lidar_only_unseen=(-0.5, -1.0), fused_unseen=(-0.5, -1.0), unseen_bearing_std=(0.2, 0.0))
    lit, dark = (decode(seen, 0, doubtful, True).branches[0] for seen in (np.ones(BINS), seen_but(0, 40)))
    assert dark.probability < lit.probability
    assert lit.bearing_std == pytest.approx(0.02, rel=0.01) and dark.bearing_std == pytest.approx(0.2, rel=0.05)
    plain = decode(seen_but(0, 40), 0, Calibration(), True).branches[0]
    assert plain.probability == pytest.approx(lit.probability), 'a calibration without these fields changes nothing'


def test_calibrations_stored_before_there_was_coverage_are_read():
    old = Calibration.from_dict({'fused': [0.9, 0.1], 'lidar_only': [0.8, -0.2]})
    assert old == Calibration((0.9, 0.1), (0.8, -0.2))
    with pytest.raises(KeyError):
        Calibration.from_dict({'fused': [0.9, 0.1]})
