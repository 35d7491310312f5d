# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pauses after errors in callbacks."""

from __future__ import annotations

import pytest
from support.node_parts import Ticks

pytest.importorskip('rclpy', reason='no ROS 2 here')

from attention_fusion_ros.ros.node.spinning import LONGEST_PAUSE_S, Backoff  # noqa: E402


def test_pauses_after_errors_grow_and_start_over():
    clock = Ticks()
    backoff = Backoff(clock)
    pauses = [backoff.next_pause_s() for _ in range(12)]
    assert pauses == sorted(pauses) and pauses[0] < 0.05 and pauses[-1] == LONGEST_PAUSE_S
    clock.now += 60.0
    assert backoff.next_pause_s() == pauses[0]


def test_an_error_that_repeats_is_one_line_each():
    backoff = Backoff(Ticks())
    texts = []
    for _ in range(3):
        backoff.next_pause_s()
        try:
            raise ValueError('always the same')
        except ValueError as error:
            texts.append(backoff.describe(error))
    assert 'Traceback' in texts[0]
    assert all(text.count('\n') == 0 and 'always the same' in text for text in texts[1:])
