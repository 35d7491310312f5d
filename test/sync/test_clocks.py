# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Stamps of inputs by different clocks are told from inputs that are late, old or silent."""

from __future__ import annotations

import pytest
from support.sync_kit import at

from attention_fusion_ros.sync.clocks import RECEIVED, ClockComparison

LABELS = {'odometry': 'odometry', 'map_image': 'map image', RECEIVED: 'ROS time (now)'}
INPUTS = ('odometry', 'map_image')


def compared(sweeps_s: float, odometry_s: float = 0.0, map_s: float = 0.0, sweeps: int = 10, latency: float = 0.05):
    """Ten sweeps a second, odometry five times as often, a map image each; each ahead of the true time by so much."""
    clocks = ClockComparison()
    for i in range(5 * sweeps):
        now = 0.02 * i
        clocks.on_message('odometry', at(now + odometry_s), at(now))
        if i % 5 == 0:
            clocks.on_message('map_image', at(now + map_s), at(now))
            clocks.on_sweep(at(now - latency + sweeps_s), at(now))
    return clocks


def sentence(clocks: ClockComparison, with_received: bool = True) -> str:
    found = clocks.difference(INPUTS, LABELS, with_received)
    return '' if found is None else str(found)


@pytest.mark.parametrize('shift, words', [
    (37.0, 'sweeps are 37.0 s ahead of odometry, map image and ROS time (now), steadily: so much is TAI'),
    (-37.0, 'sweeps are 37.0 s behind odometry, map image and ROS time (now), steadily: so much is TAI'),
    (18.0, 'so much is GPS time'), (-1.5, 'are not synchronised, or one of them comes late'),
    (-1.7e9, '(54 years): one of them does not count from 1970'), (-3 * 86400.0, 'are not synchronised. Remedy')])
def test_a_steady_difference_is_one_sentence_with_a_remedy(shift, words):
    found = sentence(compared(shift, latency=0.0))
    assert words in found and 'Remedy: let the LiDAR' in found


def test_the_clock_that_differs_from_the_others_is_the_one_to_mend():
    found = sentence(compared(0.0, odometry_s=-1.7e9))
    assert 'ahead of odometry, steadily' in found and 'let odometry be stamped' in found and 'Ouster' not in found
    found = sentence(compared(0.0, odometry_s=-5.0, map_s=-5.0))
    assert 'ahead of odometry and map image, steadily' in found and 'ROS time' not in found


def test_a_recording_played_later_is_no_difference_between_inputs():
    assert sentence(compared(-5000.0, -5000.0, -5000.0)) == ''
    against_now = compared(-5000.0, -5000.0, -5000.0).difference((RECEIVED,), LABELS)
    assert against_now.seconds == pytest.approx(-5000.05) and 'played without use_sim_time' in str(against_now)


@pytest.mark.parametrize('latency', [0.0, 0.1, 0.3])
def test_latency_is_no_difference(latency):
    assert sentence(compared(0.0, latency=latency)) == ''


def test_what_has_stopped_or_came_once_is_old_and_not_stamped_differently():
    clocks = ClockComparison()
    clocks.on_message('map_image', at(-600.0), at(0.0))  # latched
    for i in range(5):
        clocks.on_message('odometry', at(0.1 * i), at(0.1 * i))
        clocks.on_sweep(at(0.1 * i), at(0.1 * i))
    for i in range(5, 400):
        clocks.on_sweep(at(0.1 * i), at(0.1 * i))
    assert sentence(clocks) == ''


def test_one_image_that_is_sent_again_and_again_is_no_clock():
    clocks = ClockComparison()
    for i in range(20):
        clocks.on_message('map_image', at(-60.0), at(1.0 * i))
        clocks.on_sweep(at(1.0 * i), at(1.0 * i))
    assert sentence(clocks) == ''


def test_too_few_messages_and_a_jump_tell_nothing():
    assert sentence(compared(37.0, sweeps=2)) == ''
    clocks = compared(37.0)
    clocks.clear()
    assert sentence(clocks) == ''
