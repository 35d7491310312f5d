# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which map image goes with a sweep."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from support.sync_kit import at, image

from attention_fusion_ros.sync.stamped_buffer import StampedBuffer


@pytest.mark.parametrize('stamps, expected', [
    ([], 'no_map'),
    ([-0.4, -0.1, 0.1], -0.1),
    ([0.0], 0.0),
    ([-3.0], -3.0),
    ([-3.01], 'map_too_old'),
    ([0.2], 0.2),
    ([0.21], 'map_from_future'),
    ([-3.5, 0.1], 0.1),
    ([-3.5, 5.0], 'map_from_future'),
    ([-0.1, 30.0], -0.1),
])
def test_map_choice_is_gated_on_both_sides(stamps, expected):
    maps = StampedBuffer('map', max_age_s=3.0, max_future_s=0.2)
    for s in stamps:
        maps.add(image(s))
    found, reason = maps.match(at(0.0))
    if isinstance(expected, str):
        assert found is None and reason == expected
    else:
        assert found.stamp_ns == at(expected) and reason == ''


def test_maps_are_bounded_but_a_rare_one_stays():
    maps = StampedBuffer('map', max_age_s=20.0, max_future_s=0.2)
    maps.add(image(0.0))
    maps.add(image(10.0))
    assert maps.match(at(9.0))[0].stamp_ns == at(0.0)
    for i in range(1000):
        maps.add(image(20.0 + 0.01 * i))
    assert len(maps) <= 32


class Large(NamedTuple):
    stamp_ns: int
    nbytes: int = 300 * 2**20


def test_large_items_are_kept_in_bounded_memory_but_never_fewer_than_two():
    maps: StampedBuffer = StampedBuffer('map', max_age_s=9.0)
    for i in range(10):
        maps.add(Large(i * 100_000_000))
        assert len(maps) <= 2
    assert maps.match(900_000_000)[0].stamp_ns == 900_000_000 and maps.match(850_000_000)[0].stamp_ns == 800_000_000
