# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the node logs, and what it counts with it."""

from __future__ import annotations

from support.node_parts import Ticks

from attention_fusion_ros.ros.node.monitor import NodeMonitor
from attention_fusion_ros.ros.node.reporting import ProblemReporter, ThrottledLog, internal_error


class Lines:
    """A logger that keeps what it is given."""

    def __init__(self):
        self.warnings, self.errors = [], []
        self.warning, self.error = self.warnings.append, self.errors.append


def test_warnings_are_logged_once_in_a_while():
    clock, lines = Ticks(), Lines()
    log = ThrottledLog(lines, lambda: 5.0, clock)
    for key in 'aab':
        log.warn(key, key)
    assert lines.warnings == ['a', 'b']
    clock.now += 5.1
    log.warn('a', 'again')
    assert lines.warnings == ['a', 'b', 'again']
    clock.now += 5.1
    log.warn('a', 'too early', period_s=20.0)
    assert lines.warnings == ['a', 'b', 'again']


def test_an_internal_error_is_logged_with_the_traceback_of_its_cause():
    """And with no other: an earlier error must not be shown as the cause of a later one."""
    monitor, lines = NodeMonitor(), Lines()
    problems = ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0))
    for cause in ('the first', 'the second'):
        try:
            raise KeyError(cause)
        except KeyError as error:
            problems.sweep_dropped(internal_error(error))
    assert len(lines.errors) == 2 and not lines.warnings
    assert 'Traceback' in lines.errors[1] and 'the second' in lines.errors[1] and 'the first' not in lines.errors[1]
    assert monitor.snapshot().sweep_drops['internal_error'] == 2


def test_a_picture_that_cannot_be_made_is_no_dropped_sweep():
    monitor, lines = NodeMonitor(), Lines()
    problems = ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0))
    try:
        raise KeyError('stage9')
    except KeyError as error:
        problems.explanation_failed(internal_error(error))
    seen = monitor.snapshot()
    assert not seen.sweep_drops and seen.components['network'].dropped == {'internal_error': 1}
    assert 'Traceback' in lines.errors[0] and 'stage9' in lines.errors[0] and 'heatmap/gradcam' in lines.errors[0]


def test_an_output_that_fails_is_no_dropped_sweep():
    monitor, lines = NodeMonitor(), Lines()
    ProblemReporter(monitor, ThrottledLog(lines, lambda: 0.0)).output_failed('/x/direction', ValueError('no such bin'))
    seen = monitor.snapshot()
    assert not seen.sweep_drops and seen.components['output'].dropped == {'publish_failed': 1}
    assert '/x/direction' in lines.errors[0] and 'no such bin' in lines.errors[0]
