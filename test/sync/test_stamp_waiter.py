# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How long a sweep waits for what carries its stamp."""

from __future__ import annotations

import threading

from attention_fusion_ros.sync.stamp_waiter import StampWaiter

SECOND = 10**9


def test_companions_that_are_there_cost_no_time():
    waiter = StampWaiter('map', 'odometry')
    waiter.on_message('map', 100)
    waiter.on_message('odometry', 100)
    assert waiter.wait(100, max_wait_s=10.0) < 5.0


def test_waiter_are_waited_for_until_they_come():
    waiter = StampWaiter('map')
    waiter.on_message('map', 90)
    threading.Timer(0.1, lambda: waiter.on_message('map', 100)).start()
    waited = waiter.wait(100, max_wait_s=30.0)
    assert 0.05 < waited < 15.0


def test_topics_that_are_stamped_otherwise_are_waited_for_once():
    """A second wait would be as long as a period at 10 Hz, and cost a sweep each time the node starts."""
    waiter = StampWaiter('map')
    waiter.on_message('map', 50)
    assert waiter.wait(100, max_wait_s=0.01) >= 0.01
    waiter.on_message('map', 150)
    assert waiter.wait(200, max_wait_s=10.0) < 5.0


def test_the_first_wait_ends_when_the_next_sweep_comes():
    """Of the first sweep it is not known what belongs to it: at 20 Hz, a wait of two periods would cost a sweep."""
    waiter = StampWaiter('map')
    waiter.on_sweep(100)
    assert waiter.missing(100)  # its own arrival says nothing
    threading.Timer(0.05, lambda: waiter.on_sweep(150)).start()
    assert 0.02 < waiter.wait(100, max_wait_s=30.0) < 15.0
    assert waiter.wait(150, max_wait_s=10.0) < 5.0


def test_what_is_known_to_come_is_waited_for_even_when_the_next_sweep_is_there():
    waiter = StampWaiter('map')
    waiter.on_message('map', 100)
    waiter.wait(100, max_wait_s=10.0)
    for stamp in (150, 200):
        waiter.on_sweep(stamp)
    assert waiter.missing(150)


def test_what_had_come_before_the_clock_was_set_back_ends_no_first_wait():
    waiter = StampWaiter('map')
    waiter.on_sweep(100 * SECOND)
    waiter.drop_after(50 * SECOND)
    assert waiter.missing(50 * SECOND)


def test_companions_that_come_late_are_waited_for_again():
    waiter = StampWaiter('map')
    assert waiter.wait(100, max_wait_s=0.01) >= 0.01
    waiter.on_message('map', 100)
    assert waiter.wait(200, max_wait_s=0.01) >= 0.01


def test_a_slow_topic_that_meets_a_sweep_now_and_then_is_not_waited_for():
    waiter = StampWaiter('map')
    waiter.wait(0, max_wait_s=0.001)
    for sweep in range(1, 40):
        if sweep % 10 == 0:
            waiter.on_message('map', 100 * sweep)
        assert waiter.wait(100 * sweep, max_wait_s=10.0) < 5.0


def test_one_message_that_got_lost_does_not_end_the_waiting():
    waiter = StampWaiter('map')
    for sweep in range(1, 4):
        waiter.on_message('map', 100 * sweep)
        waiter.wait(100 * sweep, max_wait_s=10.0)
    assert waiter.wait(400, max_wait_s=0.01) >= 0.01
    assert waiter.wait(500, max_wait_s=0.01) >= 0.01


def test_a_later_stamp_ends_the_wait():
    waiter = StampWaiter('odometry')
    waiter.on_message('odometry', 150)
    assert waiter.wait(100, max_wait_s=10.0) < 5.0


def test_after_a_jump_back_the_old_stamps_say_nothing():
    waiter = StampWaiter('map')
    waiter.on_message('map', 1000 * SECOND)
    waiter.on_message('map', 10 * SECOND)
    assert waiter.wait(20 * SECOND, max_wait_s=0.05) >= 0.05


def test_a_jump_back_is_one_from_the_newest_stamp_not_from_the_last_one():
    """Messages had overtaken each other just before the recording started again."""
    waiter = StampWaiter('map')
    for seconds in (10.0, 9.5, 8.9):
        waiter.on_message('map', round(seconds * SECOND))
    assert waiter.missing(9 * SECOND)


def test_messages_that_overtook_each_other_are_no_jump():
    waiter = StampWaiter('odometry')
    waiter.on_message('odometry', 10 * SECOND)
    waiter.on_message('odometry', 10 * SECOND - 5_000_000)
    assert waiter.wait(10 * SECOND, max_wait_s=10.0) < 5.0


def test_stamps_of_before_the_clock_was_set_back_say_nothing():
    waiter = StampWaiter('map')
    waiter.on_message('map', 10 * SECOND)
    waiter.on_message('map', 100 * SECOND)
    waiter.drop_after(50 * SECOND)
    assert waiter.wait(10 * SECOND, max_wait_s=10.0) < 5.0
    assert waiter.wait(50 * SECOND, max_wait_s=0.05) >= 0.05
